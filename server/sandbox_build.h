/* SPDX-License-Identifier: ISC */
/*
 * sandbox_build: whether this build carries AddressSanitizer, which needs a wider sandbox
 * (doc/privileges.md).
 */
#ifndef KPOPD_SERVER_SANDBOX_BUILD_H
#define KPOPD_SERVER_SANDBOX_BUILD_H

#if defined(__SANITIZE_ADDRESS__)
#define SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#endif
#ifndef SANDBOX_SANITIZED
#define SANDBOX_SANITIZED 0
#endif

#endif
