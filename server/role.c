/* SPDX-License-Identifier: ISC */
#include "server/role.h"

#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "server/log.h"

void role_begin(const char *name)
{
	char title[16]; /* the kernel keeps no more */
	snprintf(title, sizeof title, "kpopd-%s", name);
	prctl(PR_SET_NAME, title);
	log_role(name);
}

void role_fail(const char *why)
{
	log_error("%s", why);
	_exit(1);
}

struct event *role_watch(struct event_base *base, int fd, event_callback_fn fn, void *arg)
{
	struct event *event = event_new(base, fd, EV_READ | EV_PERSIST, fn, arg);
	if (event == NULL || event_add(event, NULL) < 0)
		role_fail("no memory");
	return event;
}

void role_ready(int leash, const struct offers *offers)
{
	static const struct offers none;
	if (offers_send(leash, MSG_CHILD_READY, offers != NULL ? offers : &none) != MSG_OK)
		role_fail("cannot reach the master");
}
