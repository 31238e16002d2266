/* SPDX-License-Identifier: ISC */
/*
 * offers: what this server can do just now, beyond what the configuration allows.
 *
 * Auth processes say it when they begin to serve, master puts it together and tells the fronts, at their
 * start and whenever it changes: a keytab that comes or goes, the first user's secret. Sessions look at
 * it each time, so that what they show is the truth of that moment.
 */
#ifndef KPOPD_SERVER_OFFERS_H
#define KPOPD_SERVER_OFFERS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/msg.h"

struct offers {
	uint32_t mechanisms; /* bit i: config->mechanisms[i] works */
	bool kpop;           /* there is a key for it */
	bool tls;            /* a certificate is loaded; this one never changes, and is in no message */
	bool passwords;      /* USER and PASS can be checked */
};

/* As PARENT_OFFERS or CHILD_READY, down or up a leash. MSG_OK, MSG_AGAIN, MSG_EOF, MSG_BAD. */
int offers_send(int leash, enum msg_type type, const struct offers *offers);
/* From the body of either; tls stays as it was. False: the message is not sound. */
bool offers_read(const struct msg *msg, struct offers *offers_r);

#endif
