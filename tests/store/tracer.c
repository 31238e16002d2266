/* SPDX-License-Identifier: ISC */
#include "tests/store/tracer.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 100

bool tracer_fails(void)
{
#if defined(__x86_64__)
	return true;
#else
	return false;
#endif
}

bool tracer_spares(long call)
{
	static const long calls[] = {SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_brk,
	    SYS_futex, SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_sigaltstack, SYS_exit_group};
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (call == calls[i])
			return true;
	return false;
}

void tracer_begin(void)
{
	raise(SIGSTOP);
}

static void trace(enum __ptrace_request request, pid_t pid, long data)
{
	if (ptrace(request, pid, NULL, (void *)(intptr_t)data) != 0 && errno != ESRCH)
		abort();
}

static int wait_for(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			abort();
	return status;
}

#if defined(__x86_64__)
static long call_number(pid_t pid)
{
	struct user_regs_struct regs;
	if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) != 0)
		return -1;
	return (long)regs.orig_rax;
}

/* The call that is just beginning becomes none, and gives the error. Returns what waitpid says then. */
static int make_fail(pid_t pid, int error)
{
	struct user_regs_struct regs;
	if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) != 0)
		abort();
	regs.orig_rax = (unsigned long long)-1;
	if (ptrace(PTRACE_SETREGS, pid, NULL, &regs) != 0)
		abort();
	trace(PTRACE_SYSCALL, pid, 0);
	int status = wait_for(pid);
	if (!WIFSTOPPED(status) || ptrace(PTRACE_GETREGS, pid, NULL, &regs) != 0)
		abort();
	regs.rax = (unsigned long long)-error;
	if (ptrace(PTRACE_SETREGS, pid, NULL, &regs) != 0)
		abort();
	return status;
}
#else
static long call_number(pid_t pid)
{
	(void)pid;
	return -1;
}

static int make_fail(pid_t pid, int error)
{
	(void)pid, (void)error;
	abort();
}
#endif

static struct tracer_result follow(pid_t pid, unsigned n, int error)
{
	struct tracer_result result = {.end = TRACER_RETURNED};
	bool entering = true;
	for (;;) {
		trace(PTRACE_SYSCALL, pid, 0);
		int status = wait_for(pid);
		if (!WIFSTOPPED(status)) {
			result.status = WIFEXITED(status) ? WEXITSTATUS(status) : MOST + 1;
			return result;
		}
		if (WSTOPSIG(status) != (SIGTRAP | 0x80))
			continue;
		if (entering && ++result.calls == n) {
			result.reached = true;
			result.call = call_number(pid);
			if (error == 0) {
				kill(pid, SIGKILL);
				wait_for(pid);
				result.end = TRACER_KILLED;
				return result;
			}
			if (!tracer_spares(result.call)) {
				make_fail(pid, error);
				continue;
			}
		}
		entering = !entering;
	}
}

struct tracer_result tracer_run(int (*fn)(void *arg), void *arg, unsigned n, int error)
{
	pid_t pid = fork();
	if (pid < 0)
		abort();
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(MOST);
		raise(SIGSTOP);
		_exit(fn(arg));
	}
	int status = wait_for(pid);
	if (!WIFSTOPPED(status))
		return (struct tracer_result){.end = TRACER_RETURNED, .status = MOST};
	trace(PTRACE_SETOPTIONS, pid, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	/* Up to where it counts. */
	trace(PTRACE_CONT, pid, 0);
	status = wait_for(pid);
	if (!WIFSTOPPED(status))
		return (struct tracer_result){.end = TRACER_RETURNED, .status = MOST};
	return follow(pid, n, error);
}

static int nothing(void *arg)
{
	(void)arg;
	tracer_begin();
	return 0;
}

bool tracer_works(void)
{
	return tracer_run(nothing, NULL, 0, 0).status == 0;
}
