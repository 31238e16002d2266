/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/lmtp_parse.h"
#include "server/msg.h"

static uint8_t big[LIMIT_MSG_OCTETS + 64];
static uint8_t room[LIMIT_MSG_OCTETS];

static int open_descriptors(void)
{
	int count = 0;
	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static const struct {
	const char *sentence;
	uint16_t type, zero;
	uint32_t claimed, sent;
	int descriptors;
	unsigned at;
	int want;
} datagrams[] = {
    {"a FETCH as it should be", MSG_FRONT_FETCH, 0, 4, 4, 0, MSG_AT_STORE_OPEN, MSG_OK},
    {"a FETCH in a state that does not await it", MSG_FRONT_FETCH, 0, 4, 4, 0, MSG_AT_STORE_DOOR, MSG_BAD},
    {"a FETCH one octet short", MSG_FRONT_FETCH, 0, 3, 3, 0, MSG_AT_STORE_OPEN, MSG_BAD},
    {"a FETCH one octet long", MSG_FRONT_FETCH, 0, 5, 5, 0, MSG_AT_STORE_OPEN, MSG_BAD},
    {"a length that is not the datagram's", MSG_FRONT_FETCH, 0, 4, 8, 0, MSG_AT_STORE_OPEN, MSG_BAD},
    {"a length near the end of its type", MSG_FRONT_FETCH, 0, 0xffffffff, 4, 0, MSG_AT_STORE_OPEN, MSG_BAD},
    {"a reserved field in use", MSG_FRONT_FETCH, 1, 4, 4, 0, MSG_AT_STORE_OPEN, MSG_BAD},
    {"no type", MSG_NONE, 0, 4, 4, 0, MSG_AT_STORE_OPEN, MSG_BAD},
    {"a type beyond the table", MSG_TYPE_COUNT, 0, 4, 4, 0, ~0u, MSG_BAD},
    {"a descriptor nobody asked for", MSG_FRONT_FETCH, 0, 4, 4, 1, MSG_AT_STORE_OPEN, MSG_BAD},
    {"a MESSAGE with its descriptor", MSG_STORE_MESSAGE, 0, 36, 36, 1, MSG_AT_FRONT_FETCH, MSG_OK},
    {"a MESSAGE without its descriptor", MSG_STORE_MESSAGE, 0, 36, 36, 0, MSG_AT_FRONT_FETCH, MSG_BAD},
    {"a MESSAGE with two descriptors", MSG_STORE_MESSAGE, 0, 36, 36, 2, MSG_AT_FRONT_FETCH, MSG_BAD},
    {"a MESSAGE with fifty descriptors", MSG_STORE_MESSAGE, 0, 36, 36, 50, MSG_AT_FRONT_FETCH, MSG_BAD},
    {"more than a message may hold", MSG_FRONT_COMMIT, 0, LIMIT_MSG_OCTETS + 8, LIMIT_MSG_OCTETS + 8, 0,
	MSG_AT_STORE_OPEN, MSG_BAD},
    {"OFFERS to a front", MSG_PARENT_OFFERS, 0, 5, 5, 0, MSG_AT_CHILD | MSG_AT_FRONT_CHILD, MSG_OK},
    {"OFFERS to a child that offers nothing", MSG_PARENT_OFFERS, 0, 5, 5, 0, MSG_AT_CHILD, MSG_BAD},
    {"OFFERS to a parent", MSG_PARENT_OFFERS, 0, 5, 5, 0, MSG_AT_PARENT, MSG_BAD},
    {"an LMTP_OPEN of one octet's name", MSG_LMTP_OPEN, 0, 17, 17, 1, MSG_AT_DELIVERER_DOOR, MSG_OK},
    {"an LMTP_OPEN without a name", MSG_LMTP_OPEN, 0, 16, 16, 1, MSG_AT_DELIVERER_DOOR, MSG_BAD},
    {"an LMTP_OPEN of the longest name", MSG_LMTP_OPEN, 0, 16 + LIMIT_USER_OCTETS, 16 + LIMIT_USER_OCTETS, 1,
	MSG_AT_DELIVERER_DOOR, MSG_OK},
    {"an LMTP_OPEN of a longer name", MSG_LMTP_OPEN, 0, 17 + LIMIT_USER_OCTETS, 17 + LIMIT_USER_OCTETS, 1,
	MSG_AT_DELIVERER_DOOR, MSG_BAD},
    {"an LMTP_OPEN without its descriptor", MSG_LMTP_OPEN, 0, 17, 17, 0, MSG_AT_DELIVERER_DOOR, MSG_BAD},
    {"an LMTP_OPEN at the store's door", MSG_LMTP_OPEN, 0, 17, 17, 1, MSG_AT_STORE_DOOR, MSG_BAD},
    {"an AUTH_OPEN at the deliverers' door", MSG_AUTH_OPEN, 0, 17, 17, 1, MSG_AT_DELIVERER_DOOR, MSG_BAD},
    {"an LMTP_MESSAGE to one octet", MSG_LMTP_MESSAGE, 0, 3, 3, 1, MSG_AT_DELIVERER_OPEN, MSG_OK},
    {"an LMTP_MESSAGE to nobody", MSG_LMTP_MESSAGE, 0, 2, 2, 1, MSG_AT_DELIVERER_OPEN, MSG_BAD},
    {"an LMTP_MESSAGE of the longest addresses", MSG_LMTP_MESSAGE, 0, 2 + 2 * LMTP_ADDRESS_OCTETS,
	2 + 2 * LMTP_ADDRESS_OCTETS, 1, MSG_AT_DELIVERER_OPEN, MSG_OK},
    {"an LMTP_MESSAGE of longer ones", MSG_LMTP_MESSAGE, 0, 3 + 2 * LMTP_ADDRESS_OCTETS,
	3 + 2 * LMTP_ADDRESS_OCTETS, 1, MSG_AT_DELIVERER_OPEN, MSG_BAD},
    {"an LMTP_MESSAGE without the message", MSG_LMTP_MESSAGE, 0, 3, 3, 0, MSG_AT_DELIVERER_OPEN, MSG_BAD},
    {"an LMTP_MESSAGE with two", MSG_LMTP_MESSAGE, 0, 3, 3, 2, MSG_AT_DELIVERER_OPEN, MSG_BAD},
    {"an LMTP_MESSAGE before the deliverer is ready", MSG_LMTP_MESSAGE, 0, 3, 3, 1, MSG_AT_DELIVERER_DOOR,
	MSG_BAD},
    {"a second LMTP_OPEN", MSG_LMTP_OPEN, 0, 17, 17, 1, MSG_AT_DELIVERER_OPEN, MSG_BAD},
    {"READY", MSG_DELIVERER_READY, 0, 0, 0, 0, MSG_AT_LMTP_OPENING, MSG_OK},
    {"READY when the message is there", MSG_DELIVERER_READY, 0, 0, 0, 0, MSG_AT_LMTP_STORING, MSG_BAD},
    {"STORED", MSG_DELIVERER_STORED, 0, 0, 0, 0, MSG_AT_LMTP_STORING, MSG_OK},
    {"STORED before there was a message", MSG_DELIVERER_STORED, 0, 0, 0, 0, MSG_AT_LMTP_OPENING, MSG_BAD},
    {"STORED with more", MSG_DELIVERER_STORED, 0, 1, 1, 0, MSG_AT_LMTP_STORING, MSG_BAD},
    {"a deliverer's REFUSED", MSG_DELIVERER_REFUSED, 0, 1, 1, 0, MSG_AT_LMTP_STORING, MSG_OK},
    {"a deliverer's REFUSED for no reason", MSG_DELIVERER_REFUSED, 0, 0, 0, 0, MSG_AT_LMTP_OPENING, MSG_BAD},
    {"the largest COMMIT", MSG_FRONT_COMMIT, 0, LIMIT_MSG_MARKS_OCTETS, LIMIT_MSG_MARKS_OCTETS, 0,
	MSG_AT_STORE_OPEN, MSG_OK},
};

/* What arrives outside the table is refused, whatever way it is wrong, and no descriptor leaks. */
static void test_hostile_datagrams(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof datagrams / sizeof datagrams[0]; i++) {
		int pair[2];
		assert_int_equal(msg_pair(pair), 0);
		int before = open_descriptors();
		memcpy(big, &datagrams[i].type, 2);
		memcpy(big + 2, &datagrams[i].zero, 2);
		memcpy(big + 4, &datagrams[i].claimed, 4);
		struct iovec iov = {big, 8 + datagrams[i].sent};
		union {
			struct cmsghdr align;
			char buf[CMSG_SPACE(50 * sizeof(int))];
		} control = {0};
		struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
		if (datagrams[i].descriptors != 0) {
			mh.msg_control = control.buf;
			mh.msg_controllen = CMSG_SPACE((size_t)datagrams[i].descriptors * sizeof(int));
			struct cmsghdr *cmsg = CMSG_FIRSTHDR(&mh);
			cmsg->cmsg_level = SOL_SOCKET;
			cmsg->cmsg_type = SCM_RIGHTS;
			cmsg->cmsg_len = CMSG_LEN((size_t)datagrams[i].descriptors * sizeof(int));
			int *fds = (int *)(void *)CMSG_DATA(cmsg);
			for (int j = 0; j < datagrams[i].descriptors; j++)
				fds[j] = pair[0];
		}
		assert_true(sendmsg(pair[0], &mh, 0) > 0);
		struct msg msg;
		int got = msg_recv(pair[1], datagrams[i].at, room, sizeof room, &msg);
		if (got != datagrams[i].want)
			fail_msg("%s: %d instead of %d", datagrams[i].sentence, got, datagrams[i].want);
		if (got == MSG_OK && msg.fd >= 0)
			close(msg.fd);
		if (open_descriptors() != before)
			fail_msg("%s: a descriptor leaked", datagrams[i].sentence);
		close(pair[0]);
		assert_int_equal(msg_recv(pair[1], ~0u, room, sizeof room, &msg), MSG_EOF);
		close(pair[1]);
	}
}

static void test_sender_keeps_to_the_table(void **state)
{
	(void)state;
	int pair[2];
	assert_int_equal(msg_pair(pair), 0);
	assert_int_equal(msg_send(pair[0], MSG_FRONT_FETCH, big, 5, -1), MSG_BAD);
	assert_int_equal(msg_send(pair[0], MSG_FRONT_FETCH, big, 4, pair[0]), MSG_BAD);
	assert_int_equal(msg_send(pair[0], MSG_AUTH_OPEN, big, 20, -1), MSG_BAD);
	struct msg msg;
	assert_int_equal(msg_recv(pair[1], ~0u, room, sizeof room, &msg), MSG_AGAIN);
	/* A peer that does not read fills its queue; nobody waits. */
	int sent = 0, got;
	while ((got = msg_send(pair[0], MSG_FRONT_COMMIT, big, LIMIT_MSG_MARKS_OCTETS, -1)) == MSG_OK)
		assert_true(++sent < 1000);
	assert_int_equal(got, MSG_AGAIN);
	close(pair[1]);
	assert_int_equal(msg_send(pair[0], MSG_CHILD_TAKEN, NULL, 0, -1), MSG_EOF);
	close(pair[0]);
}

static void test_fields_are_read_exactly(void **state)
{
	(void)state;
	uint8_t buf[64];
	struct msg_writer w = {buf, sizeof buf, 0, false};
	struct peer peer = {.address = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 7}, .port = 1109}, peer_back;
	msg_put_u8(&w, 7);
	msg_put_u16(&w, 0xabcd);
	msg_put_u32(&w, 0xdeadbeef);
	msg_put_u64(&w, UINT64_MAX - 1);
	msg_put_peer(&w, &peer);
	msg_put_bytes(&w, "rest", 4);
	assert_false(w.bad);
	struct msg_reader r = {buf, w.len, false};
	assert_int_equal(msg_get_u8(&r), 7);
	assert_int_equal(msg_get_u16(&r), 0xabcd);
	assert_int_equal(msg_get_u32(&r), 0xdeadbeef);
	assert_true(msg_get_u64(&r) == UINT64_MAX - 1);
	msg_get_peer(&r, &peer_back);
	assert_false(msg_end(&r));
	size_t len;
	assert_memory_equal(msg_get_rest(&r, &len), "rest", 4);
	assert_true(msg_end(&r));
	assert_int_equal(msg_get_u8(&r), 0);
	assert_false(msg_end(&r));
	char text[PEER_TEXT_OCTETS];
	assert_string_equal(peer_text(&peer_back, text), "192.0.2.7");
	peer_back = (struct peer){.address = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}};
	assert_string_equal(peer_text(&peer_back, text), "2001:db8::1");

	struct msg_writer small = {buf, 3, 0, false};
	msg_put_u32(&small, 1);
	msg_put_u8(&small, 1);
	assert_true(small.bad);
	assert_int_equal(small.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_hostile_datagrams),
	    cmocka_unit_test(test_sender_keeps_to_the_table),
	    cmocka_unit_test(test_fields_are_read_exactly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
