/* SPDX-License-Identifier: ISC */
#include "server/lmtp_io.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/child.h"

/* One wait, of a fd that may have nothing to say. */
enum { WAIT_READY, WAIT_TIMEOUT, WAIT_LEASH };

static int wait_once(struct lmtp_io *io, int fd, short events, uint64_t deadline_msecs)
{
	struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = io->leash, .events = POLLIN}};
	uint64_t now = now_msecs();
	if (now >= deadline_msecs)
		return WAIT_TIMEOUT;
	uint64_t left = deadline_msecs - now;
	if (poll(fds, 2, left > INT32_MAX ? INT32_MAX : (int)left) <= 0)
		return WAIT_LEASH; /* time is looked at before the next wait */
	if (fds[1].revents != 0) {
		enum leash_word word = child_hear(io->leash, NULL);
		if (word == LEASH_GONE)
			_exit(0);
		io->retired |= word == LEASH_RETIRE;
		if (fds[0].revents == 0)
			return WAIT_LEASH;
	}
	return WAIT_READY;
}

bool lmtp_io_wait(struct lmtp_io *io, int fd, short events, uint64_t deadline_msecs)
{
	int result;
	do
		result = wait_once(io, fd, events, deadline_msecs);
	while (result == WAIT_LEASH);
	return result == WAIT_READY;
}

bool lmtp_io_flush(struct lmtp_io *io)
{
	size_t at = 0;
	uint64_t deadline = now_msecs() + io->idle_msecs;
	while (at < io->out_len && !io->lost) {
		ssize_t n = send(io->fd, io->out + at, io->out_len - at, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			at += (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			io->lost = !lmtp_io_wait(io, io->fd, POLLOUT, deadline);
		else if (n == 0 || errno != EINTR)
			io->lost = true;
	}
	io->out_len = 0;
	return !io->lost;
}

void lmtp_io_reply(struct lmtp_io *io, const char *format, ...)
{
	char line[LIMIT_REPLY_OCTETS];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(line, sizeof line - 2, format, args);
	va_end(args);
	if (len < 0)
		return;
	size_t octets = (size_t)len < sizeof line - 2 ? (size_t)len : sizeof line - 3;
	memcpy(line + octets, "\r\n", 2);
	octets += 2;
	if (octets > sizeof io->out - io->out_len)
		lmtp_io_flush(io);
	memcpy(io->out + io->out_len, line, octets);
	io->out_len += octets;
}

/* Reads some more behind what is there. Whatever was to be said has been said by then. */
static enum lmtp_input fill(struct lmtp_io *io, bool idle, uint64_t deadline_msecs)
{
	if (!lmtp_io_flush(io))
		return LMTP_INPUT_GONE;
	if (io->at > 0)
		memmove(io->in, io->in + io->at, io->len - io->at);
	io->len -= io->at;
	io->at = 0;
	for (;;) {
		if (idle && io->retired && io->len == 0)
			return LMTP_INPUT_RETIRED;
		ssize_t n = recv(io->fd, io->in + io->len, sizeof io->in - io->len, MSG_DONTWAIT);
		if (n > 0) {
			io->len += (size_t)n;
			return LMTP_INPUT_OK;
		}
		if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			io->lost = true;
			return LMTP_INPUT_GONE;
		}
		if (wait_once(io, io->fd, POLLIN, deadline_msecs) == WAIT_TIMEOUT)
			return LMTP_INPUT_TIMEOUT;
	}
}

enum lmtp_input lmtp_io_line(struct lmtp_io *io, bool idle, const char **line_r, size_t *len_r)
{
	uint64_t deadline = now_msecs() + io->idle_msecs;
	bool too_long = false;
	for (;;) {
		const uint8_t *from = io->in + io->at, *lf = memchr(from, '\n', io->len - io->at);
		size_t len = lf == NULL ? io->len - io->at : (size_t)(lf - from) + 1;
		too_long |= len > LIMIT_LMTP_LINE_OCTETS;
		if (lf != NULL || too_long)
			io->at += len;
		if (lf != NULL && too_long)
			return LMTP_INPUT_LONG;
		if (lf != NULL) {
			bool crlf = len >= 2 && lf[-1] == '\r';
			*line_r = (const char *)from;
			*len_r = len - 2;
			return crlf ? LMTP_INPUT_OK : LMTP_INPUT_BARE;
		}
		enum lmtp_input result = fill(io, idle && !too_long, deadline);
		if (result != LMTP_INPUT_OK)
			return result;
	}
}

enum lmtp_input lmtp_io_data(
    struct lmtp_io *io, uint64_t deadline_msecs, const uint8_t **data_r, size_t *len_r)
{
	uint64_t idle = now_msecs() + io->idle_msecs;
	if (io->at == io->len) {
		enum lmtp_input result = fill(io, false, idle < deadline_msecs ? idle : deadline_msecs);
		if (result != LMTP_INPUT_OK)
			return result;
	}
	*data_r = io->in + io->at;
	*len_r = io->len - io->at;
	return LMTP_INPUT_OK;
}

void lmtp_io_used(struct lmtp_io *io, size_t len)
{
	io->at += len;
}
