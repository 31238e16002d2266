/* SPDX-License-Identifier: ISC */
/*
 * What a hostile front may send to auth and store: datagrams on a door, on a conversation, on a maildrop; and
 * a hostile lmtp process to a deliverer.
 *
 * The first octet chooses the process: auth for tokens, auth for passwords, store, deliverer. Then datagrams:
 * an octet with the type in its low five bits and a lie in its high three, two octets of length, the body.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/identity.h"
#include "server/conversation.h"
#include "server/identity.h"
#include "server/deposit.h"
#include "server/drop.h"
#include "tests/sasl/world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum lie { LIE_NONE = 0, LIE_RESERVED, LIE_LENGTH, LIE_HEADER, LIE_DESCRIPTOR, LIE_COUNT };

static char *mechanisms[] = {"SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN", NULL};
static char *nothing[] = {NULL};
static char maildir_template[] = "%u/Maildir";
static struct config config = {.mechanisms = mechanisms,
    .mechanism_count = 4,
    .user_pass = true,
    .apop = true,
    .domains = nothing,
    .local_domains = nothing,
    .plus_hosts = nothing,
    .spool_locks = nothing,
    .message_octets = 1 << 20,
    .maildir = maildir_template};
static struct auth auths[2] = {{.config = &config}, {.config = &config, .password = true}};
static struct world world;
static struct store *store;
static char root_path[] = "/tmp/kpopd-msg.XXXXXX";
static int root;
static uint8_t room[LIMIT_MSG_OCTETS];

static void must(bool good)
{
	if (!good)
		abort();
}

static const char *const names[] = {
    "alice/Maildir/new/1.a", "alice/Maildir/new/2.b", "alice/Maildir/new/3.c"};

/* Puts back what is missing; returns how many were. */
static unsigned furnish(void)
{
	unsigned missing = 0;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		int fd = openat(root, names[i], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0)
			continue;
		must(write(fd, "x\n", 2) == 2);
		close(fd);
		missing++;
	}
	return missing;
}

static void clean_up(void)
{
	static const char *const folders[] = {
	    "alice/Maildir/new", "alice/Maildir/cur", "alice/Maildir/tmp", "alice/Maildir", "alice"};
	store_close(&store);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		unlinkat(root, names[i], 0);
	unlinkat(root, "alice/Maildir/kpopd.lock", 0);
	for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
		unlinkat(root, folders[i], AT_REMOVEDIR);
	rmdir(root_path);
	world_stop(&world);
}

static void begin(void)
{
	static const char *const served[] = {"SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN", NULL};
	setenv("KRB5_CONFIG", "/dev/null", 1);
	must(world_start(&world, served, NULL, NULL) == 0 && mkdtemp(root_path) != NULL);
	root = open(root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	static const char *const folders[] = {
	    "alice", "alice/Maildir", "alice/Maildir/tmp", "alice/Maildir/cur", "alice/Maildir/new"};
	for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
		must(mkdirat(root, folders[i], 0700) == 0);
	const struct store_config settings = {.mail_root = root, .homes = -1};
	must(store_open(&store, &settings) == MAILDROP_OK);
	furnish();
	atexit(clean_up);
}

struct run {
	const uint8_t *data;
	size_t left;
	int front, ours;    /* the front's end, and ours */
	enum msg_type type; /* of the last datagram */
	const uint8_t *body;
	size_t len;
};

static uint8_t next(struct run *r)
{
	if (r->left == 0)
		return 0;
	r->left--;
	return *r->data++;
}

/* A message as an lmtp process hands it over, or, with a lie, one that it could still change. */
static int write_letter(const uint8_t *octets, size_t len, enum lie lie)
{
	static const int seals[LIE_COUNT + 4] = {[LIE_RESERVED] = F_SEAL_WRITE,
	    [LIE_LENGTH] = F_SEAL_WRITE | F_SEAL_SHRINK,
	    [LIE_NONE] = F_SEAL_SEAL | F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW,
	    [LIE_COUNT] = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW};
	int fd = memfd_create("letter", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	must(fd >= 0 && write(fd, octets, len) == (ssize_t)len && fcntl(fd, F_ADD_SEALS, seals[lie]) == 0);
	return fd;
}

/* The front sends its next datagram; false: it has nothing more to say. */
static bool send_next(struct run *r)
{
	if (r->left == 0)
		return false;
	uint8_t head = next(r);
	size_t len = next(r);
	len |= (size_t)next(r) << 8;
	len = len < r->left ? len : r->left;
	enum lie lie = (enum lie)(head >> 5);
	struct {
		uint16_t type, zero;
		uint32_t len;
	} header = {head & 31, lie == LIE_RESERVED, (uint32_t)len + (lie == LIE_LENGTH)};
	struct iovec iov[2] = {
	    {&header, lie == LIE_HEADER ? 5 : sizeof header}, {(void *)(uintptr_t)r->data, len}};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(2 * sizeof(int))];
	} control = {0};
	struct msghdr mh = {.msg_iov = iov, .msg_iovlen = 2};
	bool wanted =
	    head % 32 == MSG_FRONT_START || head % 32 == MSG_LMTP_OPEN || head % 32 == MSG_LMTP_MESSAGE;
	bool carries = wanted || lie == LIE_DESCRIPTOR;
	int letter = head % 32 == MSG_LMTP_MESSAGE ? write_letter(r->data, len, lie) : -1;
	if (carries) {
		int fds[2] = {letter >= 0 ? letter : r->front, r->front};
		size_t count = wanted && lie == LIE_DESCRIPTOR ? 2 : 1;
		mh.msg_control = control.buf;
		mh.msg_controllen = CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&mh);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, count * sizeof(int));
	}
	r->type = (enum msg_type)(lie == LIE_NONE || lie >= LIE_COUNT ? head % 32 : MSG_NONE);
	r->body = r->data;
	r->len = len;
	r->data += len;
	r->left -= len;
	bool sent = sendmsg(r->front, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
	if (letter >= 0)
		close(letter);
	return sent;
}

/* Next to nothing of a message may be read beyond its end, or kept. */
static int receive(struct run *r, unsigned state, struct msg *msg_r, uint8_t **exact_r)
{
	*exact_r = NULL;
	if (!send_next(r))
		return MSG_EOF;
	int got = msg_recv(r->ours, state, room, sizeof room, msg_r);
	if (got == MSG_OK) {
		*exact_r = malloc(msg_r->len + (msg_r->len == 0));
		must(*exact_r != NULL);
		memcpy(*exact_r, msg_r->body, msg_r->len);
		msg_r->body = *exact_r;
		if (msg_r->fd >= 0)
			close(msg_r->fd);
	}
	return got;
}

static void check_reply(const struct conversation *c, const struct reply *reply)
{
	struct check check;
	switch (reply->kind) {
	case REPLY_WAIT:
	case REPLY_BAD:
		return;
	case REPLY_MORE:
		must(reply->len <= SASLX_TOKEN_OCTETS);
		break;
	case REPLY_ASK:
		conversation_question(c, &check);
		must(check.user[0] != '\0' && check.secret[0] != '\0');
		break;
	case REPLY_DONE:
		must(identity_user_valid(conversation_user(c), strlen(conversation_user(c))));
		break;
	case REPLY_REFUSED:
		must(reply->refusal < REFUSAL_COUNT && reply->len <= KPOP_REPLY_OCTETS);
		must(c == NULL || conversation_user(c)[0] == '\0' || reply->kind != REPLY_DONE);
		break;
	}
	if (c != NULL)
		must(strlen(conversation_text(c)) > 0);
}

static void talk(struct run *r, struct auth *auth)
{
	struct msg msg;
	struct reply reply = {.kind = REPLY_BAD};
	uint8_t *exact;
	if (receive(r, MSG_AT_AUTH_DOOR, &msg, &exact) != MSG_OK)
		return;
	struct conversation *c = conversation_start(auth, &msg, &reply);
	free(exact);
	check_reply(c, &reply);
	while (
	    c != NULL && reply.kind == REPLY_MORE && receive(r, MSG_AT_AUTH_STEP, &msg, &exact) == MSG_OK) {
		conversation_step(c, msg.body, msg.len, &reply);
		free(exact);
		check_reply(c, &reply);
	}
	conversation_free(&c);
}

static unsigned ones(const struct run *r)
{
	unsigned count = 0;
	for (size_t i = 0; i < r->len; i++)
		count += (unsigned)__builtin_popcount(r->body[i]);
	return count;
}

static void mail(struct run *r)
{
	static const uint8_t open_body[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 'a', 'l', 'i', 'c', 'e'};
	struct msg open = {
	    .type = MSG_AUTH_OPEN, .body = open_body, .len = sizeof open_body, .fd = dup(r->ours)};
	struct drop *drop = drop_new(&open);
	unsigned may_go = 0;
	must(drop != NULL && drop_open(drop, store, &config) == DROP_OPEN);
	while (send_next(r)) {
		bool commit = r->type == MSG_FRONT_COMMIT;
		if (!drop_serve(drop, room)) {
			may_go = commit ? ones(r) : 0;
			break;
		}
		must(!commit);
		struct msg msg;
		while (msg_recv(r->front, ~0u, room, sizeof room, &msg) == MSG_OK)
			if (msg.fd >= 0)
				close(msg.fd);
	}
	drop_free(&drop);
	must(furnish() <= may_go);
}

/* Everything delivered is removed again; returns how many that were, each whole. */
static unsigned collect(size_t len)
{
	unsigned count = 0;
	DIR *dir = fdopendir(openat(root, "alice/Maildir/new", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	must(dir != NULL);
	for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		struct stat st;
		if (strstr(entry->d_name, ",S=") == NULL)
			continue;
		must(fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && (size_t)st.st_size > len);
		must(unlinkat(dirfd(dir), entry->d_name, 0) == 0);
		count++;
	}
	closedir(dir);
	return count;
}

static void post(struct run *r)
{
	static struct deposit deposit;
	struct msg msg;
	uint8_t *exact;
	if (receive(r, MSG_AT_DELIVERER_DOOR, &msg, &exact) != MSG_OK)
		return;
	msg.fd = dup(r->ours);
	bool opened = deposit_init(&deposit, &config, &msg) && deposit_open(&deposit, store);
	free(exact);
	must(!opened || strcmp(deposit.user, "alice") == 0);
	while (msg_recv(r->front, ~0u, room, sizeof room, &msg) == MSG_OK)
		continue;
	bool over = !opened, taken = false;
	while (!over && send_next(r)) {
		over = deposit_serve(&deposit, store);
		taken = msg_recv(r->front, ~0u, room, sizeof room, &msg) == MSG_OK &&
			msg.type == MSG_DELIVERER_STORED;
	}
	/* Only what was right in every way, and then it is there. */
	must(!taken || r->type == MSG_LMTP_MESSAGE);
	close(deposit.fd);
	must(collect(r->len) == taken && furnish() == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int pair[2];
	if (store == NULL)
		begin();
	if (size == 0)
		return 0;
	must(msg_pair(pair) == 0);
	struct run r = {.data = data + 1, .left = size - 1, .front = pair[0], .ours = pair[1]};
	if (data[0] % 4 == 2)
		mail(&r);
	else if (data[0] % 4 == 3)
		post(&r);
	else
		talk(&r, &auths[data[0] % 4]);
	close(pair[0]);
	close(pair[1]);
	return 0;
}
