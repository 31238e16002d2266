/* SPDX-License-Identifier: ISC */
#include "server/saslauthd.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/child.h"

#define SERVICE "pop"
/* saslauthd takes no string that is longer. */
#define STRING_OCTETS 255u
#define REQUEST_OCTETS (4u * (2u + STRING_OCTETS))
#define ANSWER_OCTETS 1024u
/* A queue that is full gives no sign when it no longer is. */
#define QUEUE_PAUSE_MSECS 50

struct asking {
	int fd;
	uint64_t end_msecs;
	char *why;
	size_t size;
};

static __attribute__((format(printf, 2, 3))) enum check_verdict gave_up(
    struct asking *asking, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(asking->why, asking->size, format, args);
	va_end(args);
	return CHECK_UNAVAILABLE;
}

/* false, with errno, when it took too long. */
static bool wait_ready(struct asking *asking, short events, int most_msecs)
{
	uint64_t now = now_msecs(), left = asking->end_msecs > now ? asking->end_msecs - now : 0;
	struct pollfd fd = {.fd = asking->fd, .events = events};
	if (left == 0) {
		errno = ETIMEDOUT;
		return false;
	}
	poll(&fd, events != 0, left < (uint64_t)most_msecs ? (int)left : most_msecs);
	return true;
}

static bool reach(struct asking *asking, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return false;
	}
	strcpy(address.sun_path, path);
	asking->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (asking->fd < 0)
		return false;
	while (connect(asking->fd, (struct sockaddr *)&address, sizeof address) < 0)
		if ((errno != EAGAIN && errno != EINTR) || !wait_ready(asking, 0, QUEUE_PAUSE_MSECS))
			return false;
	return true;
}

static const char *reach_advice(int error)
{
	if (error == EACCES)
		return "; put checker_user into the group of its folder, then reload";
	return error == ENOENT || error == ECONNREFUSED
		   ? "; does saslauthd run, and is saslauthd_socket right?"
		   : "";
}

static bool put_all(struct asking *asking, const uint8_t *octets, size_t len)
{
	while (len > 0) {
		ssize_t n = send(asking->fd, octets, len, MSG_NOSIGNAL);
		if (n > 0) {
			octets += n;
			len -= (size_t)n;
		} else if ((errno != EAGAIN && errno != EINTR) || !wait_ready(asking, POLLOUT, 1000)) {
			return false;
		}
	}
	return true;
}

static bool get_all(struct asking *asking, uint8_t *octets, size_t len)
{
	while (len > 0) {
		ssize_t n = recv(asking->fd, octets, len, 0);
		if (n == 0)
			errno = ECONNRESET;
		if (n > 0) {
			octets += n;
			len -= (size_t)n;
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR) ||
			   !wait_ready(asking, POLLIN, 1000)) {
			return false;
		}
	}
	return true;
}

static void put_string(struct msg_writer *w, const char *text)
{
	size_t len = strlen(text);
	msg_put_u8(w, (uint8_t)(len >> 8));
	msg_put_u8(w, (uint8_t)len);
	msg_put_bytes(w, text, len);
}

static bool ask(struct asking *asking, const char *user, const char *password_secret)
{
	uint8_t buf[REQUEST_OCTETS];
	struct msg_writer w = {buf, sizeof buf, 0, false};
	put_string(&w, user);
	put_string(&w, password_secret);
	put_string(&w, SERVICE);
	put_string(&w, "");
	bool sent = put_all(asking, buf, w.len);
	OPENSSL_cleanse(buf, sizeof buf);
	return sent;
}

/* "OK", or "NO", perhaps with a reason behind it. */
static enum check_verdict take_answer(struct asking *asking)
{
	uint8_t head[2], text[ANSWER_OCTETS];
	if (!get_all(asking, head, sizeof head))
		return gave_up(asking, "%s", strerror(errno));
	size_t len = (size_t)head[0] << 8 | head[1];
	if (len < 2 || len >= sizeof text || !get_all(asking, text, len))
		return gave_up(asking, "its answer is none");
	text[len] = '\0';
	bool right = memcmp(text, "OK", 2) == 0, wrong = memcmp(text, "NO", 2) == 0;
	if (!right && !wrong)
		return gave_up(asking, "its answer is neither OK nor NO");
	snprintf(asking->why, asking->size, "%s", (const char *)text);
	return right ? CHECK_RIGHT : CHECK_WRONG;
}

enum check_verdict saslauthd_check(
    const char *path, const char *user, const char *password_secret, unsigned msecs, char *why_r, size_t size)
{
	struct asking asking = {.fd = -1, .end_msecs = now_msecs() + msecs, .why = why_r, .size = size};
	enum check_verdict verdict;
	if (strlen(user) > STRING_OCTETS || strlen(password_secret) > STRING_OCTETS) {
		snprintf(why_r, size, "name or password is longer than it takes");
		return CHECK_WRONG;
	}
	if (!reach(&asking, path))
		verdict = gave_up(&asking, "%.200s: %s%s", path, strerror(errno), reach_advice(errno));
	else if (!ask(&asking, user, password_secret))
		verdict = gave_up(&asking, "%s", strerror(errno));
	else
		verdict = take_answer(&asking);
	if (asking.fd >= 0)
		close(asking.fd);
	return verdict;
}
