/* SPDX-License-Identifier: ISC */
/*
 * record: what the index keeps of a maildrop and of a message, and the only code that knows its octets.
 *
 * Keys are the user's name, a NUL, and for a message its UID in four octets, highest first, so that one
 * walk gives a user's messages in order. Every value begins with a checksum over key and value. Decoding
 * believes nothing: what fails its check or makes no sense is refused.
 */
#ifndef KPOPD_STORE_RECORD_H
#define KPOPD_STORE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "digest.h"
#include "maildrop.h"

/* The places within a mailbox: a Maildir's directories; an mbox has only the first. */
enum { MAILBOX_PARTS = 2 };
enum maildir_part { MAILDIR_NEW = 0, MAILDIR_CUR };

/* A directory or file as stat saw it; all zero when there is none. */
struct part_state {
	uint64_t device, inode;
	int64_t mtime_nsecs, ctime_nsecs;
	uint64_t length; /* of a file; 0 for a directory */
};

/* What the records in the index are worth. */
enum drop_state {
	DROP_WHOLE = 0,  /* they are the maildrop, count and octets are theirs */
	DROP_UNFINISHED, /* each is good, but some may be missing or too many; count and octets mean nothing
			  */
	DROP_FORGOTTEN,  /* they are of an earlier generation, and on their way out */
};

/* What is known of a maildrop as a whole. */
struct drop {
	uint64_t generation; /* a new number for each time the UIDs begin again */
	uint64_t octets;
	uint32_t next_uid;
	uint32_t count;
	uint32_t epoch;  /* rises whenever records are marked as gone */
	uint32_t marked; /* such records; count and octets are without them */
	enum drop_state state;
	bool trusted; /* equal states mean that nothing has changed */
	struct part_state parts[MAILBOX_PARTS];
};

/* What is known of a message. */
struct record {
	uint64_t octets, length, inode;
	uint64_t offset; /* where in the file the message begins */
	int64_t mtime_nsecs;
	const char *name; /* not NUL-terminated; lives as long as the place it came from */
	const char *uidl;
	uint32_t uid;
	uint32_t gone; /* 0, or the epoch since when it is: kept for sessions that began before */
	uint8_t digest[CONTENT_DIGEST_OCTETS]; /* of the content */
	bool shared;   /* its name alone does not tell it from others; kpopd.uidl tells which UIDL it has */
	bool stale;    /* it may have changed: to be measured anew */
	uint8_t flags; /* WIRE_ */
	uint8_t part;  /* below MAILBOX_PARTS */
	uint8_t name_len;   /* a file name has 1 to 255 octets */
	uint8_t unique_len; /* the name's unique part, as uidl.h says */
	uint8_t uidl_len;   /* 0: the UIDL is the unique part of the name */
};

#define RECORD_USER_OCTETS 255u
#define RECORD_NAME_OCTETS 255u
#define RECORD_KEY_OCTETS (RECORD_USER_OCTETS + 1u + 4u)
#define RECORD_VALUE_OCTETS (80u + RECORD_NAME_OCTETS + MAILDROP_UIDL_OCTETS)

/* Keys; key_r has RECORD_KEY_OCTETS. Return the length. uid 0 gives the first place of a message. */
size_t record_drop_key(const char *user, uint8_t *key_r);
size_t record_key(const char *user, uint32_t uid, uint8_t *key_r);

/* Values; value_r has RECORD_VALUE_OCTETS. Return the length. */
size_t record_encode_drop(const struct drop *drop, const uint8_t *key, size_t key_len, uint8_t *value_r);
size_t record_encode(const struct record *record, const uint8_t *key, size_t key_len, uint8_t *value_r);

/* false: damaged, or of another format. The views of record_r point into value. */
bool record_decode_drop(
    struct drop *drop_r, const uint8_t *key, size_t key_len, const void *value, size_t len);
bool record_decode(
    struct record *record_r, const uint8_t *key, size_t key_len, const void *value, size_t len);

/* Whether both lie at the same place of the mailbox, under the same name. */
bool record_same_place(const struct record *a, const struct record *b);

/* The UIDL; uidl_r has MAILDROP_UIDL_OCTETS + 1. */
void record_uidl(const struct record *record, char *uidl_r);

/* The number of the format of values. */
unsigned record_format(void);
/* Which of count environments holds a user. */
unsigned record_place(const char *user, unsigned count);

#endif
