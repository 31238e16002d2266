/* SPDX-License-Identifier: ISC */
/*
 * load: POP3 and KPOP sessions against one server, many at once, every answer checked.
 *
 * Ends after -n sessions or -t seconds, whichever comes first, and prints one line of JSON. Exit status
 * 0: every session went as it should. With the works idle and idletls it prints "resting" when all
 * sessions are logged in and keeps them until its standard input ends.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/client.h"

#define CLIENTS_COUNT 4096u
#define SESSIONS_COUNT 2000000u
#define FAILURES_COUNT 20u /* then something is wrong, and more of it says nothing new */
#define GRACE_SECS 20      /* for the last sessions, after the time is over */
#define USER_OCTETS 64u

struct load {
	struct client_config config;
	const char *prefix, *ccaches, *host, *ca_file;
	unsigned clients, users, sessions, seconds;
	char (*names)[USER_OCTETS];
	struct ticket **tickets;
	struct place *places;
	unsigned begun, ended, resting, failed, active;
	bool closing;
	uint64_t began_usecs, octets;
	uint32_t *latencies_usecs;
};

struct place {
	struct load *load;
	struct client *client;
};

static uint64_t now_usecs(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static void begin(struct place *place)
{
	struct load *load = place->load;
	unsigned user = load->begun++ % load->users;
	load->active++;
	client_start(place->client, load->names[user], load->tickets ? load->tickets[user] : NULL);
}

static bool over(const struct load *load)
{
	return load->closing || load->begun >= load->sessions || load->failed >= FAILURES_COUNT ||
	       now_usecs() - load->began_usecs >= (uint64_t)load->seconds * 1000000u;
}

static void on_end(void *arg, enum client_end end)
{
	struct place *place = arg;
	struct load *load = place->load;
	if (end == CLIENT_RESTS) {
		if (++load->resting == load->clients) {
			puts("resting");
			fflush(stdout);
		}
		return;
	}
	load->active--;
	if (end == CLIENT_FAILED)
		load->failed++;
	else
		load->latencies_usecs[load->ended++] = (uint32_t)(now_usecs() - client_began(place->client));
	if (over(load)) {
		if (load->active == 0)
			event_base_loopbreak(load->config.base);
		return;
	}
	begin(place);
}

static void on_late(evutil_socket_t fd, short events, void *arg)
{
	struct load *load = arg;
	(void)fd;
	(void)events;
	if (load->resting == load->clients)
		return;
	fprintf(stderr, "load: %u sessions hang\n", load->active - load->resting);
	load->failed += load->active - load->resting;
	load->closing = true;
	event_base_loopbreak(load->config.base);
}

/* The end of standard input, for resting sessions. */
static void on_stdin(evutil_socket_t fd, short events, void *arg)
{
	struct load *load = arg;
	char sink[64];
	(void)events;
	if (read(fd, sink, sizeof(sink)) > 0)
		return;
	load->closing = true;
	event_base_loopbreak(load->config.base);
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static uint32_t percentile(const struct load *load, unsigned percent)
{
	return load->ended == 0 ? 0 : load->latencies_usecs[(uint64_t)(load->ended - 1) * percent / 100];
}

static void report(struct load *load, uint64_t usecs)
{
	qsort(load->latencies_usecs, load->ended, sizeof(uint32_t), by_size);
	printf("{\"work\": \"%s\", \"sessions\": %u, \"failed\": %u, \"resting\": %u, \"seconds\": %.3f, "
	       "\"p50_usecs\": %" PRIu32 ", \"p99_usecs\": %" PRIu32 "}\n",
	    load->config.work->name, load->ended, load->failed, load->resting, (double)usecs / 1e6,
	    percentile(load, 50), percentile(load, 99));
}

static void usage(void)
{
	char names[200];
	work_names(names, sizeof(names));
	fprintf(stderr,
	    "usage: load -w WORK -p PORT [-a ADDRESS] [-c CLIENTS] [-n SESSIONS] [-t SECONDS] [-m MESSAGES]\n"
	    "            [-u PREFIX] [-U USERS] [-P PASSWORD] [-A CA_FILE] [-K CCACHE_DIR] [-H HOST]\n"
	    "works: %s\n"
	    "Users are PREFIX0, PREFIX1, …; their ticket caches CCACHE_DIR/PREFIX0.cc, …\n",
	    names);
	exit(2);
}

static unsigned number(const char *text, unsigned most)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);
	if (*end != '\0' || value == 0 || value > most)
		usage();
	return (unsigned)value;
}

static void parse(struct load *load, int argc, char **argv)
{
	struct client_config *config = &load->config;
	for (int option; (option = getopt(argc, argv, "w:p:a:c:n:t:m:u:U:P:A:K:H:")) != -1;) {
		switch (option) {
		case 'w':
			config->work = work_find(optarg);
			break;
		case 'p':
			config->address.sin_port = htons((uint16_t)number(optarg, UINT16_MAX));
			break;
		case 'a':
			if (inet_pton(AF_INET, optarg, &config->address.sin_addr) != 1)
				usage();
			break;
		case 'c':
			load->clients = number(optarg, CLIENTS_COUNT);
			break;
		case 'n':
			load->sessions = number(optarg, SESSIONS_COUNT);
			break;
		case 't':
			load->seconds = number(optarg, 3600);
			break;
		case 'm':
			config->messages = number(optarg, UINT32_MAX);
			break;
		case 'u':
			load->prefix = optarg;
			break;
		case 'U':
			load->users = number(optarg, 1000000);
			break;
		case 'P':
			config->password = optarg;
			break;
		case 'A':
			load->ca_file = optarg;
			break;
		case 'K':
			load->ccaches = optarg;
			break;
		case 'H':
			load->host = optarg;
			break;
		default:
			usage();
		}
	}
	if (!config->work || config->address.sin_port == 0 || optind != argc ||
	    (config->work->tickets && !load->ccaches) || (config->work->tls && !load->ca_file))
		usage();
}

/* TLS 1.3 with P-256, the server's name and certificate checked. */
static SSL_CTX *tls_context(const char *ca_file, const char *host)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	if (!context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set1_groups_list(context, "P-256") != 1 ||
	    SSL_CTX_load_verify_locations(context, ca_file, NULL) != 1 ||
	    X509_VERIFY_PARAM_set1_host(SSL_CTX_get0_param(context), host, 0) != 1) {
		fprintf(stderr, "load: TLS cannot be set up with %s\n", ca_file);
		exit(1);
	}
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);
	return context;
}

static void *table(size_t count, size_t size)
{
	void *made = calloc(count, size);
	if (!made) {
		fputs("load: no memory\n", stderr);
		exit(1);
	}
	return made;
}

static void prepare(struct load *load)
{
	struct client_config *config = &load->config;
	load->names = table(load->users, sizeof(*load->names));
	load->latencies_usecs = table((size_t)load->sessions + load->clients, sizeof(uint32_t));
	load->places = table(load->clients, sizeof(*load->places));
	for (unsigned i = 0; i < load->users; i++)
		snprintf(load->names[i], USER_OCTETS, "%s%u", load->prefix, i);
	if (config->work->tickets) {
		char path[4200];
		load->tickets = table(load->users, sizeof(struct ticket *));
		for (unsigned i = 0; i < load->users; i++) {
			snprintf(path, sizeof(path), "FILE:%s/%s.cc", load->ccaches, load->names[i]);
			load->tickets[i] = ticket_new(path, load->host);
		}
	}
	if (config->work->tls)
		config->tls = tls_context(load->ca_file, load->host);
	config->base = event_base_new();
	for (unsigned i = 0; i < load->clients; i++) {
		load->places[i].load = load;
		load->places[i].client = client_new(config, on_end, &load->places[i]);
		if (!config->base || !load->places[i].client)
			exit(1);
	}
}

static void tear_down(struct load *load)
{
	for (unsigned i = 0; i < load->clients; i++)
		client_free(&load->places[i].client);
	for (unsigned i = 0; load->tickets && i < load->users; i++)
		ticket_free(&load->tickets[i]);
	SSL_CTX_free(load->config.tls);
	event_base_free(load->config.base);
	free(load->tickets);
	free(load->places);
	free(load->latencies_usecs);
	free(load->names);
}

static void drive(struct load *load)
{
	struct event_base *base = load->config.base;
	struct timeval late = {.tv_sec = (time_t)load->seconds + GRACE_SECS};
	bool rests = strncmp(load->config.work->name, "idle", 4) == 0;
	struct event *timer = evtimer_new(base, on_late, load);
	struct event *input = event_new(base, STDIN_FILENO, EV_READ | EV_PERSIST, on_stdin, load);
	event_add(timer, &late);
	if (rests)
		event_add(input, NULL);
	load->began_usecs = now_usecs();
	for (unsigned i = 0; i < load->clients && load->begun < load->sessions; i++)
		begin(&load->places[i]);
	if (load->active > 0)
		event_base_dispatch(base);
	event_free(timer);
	event_free(input);
}

int main(int argc, char **argv)
{
	struct load load = {
	    .prefix = "u", .host = "localhost", .clients = 8, .users = 64, .sessions = 1000, .seconds = 60};
	load.config.address =
	    (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	load.config.password = "secret";
	load.config.messages = UINT32_MAX;
	signal(SIGPIPE, SIG_IGN);
	parse(&load, argc, argv);
	prepare(&load);
	drive(&load);
	report(&load, now_usecs() - load.began_usecs);
	int status = load.failed > 0 || load.ended + load.resting == 0;
	tear_down(&load);
	return status;
}
