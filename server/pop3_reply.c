/* SPDX-License-Identifier: ISC */
#include "server/pop3_reply.h"

#include <stdio.h>
#include <string.h>

const char *pop3_reply_code(enum refusal refusal)
{
	switch (refusal) {
	case REFUSAL_PERM:
		return "[SYS/PERM]";
	case REFUSAL_AUTH:
		return "[AUTH]";
	case REFUSAL_IN_USE:
		return "[IN-USE]";
	case REFUSAL_EARLY:
		return "[LOGIN-DELAY]";
	case REFUSAL_TEMP:
	case REFUSAL_GONE:
	case REFUSAL_TAKEN:
	case REFUSAL_COUNT:
		break;
	}
	return "[SYS/TEMP]";
}

size_t pop3_reply_room(const struct session_output *out)
{
	return out->size - out->used;
}

bool pop3_reply_raw(struct session_output *out, const void *octets, size_t len)
{
	if (len > pop3_reply_room(out))
		return false;
	if (len > 0)
		memcpy(out->buf + out->used, octets, len);
	out->used += len;
	return true;
}

static size_t clean(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] < 0x20 || text[i] > 0x7E)
			text[i] = '?';
	}
	return len;
}

/* What snprintf wrote, when it may have been cut off at size. */
static size_t written(int result, size_t size)
{
	if (result < 0)
		return 0;
	return (size_t)result < size ? (size_t)result : size - 1;
}

bool pop3_reply(
    struct session_output *out, enum pop3_status status, const char *code, const char *format, va_list ap)
{
	static const char *const prefixes[] = {
	    [POP3_STATUS_OK] = "+OK ", [POP3_STATUS_ERR] = "-ERR ", [POP3_STATUS_LINE] = ""};
	char line[LIMIT_REPLY_OCTETS + 1], text[LIMIT_REPLY_OCTETS];
	size_t room = LIMIT_REPLY_OCTETS - 2 + 1; /* CRLF comes behind; snprintf ends with a NUL */

	clean(text, written(vsnprintf(text, sizeof text, format, ap), sizeof text));
	const char *guard = code == NULL && text[0] == '[' && status != POP3_STATUS_LINE ? " " : "";
	size_t len = written(snprintf(line, room, "%s%s%s%s%s", prefixes[status], code == NULL ? "" : code,
				 code == NULL ? "" : " ", guard, text),
	    room);
	line[len++] = '\r';
	line[len++] = '\n';
	return pop3_reply_raw(out, line, len);
}
