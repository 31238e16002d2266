/* SPDX-License-Identifier: ISC */
/*
 * lmtp_session: one conversation by RFC 2033: who may say what when, and what is answered.
 *
 * For an lmtp process, which serves one client and may wait. A transaction is what RFC 5321 section 3.3 calls
 * so: MAIL, RCPT for each recipient, DATA; then each recipient that was accepted has a status of its own.
 */
#ifndef KPOPD_SERVER_LMTP_SESSION_H
#define KPOPD_SERVER_LMTP_SESSION_H

#include "server/config.h"
#include "server/handover.h"

/* From the greeting to the end; closes nothing. */
void lmtp_session_run(const struct config *config, const struct handover *handover);

#endif
