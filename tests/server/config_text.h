/* SPDX-License-Identifier: ISC */
/* A configuration from the text of its file, for tests of what it means. */
#ifndef KPOPD_TESTS_SERVER_CONFIG_TEXT_H
#define KPOPD_TESTS_SERVER_CONFIG_TEXT_H

#include "server/config.h"

/* Never NULL: a text that is refused fails the test. */
struct config *config_text(const char *text);

#endif
