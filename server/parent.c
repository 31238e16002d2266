/* SPDX-License-Identifier: ISC */
#include "server/parent.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/log.h"
#include "server/msg.h"
#include "server/role.h"

/* What children may take to end when the leash of all is cut: a commit of many messages, no more. */
enum { GOODBYE_SECS = 10 };
/* A spare child that lived this long could have served; to try again each second costs nothing. */
enum { SETTLED_MSECS = 500, BACKOFF_MOST_MSECS = 1000 };

struct slot {
	struct child child;
	struct event *leash_event;
	struct event *deadline;
	bool taken, killed, settled;
	bool named; /* becomes uid */
	uid_t uid;
	uint64_t started_msecs;
	struct parent *parent;
};

struct parent {
	const struct parent_config *config;
	struct event_base *base;
	struct slot *slots;
	size_t room, count, idle;
	int leash;
	int children_died; /* signalfd */
	bool retiring, full_said;
	unsigned backoff_msecs;
	struct event *refill;
	bool waiting; /* for the back-off */
};

static void on_child_leash(evutil_socket_t fd, short what, void *arg);

static void slot_clear(struct slot *slot)
{
	if (slot->leash_event != NULL)
		event_free(slot->leash_event);
	if (slot->deadline != NULL)
		event_free(slot->deadline);
	child_cut(&slot->child);
	*slot = (struct slot){.child = {.leash = -1}, .parent = slot->parent};
}

static bool start_one(struct parent *parent)
{
	struct slot *slot = parent->slots;
	while (slot->child.pid != 0)
		slot++;
	if (child_start(&slot->child, parent->config->run, parent->config->arg) < 0) {
		log_warning("cannot start a %s: %s", parent->config->what, strerror(errno));
		return false;
	}
	slot->leash_event =
	    event_new(parent->base, slot->child.leash, EV_READ | EV_PERSIST, on_child_leash, slot);
	if (slot->leash_event == NULL || event_add(slot->leash_event, NULL) < 0)
		role_fail("no memory");
	slot->started_msecs = now_msecs();
	parent->count++;
	parent->idle++;
	return true;
}

static void later(struct parent *parent, bool served)
{
	unsigned wait = backoff_next(&parent->backoff_msecs, served, BACKOFF_MOST_MSECS);
	struct timeval tv = {.tv_sec = wait / 1000, .tv_usec = (suseconds_t)(wait % 1000) * 1000};
	parent->waiting = true;
	if (event_add(parent->refill, &tv) < 0)
		role_fail("no memory"); /* or there would never be another child */
}

static void refill(struct parent *parent)
{
	while (!parent->retiring && !parent->waiting && parent->idle < parent->config->spare) {
		if (parent->count >= parent->room) {
			if (!parent->full_said && parent->idle == 0)
				log_warning("%u %ss are under way, as many as configured: others wait",
				    parent->config->sessions, parent->config->what);
			parent->full_said |= parent->idle == 0;
			return;
		}
		if (!start_one(parent))
			later(parent, false);
	}
}

static void on_refill(evutil_socket_t fd, short what, void *arg)
{
	struct parent *parent = arg;
	(void)fd, (void)what;
	parent->waiting = false;
	refill(parent);
}

static void end_by_force(struct slot *slot)
{
	slot->killed = true;
	kill(slot->child.pid, SIGKILL);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct slot *slot = arg;
	const struct parent_config *config = slot->parent->config;
	(void)fd, (void)what;
	bool reaching = config->each_user != 0 && !slot->settled;
	log_warning("%s %d did not %s within %u s: killed", config->what, (int)slot->child.pid,
	    reaching ? "reach the mail of its user" : "end",
	    slot->settled ? config->life_secs : config->deadline_secs);
	end_by_force(slot);
}

static void set_deadline(struct slot *slot, unsigned secs)
{
	struct timeval tv = {.tv_sec = secs};
	if (secs == 0)
		return;
	slot->deadline = evtimer_new(slot->parent->base, on_deadline, slot);
	if (slot->deadline == NULL || event_add(slot->deadline, &tv) < 0)
		role_fail("no memory");
}

static void child_taken(struct slot *slot)
{
	if (slot->taken)
		return;
	slot->taken = true;
	slot->parent->idle--;
	set_deadline(slot, slot->parent->config->deadline_secs);
}

/* Some may hang for ever, killed or not, on a disk that a user has made himself. */
static void child_becomes(struct slot *slot, const struct msg *msg)
{
	struct parent *parent = slot->parent;
	struct msg_reader r = {msg->body, msg->len, false};
	uid_t uid = msg_get_u32(&r);
	unsigned count = 0;
	for (size_t i = 0; i < parent->room; i++)
		count +=
		    parent->slots[i].child.pid != 0 && parent->slots[i].named && parent->slots[i].uid == uid;
	slot->named = true;
	slot->uid = uid;
	if (count < parent->config->each_user) {
		(void)msg_send(slot->child.leash, MSG_PARENT_GRANTS, NULL, 0, -1);
		return;
	}
	log_warning(
	    "uid %u has %u %ss already: one more is refused", (unsigned)uid, count, parent->config->what);
	end_by_force(slot);
}

static void child_settled(struct slot *slot)
{
	if (slot->settled)
		return;
	slot->settled = true;
	if (slot->deadline != NULL)
		event_free(slot->deadline);
	slot->deadline = NULL;
	set_deadline(slot, slot->parent->config->life_secs);
}

static void take_word(struct slot *slot)
{
	bool users = slot->parent->config->each_user != 0;
	uint8_t buf[LIMIT_MSG_FIXED_OCTETS];
	struct msg msg;
	int got = msg_recv(slot->child.leash, MSG_AT_PARENT, buf, sizeof buf, &msg);
	if (got == MSG_AGAIN)
		return;
	if (got == MSG_OK && msg.type == MSG_CHILD_TAKEN) {
		child_taken(slot);
	} else if (got == MSG_OK && users && msg.type == MSG_CHILD_BECOMES && slot->taken && !slot->named) {
		child_becomes(slot, &msg);
	} else if (got == MSG_OK && users && msg.type == MSG_CHILD_SETTLED && slot->named) {
		child_settled(slot);
	} else {
		/* It ends, or broke the table: without a leash it has to end. SIGCHLD tells the rest. */
		event_del(slot->leash_event);
		child_cut(&slot->child);
	}
}

static void on_child_leash(evutil_socket_t fd, short what, void *arg)
{
	struct slot *slot = arg;
	(void)fd, (void)what;
	take_word(slot);
	refill(slot->parent);
}

static struct slot *slot_of(struct parent *parent, pid_t pid)
{
	for (size_t i = 0; i < parent->room; i++)
		if (parent->slots[i].child.pid == pid)
			return &parent->slots[i];
	return NULL;
}

static void child_ended(struct parent *parent, struct slot *slot, int wait_status)
{
	if (wait_status != 0 && !slot->killed)
		log_warning("%s %d ended: %s", parent->config->what, (int)slot->child.pid,
		    child_end_text(wait_status));
	/* A short session may end before we have read that it began. */
	if (!slot->taken && slot->child.leash >= 0)
		take_word(slot);
	if (!slot->taken) {
		parent->idle--;
		/* A spare one that ends had nothing to do: whatever made it end will make the next one end
		 * too. */
		if (!parent->retiring && !parent->waiting)
			later(parent, now_msecs() - slot->started_msecs >= SETTLED_MSECS);
	}
	parent->count--;
	parent->full_said = false;
	slot_clear(slot);
}

/* Its user can do that, and would hold a place among the sessions for ever. */
static void child_stopped(struct slot *slot)
{
	log_warning(
	    "%s %d was stopped by somebody: killed", slot->parent->config->what, (int)slot->child.pid);
	end_by_force(slot);
}

static void reap(struct parent *parent)
{
	int wait_status;
	pid_t pid;
	int options = parent->config->each_user != 0 ? WNOHANG | WUNTRACED : WNOHANG;
	while ((pid = waitpid(-1, &wait_status, options)) > 0) {
		struct slot *slot = slot_of(parent, pid);
		if (slot != NULL && WIFSTOPPED(wait_status))
			child_stopped(slot);
		else if (slot != NULL)
			child_ended(parent, slot, wait_status);
	}
	if (parent->retiring && parent->count == 0)
		_exit(0);
	refill(parent);
}

static void on_children_died(evutil_socket_t fd, short what, void *arg)
{
	struct signalfd_siginfo info;
	(void)what;
	while (read(fd, &info, sizeof info) == (ssize_t)sizeof info)
		continue;
	reap(arg);
}

static void on_goodbye(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	_exit(0);
}

/* Master is gone or wants us gone: no child outlives this by more than what it is doing. */
static void end_all(struct parent *parent)
{
	struct timeval tv = {.tv_sec = GOODBYE_SECS};
	parent->retiring = true;
	for (size_t i = 0; i < parent->room; i++)
		if (parent->slots[i].child.pid != 0 && parent->slots[i].child.leash >= 0) {
			event_del(parent->slots[i].leash_event);
			child_cut(&parent->slots[i].child);
			/* What has a deadline minds no leash, and those it works for have gone. */
			if (parent->config->deadline_secs != 0 && !parent->slots[i].settled)
				end_by_force(&parent->slots[i]);
		}
	if (parent->count == 0)
		_exit(0);
	if (event_base_once(parent->base, -1, EV_TIMEOUT, on_goodbye, NULL, &tv) < 0)
		_exit(0);
}

static void retire_all(struct parent *parent)
{
	parent->retiring = true;
	if (parent->config->retired != NULL)
		parent->config->retired(parent->config->arg);
	for (size_t i = 0; i < parent->room; i++)
		if (parent->slots[i].child.pid != 0)
			child_retire(&parent->slots[i].child);
	if (parent->count == 0)
		_exit(0);
}

/* A child that does not listen will not offer anything either. */
static void pass_on_offers(struct parent *parent)
{
	for (size_t i = 0; i < parent->room; i++)
		if (parent->slots[i].child.pid != 0 && parent->slots[i].child.leash >= 0)
			(void)offers_send(
			    parent->slots[i].child.leash, MSG_PARENT_OFFERS, parent->config->offers);
}

static void on_leash(evutil_socket_t fd, short what, void *arg)
{
	struct parent *parent = arg;
	(void)what;
	switch (child_hear(fd, parent->config->offers)) {
	case LEASH_NOTHING:
	case LEASH_GRANTED:
		return;
	case LEASH_OFFERS:
		pass_on_offers(parent);
		return;
	case LEASH_RETIRE:
		retire_all(parent);
		return;
	case LEASH_GONE:
		end_all(parent);
		return;
	}
}

static int children_signal(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

void parent_run(const struct parent_config *config, int leash)
{
	struct parent parent = {.config = config, .leash = leash, .room = config->sessions};
	parent.base = event_base_new();
	parent.slots = calloc(parent.room, sizeof *parent.slots);
	parent.children_died = children_signal();
	if (parent.base == NULL || parent.slots == NULL || parent.children_died < 0)
		role_fail("cannot make an event loop");
	for (size_t i = 0; i < parent.room; i++)
		parent.slots[i] = (struct slot){.child = {.leash = -1}, .parent = &parent};
	parent.refill = evtimer_new(parent.base, on_refill, &parent);
	if (parent.refill == NULL)
		role_fail("no memory");
	role_watch(parent.base, leash, on_leash, &parent);
	role_watch(parent.base, parent.children_died, on_children_died, &parent);
	refill(&parent);
	role_ready(leash, NULL);
	event_base_dispatch(parent.base);
	role_fail("the event loop ended");
}
