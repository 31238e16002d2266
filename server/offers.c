/* SPDX-License-Identifier: ISC */
#include "server/offers.h"

enum { KPOP_WORKS = 1, PASSWORDS_WORK = 2, ALL_FLAGS = KPOP_WORKS | PASSWORDS_WORK };

int offers_send(int leash, enum msg_type type, const struct offers *offers)
{
	uint8_t buf[8];
	struct msg_writer w = {buf, sizeof buf, 0, false};
	msg_put_u32(&w, offers->mechanisms);
	msg_put_u8(&w, (uint8_t)((offers->kpop ? KPOP_WORKS : 0) | (offers->passwords ? PASSWORDS_WORK : 0)));
	return w.bad ? MSG_BAD : msg_send(leash, type, buf, w.len, -1);
}

bool offers_read(const struct msg *msg, struct offers *offers_r)
{
	struct msg_reader r = {msg->body, msg->len, false};
	uint32_t mechanisms = msg_get_u32(&r);
	uint8_t flags = msg_get_u8(&r);
	if (!msg_end(&r) || flags > ALL_FLAGS)
		return false;
	offers_r->mechanisms = mechanisms;
	offers_r->kpop = (flags & KPOP_WORKS) != 0;
	offers_r->passwords = (flags & PASSWORDS_WORK) != 0;
	return true;
}
