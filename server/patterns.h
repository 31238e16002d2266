/* SPDX-License-Identifier: ISC */
/*
 * patterns: which users a rule of the configuration means: names, and names with '*' and '?' in them.
 * Pure; for delegation, policy and the configuration's check.
 */
#ifndef KPOPD_SERVER_PATTERNS_H
#define KPOPD_SERVER_PATTERNS_H

#include <stdbool.h>

#define PATTERNS_WILD "*?"

/* Letters, digits and ._+-=@ as a name may have them, and the wild cards. */
bool patterns_sound(const char *pattern);
/* Whether one of them, NULL-terminated and each sound, means this user (canonical). */
bool patterns_cover(char *const *patterns, const char *user);
/* Whether they plainly mean everybody. */
bool patterns_cover_all(char *const *patterns);

#endif
