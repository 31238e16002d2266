/* SPDX-License-Identifier: ISC */
#include "tools/likeness.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#define BEGIN_OCTETS 64u /* enough to know a header field by, or a quoted "From " */
#define BUFFER_OCTETS 4096u

enum { EXACT_256, EXACT_1, LOOSE, DIGESTS };

/* What is digested, gathered into larger pieces. */
struct gathered {
	EVP_MD_CTX *md; /* NULL: not asked for */
	size_t len;
	uint8_t octets[BUFFER_OCTETS];
};

struct likeness_reader {
	struct gathered digests[DIGESTS];
	struct likeness likeness;
	uint32_t body_lines;
	bool failed, finished;
	bool cr; /* a CR was seen, and it is not known yet whether it ends the line */
	bool in_body, in_line;
	/* of the line, for the loose digest */
	char begin[BEGIN_OCTETS];
	size_t begin_len;
	bool decided, left_out; /* whether it is known what becomes of the line; a field that is left out */
	uint64_t empty_lines;   /* of the body, not digested yet */
};

static void flush(struct likeness_reader *reader, struct gathered *to)
{
	if (to->len > 0 && EVP_DigestUpdate(to->md, to->octets, to->len) != 1)
		reader->failed = true;
	to->len = 0;
}

static void put(struct likeness_reader *reader, int which, const void *octets, size_t len)
{
	struct gathered *to = &reader->digests[which];

	if (to->md == NULL)
		return;
	if (len > sizeof(to->octets) - to->len)
		flush(reader, to);
	memcpy(to->octets + to->len, octets, len);
	to->len += len;
}

/* ---- the loose digest: by lines ---- */

/* Fields that servers and mail readers write into a mail that lies in an mbox. */
static bool is_bookkeeping(const char *line, size_t len)
{
	static const char *const names[] = {"Status", "X-Status", "X-UID", "X-UIDL", "X-IMAP", "X-IMAPbase",
	    "X-Keywords", "Content-Length", "Lines", "X-Mozilla-Status", "X-Mozilla-Status2",
	    "X-Mozilla-Keys"};
	const char *colon = memchr(line, ':', len);

	for (size_t i = 0; colon != NULL && i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == (size_t)(colon - line) &&
		    strncasecmp(line, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* The '>' before a quoted "From ". */
static size_t quotes(const char *line, size_t len)
{
	size_t n = 0;

	while (n < len && line[n] == '>')
		n++;
	return len - n >= 5 && memcmp(line + n, "From ", 5) == 0 ? n : 0;
}

/* Empty lines count only when something follows them. */
static void put_empty_lines(struct likeness_reader *reader)
{
	for (; reader->empty_lines > 0; reader->empty_lines--)
		put(reader, LOOSE, "\n", 1);
}

static void decide(struct likeness_reader *reader)
{
	const char *line = reader->begin;
	size_t len = reader->begin_len, skip = 0;

	reader->decided = true;
	if (reader->in_body)
		skip = quotes(line, len);
	else if (len == 0 || (line[0] != ' ' && line[0] != '\t')) /* a continued line goes with its field */
		reader->left_out = is_bookkeeping(line, len);
	if (reader->left_out)
		return;
	if (len > 0)
		put_empty_lines(reader);
	put(reader, LOOSE, line + skip, len - skip);
}

static void loose_octet(struct likeness_reader *reader, uint8_t c)
{
	if (reader->decided) {
		if (!reader->left_out)
			put(reader, LOOSE, &c, 1);
		return;
	}
	reader->begin[reader->begin_len++] = (char)c;
	/* A line of the body is any but one that may be quoted. */
	if (reader->begin_len == BEGIN_OCTETS || (reader->in_body && reader->begin[0] != '>'))
		decide(reader);
}

static void end_header(struct likeness_reader *reader)
{
	struct gathered *loose = &reader->digests[LOOSE];
	EVP_MD_CTX *copy;

	reader->in_body = true;
	reader->left_out = false;
	if (loose->md == NULL)
		return;
	flush(reader, loose);
	copy = EVP_MD_CTX_new();
	if (copy == NULL || EVP_MD_CTX_copy_ex(copy, loose->md) != 1 ||
	    EVP_DigestFinal_ex(copy, reader->likeness.head, NULL) != 1)
		reader->failed = true;
	EVP_MD_CTX_free(copy);
}

static void loose_line(struct likeness_reader *reader)
{
	bool empty = reader->begin_len == 0;

	if (!reader->in_body && empty) {
		end_header(reader);
	} else if (empty) {
		reader->empty_lines++;
	} else {
		if (!reader->decided)
			decide(reader);
		if (!reader->left_out)
			put(reader, LOOSE, "\n", 1);
	}
	reader->begin_len = 0;
	reader->decided = false;
}

/* ---- octets and lines as they are on the wire ---- */

static void octet(struct likeness_reader *reader, uint8_t c)
{
	reader->in_line = true;
	reader->likeness.octets++;
	put(reader, EXACT_256, &c, 1);
	put(reader, EXACT_1, &c, 1);
	loose_octet(reader, c);
}

static void end_line(struct likeness_reader *reader)
{
	bool counts = reader->in_body;

	put(reader, EXACT_256, "\r\n", 2);
	put(reader, EXACT_1, "\r\n", 2);
	reader->likeness.octets += 2;
	reader->likeness.lines++;
	loose_line(reader);
	reader->in_line = false;
	reader->cr = false;
	if (counts && reader->body_lines != LIKENESS_WHOLE)
		reader->body_lines--;
	reader->finished = reader->in_body && reader->body_lines == 0;
}

struct likeness_reader *likeness_new(unsigned which, uint32_t body_lines)
{
	static const unsigned bits[DIGESTS] = {LIKENESS_SHA256, LIKENESS_SHA1, LIKENESS_LOOSE};
	struct likeness_reader *reader = calloc(1, sizeof(*reader));

	if (reader == NULL)
		return NULL;
	reader->body_lines = body_lines;
	for (int i = 0; i < DIGESTS; i++) {
		if ((which & bits[i]) == 0)
			continue;
		reader->digests[i].md = EVP_MD_CTX_new();
		if (reader->digests[i].md == NULL || EVP_DigestInit_ex(reader->digests[i].md,
							 i == EXACT_1 ? EVP_sha1() : EVP_sha256(), NULL) != 1)
			reader->failed = true;
	}
	return reader;
}

void likeness_add(struct likeness_reader *reader, const void *octets, size_t len)
{
	const uint8_t *at = octets;

	for (size_t i = 0; i < len && !reader->finished; i++) {
		if (at[i] == '\n') {
			end_line(reader);
			continue;
		}
		if (reader->cr)
			octet(reader, '\r');
		reader->cr = at[i] == '\r';
		if (!reader->cr)
			octet(reader, at[i]);
	}
}

static void finish(struct likeness_reader *reader, struct gathered *digest, uint8_t *digest_r)
{
	if (digest->md == NULL)
		return;
	flush(reader, digest);
	if (EVP_DigestFinal_ex(digest->md, digest_r, NULL) != 1)
		reader->failed = true;
}

int likeness_done(struct likeness_reader **reader, struct likeness *likeness_r)
{
	struct likeness_reader *ending = *reader;
	bool failed;

	*reader = NULL;
	if (ending == NULL)
		return -1;
	if (ending->cr)
		octet(ending, '\r');
	if (ending->in_line)
		end_line(ending);
	if (!ending->in_body)
		end_header(ending);
	finish(ending, &ending->digests[EXACT_256], ending->likeness.sha256);
	finish(ending, &ending->digests[EXACT_1], ending->likeness.sha1);
	finish(ending, &ending->digests[LOOSE], ending->likeness.whole);
	failed = ending->failed;
	if (likeness_r != NULL)
		*likeness_r = ending->likeness;
	for (int i = 0; i < DIGESTS; i++)
		EVP_MD_CTX_free(ending->digests[i].md);
	free(ending);
	return failed ? -1 : 0;
}

void likeness_hex(const uint8_t *digest, size_t len, char *text_r)
{
	for (size_t i = 0; i < len; i++) {
		*text_r++ = "0123456789abcdef"[digest[i] >> 4];
		*text_r++ = "0123456789abcdef"[digest[i] & 15];
	}
	*text_r = '\0';
}
