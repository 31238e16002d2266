/* SPDX-License-Identifier: ISC */
#include "server/store_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/child.h"
#include "server/drop.h"
#include "server/log.h"
#include "server/msg.h"
#include "server/role.h"

enum { STACK_OCTETS = 512 * 1024 };

/* A maildrop, or one that is still to be opened. Belongs to the main thread or to one worker. */
struct job {
	struct job *next;
	struct drop *drop;
	enum drop_state state; /* DROP_IN_USE until it is open: tried at once, then after pauses */
	struct event *event;   /* a message has come, or it is time to look */
	bool look;             /* nothing has come */
	struct event *pause;
	struct loop *loop;
};

struct queue {
	struct job *head, **tail;
};

struct loop {
	const struct config *config;
	struct store *store;
	struct event_base *base;
	int door, leash;
	int done_pipe[2]; /* workers write one octet a job to wake the main thread */
	size_t jobs;
	bool retiring;
	struct event *door_event;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t some_work, none_busy;
	struct queue work, done;
	unsigned busy; /* workers that are doing something */
};

static void queue_init(struct queue *queue)
{
	queue->head = NULL;
	queue->tail = &queue->head;
}

static void queue_put(struct queue *queue, struct job *job)
{
	job->next = NULL;
	*queue->tail = job;
	queue->tail = &job->next;
}

static struct job *queue_take(struct queue *queue)
{
	struct job *job = queue->head;
	if (job != NULL && (queue->head = job->next) == NULL)
		queue->tail = &queue->head;
	return job;
}

/* ---- workers ---- */

/* A full pipe already wakes the main thread. */
static void wake(const struct loop *loop)
{
	ssize_t put;
	do
		put = write(loop->done_pipe[1], "", 1);
	while (put < 0 && errno == EINTR);
	if (put < 0 && errno != EAGAIN)
		role_fail("a pipe to ourselves broke");
}

static void job_do(struct loop *loop, struct job *job, uint8_t *room)
{
	if (job->state == DROP_IN_USE)
		job->state = drop_open(job->drop, loop->store, loop->config);
	else if (job->look ? !drop_look(job->drop) : !drop_serve(job->drop, room))
		job->state = DROP_OVER;
	if (job->state == DROP_OVER)
		drop_free(&job->drop); /* closing may sync: not on the main thread */
}

static void *worker(void *arg)
{
	struct loop *loop = arg;
	uint8_t *room = malloc(LIMIT_MSG_OCTETS);
	if (room == NULL)
		role_fail("no memory");
	pthread_mutex_lock(&loop->lock);
	for (;;) {
		struct job *job = queue_take(&loop->work);
		if (job == NULL) {
			pthread_cond_wait(&loop->some_work, &loop->lock);
			continue;
		}
		loop->busy++;
		pthread_mutex_unlock(&loop->lock);
		job_do(loop, job, room);
		pthread_mutex_lock(&loop->lock);
		if (--loop->busy == 0)
			pthread_cond_signal(&loop->none_busy);
		bool first = loop->done.head == NULL;
		queue_put(&loop->done, job);
		if (first)
			wake(loop);
	}
	return NULL;
}

static void workers_start(struct loop *loop)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_OCTETS);
	for (unsigned i = 0; i < loop->config->store_threads; i++) {
		pthread_t thread;
		if (pthread_create(&thread, &attr, worker, loop) != 0)
			role_fail("cannot start a thread");
		pthread_detach(thread);
	}
	pthread_attr_destroy(&attr);
}

/* ---- the main thread ---- */

static void hand_out(struct job *job)
{
	struct loop *loop = job->loop;
	pthread_mutex_lock(&loop->lock);
	queue_put(&loop->work, job);
	pthread_cond_signal(&loop->some_work);
	pthread_mutex_unlock(&loop->lock);
}

static void on_maildrop(evutil_socket_t fd, short what, void *arg)
{
	struct job *job = arg;
	(void)fd;
	job->look = (what & EV_READ) == 0;
	hand_out(job); /* the event fires once; on_done adds it again */
}

static void job_free(struct job *job)
{
	struct loop *loop = job->loop;
	if (job->event != NULL)
		event_free(job->event);
	if (job->pause != NULL)
		event_free(job->pause);
	drop_free(&job->drop);
	free(job);
	if (--loop->jobs == 0 && loop->retiring)
		_exit(0);
}

static void on_pause(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	hand_out(arg);
}

/* No worker waits for another session's end: one user's many logins would keep everybody's mail waiting. */
static void job_pause(struct job *job)
{
	const struct timeval pause = {.tv_usec = DROP_PAUSE_MSECS * 1000};
	if (job->pause == NULL)
		job->pause = evtimer_new(job->loop->base, on_pause, job);
	if (job->pause == NULL || event_add(job->pause, &pause) < 0)
		job_free(job);
}

static void job_wait(struct job *job)
{
	if (job->event == NULL)
		job->event = event_new(job->loop->base, drop_fd(job->drop), EV_READ, on_maildrop, job);
	int msecs = drop_wait_msecs(job->drop);
	const struct timeval wait = {.tv_sec = msecs / 1000, .tv_usec = msecs % 1000 * 1000};
	if (job->event == NULL || event_add(job->event, msecs < 0 ? NULL : &wait) < 0)
		job_free(job);
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
	struct loop *loop = arg;
	char wakes[64];
	(void)what;
	while (read(fd, wakes, sizeof wakes) > 0)
		continue;
	pthread_mutex_lock(&loop->lock);
	struct job *job = loop->done.head;
	queue_init(&loop->done);
	pthread_mutex_unlock(&loop->lock);
	while (job != NULL) {
		struct job *next = job->next;
		if (job->state == DROP_OVER)
			job_free(job);
		else if (job->state == DROP_IN_USE)
			job_pause(job);
		else
			job_wait(job);
		job = next;
	}
}

static void on_door(evutil_socket_t fd, short what, void *arg)
{
	struct loop *loop = arg;
	(void)what;
	uint8_t room[LIMIT_MSG_FIXED_OCTETS + LIMIT_USER_OCTETS];
	struct msg msg;
	int got = msg_recv(fd, MSG_AT_STORE_DOOR, room, sizeof room, &msg);
	if (got == MSG_EOF)
		_exit(0);
	if (got != MSG_OK)
		return;
	struct drop *drop = drop_new(&msg);
	struct job *job = drop == NULL ? NULL : calloc(1, sizeof *job);
	if (job == NULL) {
		drop_free(&drop);
		return;
	}
	*job = (struct job){.drop = drop, .state = DROP_IN_USE, .loop = loop};
	loop->jobs++;
	hand_out(job);
}

static void on_leash(evutil_socket_t fd, short what, void *arg)
{
	struct loop *loop = arg;
	(void)what;
	enum leash_word word = child_hear(fd, NULL);
	if (word == LEASH_NOTHING)
		return;
	loop->retiring = true;
	event_del(loop->door_event);
	if (word == LEASH_RETIRE && loop->jobs != 0)
		return;
	/* What a worker is in the middle of is finished: it may be unlinking. */
	pthread_mutex_lock(&loop->lock);
	queue_init(&loop->work);
	while (loop->busy != 0)
		pthread_cond_wait(&loop->none_busy, &loop->lock);
	_exit(0);
}

void store_loop(const struct config *config, struct store *store, int door, int leash)
{
	struct loop loop = {.config = config, .store = store, .door = door, .leash = leash};
	loop.base = event_base_new();
	if (loop.base == NULL || pipe2(loop.done_pipe, O_NONBLOCK | O_CLOEXEC) < 0)
		role_fail("cannot make an event loop");
	pthread_mutex_init(&loop.lock, NULL);
	pthread_cond_init(&loop.some_work, NULL);
	pthread_cond_init(&loop.none_busy, NULL);
	queue_init(&loop.work);
	queue_init(&loop.done);
	workers_start(&loop);
	loop.door_event = role_watch(loop.base, door, on_door, &loop);
	role_watch(loop.base, leash, on_leash, &loop);
	role_watch(loop.base, loop.done_pipe[0], on_done, &loop);
	role_ready(leash, NULL);
	event_base_dispatch(loop.base);
	role_fail("the event loop ended");
}
