/* SPDX-License-Identifier: ISC */
/*
 * circumstances: how and from where somebody has authenticated, which rules of the configuration look at.
 * Pure; for mapping and delegation.
 */
#ifndef KPOPD_SERVER_CIRCUMSTANCES_H
#define KPOPD_SERVER_CIRCUMSTANCES_H

#include "server/config.h"

struct circumstances {
	const char *const *indicators; /* of the KDC's, NULL-terminated */
	const struct peer *peer;
	const char *mechanism;
};

/* What a rule asks for, each empty (or NULL) for: any. */
struct conditions {
	char *const *indicators, *const *mechanisms;
	const struct networks *networks;
};

/* NULL: they are all met; else a constant line that says which is not. */
const char *circumstances_lack(const struct circumstances *circumstances, const struct conditions *wanted);

#endif
