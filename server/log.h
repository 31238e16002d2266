/* SPDX-License-Identifier: ISC */
/*
 * log: one line for an administrator, from any role, through a descriptor it inherited.
 *
 * A line: what happened, then key=value pairs. Everything that is not printable ASCII is escaped as \xHH,
 * so text from outside cannot make lines of its own. Never blocks: a full log loses lines and says later
 * how many. Secrets never come here.
 */
#ifndef KPOPD_SERVER_LOG_H
#define KPOPD_SERVER_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/config.h"

enum log_level {
	LOG_ERR_LEVEL = 3,  /* the service or a part of it does not work: act now */
	LOG_WARN_LEVEL = 4, /* something was given up: the world's trouble */
	LOG_INFO_LEVEL = 6, /* logins, refusals, ends of sessions */
	LOG_DEBUG_LEVEL = 7,
};

/* Opens the target in master, before any fork. role is a short name ("master", "front"). */
void log_open(enum log_target target, bool debug);
void log_role(const char *role);
/* As it was given, but for what could pass for another field of a line: somebody chose it. Returns text_r. */
const char *log_name(const char *name, char *text_r, size_t size);
int log_fd(void); /* the descriptor, for those who close all others */

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
