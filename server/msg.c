/* SPDX-License-Identifier: ISC */
#include "server/msg.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "server/lmtp_parse.h"

/* Every datagram begins with this; len repeats what the kernel knows, so that a slip of ours shows. */
struct msg_header {
	uint16_t type;
	uint16_t zero;
	uint32_t len;
};

enum {
	PEER_OCTETS = 18,
	START_OCTETS = 8 + 4 + PEER_OCTETS + 2,
	START_BINDINGS_OCTETS = SASLX_BINDINGS_COUNT * (2 + SASLX_BINDING_OCTETS),
	DONE_OCTETS = 1 + 2,
	OPEN_OCTETS = 8 + 1,
	CHECK_OCTETS = 8 + 1 + 2,
	ANSWER_OCTETS = 1 + 2,
	DELIVERY_OCTETS = 8 + 8,
	ENVELOPE_OCTETS = 2
};

/* The table: a message that is not in it does not exist. */
static const struct row {
	uint32_t min, max; /* octets of the body */
	bool fd;
	unsigned states;
} table[MSG_TYPE_COUNT] = {
    [MSG_FRONT_START] = {START_OCTETS, START_OCTETS + START_BINDINGS_OCTETS + SASLX_TOKEN_OCTETS, true,
	MSG_AT_AUTH_DOOR},
    [MSG_FRONT_STEP] = {0, SASLX_TOKEN_OCTETS, false, MSG_AT_AUTH_STEP},
    [MSG_AUTH_MORE] = {0, SASLX_TOKEN_OCTETS, false, MSG_AT_FRONT_AUTH},
    [MSG_AUTH_DONE] = {DONE_OCTETS + 1, DONE_OCTETS + LIMIT_USER_OCTETS + SASLX_LAYER_OCTETS, true,
	MSG_AT_FRONT_AUTH},
    [MSG_AUTH_FAIL] = {1, 1 + SASLX_TOKEN_OCTETS, false, MSG_AT_FRONT_AUTH},
    [MSG_AUTH_OPEN] = {OPEN_OCTETS + 1, OPEN_OCTETS + LIMIT_USER_OCTETS, true, MSG_AT_STORE_DOOR},
    [MSG_AUTH_CHECK] = {CHECK_OCTETS + 1, CHECK_OCTETS + LIMIT_USER_OCTETS + LIMIT_CHECK_OCTETS, true,
	MSG_AT_CHECKER_DOOR},
    [MSG_CHECK_ANSWER] = {ANSWER_OCTETS, ANSWER_OCTETS + KPOP_PRINCIPAL_OCTETS + LIMIT_CHECK_WHY_OCTETS,
	false, MSG_AT_AUTH_CHECK},
    [MSG_STORE_OPENED] = {12, 12, false, MSG_AT_FRONT_OPENING},
    [MSG_STORE_REFUSED] = {1, 1 + 4, false,
	MSG_AT_FRONT_OPENING | MSG_AT_FRONT_LIST | MSG_AT_FRONT_FETCH | MSG_AT_FRONT_COMMIT |
	    MSG_AT_FRONT_IDLE},
    [MSG_FRONT_LIST] = {9, 9, false, MSG_AT_STORE_OPEN},
    [MSG_STORE_LISTED] = {9, LIMIT_MSG_LISTED_OCTETS, false, MSG_AT_FRONT_LIST},
    [MSG_FRONT_FETCH] = {4, 4, false, MSG_AT_STORE_OPEN},
    [MSG_STORE_MESSAGE] = {36, 36, true, MSG_AT_FRONT_FETCH},
    [MSG_FRONT_COMMIT] = {0, LIMIT_MSG_MARKS_OCTETS, false, MSG_AT_STORE_OPEN},
    [MSG_STORE_COMMITTED] = {4, 4, false, MSG_AT_FRONT_COMMIT},
    [MSG_LMTP_OPEN] = {DELIVERY_OCTETS + 1, DELIVERY_OCTETS + LIMIT_USER_OCTETS, true, MSG_AT_DELIVERER_DOOR},
    [MSG_LMTP_MESSAGE] = {ENVELOPE_OCTETS + 1, ENVELOPE_OCTETS + 2 * LMTP_ADDRESS_OCTETS, true,
	MSG_AT_DELIVERER_OPEN},
    [MSG_DELIVERER_READY] = {0, 0, false, MSG_AT_LMTP_OPENING},
    [MSG_DELIVERER_STORED] = {0, 0, false, MSG_AT_LMTP_STORING},
    [MSG_DELIVERER_REFUSED] = {1, 1, false, MSG_AT_LMTP_OPENING | MSG_AT_LMTP_STORING},
    [MSG_CHILD_READY] = {5, 5, false, MSG_AT_PARENT},
    [MSG_CHILD_TAKEN] = {0, 0, false, MSG_AT_PARENT},
    [MSG_CHILD_ALIVE] = {0, 0, false, MSG_AT_PARENT},
    [MSG_PARENT_RETIRE] = {0, 0, false, MSG_AT_CHILD},
    [MSG_PARENT_OFFERS] = {5, 5, false, MSG_AT_FRONT_CHILD},
    [MSG_PARENT_PING] = {0, 0, false, MSG_AT_CHILD},
    [MSG_CHILD_BECOMES] = {4, 4, false, MSG_AT_PARENT},
    [MSG_PARENT_GRANTS] = {0, 0, false, MSG_AT_CHILD},
    [MSG_CHILD_SETTLED] = {0, 0, false, MSG_AT_PARENT},
};

static_assert(
    START_OCTETS + START_BINDINGS_OCTETS + SASLX_TOKEN_OCTETS <= LIMIT_MSG_OCTETS, "a START fits a message");
static_assert(LIMIT_MSG_LISTED_OCTETS <= LIMIT_MSG_OCTETS, "a LISTED fits a message");

int msg_pair(int pair_r[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair_r);
}

static bool within_bounds(const struct row *row, size_t len, bool fd)
{
	return row->states != 0 && len >= row->min && len <= row->max && row->fd == fd;
}

int msg_send(int sock, enum msg_type type, const void *body, size_t len, int fd)
{
	if (type <= MSG_NONE || type >= MSG_TYPE_COUNT || !within_bounds(&table[type], len, fd >= 0))
		return MSG_BAD;
	struct msg_header header = {.type = (uint16_t)type, .len = (uint32_t)len};
	/* sendmsg does not write through iov_base, but its type says it might. */
	struct iovec iov[2] = {{&header, sizeof header}, {(void *)(uintptr_t)body, len}};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr mh = {.msg_iov = iov, .msg_iovlen = len != 0 ? 2 : 1};
	if (fd >= 0) {
		mh.msg_control = control.buf;
		mh.msg_controllen = sizeof control.buf;
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&mh);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(cmsg), &fd, sizeof fd);
	}
	ssize_t n;
	do
		n = sendmsg(sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return MSG_OK;
	/* The last: descriptors in flight are counted for all processes of a user together. */
	if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS)
		return MSG_AGAIN;
	return errno == EPIPE || errno == ECONNRESET ? MSG_EOF : MSG_BAD;
}

/* Keeps the one descriptor that came, if one did; a peer that sent several gets none of them kept. */
static int take_descriptor(struct msghdr *mh, bool *several_r)
{
	int kept = -1;
	*several_r = false;
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(mh); cmsg != NULL; cmsg = CMSG_NXTHDR(mh, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof fd, sizeof fd);
			if (kept < 0 && !*several_r) {
				kept = fd;
				continue;
			}
			*several_r = true;
			close(fd);
		}
	}
	if (*several_r && kept >= 0) {
		close(kept);
		kept = -1;
	}
	return kept;
}

int msg_recv(int sock, unsigned state, void *buf, size_t size, struct msg *msg_r)
{
	struct msg_header header;
	struct iovec iov[2] = {{&header, sizeof header}, {buf, size}};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))]; /* room for one: more makes MSG_CTRUNC */
	} control;
	struct msghdr mh = {.msg_iov = iov,
	    .msg_iovlen = 2,
	    .msg_control = control.buf,
	    .msg_controllen = sizeof control.buf};
	*msg_r = (struct msg){.fd = -1};
	ssize_t n;
	do
		n = recvmsg(sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? MSG_AGAIN : errno == ECONNRESET ? MSG_EOF : MSG_BAD;
	bool several;
	int fd = take_descriptor(&mh, &several);
	if (n == 0 && fd < 0)
		return MSG_EOF;
	if ((size_t)n < sizeof header || several || (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
	    header.zero != 0 || header.len != (size_t)n - sizeof header || header.type <= MSG_NONE ||
	    header.type >= MSG_TYPE_COUNT || (table[header.type].states & state) == 0 ||
	    !within_bounds(&table[header.type], header.len, fd >= 0)) {
		if (fd >= 0)
			close(fd);
		return MSG_BAD;
	}
	*msg_r = (struct msg){.type = (enum msg_type)header.type, .body = buf, .len = header.len, .fd = fd};
	return MSG_OK;
}

void msg_put_bytes(struct msg_writer *w, const void *v, size_t len)
{
	if (w->bad || len > w->size - w->len) {
		w->bad = true;
		return;
	}
	if (len != 0)
		memcpy(w->buf + w->len, v, len);
	w->len += len;
}

void msg_put_u8(struct msg_writer *w, uint8_t v)
{
	msg_put_bytes(w, &v, sizeof v);
}

void msg_put_u16(struct msg_writer *w, uint16_t v)
{
	msg_put_bytes(w, &v, sizeof v);
}

void msg_put_u32(struct msg_writer *w, uint32_t v)
{
	msg_put_bytes(w, &v, sizeof v);
}

void msg_put_u64(struct msg_writer *w, uint64_t v)
{
	msg_put_bytes(w, &v, sizeof v);
}

const uint8_t *msg_get_bytes(struct msg_reader *r, size_t len)
{
	if (r->bad || len > r->len) {
		r->bad = true;
		return NULL;
	}
	const uint8_t *view = r->buf;
	r->buf += len;
	r->len -= len;
	return view;
}

static void get(struct msg_reader *r, void *v_r, size_t len)
{
	const uint8_t *view = msg_get_bytes(r, len);
	if (view != NULL)
		memcpy(v_r, view, len);
}

uint8_t msg_get_u8(struct msg_reader *r)
{
	uint8_t v = 0;
	get(r, &v, sizeof v);
	return v;
}

uint16_t msg_get_u16(struct msg_reader *r)
{
	uint16_t v = 0;
	get(r, &v, sizeof v);
	return v;
}

uint32_t msg_get_u32(struct msg_reader *r)
{
	uint32_t v = 0;
	get(r, &v, sizeof v);
	return v;
}

uint64_t msg_get_u64(struct msg_reader *r)
{
	uint64_t v = 0;
	get(r, &v, sizeof v);
	return v;
}

const uint8_t *msg_get_rest(struct msg_reader *r, size_t *len_r)
{
	*len_r = r->bad ? 0 : r->len;
	return msg_get_bytes(r, *len_r);
}

bool msg_end(const struct msg_reader *r)
{
	return !r->bad && r->len == 0;
}

void msg_put_peer(struct msg_writer *w, const struct peer *peer)
{
	msg_put_bytes(w, peer->address, sizeof peer->address);
	msg_put_u16(w, peer->port);
}

void msg_get_peer(struct msg_reader *r, struct peer *peer_r)
{
	*peer_r = (struct peer){0};
	get(r, peer_r->address, sizeof peer_r->address);
	peer_r->port = msg_get_u16(r);
}

const char *peer_text(const struct peer *peer, char text_r[PEER_TEXT_OCTETS])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	bool v4 = memcmp(peer->address, mapped, sizeof mapped) == 0;
	if (inet_ntop(v4 ? AF_INET : AF_INET6, peer->address + (v4 ? 12 : 0), text_r, PEER_TEXT_OCTETS) ==
	    NULL)
		text_r[0] = '\0';
	return text_r;
}
