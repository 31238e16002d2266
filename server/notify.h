/* SPDX-License-Identifier: ISC */
/*
 * notify: tells systemd where we are, as sd_notify(3) describes; does nothing under anything else.
 */
#ifndef KPOPD_SERVER_NOTIFY_H
#define KPOPD_SERVER_NOTIFY_H

void notify_open(void); /* takes NOTIFY_SOCKET, before the environment is cleared */
void notify_ready(void);
void notify_stopping(void);

#endif
