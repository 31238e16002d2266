/* SPDX-License-Identifier: ISC */
/*
 * limits: every bound of the server in one place, each with its reason. Bounds that depend on each
 * other are computed from each other. Leaves keep their own (SENDAUTH_, SASLX_, MAILDROP_, SECRETS_).
 */
#ifndef KPOPD_SERVER_LIMITS_H
#define KPOPD_SERVER_LIMITS_H

#include "kpop/apreq.h"
#include "kpop/sendauth.h"
#include "sasl/exchange.h"
#include "store/maildrop.h"

/* RFC 2449 section 4: a command line, CRLF included. */
#define LIMIT_COMMAND_OCTETS 255u
/* RFC 1939 section 3: the first line of a response, CRLF included. */
#define LIMIT_REPLY_OCTETS 512u
/* APOP's part of it, a msg-id with digits and a host name of at most 253 octets. */
#define LIMIT_TIMESTAMP_OCTETS 384u
/* RFC 5034 section 4: a token in base64, as a response or behind AUTH as initial response. */
#define LIMIT_TOKEN_BASE64_OCTETS ((SASLX_TOKEN_OCTETS + 2u) / 3u * 4u)
/* Such a line is decoded as it comes in, so the front need not hold more of it than this at a time. */
#define LIMIT_TOKEN_PIECE_OCTETS 4096u
/* USER alice, PASS secret: RFC 4616 allows 255 octets each, so these two lines may be longer than others. */
#define LIMIT_LOGIN_LINE_OCTETS 512u

/* A name becomes a path component, and Linux allows 255 octets of one. */
#define LIMIT_USER_OCTETS 255u

/* What a front holds for a client that does not read: one piece of a message and the lines round it. */
#define LIMIT_OUTPUT_OCTETS 32768u
/* A record of a security layer: large enough to be rare, small enough to be kept for a client that does not
 * read; a quarter of what libsasl's clients take. */
#define LIMIT_RECORD_OCTETS 16384u
/* A handler that writes one reply may begin when this much is free. */
#define LIMIT_OUTPUT_ROOM_OCTETS 1024u

/* Messages between roles: a token or AP-REQ, or a COMMIT of one bit a message, and fixed fields round it. */
#define LIMIT_MSG_FIXED_OCTETS 512u
#define LIMIT_MSG_MARKS_OCTETS (MAILDROP_MESSAGES_COUNT / 8u)
#define LIMIT_MSG_OCTETS (LIMIT_MSG_MARKS_OCTETS + LIMIT_MSG_FIXED_OCTETS)
/* One LISTED answer: large enough to be rare, small enough that the kernel queues several. */
#define LIMIT_MSG_LISTED_OCTETS 32768u

/* What a checker is given: a password (a client's line or token bounds it) or a principal; and its answer. */
#define LIMIT_CHECK_OCTETS KPOP_PRINCIPAL_OCTETS
#define LIMIT_CHECK_WHY_OCTETS 400u
/* Two others may be asked in turn before the front gives up. */
#define LIMIT_CHECK_MOST_SECS 25u

/* proxy-protocol.txt section 2.1: a line of version 1, CRLF included. */
#define LIMIT_PROXY_LINE_OCTETS 107u
/* A header of version 2: addresses, a subject or two of certificates, names, identifiers. */
#define LIMIT_PROXY_OCTETS 4096u

/* RFC 5321 section 4.5.3.1.4 has 512 octets, and more for each parameter; a path may be longer, too. */
#define LIMIT_LMTP_LINE_OCTETS 2048u
/* RFC 5321 section 4.5.3.1.7: at least 64 KB; and it is kept in memory while it comes. */
#define LIMIT_MESSAGE_LEAST_OCTETS (UINT64_C(64) << 10)
#define LIMIT_MESSAGE_MOST_OCTETS (UINT64_C(1) << 30)
/* Each costs a delivery while the client waits. RFC 5321 section 4.5.3.1.8: at least 100. */
#define LIMIT_LMTP_RECIPIENTS_COUNT 200u
#define LIMIT_LMTP_ERRORS_COUNT 20u /* commands that are none, in a row of transactions; then we close */
/* A whole message; for each piece of it, and for a command, there is lmtp_idle_secs. */
#define LIMIT_LMTP_DATA_MSECS 3600000u
#define LIMIT_DELIVERER_OPEN_MSECS 60000u   /* lmtp waits this long to hear whether there is room */
#define LIMIT_DELIVERER_STORE_MSECS 300000u /* and for the message to be on disk */
#define LIMIT_LMTP_MESSAGE_MSECS 30000u     /* the deliverer waits this long for the message */

#define LIMIT_MECHANISMS_COUNT 32u /* bits of the offers word */
#define LIMIT_LISTENERS_COUNT 32u
#define LIMIT_BINDING_RULES_COUNT 32u   /* one comparison each for each mechanism of a CAPA */
#define LIMIT_RULES_COUNT 256u          /* maps, proxies, classes: each is asked at every login */
#define LIMIT_CONVERSATIONS_COUNT 4096u /* one auth process holds at most */

/* Deadlines; all on the monotonic clock. Those a site may choose are in config.h. */
#define LIMIT_AUTH_WAIT_MSECS 60000u    /* the front waits this long for auth, then [SYS/TEMP] */
#define LIMIT_STORE_WAIT_MSECS 300000u  /* and for the store: a QUIT may unlink a million files */
#define LIMIT_WRITE_STALL_MSECS 300000u /* a client that takes nothing for this long is gone */
/* lock = takeover: a session looks this often whether another wants its maildrop, and ends then; */
#define LIMIT_TAKEOVER_LOOK_MSECS 500u
/* and the other waits so long: a few looks, and what a QUIT or a message takes that is under way. */
#define LIMIT_TAKEOVER_WAIT_MSECS 5000u
/*
 * A client that has vanished without a word (a cut cable, a mobile that lost its network) must not keep its
 * maildrop locked for long: within a minute all is over. An idle one is probed by the kernel, for what a
 * network takes to recover is a few probes. While octets of ours are under way the kernel would go on for a
 * quarter of an hour, and TCP_USER_TIMEOUT would also end clients that are there and just do not read (which
 * have LIMIT_WRITE_STALL_MSECS); so we look ourselves whether anything has come back.
 */
#define LIMIT_KEEPALIVE_IDLE_SECS 20
#define LIMIT_KEEPALIVE_INTERVAL_SECS 8
#define LIMIT_KEEPALIVE_COUNT 4 /* 20 + 4 * 8 = 52 s */
#define LIMIT_SILENCE_MSECS 45000u
#define LIMIT_SILENCE_LOOK_MSECS 10000u
#define LIMIT_SILENCE_RETRANSMITS 3 /* and so often our octets went out again; an answer was due */
#define LIMIT_LINGER_MSECS 1000u    /* after a last error line, so that a reset does not eat it */
/* For a PROXY header, which a balancer sends first of all: long enough for a segment lost on the way. */
#define LIMIT_PROXY_WAIT_MSECS 5000u

/* What a site may ask of its users. A delay that is longer than a day would be a mistake. */
#define LIMIT_LOGIN_DELAY_SECS 86400u
#define LIMIT_EXPIRE_DAYS 36500u
#define LIMIT_QUOTA_MESSAGES 1000000000u
#define LIMIT_QUOTA_OCTETS (UINT64_C(1) << 60)

/* Bad commands before login after which we close: an HTTP client must not be able to speak through us. */
#define LIMIT_BAD_COMMANDS_COUNT 10u
#define LIMIT_AUTH_FAILURES_COUNT 5u

#endif
