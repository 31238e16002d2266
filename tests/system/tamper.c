/* SPDX-License-Identifier: ISC */
/*
 * tamper: takes hold of a process and all its threads, counts the system calls it makes from then on, and
 *does something to one of them. For tests that go through every call of some work.
 *
 *	tamper PID list              only names them
 *	tamper PID kill N            SIGKILL to the process when it is about to make the Nth
 *	tamper PID error N ERRNO     the Nth is not made (close is), and fails with that number
 *
 * Says "ready" once it holds them, then a line for each call: its number, its name. Ends with the process;
 *when it is ended itself the process goes on. Needs the right to trace.
 */
#include <elf.h>
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <linux/ptrace.h>
#include <seccomp.h>

enum { THREADS_COUNT = 64, OPTIONS = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE };
enum what { LIST, KILL, ERROR };

struct thread {
	pid_t tid;
	bool settled; /* back in the call it was taken hold of in, or on its way: calls count */
	bool failing; /* its call is not made */
};

struct work {
	pid_t pid;
	enum what what;
	long when;
	int error;
	long count;
	bool ready;
	size_t threads_count;
	struct thread threads[THREADS_COUNT];
};

static struct thread *thread_of(struct work *work, pid_t tid)
{
	for (size_t i = 0; i < work->threads_count; i++)
		if (work->threads[i].tid == tid)
			return &work->threads[i];
	if (work->threads_count == THREADS_COUNT)
		errx(1, "too many threads");
	struct thread *thread = &work->threads[work->threads_count++];
	*thread = (struct thread){.tid = tid, .settled = work->ready};
	return thread;
}

static void seize(struct work *work)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/task", work->pid);
	DIR *dir = opendir(path);
	if (dir == NULL)
		err(1, "%s", path);
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (tid <= 0)
			continue;
		if (ptrace(PTRACE_SEIZE, tid, 0, OPTIONS) != 0 || ptrace(PTRACE_INTERRUPT, tid, 0, 0) != 0)
			err(1, "thread %d", tid);
		thread_of(work, tid);
	}
	closedir(dir);
}

#ifdef __x86_64__
static void set_call(pid_t tid, long nr)
{
	struct user_regs_struct regs;
	struct iovec iov = {&regs, sizeof regs};
	ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &iov);
	regs.orig_rax = (unsigned long long)nr;
	ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &iov);
}

static void set_result(pid_t tid, long result)
{
	struct user_regs_struct regs;
	struct iovec iov = {&regs, sizeof regs};
	ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &iov);
	regs.rax = (unsigned long long)result;
	ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &iov);
}
#elif defined __aarch64__
static void set_call(pid_t tid, long nr)
{
	int call = (int)nr;
	struct iovec iov = {&call, sizeof call};
	ptrace(PTRACE_SETREGSET, tid, NT_ARM_SYSTEM_CALL, &iov);
}

static void set_result(pid_t tid, long result)
{
	struct user_regs_struct regs;
	struct iovec iov = {&regs, sizeof regs};
	ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &iov);
	regs.regs[0] = (unsigned long long)result;
	ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &iov);
}
#else
static void set_call(pid_t tid, long nr)
{
	errx(77, "cannot change call %ld of %d on this kind of machine", nr, tid);
}

static void set_result(pid_t tid, long result)
{
	errx(77, "cannot make %d see %ld on this kind of machine", tid, result);
}
#endif

static void on_entry(struct work *work, struct thread *thread, long nr)
{
	if (!thread->settled) {
		thread->settled = true;
		return;
	}
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)nr);
	printf("%ld %s\n", ++work->count, name != NULL ? name : "unknown");
	free(name);
	if (work->count != work->when)
		return;
	if (work->what == KILL)
		kill(work->pid, SIGKILL);
	if (work->what == ERROR) {
		/* A call that every filter lets through: filters are asked after us. A close that fails has
		 * closed. */
		if (nr != SYS_close)
			set_call(thread->tid, SYS_getpid);
		thread->failing = true;
	}
}

static void on_call(struct work *work, struct thread *thread)
{
	struct ptrace_syscall_info info;
	if (ptrace(PTRACE_GET_SYSCALL_INFO, thread->tid, sizeof info, &info) <= 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
		on_entry(work, thread, (long)info.entry.nr);
	} else if (thread->failing) {
		thread->failing = false;
		set_result(thread->tid, -work->error);
	}
}

/* All threads wait again where they waited. */
static void look_ready(struct work *work)
{
	for (size_t i = 0; i < work->threads_count; i++)
		if (!work->threads[i].settled)
			return;
	if (!work->ready)
		puts("ready");
	work->ready = true;
}

static void on_stop(struct work *work, pid_t tid, int status)
{
	int number = WSTOPSIG(status), event = status >> 16, deliver = 0;
	struct thread *thread = thread_of(work, tid);
	if (number == (SIGTRAP | 0x80))
		on_call(work, thread);
	else if (event == PTRACE_EVENT_STOP && number != SIGTRAP) {
		ptrace(PTRACE_LISTEN, tid, 0, 0); /* stopped by a signal, and meant to be */
		return;
	} else if (event == 0)
		deliver = number;
	ptrace(PTRACE_SYSCALL, tid, 0, deliver);
	look_ready(work);
}

int main(int argc, char **argv)
{
	static const char *const words[] = {[LIST] = "list", [KILL] = "kill", [ERROR] = "error"};
	static const int wanted[] = {[LIST] = 3, [KILL] = 4, [ERROR] = 5};
	struct work work = {0};
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (argc > 2 && work.what <= ERROR && strcmp(argv[2], words[work.what]) != 0)
		work.what++;
	if (argc < 3 || work.what > ERROR || argc != wanted[work.what])
		errx(2, "usage: tamper PID list | kill N | error N ERRNO");
	work.pid = (pid_t)strtol(argv[1], NULL, 10);
	work.when = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
	work.error = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 0;
	seize(&work);
	for (int status;;) {
		pid_t tid = waitpid(-1, &status, __WALL);
		if (tid < 0)
			return errno == ECHILD ? 0 : 1;
		if (WIFSTOPPED(status))
			on_stop(&work, tid, status);
	}
}
