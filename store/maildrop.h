/* SPDX-License-Identifier: ISC */
/*
 * maildrop: one user's mail as POP3 sees it: locked, numbered, unchanging while it is open.
 *
 * For the store role and the tools. The mail itself lies in a Maildir or another mailbox, where others
 * deliver and rename; an LMDB index remembers sizes, UIDs and UIDLs so that a login with nothing new reads no
 * directory. The index is a cache: when it is lost or broken it is set aside and rebuilt, and no
 * client notices, because a UIDL is derived from the message's own name (RFC 1939 section 7).
 *
 * The caller has already turned the user into a relative path; this module never sees a user's own
 * spelling except as an opaque index key. Paths are opened beneath the mail root without following
 * a symbolic link. A user without a maildrop has an empty one and nothing is created.
 *
 * Threads: a store may be shared by threads, a maildrop belongs to one at a time.
 */
#ifndef KPOPD_STORE_MAILDROP_H
#define KPOPD_STORE_MAILDROP_H

#include <stdbool.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAILDROP_MESSAGES_COUNT (1u << 20) /* most messages one session sees; more wait for a later one */
#define MAILDROP_UIDL_OCTETS 70            /* RFC 1939 section 7: 1 to 70 octets from 0x21 to 0x7E */
#define MAILDROP_NAME_OCTETS 255           /* a file name */

enum maildrop_err {
	MAILDROP_OK = 0,
	MAILDROP_IN_USE = -1, /* another session holds the lock */
	MAILDROP_TEMP = -2,   /* the world's trouble: full disk, I/O error, no descriptors */
	MAILDROP_PERM = -3,   /* needs an administrator: wrong type, wrong owner, no permission */
	MAILDROP_GONE = -4,   /* this message is no longer there: another program removed it */
	MAILDROP_RANGE = -5,  /* no message with that number */
	MAILDROP_UIDL = -6,   /* a UIDL that cannot be given to this message */
	MAILDROP_EARLY = -7,  /* too soon after the last login */
};

/* What the store wants told; it has no log of its own. text is printable ASCII, valid in the call only. */
typedef void maildrop_note_fn(void *arg, const char *text);

struct store_config {
	int mail_root;         /* directory descriptor; the store duplicates it */
	const char *index_dir; /* path, as this process sees it, of an existing directory of our own;
				  NULL: no index, every session scans (and says so in a note) */
	bool index_of_one;     /* it is one user's alone: a small one will do, everybody's is in many parts */
	int homes; /* directory descriptor, duplicated: where formats whose mail lies in no directory of its
		      own keep what we keep beside it, USER/ each; -1: nowhere */
	const char *boot_id; /* names this boot of the machine; NULL: /proc/sys/kernel/random/boot_id is read,
				and where that cannot be the index syncs its commits */
	size_t index_map_octets; /* first size of an environment's map, which grows; 0: a default */
	maildrop_note_fn *note;  /* may be NULL */
	void *note_arg;
};

/*
 * A process's door to all maildrops. Open it after the last fork: it holds LMDB environments. Close it after
 * its maildrops.
 */
struct store;
int store_open(struct store **store_r, const struct store_config *config); /* MAILDROP_TEMP, _PERM */
void store_close(struct store **store);

/* In what form the mail lies there. */
enum maildrop_format {
	MAILDROP_MAILDIR = 0,
	MAILDROP_MBOX, /* one file, "From " lines between the messages */
};

/* Who may be in a maildrop at a time. Sessions of the first two and of the last exclude each other. */
enum maildrop_lock {
	MAILDROP_EXCLUSIVE = 0, /* one session (RFC 1939 section 4) */
	MAILDROP_TAKEOVER,      /* one session, and it looks whether another wants the maildrop */
	MAILDROP_SHARED,        /* any number, each with its own snapshot */
};

/* Locks of mbox files, which all who touch one must take. */
enum spool_lock { SPOOL_LOCK_NONE = 0, SPOOL_LOCK_FCNTL, SPOOL_LOCK_DOTLOCK, SPOOL_LOCK_FLOCK };
enum { SPOOL_LOCKS_COUNT = 3 };

/* Whose maildrop, and where. */
struct maildrop_place {
	const char *user; /* the index key, NUL-terminated, at most 255 octets */
	const char *path; /* beneath the mail root */
	enum maildrop_format format;
	enum spool_lock
	    spool_locks[SPOOL_LOCKS_COUNT]; /* of an mbox, in this order; none: fcntl, then dotlock */
	enum maildrop_lock lock;
	uint32_t login_delay_secs; /* since maildrop_logged_in; 0: none */
	uint32_t *wait_secs_r;     /* of MAILDROP_EARLY: how long still, at least 1; NULL: not wanted */
};

struct maildrop;
/*
 * Locks the maildrop at place, and takes the snapshot that the session's message numbers stand for. Never
 * waits for another session; MAILDROP_SHARED: MAILDROP_IN_USE also while another one takes its snapshot.
 * MAILDROP_IN_USE, _EARLY (before anything else was done), _TEMP, _PERM.
 */
int maildrop_open(struct store *store, const struct maildrop_place *place, struct maildrop **maildrop_r);
/* Releases the lock. Never deletes. */
void maildrop_close(struct maildrop **maildrop);
/*
 * MAILDROP_TAKEOVER. A login that finds the maildrop in use wishes, tries maildrop_open again and again, and
 * ends its wish whatever comes of it; who has the maildrop asks now and then whether it is wanted, and closes
 * it. Wishes come in turn. MAILDROP_IN_USE: another one is there. MAILDROP_GONE: there is no maildrop.
 * MAILDROP_EARLY: as of maildrop_open.
 * MAILDROP_TEMP, _PERM: nobody can wish here.
 */
struct maildrop_wish;
int maildrop_wish(struct store *store, const struct maildrop_place *place, struct maildrop_wish **wish_r);
void maildrop_wish_end(struct maildrop_wish **wish);
bool maildrop_wanted(const struct maildrop *maildrop);

/* A client's login, from which the next login's delay counts. To be called while it is open. */
void maildrop_logged_in(struct maildrop *maildrop);

uint32_t maildrop_count(const struct maildrop *maildrop);  /* messages; idx runs from 0 to count - 1 */
uint64_t maildrop_octets(const struct maildrop *maildrop); /* their exact sizes on the wire, together */

struct maildrop_entry {
	uint64_t octets;                     /* exact size on the wire */
	uint32_t uid;                        /* rises with idx; never reused in a generation of the index */
	char uidl[MAILDROP_UIDL_OCTETS + 1]; /* unique in this maildrop, NUL-terminated */
	char name[MAILDROP_NAME_OCTETS +
		  1]; /* what stays the same in its file's name: for a Maildir what comes
			 before the first ',' or ':'. Any octets but NUL; NUL-terminated */
};
/* Walks the snapshot from idx, at most count entries; stops early when fn returns non-zero. MAILDROP_RANGE,
 * _TEMP. */
typedef int maildrop_entry_fn(void *arg, uint32_t idx, const struct maildrop_entry *entry);
int maildrop_list(struct maildrop *maildrop, uint32_t idx, uint32_t count, maildrop_entry_fn *fn, void *arg);

struct maildrop_message {
	int fd;              /* read-only, the caller's to close */
	uint64_t offset;     /* where the message begins in fd */
	uint64_t length;     /* octets stored */
	uint64_t octets;     /* octets on the wire, as listed */
	unsigned flags;      /* WIRE_ of wire.h */
	int64_t mtime_nsecs; /* of fd, as long as it holds what was measured; 0: others' messages lie there,
				too */
};
/* MAILDROP_GONE, _RANGE, _TEMP. A file that changed its length since it was counted is MAILDROP_TEMP. */
int maildrop_fetch(struct maildrop *maildrop, uint32_t idx, struct maildrop_message *message_r);

/*
 * When a message came, in seconds since the epoch, or later: for a Maildir the later of the time in its
 * file's name and the file's own, as they are now; for an mbox by the line before it, whatever the zone.
 * MAILDROP_GONE, _RANGE, _TEMP; _PERM: this format does not tell.
 */
int maildrop_arrived(struct maildrop *maildrop, uint32_t idx, int64_t *secs_r);

/*
 * QUIT: removes exactly the messages whose bit is set (bit idx % 8 of marks[idx / 8], least significant
 * first), syncs the directories, then lets the index follow. Ends what the maildrop may do: only
 * maildrop_close comes after. MAILDROP_TEMP: *left_r of them are still there, or may come back after a power
 * cut; else *left_r is 0. A marked message that is already gone counts as removed. MAILDROP_RANGE: bits
 * beyond the snapshot, nothing removed.
 */
int maildrop_expunge(struct maildrop *maildrop, const uint8_t *marks, size_t len, uint32_t *left_r);

/*
 * Moving in, for tools: messages get the UIDLs they had on another server, and its order. They come first,
 * ordered as the entries are; an earlier call's keep their places before them, and all other messages follow
 * in order of arrival as ever. Messages that are not named keep the UIDLs they have. What is adopted lies in
 * kpopd.uidl in the maildrop's home, moves along with it, and is safe on disk when the call returns 0. (After
 * a power cut within it the first of the entries may hold; then adopt again.) It holds for as long as the
 * message's file keeps its name (entry.name). Naming a message again replaces its UIDL and gives it a new
 * place, if it is not the same UIDL; to adopt the same twice is harmless.
 *
 * The numeric UIDs begin a new generation. Like an expunge it ends what the maildrop may do; the next open
 * shows the new order. Nothing is changed unless 0 is returned. MAILDROP_RANGE: no such idx, or one named
 * twice. MAILDROP_UIDL: not 1 to 70 octets from 0x21 to 0x7E; or twice among the entries; or another message
 * has it and is not given a new one; or another message once had it by this file. *bad_r is then the entry's
 * place in entries (may be NULL). MAILDROP_PERM: there is no maildrop, or nothing may be written there.
 * MAILDROP_TEMP.
 */
struct maildrop_adoption {
	uint32_t idx;
	const char *uidl; /* NUL-terminated */
};
int maildrop_adopt(
    struct maildrop *maildrop, const struct maildrop_adoption *entries, uint32_t count, uint32_t *bad_r);

/*
 * Delivery: begin, write in pieces, then commit or abort. The message is in new/ and safe on disk
 * (file and directory synced) when commit returns 0. A Maildir is created when missing. An mbox is, too;
 * there the message is appended under the mbox's locks, its envelope sender taken from a Return-Path that is
 * its first line.
 */
struct delivery;
int delivery_begin(
    struct store *store, const struct maildrop_place *place, struct delivery **delivery_r); /* _TEMP, _PERM */
int delivery_write(struct delivery *delivery, const void *buf, size_t len);                 /* _TEMP */
int delivery_commit(struct delivery **delivery); /* _TEMP; ends the delivery either way */
void delivery_abort(struct delivery **delivery); /* leaves nothing behind */

#endif
