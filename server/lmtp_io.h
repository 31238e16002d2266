/* SPDX-License-Identifier: ISC */
/*
 * lmtp_io: lines in, replies out, over one client's socket, with deadlines.
 *
 * For an lmtp process, which serves one client and may wait. Replies are collected and sent together when
 * there is no more to read (RFC 2920 section 3.2); both directions are bounded.
 */
#ifndef KPOPD_SERVER_LMTP_IO_H
#define KPOPD_SERVER_LMTP_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/limits.h"

#define LMTP_IN_OCTETS 65536u
#define LMTP_OUT_OCTETS 8192u

struct lmtp_io {
	int fd, leash;
	unsigned idle_msecs;
	bool retired; /* the leash said so: no new transaction */
	bool lost;    /* the client is gone, or takes nothing */
	size_t at, len;
	size_t out_len;
	uint8_t in[LMTP_IN_OCTETS];
	char out[LMTP_OUT_OCTETS];
};

enum lmtp_input {
	LMTP_INPUT_OK = 0,
	LMTP_INPUT_BARE,    /* a line that ended without CR; it has been skipped */
	LMTP_INPUT_LONG,    /* more than LIMIT_LMTP_LINE_OCTETS; it has been skipped */
	LMTP_INPUT_TIMEOUT, /* nothing, or not enough, came in time */
	LMTP_INPUT_RETIRED, /* and nothing is under way: close */
	LMTP_INPUT_GONE,
};

/* The next line without its CRLF; a view until the next call. idle: RETIRED may be answered. */
enum lmtp_input lmtp_io_line(struct lmtp_io *io, bool idle, const char **line_r, size_t *len_r);
/* At least one octet of what comes; deadline_msecs is of now_msecs. A view until lmtp_io_used. */
enum lmtp_input lmtp_io_data(
    struct lmtp_io *io, uint64_t deadline_msecs, const uint8_t **data_r, size_t *len_r);
void lmtp_io_used(struct lmtp_io *io, size_t len);
/* Adds a line; CRLF is added to it. */
void lmtp_io_reply(struct lmtp_io *io, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Sends what is there. false: lost. */
bool lmtp_io_flush(struct lmtp_io *io);
/*
 * Waits until fd is readable; the process ends when the leash does. false: the deadline has passed. events as
 * of poll(2).
 */
bool lmtp_io_wait(struct lmtp_io *io, int fd, short events, uint64_t deadline_msecs);

#endif
