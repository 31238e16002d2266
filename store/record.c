/* SPDX-License-Identifier: ISC */
#include "record.h"

#include <string.h>

#include "uidl.h"
#include "wire.h"

/* Changes whenever the octets below do; an index of another format is damaged to us, and rebuilt. */
#define FORMAT 3u

/* The octets of the two kinds of value, in host order: an index never leaves its host. */
struct drop_octets {
	uint64_t check;
	uint32_t format, next_uid, count, epoch, marked;
	uint16_t trusted, state;
	uint64_t generation, octets;
	struct part_state parts[MAILBOX_PARTS];
};
struct record_octets {
	uint64_t check;
	uint64_t octets, length, inode, offset;
	int64_t mtime_nsecs;
	uint8_t flags, part, name_len, uidl_len;
	uint32_t gone;
	uint16_t format;
	uint8_t shared, stale;
	uint32_t spare;
	uint8_t digest[CONTENT_DIGEST_OCTETS];
};
_Static_assert(sizeof(struct drop_octets) == 128, "no padding");
_Static_assert(sizeof(struct record_octets) == 80, "no padding");
_Static_assert(sizeof(struct drop_octets) <= RECORD_VALUE_OCTETS, "room for either");
_Static_assert(
    sizeof(struct record_octets) <= RECORD_VALUE_OCTETS - RECORD_NAME_OCTETS - MAILDROP_UIDL_OCTETS,
    "room for either");

/* Guards against chance, not malice: whoever can write the index can write its checksums. */
static uint64_t mix(uint64_t hash, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	hash ^= len;
	for (; len > 0; p += 8) {
		uint64_t word = 0;
		size_t some = len < 8 ? len : 8;
		memcpy(&word, p, some);
		len -= some;
		hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 29;
	}
	return hash;
}

static uint64_t checksum(const uint8_t *key, size_t key_len, const uint8_t *value, size_t len)
{
	uint64_t hash = mix(FORMAT, key, key_len);
	return mix(hash, value + sizeof(uint64_t), len - sizeof(uint64_t));
}

static void seal(const uint8_t *key, size_t key_len, uint8_t *value, size_t len)
{
	uint64_t check = checksum(key, key_len, value, len);
	memcpy(value, &check, sizeof(check));
}

static bool sealed(const uint8_t *key, size_t key_len, const void *value, size_t len)
{
	uint64_t check;
	memcpy(&check, value, sizeof(check));
	return check == checksum(key, key_len, value, len);
}

size_t record_drop_key(const char *user, uint8_t *key_r)
{
	size_t len = strnlen(user, RECORD_USER_OCTETS);
	memcpy(key_r, user, len);
	key_r[len] = 0;
	return len + 1;
}

size_t record_key(const char *user, uint32_t uid, uint8_t *key_r)
{
	size_t len = record_drop_key(user, key_r);
	for (int shift = 24; shift >= 0; shift -= 8)
		key_r[len++] = (uint8_t)(uid >> shift);
	return len;
}

size_t record_encode_drop(const struct drop *drop, const uint8_t *key, size_t key_len, uint8_t *value_r)
{
	struct drop_octets octets = {
	    .format = FORMAT,
	    .next_uid = drop->next_uid,
	    .count = drop->count,
	    .trusted = drop->trusted,
	    .state = (uint16_t)drop->state,
	    .epoch = drop->epoch,
	    .marked = drop->marked,
	    .generation = drop->generation,
	    .octets = drop->octets,
	    .parts = {drop->parts[MAILDIR_NEW], drop->parts[MAILDIR_CUR]},
	};
	memcpy(value_r, &octets, sizeof(octets));
	seal(key, key_len, value_r, sizeof(octets));
	return sizeof(octets);
}

bool record_decode_drop(
    struct drop *drop_r, const uint8_t *key, size_t key_len, const void *value, size_t len)
{
	struct drop_octets octets;
	if (len != sizeof(octets) || !sealed(key, key_len, value, len))
		return false;
	memcpy(&octets, value, sizeof(octets));
	if (octets.format != FORMAT || octets.trusted > 1 || octets.state > DROP_FORGOTTEN ||
	    octets.count > MAILDROP_MESSAGES_COUNT || octets.next_uid == 0 ||
	    (octets.state == DROP_WHOLE && octets.count >= octets.next_uid))
		return false;
	*drop_r = (struct drop){
	    .generation = octets.generation,
	    .octets = octets.octets,
	    .next_uid = octets.next_uid,
	    .count = octets.count,
	    .state = (enum drop_state)octets.state,
	    .trusted = octets.trusted != 0,
	    .epoch = octets.epoch,
	    .marked = octets.marked,
	    .parts = {octets.parts[MAILDIR_NEW], octets.parts[MAILDIR_CUR]},
	};
	return true;
}

size_t record_encode(const struct record *record, const uint8_t *key, size_t key_len, uint8_t *value_r)
{
	struct record_octets octets = {
	    .octets = record->octets,
	    .length = record->length,
	    .inode = record->inode,
	    .offset = record->offset,
	    .mtime_nsecs = record->mtime_nsecs,
	    .flags = record->flags,
	    .part = record->part,
	    .name_len = record->name_len,
	    .uidl_len = record->uidl_len,
	    .shared = record->shared,
	    .stale = record->stale,
	    .format = FORMAT,
	    .gone = record->gone,
	};
	size_t len = sizeof(octets);
	memcpy(octets.digest, record->digest, sizeof(octets.digest));
	memcpy(value_r, &octets, len);
	memcpy(value_r + len, record->name, record->name_len);
	len += record->name_len;
	if (record->uidl_len > 0)
		memcpy(value_r + len, record->uidl, record->uidl_len);
	len += record->uidl_len;
	seal(key, key_len, value_r, len);
	return len;
}

/* A file name that can only mean a message of ours. */
static bool name_valid(const char *name, size_t len)
{
	return len > 0 && name[0] != '.' && memchr(name, '/', len) == NULL && memchr(name, 0, len) == NULL;
}

static bool sensible(const struct record *record)
{
	const char *uidl = record->uidl_len > 0 ? record->uidl : record->name;
	size_t uidl_len = record->uidl_len > 0 ? record->uidl_len : record->unique_len;
	return record->uid > 0 && record->part < MAILBOX_PARTS &&
	       (record->flags & ~(unsigned)(WIRE_CRLF | WIRE_NODOTS)) == 0 &&
	       record->octets >= record->length && name_valid(record->name, record->name_len) &&
	       uidl_valid(uidl, uidl_len);
}

bool record_decode(struct record *record_r, const uint8_t *key, size_t key_len, const void *value, size_t len)
{
	struct record_octets octets;
	if (len < sizeof(octets) || key_len < 5 || !sealed(key, key_len, value, len))
		return false;
	memcpy(&octets, value, sizeof(octets));
	if (octets.format != FORMAT || octets.shared > 1 || octets.stale > 1 ||
	    len != sizeof(octets) + octets.name_len + octets.uidl_len)
		return false;
	const char *text = (const char *)value + sizeof(octets);
	const uint8_t *uid = key + key_len - 4;
	*record_r = (struct record){
	    .octets = octets.octets,
	    .length = octets.length,
	    .inode = octets.inode,
	    .offset = octets.offset,
	    .mtime_nsecs = octets.mtime_nsecs,
	    .name = text,
	    .uidl = text + octets.name_len,
	    .uid = (uint32_t)uid[0] << 24 | (uint32_t)uid[1] << 16 | (uint32_t)uid[2] << 8 | uid[3],
	    .gone = octets.gone,
	    .shared = octets.shared != 0,
	    .stale = octets.stale != 0,
	    .flags = octets.flags,
	    .part = octets.part,
	    .name_len = octets.name_len,
	    .unique_len = (uint8_t)uidl_unique_len(text, octets.name_len),
	    .uidl_len = octets.uidl_len,
	};
	memcpy(record_r->digest, octets.digest, sizeof(octets.digest));
	return sensible(record_r);
}

bool record_same_place(const struct record *a, const struct record *b)
{
	return a->part == b->part && a->offset == b->offset && a->name_len == b->name_len &&
	       memcmp(a->name, b->name, a->name_len) == 0;
}

void record_uidl(const struct record *record, char *uidl_r)
{
	bool own = record->uidl_len > 0;
	size_t len = own ? record->uidl_len : record->unique_len;
	if (len > MAILDROP_UIDL_OCTETS)
		len = MAILDROP_UIDL_OCTETS;
	memcpy(uidl_r, own ? record->uidl : record->name, len);
	uidl_r[len] = 0;
}

unsigned record_format(void)
{
	return FORMAT;
}

unsigned record_place(const char *user, unsigned count)
{
	return (unsigned)((mix(0, user, strlen(user)) >> 16) % count);
}
