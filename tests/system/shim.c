/* SPDX-License-Identifier: ISC */
/*
 * shim: loaded before the C library (LD_PRELOAD), makes memory run out and calls come back early, as a test
 *says.
 *
 * The test says it in a file, named by KPOPD_FAULTS, which every process maps before main() and keeps over
 *fork:
 *
 *	role      16 octets, the name of the processes in which memory runs out
 *	when      u32, the allocation that fails (and so do the next `many` - 1); 0: none
 *	many      u32
 *	count     u32, allocations made in processes of that name
 *	percent   u32, of the calls below, in all processes
 *	calls     u32, calls that came back early
 *
 * Reads and writes of octets do one octet or fail with EINTR; those of messages and waits fail with EINTR.
 *What LMDB and libkrb5 do with their files is left alone: they take a short write for an error, and other
 *tests have that.
 */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct control {
	char role[16];
	atomic_uint when, many, count, percent, calls;
};

static struct control none, *control = &none;
static char role[16];

/* Libraries that take what is short for an error. */
static struct library {
	const char *name;
	uintptr_t begin, end;
} spared[] = {{.name = "liblmdb"}, {.name = "libkrb5"}};
enum { SPARED_COUNT = sizeof spared / sizeof spared[0] };

static int find_spared(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size, (void)arg;
	for (struct library *library = spared; library < spared + SPARED_COUNT; library++) {
		if (library->begin != 0 || strstr(info->dlpi_name, library->name) == NULL)
			continue;
		library->begin = info->dlpi_addr;
		for (int i = 0; i < info->dlpi_phnum; i++)
			if (info->dlpi_phdr[i].p_type == PT_LOAD)
				library->end =
				    info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
	}
	return 0;
}

static bool is_spared(const void *caller)
{
	for (const struct library *library = spared; library < spared + SPARED_COUNT; library++)
		if ((uintptr_t)caller >= library->begin && (uintptr_t)caller < library->end)
			return true;
	return false;
}

static void begin(void) __attribute__((constructor));
static void begin(void)
{
	const char *path = getenv("KPOPD_FAULTS");
	int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
	dl_iterate_phdr(find_spared, NULL);
	strncpy(role, program_invocation_short_name, sizeof role - 1);
	if (fd < 0)
		return;
	void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		control = map;
}

/* Names are how roles are told apart. */
int prctl(int op, ...)
{
	unsigned long args[4];
	va_list ap;
	va_start(ap, op);
	for (int i = 0; i < 4; i++)
		args[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (op == PR_SET_NAME) {
		memset(role, 0, sizeof role);
		strncpy(role, (const char *)args[0], sizeof role - 1);
	}
	return (int)syscall(SYS_prctl, op, args[0], args[1], args[2], args[3]);
}

/* ---- memory ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static bool no_memory(void)
{
	if (strncmp(role, control->role, sizeof role) != 0)
		return false;
	unsigned number = atomic_fetch_add(&control->count, 1) + 1, when = control->when;
	if (when == 0 || number < when || number - when >= control->many)
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return no_memory() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return no_memory() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	return no_memory() ? NULL : __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t count, size_t size)
{
	size_t all;
	if (__builtin_mul_overflow(count, size, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(old, all);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return no_memory() ? NULL : __libc_memalign(alignment, size);
}

void *memalign(size_t alignment, size_t size)
{
	return aligned_alloc(alignment, size);
}

int posix_memalign(void **place_r, size_t alignment, size_t size)
{
	void *place = no_memory() ? NULL : __libc_memalign(alignment, size);
	if (place == NULL)
		return ENOMEM;
	*place_r = place;
	return 0;
}

/* ---- calls that come back early ---- */

enum early { NOT = 0, SHORT, INTERRUPTED };

static enum early early(const void *caller)
{
	unsigned percent = control->percent;
	if (percent == 0 || is_spared(caller))
		return NOT;
	uint64_t x = atomic_fetch_add(&control->calls, 1) * UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	x ^= x >> 32;
	return x % 100 >= percent ? NOT : (x >> 40 & 1) != 0 ? SHORT : INTERRUPTED;
}

static int interrupted(void)
{
	errno = EINTR;
	return -1;
}

#define CALLER __builtin_return_address(0)
/* A call on octets: all it was asked for, or one, or none for now. */
#define OCTETS(len, call)                                              \
	do {                                                           \
		enum early how = early(CALLER);                        \
		if (how == INTERRUPTED)                                \
			return interrupted();                          \
		size_t wanted = how == SHORT && (len) > 0 ? 1 : (len); \
		return call;                                           \
	} while (0)
/* A call that is whole or not at all. */
#define WHOLE(call)                                                   \
	do {                                                          \
		return early(CALLER) == NOT ? (call) : interrupted(); \
	} while (0)

ssize_t read(int fd, void *buf, size_t len)
{
	OCTETS(len, syscall(SYS_read, fd, buf, wanted));
}

ssize_t write(int fd, const void *buf, size_t len)
{
	OCTETS(len, syscall(SYS_write, fd, buf, wanted));
}

ssize_t pread(int fd, void *buf, size_t len, off_t offset)
{
	OCTETS(len, syscall(SYS_pread64, fd, buf, wanted, offset));
}

ssize_t pread64(int fd, void *buf, size_t len, off64_t offset)
{
	OCTETS(len, syscall(SYS_pread64, fd, buf, wanted, offset));
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	OCTETS(len, syscall(SYS_pwrite64, fd, buf, wanted, offset));
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t offset)
{
	OCTETS(len, syscall(SYS_pwrite64, fd, buf, wanted, offset));
}

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	OCTETS(len, syscall(SYS_recvfrom, fd, buf, wanted, flags, NULL, NULL));
}

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	OCTETS(len, syscall(SYS_sendto, fd, buf, wanted, flags, NULL, 0));
}

ssize_t readv(int fd, const struct iovec *iov, int count)
{
	struct iovec one = {iov[0].iov_base, iov[0].iov_len > 0};
	enum early how = early(CALLER);
	if (how == INTERRUPTED)
		return interrupted();
	bool cut = how == SHORT && one.iov_len > 0;
	return syscall(SYS_readv, fd, cut ? &one : iov, cut ? 1 : count);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	struct iovec one = {iov[0].iov_base, iov[0].iov_len > 0};
	enum early how = early(CALLER);
	if (how == INTERRUPTED)
		return interrupted();
	bool cut = how == SHORT && one.iov_len > 0;
	return syscall(SYS_writev, fd, cut ? &one : iov, cut ? 1 : count);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	WHOLE(syscall(SYS_recvmsg, fd, message, flags));
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	WHOLE(syscall(SYS_sendmsg, fd, message, flags));
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
	const struct timespec time = {timeout / 1000, timeout % 1000 * 1000000L};
	WHOLE((int)syscall(SYS_ppoll, fds, count, timeout < 0 ? NULL : &time, NULL, 0));
}

int epoll_wait(int fd, struct epoll_event *events, int count, int timeout)
{
	WHOLE((int)syscall(SYS_epoll_pwait, fd, events, count, timeout, NULL, 0));
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict len, int flags)
{
	WHOLE((int)syscall(SYS_accept4, fd, address, len, flags));
}
