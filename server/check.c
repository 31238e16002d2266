/* SPDX-License-Identifier: ISC */
#include "server/check.h"

#include <openssl/crypto.h>
#include <string.h>
#include <unistd.h>

bool check_passwords_elsewhere(const struct config *config)
{
	for (char **source = config->passwords; *source != NULL; source++)
		if (strcmp(*source, "secrets") != 0)
			return true;
	return false;
}

bool check_k5login_needed(const struct config *config)
{
	for (size_t i = 0; i < config->map_count; i++)
		if (config->maps[i].k5login)
			return true;
	return false;
}

bool check_needed(const struct config *config)
{
	return check_passwords_elsewhere(config) || check_k5login_needed(config);
}

enum check_kind check_kind_of(const char *source)
{
	return strcmp(source, "kerberos") == 0 ? CHECK_KERBEROS : CHECK_SASLAUTHD;
}

int check_ask(int door, const struct check *check, int *answer_r)
{
	uint8_t buf[LIMIT_MSG_FIXED_OCTETS + LIMIT_CHECK_OCTETS];
	struct msg_writer w = {buf, sizeof buf, 0, false};
	size_t user_len = strlen(check->user);
	int pair[2];
	if (msg_pair(pair) < 0)
		return MSG_AGAIN;
	msg_put_u64(&w, check->session);
	msg_put_u8(&w, (uint8_t)check->kind);
	msg_put_u16(&w, (uint16_t)user_len);
	msg_put_bytes(&w, check->user, user_len);
	msg_put_bytes(&w, check->secret, strlen(check->secret));
	int ret = w.bad ? MSG_BAD : msg_send(door, MSG_AUTH_CHECK, buf, w.len, pair[1]);
	OPENSSL_cleanse(buf, sizeof buf);
	close(pair[1]);
	if (ret == MSG_OK)
		*answer_r = pair[0];
	else
		close(pair[0]);
	return ret;
}

/* A string of ours: no NUL inside. */
static bool take_string(const uint8_t *octets, size_t len, char *text_r, size_t size)
{
	if (octets == NULL || len == 0 || len >= size || memchr(octets, '\0', len) != NULL)
		return false;
	memcpy(text_r, octets, len);
	text_r[len] = '\0';
	return true;
}

int check_hear(int answer, struct check_result *result_r)
{
	uint8_t buf[LIMIT_MSG_FIXED_OCTETS + KPOP_PRINCIPAL_OCTETS];
	struct msg msg;
	size_t len;
	*result_r = (struct check_result){.verdict = CHECK_UNAVAILABLE};
	int ret = msg_recv(answer, MSG_AT_AUTH_CHECK, buf, sizeof buf, &msg);
	if (ret != MSG_OK)
		return ret;
	struct msg_reader r = {msg.body, msg.len, false};
	uint8_t verdict = msg_get_u8(&r);
	size_t principal_len = msg_get_u16(&r);
	const uint8_t *principal = msg_get_bytes(&r, principal_len);
	const uint8_t *why = msg_get_rest(&r, &len);
	if (!msg_end(&r) || verdict >= CHECK_VERDICT_COUNT || len > LIMIT_CHECK_WHY_OCTETS ||
	    (principal_len != 0 &&
		!take_string(principal, principal_len, result_r->principal, sizeof result_r->principal)))
		return MSG_BAD;
	for (size_t i = 0; i < len; i++) /* whatever it was made of */
		result_r->why[i] = why[i] >= ' ' && why[i] <= '~' ? (char)why[i] : '?';
	result_r->verdict = (enum check_verdict)verdict;
	return MSG_OK;
}

bool check_read(const struct msg *msg, struct check *check_r)
{
	struct msg_reader r = {msg->body, msg->len, false};
	size_t secret_len;
	check_r->session = msg_get_u64(&r);
	uint8_t kind = msg_get_u8(&r);
	size_t user_len = msg_get_u16(&r);
	const uint8_t *user = msg_get_bytes(&r, user_len);
	const uint8_t *secret = msg_get_rest(&r, &secret_len);
	check_r->kind = (enum check_kind)kind;
	return msg_end(&r) && kind < CHECK_KIND_COUNT &&
	       take_string(user, user_len, check_r->user, sizeof check_r->user) &&
	       take_string(secret, secret_len, check_r->secret, sizeof check_r->secret);
}

void check_answer(int answer, const struct check_result *result)
{
	uint8_t buf[LIMIT_MSG_FIXED_OCTETS + KPOP_PRINCIPAL_OCTETS];
	struct msg_writer w = {buf, sizeof buf, 0, false};
	size_t len = strlen(result->principal);
	msg_put_u8(&w, (uint8_t)result->verdict);
	msg_put_u16(&w, (uint16_t)len);
	msg_put_bytes(&w, result->principal, len);
	msg_put_bytes(&w, result->why, strlen(result->why));
	msg_send(answer, MSG_CHECK_ANSWER, buf, w.len, -1); /* who asked may have given up */
}
