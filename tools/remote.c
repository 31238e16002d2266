/* SPDX-License-Identifier: ISC */
#include "tools/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "store/uidl.h"
#include "tools/progress.h"
#include "tools/side.h"

#define LINE_OCTETS 1024u
#define CONNECT_SECS 30L
#define STALL_SECS 120L /* without an octet; a server may count a large maildrop before it answers */

struct remote {
	CURL *curl;
	char *url;
	char error[CURL_ERROR_SIZE];
	bool listed; /* from here on the numbers stand for something: no other session will do */
	bool no_top;
};

/* Where an answer goes: lines of a listing, or a message. */
struct answer {
	struct side *side;
	void (*line)(struct answer *answer, char *line); /* NULL: a message */
	struct likeness_reader *reader;
	uint32_t next; /* of LIST: where its lines belong */
	bool failed;
	size_t len;
	bool skipping; /* the rest of a line that is too long */
	char text[LINE_OCTETS];
};

bool remote_is_address(const char *source)
{
	return strncasecmp(source, "pop3://", 7) == 0 || strncasecmp(source, "pop3s://", 8) == 0;
}

const char *remote_url_check(const char *url)
{
	if (!remote_is_address(url))
		return "write pop3://HOST or pop3s://HOST, with :PORT where it is not the usual one";
	const char *host = strstr(url, "://") + 3;
	size_t len = strcspn(host, "/");
	if (len == 0 || (host[len] == '/' && host[len + 1] != '\0'))
		return "write only a host and a port behind the //";
	if (memchr(host, '@', len) != NULL)
		return "the name is said by --login, the password by --password-file";
	return NULL;
}

bool remote_split(char *line, uint32_t *number_r, char **rest_r)
{
	char *end;
	unsigned long number = strtoul(line, &end, 10);

	if (line[0] < '0' || line[0] > '9' || *end != ' ' || number == 0 || number > SIDE_MESSAGES_COUNT)
		return false;
	*number_r = (uint32_t)number;
	*rest_r = end + strspn(end, " ");
	return true;
}

/* ---- UIDL and LIST ---- */

static void take_uidl(struct answer *answer, char *line)
{
	struct side *side = answer->side;
	struct side_message message = {0};
	char *rest;

	if (!remote_split(line, &message.number, &rest) ||
	    (side->count > 0 && message.number <= side->messages[side->count - 1].number)) {
		side_fail(side, "its answer to UIDL is no list of messages");
		answer->failed = true;
		return;
	}
	rest[strcspn(rest, " ")] = '\0';
	message.uidl = uidl_valid(rest, strlen(rest)) ? rest : NULL;
	if (side_append(side, &message) != 0)
		answer->failed = true;
	progress("messages listed", side->count, side->count);
}

/* Both lists are in order; a message that only one of them has is an error of that server's. */
static void take_octets(struct answer *answer, char *line)
{
	struct side *side = answer->side;
	uint32_t number;
	char *rest;

	if (!remote_split(line, &number, &rest) || answer->next >= side->count ||
	    side->messages[answer->next].number != number) {
		side_fail(side, "its answers to UIDL and LIST differ");
		answer->failed = true;
		return;
	}
	side->messages[answer->next++].octets = strtoull(rest, NULL, 10);
}

static void end_line(struct answer *answer)
{
	if (answer->len > 0 && answer->text[answer->len - 1] == '\r')
		answer->len--;
	answer->text[answer->len] = '\0';
	if (answer->len > 0 && !answer->skipping && !answer->failed)
		answer->line(answer, answer->text);
	answer->len = 0;
	answer->skipping = false;
}

static size_t receive(char *octets, size_t size, size_t count, void *arg)
{
	struct answer *answer = arg;
	size_t len = size * count;

	if (answer->reader != NULL) {
		likeness_add(answer->reader, octets, len);
		return len;
	}
	for (size_t i = 0; i < len; i++) {
		if (octets[i] == '\n')
			end_line(answer);
		else if (answer->len < sizeof(answer->text) - 1)
			answer->text[answer->len++] = octets[i];
		else
			answer->skipping = true;
	}
	return answer->failed ? 0 : len;
}

/* Says one command, whose answer has several lines. */
static CURLcode command(struct remote *remote, const char *text, struct answer *answer)
{
	CURLcode rc;
	long connects = 0;

	remote->error[0] = '\0';
	curl_easy_setopt(remote->curl, CURLOPT_CUSTOMREQUEST, text);
	curl_easy_setopt(remote->curl, CURLOPT_WRITEDATA, answer);
	rc = curl_easy_perform(remote->curl);
	if (rc == CURLE_OK && answer->len > 0 && answer->line != NULL)
		end_line(answer);
	curl_easy_getinfo(remote->curl, CURLINFO_NUM_CONNECTS, &connects);
	if (rc == CURLE_OK && remote->listed && connects > 0) {
		snprintf(
		    remote->error, sizeof(remote->error), "the session ended and began anew; start again");
		rc = CURLE_GOT_NOTHING;
	}
	return rc;
}

static const char *explain(const struct remote *remote, CURLcode rc)
{
	return remote->error[0] != '\0' ? remote->error : curl_easy_strerror(rc);
}

static int list(struct remote *remote, struct side *side, const char *verb,
    void (*line)(struct answer *answer, char *line))
{
	struct answer answer = {.side = side, .line = line};
	CURLcode rc = command(remote, verb, &answer);

	if (answer.failed)
		return -1;
	if (rc != CURLE_OK)
		return side_fail(side, "%s: %s: %s", remote->url, verb, explain(remote, rc));
	if (line == take_octets && answer.next != side->count)
		return side_fail(side, "%s: its answers to UIDL and LIST differ", remote->url);
	return 0;
}

/* ---- a session ---- */

static void set_options(struct remote *remote, const struct remote_options *options)
{
	CURL *curl = remote->curl;
	char mechanism[64];

	curl_easy_setopt(curl, CURLOPT_URL, remote->url);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, remote->error);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "pop3,pop3s");
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECS);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALL_SECS);
	curl_easy_setopt(curl, CURLOPT_USERNAME, options->login);
	curl_easy_setopt(curl, CURLOPT_PASSWORD, options->secret);
	curl_easy_setopt(curl, CURLOPT_USE_SSL, (long)(options->clear ? CURLUSESSL_NONE : CURLUSESSL_ALL));
	if (options->ca_file != NULL)
		curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca_file);
	if (options->mechanism != NULL) {
		snprintf(mechanism, sizeof(mechanism), "AUTH=%.50s", options->mechanism);
		curl_easy_setopt(curl, CURLOPT_LOGIN_OPTIONS, mechanism);
	}
}

static int list_both(struct remote *remote, struct side *side)
{
	return list(remote, side, "UIDL", take_uidl) == 0 && list(remote, side, "LIST", take_octets) == 0
		   ? 0
		   : -1;
}

/* Not every server has TOP, and after a refusal libcurl ends the session: so it is tried once, at first. */
static int probe_top(struct remote *remote, struct side *side)
{
	char text[64];
	struct answer answer = {.reader = likeness_new(0, 0)};
	CURLcode rc;

	if (answer.reader == NULL)
		return side_fail(side, "no memory");
	snprintf(text, sizeof(text), "TOP %u 0", (unsigned)side->messages[0].number);
	rc = command(remote, text, &answer);
	likeness_done(&answer.reader, NULL);
	if (rc == CURLE_OK)
		return 0;
	remote->no_top = true;
	side_clear(side);
	return list_both(remote, side);
}

int remote_open(const struct remote_options *options, struct remote **remote_r, struct side *side)
{
	struct remote *remote = calloc(1, sizeof(*remote));
	size_t len = strlen(options->url);

	*remote_r = remote;
	if (remote == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return side_fail(side, "%s: no memory", options->url);
	remote->curl = curl_easy_init();
	remote->url = malloc(len + 2);
	if (remote->curl == NULL || remote->url == NULL)
		return side_fail(side, "%s: no memory", options->url);
	memcpy(remote->url, options->url, len + 1);
	if (len == 0 || remote->url[len - 1] != '/')
		memcpy(remote->url + len, "/", 2);
	set_options(remote, options);
	if (list_both(remote, side) != 0 || (side->count > 0 && probe_top(remote, side) != 0))
		return -1;
	remote->listed = true;
	return 0;
}

int remote_look(struct remote *remote, uint32_t number, uint32_t body_lines, struct likeness_reader *reader,
    char *why_r, size_t why_size)
{
	struct answer answer = {.reader = reader};
	char text[64];
	CURLcode rc;

	if (body_lines != LIKENESS_WHOLE && !remote->no_top)
		snprintf(text, sizeof(text), "TOP %u %u", (unsigned)number, (unsigned)body_lines);
	else
		snprintf(text, sizeof(text), "RETR %u", (unsigned)number);
	rc = command(remote, text, &answer);
	if (rc == CURLE_OK)
		return 0;
	snprintf(why_r, why_size, "%s: %s: %s", remote->url, text, explain(remote, rc));
	return -1;
}

void remote_close(struct remote **remote)
{
	struct remote *closing = *remote;

	*remote = NULL;
	if (closing == NULL)
		return;
	if (closing->curl != NULL)
		curl_easy_cleanup(closing->curl);
	free(closing->url);
	free(closing);
}
