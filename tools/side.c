/* SPDX-License-Identifier: ISC */
#include "tools/side.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/remote.h"

#define READ_OCTETS 65536u

int side_fail(struct side *side, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(side->why, sizeof(side->why), format, args);
	va_end(args);
	return -1;
}

/* Room doubles, whenever the count is a power of two. */
static int make_room(struct side *side)
{
	size_t count = side->count;

	if (count >= SIDE_MESSAGES_COUNT)
		return side_fail(side, "more than %u messages", SIDE_MESSAGES_COUNT);
	if ((count & (count - 1)) != 0)
		return 0;
	struct side_message *messages =
	    reallocarray(side->messages, count == 0 ? 1 : 2 * count, sizeof(*messages));
	if (messages == NULL)
		return side_fail(side, "%s", strerror(errno));
	side->messages = messages;
	return 0;
}

int side_append(struct side *side, const struct side_message *message)
{
	struct side_message copy = *message;

	if (make_room(side) != 0)
		return -1;
	copy.uidl = message->uidl != NULL ? strdup(message->uidl) : NULL;
	copy.name = message->name != NULL ? strdup(message->name) : NULL;
	side->messages[side->count++] = copy;
	if ((message->uidl != NULL && copy.uidl == NULL) || (message->name != NULL && copy.name == NULL))
		return side_fail(side, "%s", strerror(errno));
	return 0;
}

/* ---- here ---- */

static int take_entry(void *arg, uint32_t idx, const struct maildrop_entry *entry)
{
	const struct side_message message = {.octets = entry->octets,
	    .uidl = (char *)(uintptr_t)entry->uidl,
	    .name = (char *)(uintptr_t)entry->name,
	    .number = idx + 1};

	return side_append(arg, &message);
}

const char *side_error(int rc)
{
	switch (rc) {
	case MAILDROP_IN_USE:
		return "a session is using it; try again when that is over";
	case MAILDROP_PERM:
		return errno != 0 ? strerror(errno) : "it is not as it must be";
	case MAILDROP_GONE:
		return "a message went away meanwhile";
	default:
		return errno != 0 ? strerror(errno) : "trouble that may pass";
	}
}

int side_open_here(const struct mailuser *mailuser, struct side *side_r)
{
	const char *user = mailuser->user;
	int rc;

	*side_r = (struct side){0};
	errno = 0;
	rc = maildrop_open(mailuser->store, mailuser->place, &side_r->maildrop);
	side_r->in_use = rc == MAILDROP_IN_USE;
	if (rc != MAILDROP_OK)
		return side_fail(side_r, "the maildrop of %s: %s", user, side_error(rc));
	rc = maildrop_list(side_r->maildrop, 0, maildrop_count(side_r->maildrop), take_entry, side_r);
	if (rc != MAILDROP_OK)
		return side_fail(side_r, "the maildrop of %s: %s", user, side_error(rc));
	/* A walk that was stopped is no failure of the store's. */
	return side_r->count == maildrop_count(side_r->maildrop) ? 0 : -1;
}

static int read_message(const struct maildrop_message *message, struct likeness_reader *reader)
{
	static uint8_t buf[READ_OCTETS];
	uint64_t at = 0;

	while (at < message->length) {
		uint64_t left = message->length - at;
		ssize_t got = pread(
		    message->fd, buf, left < sizeof(buf) ? left : sizeof(buf), (off_t)(message->offset + at));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return -1;
		likeness_add(reader, buf, (size_t)got);
		at += (uint64_t)got;
	}
	return 0;
}

static int look_here(struct side *side, uint32_t i, struct likeness_reader *reader)
{
	struct maildrop_message message;
	int rc;

	errno = 0;
	rc = maildrop_fetch(side->maildrop, i, &message);
	if (rc != MAILDROP_OK)
		return side_fail(side, "%s: %s", side->messages[i].name, side_error(rc));
	rc = read_message(&message, reader);
	side->messages[i].stored = message.length;
	if (rc != 0)
		side_fail(side, "%s: %s", side->messages[i].name,
		    errno != 0 ? strerror(errno) : "it became shorter");
	close(message.fd);
	return rc;
}

/* ---- either ---- */

int side_look(struct side *side, uint32_t i, unsigned which, uint32_t body_lines, struct likeness *likeness_r)
{
	struct likeness_reader *reader = likeness_new(which, body_lines);
	int rc;

	if (reader == NULL)
		return side_fail(side, "%s", strerror(errno));
	rc = side->remote == NULL ? look_here(side, i, reader)
				  : remote_look(side->remote, side->messages[i].number, body_lines, reader,
					side->why, sizeof(side->why));
	if (likeness_done(&reader, likeness_r) != 0 && rc == 0)
		rc = side_fail(side, "a digest failed");
	return rc;
}

int side_open_remote(const struct remote_options *options, struct side *side_r)
{
	*side_r = (struct side){0};
	return remote_open(options, &side_r->remote, side_r);
}

void side_clear(struct side *side)
{
	for (uint32_t i = 0; i < side->count; i++) {
		free(side->messages[i].uidl);
		free(side->messages[i].name);
	}
	free(side->messages);
	side->messages = NULL;
	side->count = 0;
}

void side_close(struct side *side)
{
	side_clear(side);
	maildrop_close(&side->maildrop);
	remote_close(&side->remote);
	*side = (struct side){0};
}
