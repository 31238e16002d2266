/* SPDX-License-Identifier: ISC */
/*
 * A maildrop as a front sees it, which may be hostile: a real store behind it, and every message of the table
 * in and out of its bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/drop.h"
#include "tests/store/faults.h"
#include "tests/store/fixture.h"

#define MESSAGES_COUNT 3
static const char *const names[MESSAGES_COUNT] = {"1.a", "2.b", "3.c"};
static const char *const texts[MESSAGES_COUNT] = {"one\n", "two, longer\n", "three\r\n"};
static char maildir_template[] = "%u/Maildir";
static struct config config = {.maildir = maildir_template, .expire_days = CONFIG_NEVER};
static uint8_t room[LIMIT_MSG_OCTETS], answer_room[LIMIT_MSG_OCTETS];

/* What the kernel is asked to send goes by here: was the lock free when the answer left? */
static void (*before_send)(enum msg_type type);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
	uint16_t type;
	memcpy(&type, message->msg_iov[0].iov_base, sizeof type);
	if (before_send != NULL)
		before_send((enum msg_type)type);
	return __real_sendmsg(fd, message, flags);
}

static unsigned open_descriptors(void)
{
	unsigned count = 0;
	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static struct fixture *fixture;

static void message_path(unsigned i, char path_r[64])
{
	snprintf(path_r, 64, "alice/Maildir/new/%s", names[i]);
}

/* Which messages are there: bit i for message i. */
static unsigned there(void)
{
	unsigned bits = 0;
	char path[64];
	for (unsigned i = 0; i < MESSAGES_COUNT; i++) {
		message_path(i, path);
		bits |= (unsigned)fixture_exists(fixture, path) << i;
	}
	return bits;
}

static int setup(void **state)
{
	char path[64];
	int rc = fixture_setup(state);
	fixture = *state;
	before_send = NULL;
	fixture_maildir(fixture, "alice");
	for (unsigned i = 0; i < MESSAGES_COUNT; i++) {
		message_path(i, path);
		fixture_write(fixture, path, texts[i]);
	}
	return rc;
}

/* AUTH_OPEN, with the name in memory of exactly its length. front_r is the front's end. */
static struct drop *new_drop(uint8_t reserved, const char *user, size_t len, int *front_r)
{
	int pair[2];
	assert_int_equal(msg_pair(pair), 0);
	uint8_t *body = malloc(9 + len);
	assert_non_null(body);
	struct msg_writer w = {body, 9 + len, 0, false};
	msg_put_u64(&w, 7);
	msg_put_u8(&w, reserved);
	msg_put_bytes(&w, user, len);
	const struct msg open = {.type = MSG_AUTH_OPEN, .body = body, .len = w.len, .fd = pair[1]};
	struct drop *drop = drop_new(&open);
	free(body);
	assert_non_null(drop);
	*front_r = pair[0];
	return drop;
}

static struct msg answer(int front, unsigned state)
{
	struct msg msg;
	assert_int_equal(msg_recv(front, state, answer_room, sizeof answer_room, &msg), MSG_OK);
	return msg;
}

static void refused(int front, unsigned state, enum refusal why)
{
	struct msg msg = answer(front, state);
	assert_int_equal(msg.type, MSG_STORE_REFUSED);
	assert_int_equal(msg.body[0], why);
}

static struct drop *open_drop(int *front_r)
{
	struct drop *drop = new_drop(0, "alice", 5, front_r);
	assert_int_equal(drop_open(drop, fixture->store, &config), DROP_OPEN);
	struct msg msg = answer(*front_r, MSG_AT_FRONT_OPENING);
	assert_int_equal(msg.type, MSG_STORE_OPENED);
	struct msg_reader r = {msg.body, msg.len, false};
	assert_int_equal(msg_get_u32(&r), MESSAGES_COUNT);
	return drop;
}

static void close_drop(struct drop **drop, int front)
{
	close(front);
	drop_free(drop);
	assert_null(*drop);
}

/* ---- opening ---- */

static void test_names(void **state)
{
	(void)state;
#define NAME(s) s, sizeof(s) - 1
	static const struct {
		const char *sentence;
		uint8_t reserved;
		const char *user;
		size_t len;
	} rows[] = {
	    {"a reserved field in use", 1, NAME("alice")},
	    {"a path upwards", 0, NAME("..")},
	    {"a path to another", 0, NAME("bob/../alice")},
	    {"a path from the root", 0, NAME("/alice")},
	    {"a NUL behind the name", 0, NAME("alice\0")},
	    {"a NUL and more", 0, NAME("alice\0bob")},
	    {"a NUL", 0, NAME("\0")},
	    {"a hidden name", 0, NAME(".alice")},
	    {"a space", 0, NAME("al ice")},
	    {"an octet of no letter", 0, NAME("al\xffice")},
	};
	unsigned before = open_descriptors();
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int front;
		struct drop *drop = new_drop(rows[i].reserved, rows[i].user, rows[i].len, &front);
		if (drop_open(drop, fixture->store, &config) != DROP_OVER)
			fail_msg("%s", rows[i].sentence);
		refused(front, MSG_AT_FRONT_OPENING, REFUSAL_PERM);
		close_drop(&drop, front);
	}
	assert_int_equal(open_descriptors(), before);
}

static void test_in_use(void **state)
{
	(void)state;
	int front, other;
	struct msg msg;
	struct drop *first = open_drop(&front), *second = new_drop(0, "alice", 5, &other);
	for (int i = 0; i < DROP_TRIES_COUNT; i++) {
		assert_int_equal(drop_open(second, fixture->store, &config), DROP_IN_USE);
		assert_int_equal(
		    msg_recv(other, MSG_AT_FRONT_OPENING, answer_room, sizeof answer_room, &msg), MSG_AGAIN);
	}
	assert_int_equal(drop_open(second, fixture->store, &config), DROP_OVER);
	refused(other, MSG_AT_FRONT_OPENING, REFUSAL_IN_USE);
	close_drop(&second, other);
	second = new_drop(0, "alice", 5, &other);
	assert_int_equal(drop_open(second, fixture->store, &config), DROP_IN_USE);
	close_drop(&first, front);
	assert_int_equal(drop_open(second, fixture->store, &config), DROP_OPEN);
	close_drop(&second, other);
}

static void put(int front, enum msg_type type, const void *body, size_t len)
{
	struct {
		uint16_t type, zero;
		uint32_t len;
	} header = {(uint16_t)type, 0, (uint32_t)len};
	uint8_t *datagram = malloc(sizeof header + len);
	assert_non_null(datagram);
	memcpy(datagram, &header, sizeof header);
	if (len != 0)
		memcpy(datagram + sizeof header, body, len);
	assert_int_equal(send(front, datagram, sizeof header + len, 0), (ssize_t)(sizeof header + len));
	free(datagram);
}

static struct drop *open_with(enum maildrop_lock lock, enum drop_state want, int *front_r)
{
	struct config with = config;
	with.lock = lock;
	struct drop *drop = new_drop(0, "alice", 5, front_r);
	assert_int_equal(drop_open(drop, fixture->store, &with), want);
	return drop;
}

/* lock = takeover: who has it looks, and is told; who wants it comes in turn. */
static void test_takeover(void **state)
{
	(void)state;
	struct config with = config;
	with.lock = MAILDROP_TAKEOVER;
	int front, wanting, late;
	struct drop *first = open_with(MAILDROP_TAKEOVER, DROP_OPEN, &front);
	answer(front, MSG_AT_FRONT_OPENING);
	assert_in_range(drop_wait_msecs(first), 0, LIMIT_TAKEOVER_LOOK_MSECS);
	assert_true(drop_look(first));
	struct drop *second = open_with(MAILDROP_TAKEOVER, DROP_IN_USE, &wanting);
	struct drop *third = open_with(MAILDROP_TAKEOVER, DROP_IN_USE, &late);
	put(front, MSG_FRONT_LIST, (uint8_t[9]){LIST_OCTETS, 0, 0, 0, 0, 3}, 9);
	/* What has come is answered first. */
	bool goes_on = drop_serve(first, room);
	assert_int_equal(answer(front, MSG_AT_FRONT_LIST).type, MSG_STORE_LISTED);
	assert_true(!goes_on || !drop_look(first));
	refused(front, MSG_AT_FRONT_IDLE, REFUSAL_TAKEN);
	/* In turn. */
	assert_int_equal(drop_open(third, fixture->store, &with), DROP_IN_USE);
	assert_int_equal(drop_open(second, fixture->store, &with), DROP_OPEN);
	assert_true(drop_look(second));
	assert_int_equal(drop_open(third, fixture->store, &with), DROP_IN_USE);
	assert_false(drop_look(second));
	assert_int_equal(drop_open(third, fixture->store, &with), DROP_OPEN);
	assert_true(drop_look(third));
	close_drop(&first, front);
	close_drop(&second, wanting);
	close_drop(&third, late);
	assert_int_equal(there(), 7);
}

/* Nobody takes over what has another lock. */
static void test_takeover_of_others(void **state)
{
	(void)state;
	static const enum maildrop_lock others[] = {MAILDROP_EXCLUSIVE, MAILDROP_SHARED};
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		int front, wanting;
		struct drop *first = open_with(others[i], DROP_OPEN, &front);
		struct drop *second = open_with(MAILDROP_TAKEOVER, DROP_IN_USE, &wanting);
		assert_int_equal(drop_wait_msecs(first), -1);
		close_drop(&second, wanting);
		close_drop(&first, front);
		first = open_with(MAILDROP_TAKEOVER, DROP_OPEN, &front);
		second = open_with(others[i], DROP_IN_USE, &wanting);
		assert_true(drop_look(first));
		close_drop(&second, wanting);
		close_drop(&first, front);
	}
}

static void test_shared(void **state)
{
	(void)state;
	int one, other;
	struct drop *first = open_with(MAILDROP_SHARED, DROP_OPEN, &one);
	struct drop *second = open_with(MAILDROP_SHARED, DROP_OPEN, &other);
	answer(one, MSG_AT_FRONT_OPENING);
	answer(other, MSG_AT_FRONT_OPENING);
	put(one, MSG_FRONT_COMMIT, (uint8_t[1]){1}, 1);
	assert_false(drop_serve(first, room));
	assert_int_equal(answer(one, MSG_AT_FRONT_COMMIT).type, MSG_STORE_COMMITTED);
	put(other, MSG_FRONT_FETCH, (uint8_t[4]){0}, 4);
	assert_true(drop_serve(second, room));
	refused(other, MSG_AT_FRONT_FETCH, REFUSAL_GONE);
	put(other, MSG_FRONT_COMMIT, (uint8_t[1]){3}, 1);
	assert_false(drop_serve(second, room));
	assert_int_equal(answer(other, MSG_AT_FRONT_COMMIT).type, MSG_STORE_COMMITTED);
	assert_int_equal(there(), 4);
	close_drop(&first, one);
	close_drop(&second, other);
}

static void test_front_gone(void **state)
{
	(void)state;
	int front;
	struct drop *drop = new_drop(0, "alice", 5, &front);
	close(front);
	assert_int_equal(drop_open(drop, fixture->store, &config), DROP_OVER);
	drop_free(&drop);
	drop = open_drop(&front); /* the lock was given back */
	close_drop(&drop, front);
}

/* ---- messages ---- */

static const struct {
	const char *sentence;
	enum msg_type type;
	uint8_t body[12];
	size_t len;
	enum msg_type want; /* MSG_NONE: the maildrop ends without a word */
	enum refusal refusal;
	uint32_t entries;
} rows[] = {
    {"LIST of all", MSG_FRONT_LIST, {LIST_OCTETS, 0, 0, 0, 0, 3}, 9, MSG_STORE_LISTED, 0, 3},
    {"LIST of more than all", MSG_FRONT_LIST, {LIST_UIDLS, 0, 0, 0, 0, 255, 255, 255, 255}, 9,
	MSG_STORE_LISTED, 0, 3},
    {"LIST of the last", MSG_FRONT_LIST, {LIST_OCTETS, 2, 0, 0, 0, 9}, 9, MSG_STORE_LISTED, 0, 1},
    {"LIST from the end", MSG_FRONT_LIST, {LIST_OCTETS, 3, 0, 0, 0, 1}, 9, MSG_STORE_LISTED, 0, 0},
    {"LIST from behind the end", MSG_FRONT_LIST, {LIST_OCTETS, 4, 0, 0, 0, 1}, 9, MSG_STORE_REFUSED,
	REFUSAL_TEMP, 0},
    {"LIST whose sum runs over", MSG_FRONT_LIST, {LIST_OCTETS, 2, 0, 0, 0, 255, 255, 255, 255}, 9,
	MSG_STORE_LISTED, 0, 1},
    {"LIST from the last number", MSG_FRONT_LIST, {LIST_OCTETS, 255, 255, 255, 255, 1}, 9, MSG_STORE_REFUSED,
	REFUSAL_TEMP, 0},
    {"LIST of none", MSG_FRONT_LIST, {LIST_OCTETS}, 9, MSG_NONE, 0, 0},
    {"LIST of a kind that is none", MSG_FRONT_LIST, {LIST_KIND_COUNT, 0, 0, 0, 0, 1}, 9, MSG_NONE, 0, 0},
    {"LIST one octet short", MSG_FRONT_LIST, {LIST_OCTETS, 0, 0, 0, 0, 1}, 8, MSG_NONE, 0, 0},
    {"LIST one octet long", MSG_FRONT_LIST, {LIST_OCTETS, 0, 0, 0, 0, 1}, 10, MSG_NONE, 0, 0},
    {"FETCH of the first", MSG_FRONT_FETCH, {0}, 4, MSG_STORE_MESSAGE, 0, 0},
    {"FETCH of the last", MSG_FRONT_FETCH, {2}, 4, MSG_STORE_MESSAGE, 0, 0},
    {"FETCH of one more", MSG_FRONT_FETCH, {3}, 4, MSG_STORE_REFUSED, REFUSAL_TEMP, 0},
    {"FETCH of the last number", MSG_FRONT_FETCH, {255, 255, 255, 255}, 4, MSG_STORE_REFUSED, REFUSAL_TEMP,
	0},
    {"FETCH of nothing", MSG_FRONT_FETCH, {0}, 0, MSG_NONE, 0, 0},
    {"FETCH of two", MSG_FRONT_FETCH, {0}, 8, MSG_NONE, 0, 0},
    {"an answer of our own", MSG_STORE_COMMITTED, {0}, 0, MSG_NONE, 0, 0},
    {"another OPEN", MSG_AUTH_OPEN, {0, 0, 0, 0, 0, 0, 0, 0, 0, 'b', 'o', 'b'}, 12, MSG_NONE, 0, 0},
    {"a word of a parent", MSG_PARENT_RETIRE, {0}, 0, MSG_NONE, 0, 0},
    {"a type behind the table", MSG_TYPE_COUNT, {0}, 0, MSG_NONE, 0, 0},
};

static void test_messages(void **state)
{
	(void)state;
	unsigned before = open_descriptors();
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int front;
		struct drop *drop = open_drop(&front);
		put(front, rows[i].type, rows[i].body, rows[i].len);
		if (drop_serve(drop, room) != (rows[i].want != MSG_NONE))
			fail_msg("%s", rows[i].sentence);
		if (rows[i].want != MSG_NONE) {
			struct msg msg = answer(front, MSG_AT_FRONT_LIST | MSG_AT_FRONT_FETCH);
			if (msg.type != rows[i].want)
				fail_msg("%s: %d", rows[i].sentence, msg.type);
			if (msg.type == MSG_STORE_REFUSED)
				assert_int_equal(msg.body[0], rows[i].refusal);
			if (msg.type == MSG_STORE_LISTED)
				assert_memory_equal(msg.body + 5, &rows[i].entries, 4);
			if (msg.fd >= 0)
				close(msg.fd);
		}
		close_drop(&drop, front);
		assert_int_equal(there(), 7);
	}
	/* The index is opened once and stays. */
	assert_true(open_descriptors() <= before + 8);
}

static void test_message(void **state)
{
	(void)state;
	int front;
	char text[64];
	struct drop *drop = open_drop(&front);
	for (uint8_t i = 0; i < MESSAGES_COUNT; i++) {
		put(front, MSG_FRONT_FETCH, (uint8_t[4]){i}, 4);
		assert_true(drop_serve(drop, room));
		struct msg msg = answer(front, MSG_AT_FRONT_FETCH);
		struct msg_reader r = {msg.body, msg.len, false};
		uint64_t offset = msg_get_u64(&r), length = msg_get_u64(&r);
		assert_int_equal(length, strlen(texts[i]));
		assert_int_equal(pread(msg.fd, text, sizeof text, (off_t)offset), (ssize_t)length);
		assert_memory_equal(text, texts[i], length);
		assert_int_equal(fcntl(msg.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
		assert_true((fcntl(msg.fd, F_GETFD) & FD_CLOEXEC) != 0);
		assert_int_equal(write(msg.fd, "x", 1), -1);
		close(msg.fd);
	}
	char path[64];
	message_path(1, path);
	assert_int_equal(unlinkat(fixture->root, path, 0), 0);
	put(front, MSG_FRONT_FETCH, (uint8_t[4]){1}, 4);
	assert_true(drop_serve(drop, room));
	refused(front, MSG_AT_FRONT_FETCH, REFUSAL_GONE);
	close_drop(&drop, front);
}

/* A front that asks and does not listen: nobody waits for it, and its lock is free again. */
static void test_deaf(void **state)
{
	(void)state;
	int front, other;
	struct drop *drop = open_drop(&front);
	unsigned asked = 0;
	do {
		put(front, MSG_FRONT_FETCH, (uint8_t[4]){0}, 4);
		assert_true(++asked < 100000);
	} while (drop_serve(drop, room));
	drop_free(&drop);
	drop = open_drop(&other);
	close(front);
	close_drop(&drop, other);
	assert_int_equal(there(), 7);
}

/* ---- the end ---- */

static unsigned answers_with_lock;

static void lock_is_free(enum msg_type type)
{
	struct maildrop *maildrop = NULL;
	if (type != MSG_STORE_COMMITTED && type != MSG_STORE_REFUSED)
		return;
	before_send = NULL;
	answers_with_lock +=
	    maildrop_open(fixture->store, &(struct maildrop_place){.user = "alice", .path = "alice/Maildir"},
		&maildrop) != MAILDROP_OK;
	maildrop_close(&maildrop);
}

static void test_commit(void **state)
{
	(void)state;
	static uint8_t many[LIMIT_MSG_MARKS_OCTETS];
	many[0] = 7;
	many[sizeof many - 1] = 0x80;
	const struct {
		const char *sentence;
		const uint8_t *marks;
		size_t len;
		int unlink_errno;
		enum msg_type want;
		unsigned left; /* there(), afterwards */
	} ends[] = {
	    {"no marks", (const uint8_t[]){0}, 0, 0, MSG_STORE_COMMITTED, 7},
	    {"none marked", (const uint8_t[]){0}, 1, 0, MSG_STORE_COMMITTED, 7},
	    {"the middle one", (const uint8_t[]){2}, 1, 0, MSG_STORE_COMMITTED, 5},
	    {"one beyond the maildrop", (const uint8_t[]){9}, 1, 0, MSG_STORE_REFUSED, 7},
	    {"one far beyond it", many, sizeof many, 0, MSG_STORE_REFUSED, 7},
	    {"the disk fails", (const uint8_t[]){7}, 1, EIO, MSG_STORE_COMMITTED, 7},
	    {"the disk fails for two", (const uint8_t[]){5}, 1, EIO, MSG_STORE_COMMITTED, 7},
	    {"all", (const uint8_t[]){7}, 1, 0, MSG_STORE_COMMITTED, 0},
	};
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		int front;
		struct fixture *own = fixture;
		struct drop *drop = open_drop(&front);
		faults.unlink_errno = ends[i].unlink_errno;
		answers_with_lock = 0;
		before_send = lock_is_free;
		put(front, MSG_FRONT_COMMIT, ends[i].marks, ends[i].len);
		assert_false(drop_serve(drop, room));
		assert_null(before_send); /* the answer went by */
		faults.unlink_errno = 0;
		struct msg msg = answer(front, MSG_AT_FRONT_COMMIT);
		if (msg.type != ends[i].want || there() != ends[i].left)
			fail_msg("%s: answer %d, left %u", ends[i].sentence, msg.type, there());
		struct msg_reader r = {.buf = msg.body, .len = msg.len};
		uint32_t told = msg.type == MSG_STORE_COMMITTED ? msg_get_u32(&r) : 0;
		uint32_t want =
		    ends[i].unlink_errno == 0 ? 0 : (uint32_t)__builtin_popcount(ends[i].marks[0]);
		if (told != want)
			fail_msg("%s: %u told", ends[i].sentence, told);
		assert_int_equal(answers_with_lock, 0);
		close_drop(&drop, front);
		for (unsigned m = 0; m < MESSAGES_COUNT; m++) {
			char path[64];
			message_path(m, path);
			if ((ends[i].left >> m & 1) == 0)
				fixture_write(own, path, texts[m]);
		}
	}
}

/* A COMMIT too long for the table is no COMMIT. */
static void test_commit_too_long(void **state)
{
	(void)state;
	static uint8_t marks[LIMIT_MSG_MARKS_OCTETS + 1];
	int front;
	struct drop *drop = open_drop(&front);
	marks[0] = 7;
	put(front, MSG_FRONT_COMMIT, marks, sizeof marks);
	assert_false(drop_serve(drop, room));
	close_drop(&drop, front);
	assert_int_equal(there(), 7);
}

static void test_no_commit(void **state)
{
	(void)state;
	int front;
	struct drop *drop = open_drop(&front);
	assert_true(drop_serve(drop, room)); /* nothing there yet */
	put(front, MSG_FRONT_LIST, (uint8_t[9]){LIST_OCTETS, 0, 0, 0, 0, 3}, 9);
	close(front);
	assert_false(drop_serve(drop, room)); /* nobody to answer */
	assert_false(drop_serve(drop, room)); /* the end of file */
	drop_free(&drop);
	assert_int_equal(there(), 7);
	drop = open_drop(&front);
	close_drop(&drop, front);
}

static void write_login_time(time_t time)
{
	char line[64];
	int fd =
	    openat(fixture->root, "alice/Maildir/kpopd.lock", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	int len = snprintf(line, sizeof line, "login %020lld\n", (long long)time);
	assert_int_equal(write(fd, line, (size_t)len), len);
	close(fd);
}

/* Opens alice's maildrop. Returns the seconds to wait, 0: it opened, and the front was there or not. */
static uint32_t wait_of(bool front_there)
{
	int front;
	struct drop *drop = new_drop(0, "alice", 5, &front);
	if (!front_there)
		close(front);
	enum drop_state state = drop_open(drop, fixture->store, &config);
	uint32_t wait = 0;
	if (front_there) {
		struct msg msg = answer(front, MSG_AT_FRONT_OPENING);
		struct msg_reader r = {msg.body, msg.len, false};
		assert_int_equal(msg.type, state == DROP_OPEN ? MSG_STORE_OPENED : MSG_STORE_REFUSED);
		if (state == DROP_OVER) {
			assert_int_equal(msg_get_u8(&r), REFUSAL_EARLY);
			wait = msg_get_u32(&r);
			assert_true(msg_end(&r) && wait > 0);
		}
		close(front);
	}
	drop_free(&drop);
	return wait;
}

static void test_login_delay(void **state)
{
	(void)state;
	static char alice[] = "a*", *users[] = {alice, NULL};
	static struct class_config class = {
	    .users = users, .login_delay_secs = 0, .expire_days = CONFIG_UNSET};
	config.login_delay_secs = 3600;
	assert_int_equal(wait_of(false), 0); /* a login of which nobody heard is none */
	assert_int_equal(wait_of(true), 0);
	assert_in_range(wait_of(true), 1800, 3600);
	write_login_time(time(NULL) - 3000);
	assert_in_range(wait_of(true), 1, 600);
	write_login_time(time(NULL) - 3600);
	assert_int_equal(wait_of(true), 0);
	assert_in_range(wait_of(true), 1800, 3600);
	config.classes = &class;
	config.class_count = 1;
	assert_int_equal(wait_of(true), 0);
	config.class_count = 0;
	config.login_delay_secs = 0;
	assert_int_equal(wait_of(true), 0);
	assert_int_equal(wait_of(true), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {TEST(test_names), TEST(test_in_use), TEST(test_takeover),
	    TEST(test_takeover_of_others), TEST(test_shared), TEST(test_front_gone), TEST(test_messages),
	    TEST(test_message), TEST(test_deaf), TEST(test_commit), TEST(test_commit_too_long),
	    TEST(test_no_commit), TEST(test_login_delay)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
