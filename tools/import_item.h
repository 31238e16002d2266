/* SPDX-License-Identifier: ISC */
/*
 * import_item: one user of another server's file, as its format has it.
 *
 * For import.c. Pure functions over a file in memory.
 */
#ifndef KPOPD_TOOLS_IMPORT_ITEM_H
#define KPOPD_TOOLS_IMPORT_ITEM_H

#include <stdbool.h>
#include <stddef.h>

#include "sasl/credentials.h"
#include "tools/import.h"

#define IMPORT_LINE_OCTETS 4096u
#define IMPORT_WHY_OCTETS 256u

struct import_item {
	unsigned long line; /* 1-based */
	bool skipped;       /* nothing that concerns us */
	char user[SECRETS_USER_OCTETS + 1];
	char why[IMPORT_WHY_OCTETS]; /* "": the user can be taken */
	struct credentials record;   /* keys or a hash; nothing when there is a password */
	char password_secret[SECRETS_PASSWORD_OCTETS + 1]; /* "": none */
};

/* A place in the file; begins with octets, len, and what was asked for. */
struct import_reader {
	const char *octets;
	size_t len, at;
	unsigned long line;
	enum import_format format; /* not IMPORT_GUESS */
	const char *realm;
	bool keep_realm;
	bool in_data, hexadecimal; /* of a database dump */
	char *only_realm;          /* likewise; the caller frees it */
};

/* The next item; false: the end. The caller wipes it. */
bool import_next(struct import_reader *reader, struct import_item *item_r);
/* What a file looks like. IMPORT_GUESS: nothing known, or more than one. */
enum import_format import_guess(const char *octets, size_t len);

/* Pieces of it. A line, without its end, that lives as long as the file; false: the end. */
bool import_line(struct import_reader *reader, const char **line_r, size_t *len_r);
/* What is wrong with the item; the first reason stays. */
void import_wrong(struct import_item *item, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Whether the site can have such a name is for somebody else to say. */
void import_user(struct import_item *item, const char *name, size_t len);
void import_password(struct import_item *item, const char *octets, size_t len);
/* A line of a passwd-file of Dovecot, or of an htpasswd. */
void import_passwd(struct import_item *item, enum import_format format, const char *line, size_t len);
/* Lines of a Berkeley database's dump, up to the next entry. false: the end. */
bool import_dump(struct import_reader *reader, struct import_item *item);

#endif
