/* SPDX-License-Identifier: ISC */
/* A parent whose children become users: which of them it ends, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/child.h"
#include "server/msg.h"
#include "server/parent.h"

enum { WAIT_MSECS = 10000, LIVES_MSECS = 2500 };

/* How far a child comes before it hangs. */
enum progress { TAKEN, BECOMES, SETTLED, SETTLED_TWICE };

static struct shared {
	enum progress progress;
	atomic_int children; /* that hang */
} * shared;

static void hang(void *arg, int leash)
{
	uint8_t uid[4];
	struct msg_writer w = {uid, sizeof uid, 0, false};
	pid_t parent = getppid();
	(void)arg;
	msg_put_u32(&w, 1000);
	(void)msg_send(leash, MSG_CHILD_TAKEN, NULL, 0, -1);
	if (shared->progress >= BECOMES)
		(void)msg_send(leash, MSG_CHILD_BECOMES, uid, w.len, -1);
	if (shared->progress >= SETTLED)
		(void)msg_send(leash, MSG_CHILD_SETTLED, NULL, 0, -1);
	atomic_fetch_add(&shared->children, 1);
	while (getppid() == parent) {
		usleep(500000);
		if (shared->progress == SETTLED_TWICE)
			(void)msg_send(leash, MSG_CHILD_SETTLED, NULL, 0, -1);
	}
	_exit(0);
}

static void run(void *arg, int leash)
{
	parent_run(arg, leash);
}

/* Whether a second child comes, for which there is room when the first one was ended. */
static bool another_comes(uint64_t within_msecs)
{
	uint64_t end = now_msecs() + within_msecs;
	while (atomic_load(&shared->children) < 2 && now_msecs() < end)
		usleep(10000);
	return atomic_load(&shared->children) >= 2;
}

static void test_deadlines(void **state)
{
	(void)state;
	static const struct {
		const char *sentence;
		enum progress progress;
		unsigned deadline_secs, life_secs;
		bool ended;
	} rows[] = {
	    {"who has not said whom he becomes is ended", TAKEN, 1, 0, true},
	    {"who does not settle is ended", BECOMES, 1, 0, true},
	    {"who has settled is not", SETTLED, 1, 0, false},
	    {"who has settled lives so long, and no longer", SETTLED, 600, 1, true},
	    {"and not longer for saying it again", SETTLED_TWICE, 600, 1, true},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct parent_config config = {.run = hang,
		    .spare = 1,
		    .sessions = 1,
		    .what = "test",
		    .each_user = 2,
		    .deadline_secs = rows[i].deadline_secs,
		    .life_secs = rows[i].life_secs};
		struct child parent;
		shared->progress = rows[i].progress;
		atomic_store(&shared->children, 0);
		assert_int_equal(child_start(&parent, run, &config), 0);
		bool ended = another_comes(rows[i].ended ? WAIT_MSECS : LIVES_MSECS);
		child_cut(&parent);
		kill(parent.pid, SIGTERM);
		assert_int_equal(waitpid(parent.pid, NULL, 0), parent.pid);
		if (ended != rows[i].ended)
			fail_msg("%s", rows[i].sentence);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_deadlines)};
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 99;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
