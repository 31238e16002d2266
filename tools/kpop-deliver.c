/* SPDX-License-Identifier: ISC */
/*
 * kpop-deliver: one message from standard input into one user's maildrop, for MTAs.
 *
 * It says by its exit status (sysexits.h, as Postfix and Exim read it) whether the message is safe on
 * disk, may be tried again, or can never be delivered. What an administrator can mend is to be tried again:
 * Postfix sends back the mail for any other status, and no mail shall go for a wrong mode of a folder.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "server/config.h"
#include "server/envelope.h"
#include "server/identity.h"
#include "server/names.h"
#include "server/quota.h"
#include "server/usermail.h"
#include "store/maildrop.h"

#define INPUT_OCTETS 65536u
#define WHY_OCTETS 512u

struct options {
	const char *user, *config;
	const char *sender; /* NULL: none given; without angle brackets */
	char sender_room[LMTP_ADDRESS_OCTETS + 1];
};

struct message {
	struct delivery *delivery;
	uint64_t octets; /* so far */
};

static int usage(void)
{
	fputs("usage: kpop-deliver -d user [-f sender] [-c config]\n", stderr);
	return EX_USAGE;
}

static int complain(int status, const char *what, const char *why)
{
	fprintf(stderr, "kpop-deliver: %s: %s\n", what, why);
	return status;
}

static bool set_sender(struct options *options, const char *sender)
{
	size_t len = strlen(sender);
	if (len >= 2 && sender[0] == '<' && sender[len - 1] == '>') {
		sender++;
		len -= 2;
	}
	if (!envelope_address_valid(sender, len))
		return false;
	memcpy(options->sender_room, sender, len);
	options->sender_room[len] = '\0';
	options->sender = options->sender_room;
	return true;
}

static int read_options(int argc, char **argv, struct options *options_r)
{
	*options_r = (struct options){.config = KPOPD_SYSCONFDIR "/kpopd/kpopd.conf"};
	int option;
	while ((option = getopt(argc, argv, "c:d:f:")) != -1) {
		if (option == 'c')
			options_r->config = optarg;
		else if (option == 'd')
			options_r->user = optarg;
		else if (option != 'f')
			return usage();
		else if (!set_sender(options_r, optarg))
			return complain(EX_USAGE, "-f", "not a sender's address");
	}
	return optind != argc || options_r->user == NULL ? usage() : EX_OK;
}

/*
 * What a maildrop holds belongs to somebody; so must what we put there. Who has no maildrop here never will
 * have one: that is for the sender to know. All else an administrator can mend.
 */
static int become_owner(const struct config *config, const char *user, struct usermail *usermail)
{
	char why[WHY_OCTETS];
	bool system = config->mail_users == MAIL_USERS_SYSTEM;
	enum account_err err = usermail_find(config, user, usermail, why, sizeof(why));
	if (err != ACCOUNT_OK)
		return complain(system && err != ACCOUNT_TEMP ? EX_NOUSER : EX_TEMPFAIL, user, why);
	if (system && geteuid() != 0 && geteuid() != usermail->account.ids.uid)
		return complain(EX_TEMPFAIL, user, "only root can deliver to another than himself");
	if (usermail_become(config, usermail, true, why, sizeof(why)) != ACCOUNT_OK)
		return complain(EX_TEMPFAIL, user, why);
	return EX_OK;
}

static ssize_t read_some(void *buf, size_t size)
{
	ssize_t got;
	do
		got = read(STDIN_FILENO, buf, size);
	while (got < 0 && errno == EINTR);
	return got;
}

/* Whole lines are not needed, but the first octets are: enough to know a "From " line and the line ends. */
static ssize_t read_begin(uint8_t *buf, size_t size)
{
	size_t len = 0;
	while (len < size && memchr(buf, '\n', len) == NULL) {
		ssize_t got = read_some(buf + len, size - len);
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		len += (size_t)got;
	}
	return (ssize_t)len;
}

/* Adds to a delivery, and counts. */
static bool write_some(struct message *message, const void *octets, size_t len)
{
	message->octets += len;
	return delivery_write(message->delivery, octets, len) == MAILDROP_OK;
}

static bool write_header(struct message *message, const struct options *options, bool crlf)
{
	char fields[ENVELOPE_FIELDS_OCTETS];
	return write_some(message, fields, envelope_fields(options->sender, options->user, crlf, fields));
}

/* Drops the separator line of the mbox format, which some senders put first. */
static size_t skip_from_line(const uint8_t *buf, size_t len, bool *within_r)
{
	static const char from[] = "From ";
	*within_r = false;
	if (len < sizeof(from) - 1 || memcmp(buf, from, sizeof(from) - 1) != 0)
		return 0;
	const uint8_t *lf = memchr(buf, '\n', len);
	*within_r = lf == NULL;
	return lf == NULL ? len : (size_t)(lf - buf) + 1;
}

static int copy_message(struct message *message, const struct options *options)
{
	static uint8_t buf[INPUT_OCTETS];
	ssize_t got = read_begin(buf, sizeof(buf));
	if (got < 0)
		return complain(EX_TEMPFAIL, "standard input", strerror(errno));
	bool within;
	size_t from = skip_from_line(buf, (size_t)got, &within);
	const uint8_t *lf = memchr(buf, '\n', (size_t)got);
	if (!write_header(message, options, lf != NULL && lf > buf && lf[-1] == '\r'))
		return complain(EX_TEMPFAIL, "cannot write", strerror(errno));
	do {
		if (!write_some(message, buf + from, (size_t)got - from))
			return complain(EX_TEMPFAIL, "cannot write", strerror(errno));
		got = read_some(buf, sizeof(buf));
		if (got < 0)
			return complain(EX_TEMPFAIL, "standard input", strerror(errno));
		lf = within && got > 0 ? memchr(buf, '\n', (size_t)got) : NULL;
		from = !within ? 0 : lf == NULL ? (size_t)got : (size_t)(lf - buf) + 1;
		within = within && lf == NULL;
	} while (got > 0);
	return EX_OK;
}

static void note(void *arg, const char *text)
{
	if (*(const bool *)arg)
		fprintf(stderr, "kpop-deliver: %s\n", text);
}

/* The code comes first, where Postfix looks for one (RFC 3463 section 3.3). */
static int over_quota(bool permanent, const char *code, const char *user, const char *why)
{
	fprintf(stderr, "%c.2.%s kpop-deliver: %s: %s\n", permanent ? '5' : '4', code, user, why);
	return permanent ? EX_NOPERM : EX_TEMPFAIL;
}

/* Asked when its length is known, and before it is anybody's. */
static int ask_quota(const struct config *config, struct store *store, const struct maildrop_place *place,
    const struct message *message)
{
	bool permanent = config->quota_full == QUOTA_FULL_PERMANENT;
	switch (quota_ask(config, store, place, message->octets)) {
	case QUOTA_ROOM:
		return EX_OK;
	case QUOTA_FULL:
		return over_quota(permanent, "2", place->user, "over quota: there is no room for this");
	case QUOTA_LARGE:
		return over_quota(true, "3", place->user, "this is more than there may be in all");
	case QUOTA_TEMP:
		break;
	}
	return complain(EX_TEMPFAIL, place->user, "the mail there cannot be counted");
}

static int deliver_to(const struct config *config, struct store *store, const struct maildrop_place *place,
    const struct options *options)
{
	struct message message = {.octets = 0};
	if (delivery_begin(store, place, &message.delivery) != MAILDROP_OK)
		return EX_TEMPFAIL;
	int status = copy_message(&message, options);
	if (status == EX_OK)
		status = ask_quota(config, store, place, &message);
	if (status != EX_OK) {
		delivery_abort(&message.delivery);
		return status;
	}
	if (delivery_commit(&message.delivery) != MAILDROP_OK)
		return complain(EX_TEMPFAIL, place->path, strerror(errno));
	return EX_OK;
}

static int deliver(const struct config *config, const struct options *options)
{
	static struct usermail usermail;
	char path[PATH_MAX], user[LIMIT_USER_OCTETS + 1];
	struct maildrop_place place;
	const char *why;
	if (names_canonical(config, options->user, strlen(options->user), user, &why) != 0)
		return complain(EX_NOUSER, "-d: not a user's name", why);
	if (identity_place(config, user, path, &place) != 0)
		return complain(EX_NOUSER, "the template of kpopd.conf", "gives no sound path for this user");
	int status = become_owner(config, user, &usermail);
	if (status != EX_OK)
		return status;
	bool speak = false;
	struct store_config store_config;
	usermail_store_config(&usermail, &store_config);
	store_config.index_dir = NULL; /* a delivery needs none */
	store_config.note = note;
	store_config.note_arg = &speak;
	struct store *store;
	if (store_open(&store, &store_config) != MAILDROP_OK)
		return complain(EX_TEMPFAIL, config->mail_root, strerror(errno));
	speak = true; /* that there is no index is no news */
	status = deliver_to(config, store, &place, options);
	store_close(&store);
	usermail_close(&usermail);
	return status;
}

static bool reading;

/* The library's scanner ends the process when it has no memory, with a status that would send the mail back.
 */
static void end_of_reading(void)
{
	if (reading)
		_exit(EX_TEMPFAIL);
}

int main(int argc, char **argv)
{
	struct options options;
	char why[WHY_OCTETS];
	umask(077);
	/* A limit on file sizes is an error of write like any other. */
	signal(SIGXFSZ, SIG_IGN);
	int status = read_options(argc, argv, &options);
	if (status != EX_OK)
		return status;
	atexit(end_of_reading);
	reading = true;
	struct config *config = config_read(options.config, why, sizeof(why));
	reading = false;
	if (config == NULL) {
		fprintf(stderr, "kpop-deliver: %s\n", why);
		return EX_TEMPFAIL;
	}
	status = deliver(config, &options);
	config_free(&config);
	return status;
}
