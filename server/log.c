/* SPDX-License-Identifier: ISC */
#include "server/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef LOG_SOCKET
#define LOG_SOCKET "/dev/log"
#endif

/*
 * A line is one write: below PIPE_BUF it is never torn apart by another process's, and no syslog server
 * of today cuts it (RFC 3164 wants 1024, all of them take 2048).
 */
#define LINE_OCTETS 2000u
#define TEXT_OCTETS 1500u /* what a caller's format may make, before escaping */
#define ROLE_OCTETS 16u
#define FACILITY_MAIL (2 << 3) /* RFC 3164 section 4.1.1 */

/* The log belongs to the process, as standard error does; so its state may be static. */
static struct {
	int fd;
	bool socket;  /* send without blocking; else the descriptor itself is non-blocking */
	bool syslog;  /* RFC 3164 datagrams; else lines of text */
	bool journal; /* "<N>" before each line says its level (sd-daemon(3)) */
	bool debug;
	atomic_bool torn; /* the last line left only in part: close it before the next */
	pid_t pid;
	atomic_ulong lost; /* threads of a store write, too */
	char role[ROLE_OCTETS];
} state = {.fd = -1};

static void forked(void)
{
	state.pid = getpid();
}

/* Under systemd JOURNAL_STREAM names the socket that is standard error, unless somebody redirected it. */
static bool is_journal(const struct stat *st)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char ours[48];

	snprintf(ours, sizeof(ours), "%ju:%ju", (uintmax_t)st->st_dev, (uintmax_t)st->st_ino);
	return stream != NULL && strcmp(stream, ours) == 0;
}

static void open_stderr(void)
{
	struct stat st;

	if (fstat(STDERR_FILENO, &st) != 0)
		return;
	state.socket = S_ISSOCK(st.st_mode);
	state.journal = is_journal(&st);
	/*
	 * Flags belong to an open file, which others share with us: it is opened anew, so that a shell that
	 * started us keeps its own as it was. A file is only ever added to, by whichever of our processes.
	 */
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode) || S_ISREG(st.st_mode))
		state.fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_APPEND | O_CLOEXEC);
	if (S_ISREG(st.st_mode) && state.fd >= 0)
		dup2(state.fd, STDERR_FILENO);
	if (state.fd < 0)
		state.fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
}

static int open_syslog(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = LOG_SOCKET};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	state.fd = fd;
	state.socket = state.syslog = true;
	return 0;
}

void log_open(enum log_target target, bool debug)
{
	static bool watching_forks;
	char role[ROLE_OCTETS];

	memcpy(role, state.role, sizeof(role));
	if (state.fd >= 0)
		close(state.fd);
	memset(&state, 0, sizeof(state));
	state.fd = -1;
	state.debug = debug;
	memcpy(state.role, role, sizeof(role));
	state.pid = getpid();
	tzset(); /* while /etc/localtime can still be read */
	if (!watching_forks)
		watching_forks = pthread_atfork(NULL, NULL, forked) == 0;
	if (target == LOG_TO_SYSLOG && open_syslog() == 0)
		return;
	int error = errno;
	open_stderr();
	if (target == LOG_TO_SYSLOG)
		log_warning(
		    "syslog: cannot reach %s: %s; logging to standard error", LOG_SOCKET, strerror(error));
}

void log_role(const char *role)
{
	snprintf(state.role, sizeof(state.role), "%s", role);
}

int log_fd(void)
{
	return state.fd;
}

static int put_line(const char *line, size_t len)
{
	ssize_t written;
	do {
		if (state.socket) {
			/* Not send(): the strictest role may use sendmsg and nothing else on a socket. */
			struct iovec piece = {.iov_base = (void *)(uintptr_t)line, .iov_len = len};
			struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
			written = sendmsg(state.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
		} else {
			written = write(state.fd, line, len);
		}
	} while (written < 0 && errno == EINTR);
	if (written < 0)
		return -1;
	state.torn = (size_t)written < len;
	return 0;
}

/* What stands before the text: level, time, tag, as the target wants them. */
static size_t put_head(char *line, enum log_level level)
{
	int len;

	if (state.syslog) {
		char stamp[32] = "";
		struct timespec now = {0};
		struct tm tm = {0};
		/* Not localtime(): that would look at /etc/localtime again. English names as we set no
		 * locale. */
		clock_gettime(CLOCK_REALTIME, &now);
		localtime_r(&now.tv_sec, &tm);
		strftime(stamp, sizeof(stamp), "%b %e %H:%M:%S", &tm);
		len = snprintf(line, LINE_OCTETS, "<%d>%s kpopd[%d]: %s%s", FACILITY_MAIL | (int)level, stamp,
		    (int)state.pid, state.role, state.role[0] != '\0' ? ": " : "");
	} else {
		char prefix[8] = "";
		if (state.journal)
			snprintf(prefix, sizeof(prefix), "<%d>", (int)level);
		len = snprintf(line, LINE_OCTETS, "%s%s%s[%d]: ", state.torn ? "\n" : "", prefix,
		    state.role[0] != '\0' ? state.role : "kpopd", (int)state.pid);
	}
	return (size_t)len; /* far below LINE_OCTETS: all parts are bounded */
}

/* text with everything escaped that is not printable ASCII; the backslash too, or \x41 would be ambiguous. */
static size_t put_text(char *line, size_t len, const char *text, bool cut)
{
	static const char hex[] = "0123456789abcdef";
	const size_t end = LINE_OCTETS - sizeof("...\n");

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		if (c >= 0x20 && c < 0x7f && c != '\\') {
			if (len + 1 > end)
				break;
			line[len++] = *text;
		} else {
			if (len + 4 > end)
				break;
			line[len++] = '\\';
			line[len++] = 'x';
			line[len++] = hex[c >> 4];
			line[len++] = hex[c & 15];
		}
	}
	if (*text != '\0' || cut) {
		memcpy(line + len, "...", 3);
		len += 3;
	}
	if (!state.syslog)
		line[len++] = '\n';
	return len;
}

static int emit(enum log_level level, const char *text, bool cut)
{
	char line[LINE_OCTETS];
	size_t len = put_text(line, put_head(line, level), text, cut);
	return put_line(line, len);
}

static __attribute__((format(printf, 2, 0))) void vlog(enum log_level level, const char *format, va_list args)
{
	char text[TEXT_OCTETS];
	int saved = errno;

	if (state.fd < 0)
		return;
	int len = vsnprintf(text, sizeof(text), format, args);
	if (len < 0)
		snprintf(text, sizeof(text), "a line could not be formatted");
	unsigned long lost = atomic_exchange(&state.lost, 0);
	if (lost > 0) {
		char note[64];
		snprintf(note, sizeof(note), "log was full: lines lost=%lu", lost);
		if (emit(LOG_WARN_LEVEL, note, false) != 0)
			state.lost += lost;
	}
	if (emit(level, text, len >= (int)sizeof(text)) != 0)
		state.lost++;
	errno = saved;
}

#define LOG_FUNCTION(name, level)          \
	void name(const char *format, ...) \
	{                                  \
		va_list args;              \
		va_start(args, format);    \
		vlog(level, format, args); \
		va_end(args);              \
	}

LOG_FUNCTION(log_error, LOG_ERR_LEVEL)
LOG_FUNCTION(log_warning, LOG_WARN_LEVEL)
LOG_FUNCTION(log_info, LOG_INFO_LEVEL)

void log_debug(const char *format, ...)
{
	if (!state.debug)
		return;
	va_list args;
	va_start(args, format);
	vlog(LOG_DEBUG_LEVEL, format, args);
	va_end(args);
}

const char *log_name(const char *name, char *text_r, size_t size)
{
	size_t len = strnlen(name, size - 1);
	for (size_t i = 0; i < len; i++) {
		bool plain = name[i] > 0x20 && name[i] < 0x7f && strchr("=\"'\\:", name[i]) == NULL;
		text_r[i] = plain ? name[i] : '?';
	}
	text_r[len] = '\0';
	return text_r;
}
