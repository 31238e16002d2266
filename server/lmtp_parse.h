/* SPDX-License-Identifier: ISC */
/*
 * lmtp_parse: octets of an LMTP client (RFC 2033) → a command, or a piece of a message.
 *
 * Pure. Commands and paths are those of RFC 5321 section 4.1, parameters those of RFC 1870 and RFC 6152; what
 * is lenient is said at the functions. Nothing here keeps state between calls but struct lmtp_data.
 */
#ifndef KPOPD_SERVER_LMTP_PARSE_H
#define KPOPD_SERVER_LMTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RFC 5321 section 4.5.3.1.3 asks for 256 octets of a path; senders with return addresses of their own
 * making use more. */
#define LMTP_ADDRESS_OCTETS 512u

enum lmtp_verb {
	LMTP_UNKNOWN = 0, /* HELO and EHLO, too: RFC 2033 section 4.1 */
	LMTP_LHLO,
	LMTP_MAIL,
	LMTP_RCPT,
	LMTP_DATA,
	LMTP_RSET,
	LMTP_NOOP,
	LMTP_QUIT,
	LMTP_VRFY,
	LMTP_EXPN,
	LMTP_HELP,
	LMTP_VERB_COUNT
};

enum lmtp_syntax {
	LMTP_SYNTAX_OK = 0,
	LMTP_SYNTAX_LINE,              /* octets that no command has: controls, or a line feed by itself */
	LMTP_SYNTAX_ARGUMENT,          /* one is missing, or one too many */
	LMTP_SYNTAX_PATH,              /* no path where one must be, or one that is none */
	LMTP_SYNTAX_PARAMETER,         /* a value that its parameter cannot have */
	LMTP_SYNTAX_STRANGE_PARAMETER, /* one that was not offered */
};

struct lmtp_command {
	enum lmtp_verb verb;
	/* MAIL and RCPT: the path without brackets and route, as it was given; "" for the null sender. */
	char address[LMTP_ADDRESS_OCTETS + 1];
	/* The same with its local part unquoted: what names of users are compared with. */
	char mailbox[LMTP_ADDRESS_OCTETS + 1];
	uint64_t size; /* MAIL's SIZE; 0: none was given; UINT64_MAX also for what is larger */
};

/*
 * line is without its CRLF. Lenient: a blank behind "FROM:" and "TO:", dots anywhere in a local part, a path
 * to a user of this host without a domain, letters of either case.
 */
enum lmtp_syntax lmtp_parse(const char *line, size_t len, struct lmtp_command *command_r);

/* How far a message has come in; zero is its beginning. */
struct lmtp_data {
	enum { LMTP_AT_LINE = 0, LMTP_AT_DOT, LMTP_AT_DOT_CR, LMTP_IN_LINE, LMTP_AT_CR } at;
	bool ended;      /* CRLF "." CRLF was there; what follows is commands */
	uint64_t octets; /* the message's, as RFC 1870 section 3 counts them */
};

/*
 * Takes the stuffing away and makes LF of CRLF, as Maildirs have it. Only CRLF "." CRLF ends the data: a CR
 * or LF by itself ends no line, is no part of an end, and stays (RFC 5321 section 4.1.1.4). Returns how much
 * of in was used, all of it unless the message ended; out has room for len + 1 octets.
 */
size_t lmtp_data_decode(
    struct lmtp_data *data, const uint8_t *in, size_t len, uint8_t *out, size_t *out_len_r);

#endif
