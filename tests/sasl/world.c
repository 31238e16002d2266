/* SPDX-License-Identifier: ISC */
#include "world.h"

#include <ctype.h>
#include <ftw.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sasl/sasl.h>

#define CALLBACK(fn) ((int (*)(void))(void (*)(void))(fn))

static int canonical(void *arg, const char *name, size_t len, char *user_r)
{
	(void)arg;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && memchr("._+-=@", name[i], 6) == NULL)
			return -1;
	if (len == 0 || memchr(".-@", name[0], 3) != NULL)
		return -1;
	memcpy(user_r, name, len);
	user_r[len] = '\0';
	return 0;
}

const char *world_user(const struct saslx *server)
{
	const char *name = saslx_identity(server)->name;

	return name != NULL ? name : "";
}

static void note(void *arg, const char *text)
{
	struct world *world = arg;
	size_t len = strlen(world->noted);

	snprintf(world->noted + len, sizeof(world->noted) - len, "%s\n", text);
}

static int make_users(const char *path)
{
	struct secrets *secrets;
	int rc = secrets_open(&secrets, path, true);

	if (rc != SECRETS_OK)
		return -1;
	if (secrets_add(secrets, "alice", ALICE_PASSWORD, true) != SECRETS_OK ||
	    secrets_add(secrets, "bob", BOB_PASSWORD, false) != SECRETS_OK)
		rc = -1;
	secrets_close(&secrets);
	return rc;
}

const char *const *world_passwords;

int world_start(
    struct world *world, const char *const *mechanisms, const char *keytab, const char *const *plugins)
{
	static const char *const services[] = {"pop", "pop3", NULL};
	static char replay_cache[128];
	struct saslx_config config = {
	    .passwords = world_passwords,
	    .plugin_dir = KPOPD_SASL_PLUGIN_DIR,
	    .plugins = plugins,
	    .mechanisms = mechanisms,
	    .service = "pop",
	    .services = services,
	    .keytab = keytab,
	    .replay_cache = replay_cache,
	    .host = "localhost",
	    .canonical = canonical,
	    .note = note,
	    .arg = world,
	};
	char why[512];

	memset(world, 0, sizeof(*world));
	snprintf(world->dir, sizeof(world->dir), "/tmp/kpopd-sasl-XXXXXX");
	if (mkdtemp(world->dir) == NULL)
		return -1;
	snprintf(world->path, sizeof(world->path), "%s/secrets.mdb", world->dir);
	snprintf(replay_cache, sizeof(replay_cache), "%s/replay", world->dir);
	if (make_users(world->path) < 0 || secrets_open(&world->secrets, world->path, false) != SECRETS_OK)
		return -1;
	config.secrets = world->secrets;
	if (saslx_init(&config, why, sizeof(why)) < 0) {
		printf("# %s\n", why);
		return -1;
	}
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void world_stop(struct world *world)
{
	saslx_done();
	secrets_close(&world->secrets);
	nftw(world->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* What the client side asks its user. */
struct person {
	const char *authzid, *user;
	sasl_secret_t *secret;
};

static int get_simple(void *context, int id, const char **result, unsigned *len)
{
	const struct person *person = context;

	*result = id == SASL_CB_USER ? person->authzid : person->user;
	if (len != NULL)
		*len = (unsigned)strlen(*result);
	return SASL_OK;
}

static int get_secret(sasl_conn_t *conn, void *context, int id, sasl_secret_t **secret)
{
	const struct person *person = context;

	(void)conn;
	(void)id;
	*secret = person->secret;
	return SASL_OK;
}

static int quiet(void *context, int level, const char *message)
{
	(void)context;
	(void)level;
	(void)message;
	return SASL_OK;
}

static void client_init(void)
{
	static const sasl_callback_t callbacks[] = {
	    {SASL_CB_LOG, CALLBACK(quiet), NULL},
	    {SASL_CB_LIST_END, NULL, NULL},
	};
	static bool done;

	if (!done && sasl_client_init(callbacks) != SASL_OK)
		abort();
	done = true;
}

/*
 * The client is a process of its own: the stock GSSAPI plug-in does not free what it allocates, and
 * the client side loads every plug-in there is, which must not be taken for the server's doing.
 */
#define MESSAGE_OCTETS 65536

struct message {
	int code; /* the client's, of libsasl */
	bool present;
	char text[MESSAGE_OCTETS];
};

#define MESSAGE_HEAD_OCTETS offsetof(struct message, text)

static void tell(int sock, int code, const char *text, unsigned len)
{
	static struct message message;

	message.code = code;
	message.present = text != NULL;
	if (len > 0)
		memcpy(message.text, text, len);
	if (send(sock, &message, MESSAGE_HEAD_OCTETS + len, MSG_NOSIGNAL) < 0)
		_exit(2);
}

static void client_run(int sock, const char *mechanism, struct person *person, bool initial)
{
	const sasl_callback_t callbacks[] = {
	    {SASL_CB_USER, CALLBACK(get_simple), person},
	    {SASL_CB_AUTHNAME, CALLBACK(get_simple), person},
	    {SASL_CB_PASS, CALLBACK(get_secret), person},
	    {SASL_CB_LIST_END, NULL, NULL},
	};
	static char challenge[MESSAGE_OCTETS];
	const char *used, *response = NULL;
	sasl_conn_t *client = NULL;
	unsigned len = 0;
	ssize_t got;
	int rc;

	client_init();
	if (sasl_client_new("pop", "localhost", NULL, NULL, callbacks, 0, &client) != SASL_OK)
		_exit(2);
	rc = sasl_client_start(client, mechanism, NULL, initial ? &response : NULL, &len, &used);
	tell(sock, rc, response, len);
	/* A challenge may be empty, and so looks like the end: only our death ends this loop. */
	while ((got = recv(sock, challenge, sizeof(challenge), 0)) >= 0) {
		response = NULL;
		len = 0;
		if (rc == SASL_CONTINUE)
			rc = sasl_client_step(
			    client, challenge + 1, (unsigned)(got - 1), NULL, &response, &len);
		tell(sock, rc, response, len);
	}
}

static ssize_t hear(int sock, struct message *message)
{
	ssize_t got = recv(sock, message, sizeof(*message), 0);

	return got < (ssize_t)MESSAGE_HEAD_OCTETS ? -1 : got - (ssize_t)MESSAGE_HEAD_OCTETS;
}

/* A challenge is sent behind one octet, so that an empty one is still a message. */
static void pass_on(int sock, const struct saslx *server)
{
	static char text[1 + MESSAGE_OCTETS];
	size_t len;
	const void *challenge = saslx_challenge(server, &len);

	memcpy(text + 1, challenge, len);
	if (send(sock, text, 1 + len, MSG_NOSIGNAL) < 0)
		abort();
}

static void serve(int sock, const char *mechanism, struct saslx *server, struct talk *talk)
{
	static struct message message;
	ssize_t len = hear(sock, &message);

	talk->outcome = SASLX_ERROR;
	talk->client = message.code;
	if (len < 0 || (talk->client != SASL_OK && talk->client != SASL_CONTINUE))
		return;
	talk->outcome = saslx_start(server, mechanism, message.present ? message.text : NULL, (size_t)len);
	while (talk->outcome == SASLX_MORE) {
		talk->challenges++;
		pass_on(sock, server);
		len = hear(sock, &message);
		talk->client = message.code;
		if (len < 0 || (talk->client != SASL_OK && talk->client != SASL_CONTINUE))
			return;
		talk->outcome = saslx_step(server, message.text, (size_t)len);
	}
}

struct talk world_talk(
    const char *mechanism, const char *authzid, const char *user, const char *password, bool initial)
{
	struct person person = {.authzid = authzid, .user = user};
	struct talk talk = {.outcome = SASLX_ERROR};
	struct saslx *server = saslx_new(&(struct saslx_connection){.tls = true});
	int pair[2];
	pid_t child;

	person.secret = calloc(1, sizeof(*person.secret) + strlen(password) + 1);
	person.secret->len = strlen(password);
	memcpy(person.secret->data, password, strlen(password));
	if (server == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
	    (child = fork()) < 0)
		abort();
	if (child == 0) {
		close(pair[0]);
		client_run(pair[1], mechanism, &person, initial);
		_exit(0);
	}
	close(pair[1]);
	serve(pair[0], mechanism, server, &talk);
	close(pair[0]);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	snprintf(talk.user, sizeof(talk.user), "%s", world_user(server));
	if (talk.user[0] != '\0')
		snprintf(talk.authzid, sizeof(talk.authzid), "%s", saslx_identity(server)->authzid);
	snprintf(talk.why, sizeof(talk.why), "%s", saslx_why(server));
	saslx_free(&server);
	free(person.secret);
	return talk;
}
