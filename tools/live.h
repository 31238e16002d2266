/* SPDX-License-Identifier: ISC */
/*
 * live: which message here is which of another server, by what both show of it.
 *
 * First by the header, which TOP gives; where several have the same, or the sizes differ by more than the
 * counting of line ends, by all of the message. Files' names have no say, so the mail may have come here in
 * any way that leaves it as it is.
 */
#ifndef KPOPD_TOOLS_LIVE_H
#define KPOPD_TOOLS_LIVE_H

#include "tools/claims.h"

struct live_counts {
	size_t by_header; /* one message here and there with that header, of the same size */
	size_t by_content;
	size_t copies; /* of these, messages of which there are several equal ones */
};

/* Every message there becomes a claim, with its message here if there is one. 0, or -1 with why of the side
 * that failed, which is *failed_r. */
int live_match(struct side *there, struct side *here, struct claims *claims, struct live_counts *counts_r,
    struct side **failed_r);

#endif
