/* SPDX-License-Identifier: ISC */
#include "server/master.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/check.h"
#include "server/folders.h"
#include "server/generation.h"
#include "server/krb5_snapshot.h"
#include "server/listeners.h"
#include "server/log.h"
#include "server/notify.h"
#include "server/penalty.h"
#include "server/sandbox.h"

/* Reloads whose sessions have not ended yet; for one more the oldest of them must end. */
enum { GENERATIONS_COUNT = 16, GOODBYE_SECS = 15, WHY_OCTETS = 512 };

struct master {
	struct event_base *base;
	struct generation *generations[GENERATIONS_COUNT]; /* all; the oldest first, then the gaps */
	struct generation *live, *starting;
	struct listeners listeners;          /* of live */
	struct listeners starting_listeners; /* of starting */
	int penalty; /* the table that auth processes share; it outlives them and the configurations */
	bool ending, reload_again;
	int status;
	void (*started)(void *arg);
	void *arg;
};

static void begin(struct master *master, struct config *config);

static void reload(struct master *master);

static void forget(struct master *master, struct generation *generation)
{
	size_t left = 0;
	for (size_t i = 0; i < GENERATIONS_COUNT; i++)
		if (master->generations[i] != NULL && master->generations[i] != generation)
			master->generations[left++] = master->generations[i];
	for (size_t i = left; i < GENERATIONS_COUNT; i++)
		master->generations[i] = NULL;
	if (master->live == generation)
		master->live = NULL;
	generation_free(&generation);
	if (left == 0)
		event_base_loopbreak(master->base);
	else if (master->reload_again && master->live != NULL)
		reload(master);
}

static void reload(struct master *master)
{
	char why[WHY_OCTETS];
	if (master->starting != NULL || master->ending) {
		master->reload_again = !master->ending;
		return;
	}
	master->reload_again = false;
	struct config *config = config_read(generation_config(master->live)->file, why, sizeof why);
	if (config == NULL) {
		log_error("%s; the configuration stays as it was", why);
		return;
	}
	begin(master, config);
}

static void went_live(struct master *master, struct generation *generation)
{
	struct generation *old = master->live;
	listeners_close(&master->listeners, &master->starting_listeners);
	master->listeners = master->starting_listeners;
	master->live = generation;
	master->starting = NULL;
	if (old != NULL) {
		generation_retire(old);
		log_info("configuration taken; sessions that are open finish by the old one");
	} else {
		log_info("kpopd " KPOPD_VERSION " serves, sandbox: %s", sandbox_description());
		master->started(master->arg);
	}
	notify_ready();
	if (master->reload_again)
		reload(master);
}

static void on_generation(void *arg, struct generation *generation, enum generation_event event)
{
	struct master *master = arg;
	switch (event) {
	case GENERATION_LIVE:
		went_live(master, generation);
		return;
	case GENERATION_FAILED:
		listeners_close(
		    &master->starting_listeners, master->live != NULL ? &master->listeners : NULL);
		master->starting = NULL;
		if (master->live != NULL) {
			log_error("the new configuration does not work; the configuration stays as it was");
			notify_ready();
			if (master->reload_again)
				reload(master);
		} else {
			master->status = 1;
		}
		return;
	case GENERATION_GONE:
		forget(master, generation);
		return;
	}
}

static struct generation **free_place(struct master *master)
{
	for (size_t i = 0; i < GENERATIONS_COUNT; i++)
		if (master->generations[i] == NULL)
			return &master->generations[i];
	return NULL;
}

static int prepare(struct master *master, const struct config *config, char *why_r, size_t size)
{
	char snapshot[PATH_MAX];
	if (folders_make(config, why_r, size) < 0 ||
	    krb5_snapshot(
		config->krb5_conf, config_path(config, CONFIG_KRB5_SNAPSHOT, snapshot), why_r, size) < 0)
		return -1;
	if (check_needed(config) &&
	    krb5_snapshot(config->krb5_conf, config_path(config, CONFIG_CHECK_KRB5_SNAPSHOT, snapshot), why_r,
		size) < 0)
		return -1;
	return listeners_open(&master->starting_listeners, master->live != NULL ? &master->listeners : NULL,
	    config, why_r, size);
}

static void begin(struct master *master, struct config *config)
{
	char why[WHY_OCTETS];
	struct generation **place = free_place(master);
	if (place == NULL) {
		/* Clients who stay for ever must not keep a new certificate away from the others. */
		log_warning("%d old configurations still have open sessions: those of the oldest end",
		    GENERATIONS_COUNT - 1);
		config_free(&config);
		master->reload_again = true;
		generation_end(master->generations[master->generations[0] == master->live]);
		return;
	}
	if (prepare(master, config, why, sizeof why) < 0) {
		log_error("%s%s", why, master->live != NULL ? "; the configuration stays as it was" : "");
		config_free(&config);
		return;
	}
	*place = master->starting = generation_start(
	    master->base, config, &master->starting_listeners, master->penalty, on_generation, master);
	if (master->starting == NULL) {
		log_error("cannot start processes: %s", strerror(errno));
		listeners_close(
		    &master->starting_listeners, master->live != NULL ? &master->listeners : NULL);
		config_free(&config);
	}
}

static void on_goodbye(evutil_socket_t fd, short what, void *arg)
{
	struct master *master = arg;
	(void)fd, (void)what;
	log_warning("some processes did not end within %d s: killed", GOODBYE_SECS);
	for (size_t i = GENERATIONS_COUNT; i-- > 0;) /* an end moves those behind it */
		if (master->generations[i] != NULL)
			generation_kill(master->generations[i]);
}

static void end(struct master *master)
{
	struct timeval tv = {.tv_sec = GOODBYE_SECS};
	if (master->ending)
		return;
	master->ending = true;
	log_info("ending");
	notify_stopping();
	event_base_once(master->base, -1, EV_TIMEOUT, on_goodbye, master, &tv);
	for (size_t i = GENERATIONS_COUNT; i-- > 0;) /* an end moves those behind it */
		if (master->generations[i] != NULL)
			generation_end(master->generations[i]);
}

static void reap(struct master *master)
{
	int wait_status;
	pid_t pid;
	while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0)
		for (size_t i = 0; i < GENERATIONS_COUNT; i++)
			if (master->generations[i] != NULL &&
			    generation_reaped(master->generations[i], pid, wait_status))
				break;
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct master *master = arg;
	struct signalfd_siginfo info;
	(void)what;
	while (read(fd, &info, sizeof info) == (ssize_t)sizeof info) {
		if (info.ssi_signo == SIGCHLD)
			reap(master);
		else if (info.ssi_signo != SIGHUP)
			end(master);
		else if (master->live != NULL)
			reload(master);
	}
}

static struct event *watch_signals(struct master *master)
{
	static const int caught[] = {SIGCHLD, SIGHUP, SIGTERM, SIGINT};
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof caught / sizeof caught[0]; i++)
		sigaddset(&set, caught[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	struct event *event =
	    fd < 0 ? NULL : event_new(master->base, fd, EV_READ | EV_PERSIST, on_signal, master);
	if (event != NULL && event_add(event, NULL) < 0) {
		event_free(event);
		event = NULL;
	}
	return event;
}

/* A shared front holds up to four descriptors a client, a shared store as many a maildrop. */
static void raise_descriptor_limit(const struct config *config)
{
	enum { EACH_COUNT = 4, BASE_COUNT = 256 };
	struct rlimit limit;
	rlim_t wanted = (rlim_t)config->sessions * EACH_COUNT + BASE_COUNT;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = wanted;
	if (limit.rlim_max < wanted && geteuid() == 0)
		limit.rlim_max = wanted;
	if (limit.rlim_cur > limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		log_warning("%u sessions may need %ju descriptors a process; the limit is %ju (LimitNOFILE=, "
			    "ulimit -n)",
		    config->sessions, (uintmax_t)wanted, (uintmax_t)limit.rlim_max);
	}
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warning("cannot raise the limit of descriptors: %s", strerror(errno));
}

int master_run(struct config *config, void (*started)(void *arg), void *arg)
{
	struct master master = {.started = started, .arg = arg};
	signal(SIGPIPE, SIG_IGN);
	master.base = event_base_new();
	struct event *signals = master.base == NULL ? NULL : watch_signals(&master);
	master.penalty = penalty_create();
	if (signals == NULL || master.penalty < 0) {
		log_error("cannot make an event loop or memory to share: %s", strerror(errno));
		config_free(&config);
		return 1;
	}
	raise_descriptor_limit(config);
	begin(&master, config);
	if (master.starting == NULL)
		master.status = 1;
	else
		event_base_dispatch(master.base);
	listeners_close(&master.listeners, NULL);
	event_free(signals);
	event_base_free(master.base);
	return master.status;
}
