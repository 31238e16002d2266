/* SPDX-License-Identifier: ISC */
/*
 * kpopd: the command line, the pid file, going into the background. The rest is master's.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "kpop/apreq.h"
#include "server/config.h"
#include "server/folders.h"
#include "server/keywatch.h"
#include "server/listeners.h"
#include "server/local_socket.h"
#include "server/log.h"
#include "server/master.h"
#include "server/notify.h"
#include "server/tls.h"

struct options {
	const char *config;
	bool foreground, test;
};

static void usage(FILE *out)
{
	fputs("usage: kpopd [-f] [-c FILE]   serve (-f: stay in the foreground)\n"
	      "       kpopd -t [-c FILE]     test the configuration\n"
	      "       kpopd -V               print the version\n",
	    out);
}

static struct options options_read(int argc, char **argv)
{
	struct options options = {.config = KPOPD_SYSCONFDIR "/kpopd/kpopd.conf"};
	int c;
	while ((c = getopt(argc, argv, "c:fthV")) != -1)
		switch (c) {
		case 'c':
			options.config = optarg;
			break;
		case 'f':
			options.foreground = true;
			break;
		case 't':
			options.test = true;
			break;
		case 'V':
			puts("kpopd " KPOPD_VERSION);
			exit(0);
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(EX_USAGE);
		}
	if (optind != argc) {
		usage(stderr);
		exit(EX_USAGE);
	}
	return options;
}

/* Libraries listen to the environment; nothing of the invoker's may steer them. */
static void environment_clear(void)
{
	const char *zone = getenv("TZ");
	char *keep = zone != NULL ? strdup(zone) : NULL;
	clearenv();
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	if (keep != NULL)
		setenv("TZ", keep, 1);
	free(keep);
}

/* The lock on the file, not the number in it, says whether another kpopd serves this configuration. */
static int pid_file_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0) {
		fprintf(stderr, "kpopd: pid_file %s: %s; name a place that is ours to write\n", path,
		    strerror(errno));
		exit(1);
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		fprintf(stderr,
		    "kpopd: %s is locked: another kpopd is running with this pid_file; end it first\n", path);
		exit(1);
	}
	return fd;
}

static void pid_file_write(int fd)
{
	if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)
		log_warning("cannot write the pid file: %s", strerror(errno));
}

/* Tells the waiting parent of daemonize() that clients are served. */
static void started(void *arg)
{
	int *pipe_end = arg;
	if (*pipe_end >= 0) {
		ssize_t n = write(*pipe_end, "", 1);
		(void)n; /* the parent may have been killed: then nobody waits */
		close(*pipe_end);
		*pipe_end = -1;
	}
}

/* Our processes inherit these; nothing of the invoker's terminal or files is theirs, but what they log to. */
static void standard_descriptors_drop(bool keep_stderr)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (!keep_stderr)
		dup2(null, STDERR_FILENO);
	close(null);
}

/* The parent stays until the server serves or has failed, so that its exit status is the truth. */
static int daemonize(void)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0) {
		perror("kpopd: pipe");
		exit(1);
	}
	pid_t pid = fork();
	if (pid < 0) {
		perror("kpopd: fork");
		exit(1);
	}
	if (pid > 0) {
		char byte;
		close(ends[1]);
		if (read(ends[0], &byte, 1) == 1)
			_exit(0);
		int wait_status;
		waitpid(pid, &wait_status, 0);
		_exit(WIFEXITED(wait_status) && WEXITSTATUS(wait_status) != 0 ? WEXITSTATUS(wait_status) : 1);
	}
	close(ends[0]);
	setsid();
	return ends[1];
}

/* Low numbers must be taken, or a socket could land where a library prints its complaints. */
static void standard_descriptors_open(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

/* Cyrus SASL passes over a file that is not there. */
static int plugins_check(const struct config *config, char *why_r, size_t size)
{
	for (size_t i = 0; config->plugins[i] != NULL; i++)
		if (access(config->plugins[i], R_OK) < 0) {
			snprintf(why_r, size, "%s: plugins: %s: %s", config->file, config->plugins[i],
			    strerror(errno));
			return -1;
		}
	return 0;
}

/* Those whom LMTP sockets are to belong to must be there, whereas the sockets' directories may come later. */
static int owners_check(const struct config *config, char *why_r, size_t size)
{
	char why[256];
	for (size_t i = 0; i < config->listener_count; i++)
		if (local_socket_check_owner(&config->listeners[i], why, sizeof why) < 0) {
			snprintf(why_r, size, "%s: %s", config->file, why);
			return -1;
		}
	return 0;
}

static void note(const char *text)
{
	printf("kpopd: note: %s\n", text);
}

static void test_there(const char *key, const char *path, const char *advice)
{
	char text[1024];
	if (path == NULL || access(path, F_OK) == 0)
		return;
	snprintf(text, sizeof text, "%s: %.512s: %s; %s", key, path, strerror(errno), advice);
	note(text);
}

/* Those who are asked about passwords may begin later than this server. */
static void test_sources(const struct config *config)
{
	for (char **source = config->passwords; *source != NULL; source++)
		if (strcmp(*source, "saslauthd") == 0)
			test_there("saslauthd_socket", config->saslauthd_socket,
			    "until saslauthd listens there, it cannot be asked");
		else if (strcmp(*source, "kerberos") == 0)
			test_there("kerberos_armor_cache", config->kerberos_armor_cache,
			    "until kinit -k -c makes it, no KDC is asked");
}

/* Their directories may be made by whoever starts this server, or the mail transfer agent. */
static void test_local_sockets(const struct config *config)
{
	char why[512];
	for (size_t i = 0; i < config->listener_count; i++)
		if (config->listeners[i].path != NULL &&
		    local_socket_check(&config->listeners[i], why, sizeof why) < 0)
			note(why);
}

/* What is no fault of the configuration, but keeps users out. */
static void test_keys(const struct config *config)
{
	int enctypes[CONFIG_ENCTYPES_COUNT + 1];
	const struct kpop_config kpop_config = {.keytab = config->keytab,
	    .replay_cache = "/nonexistent",
	    .services = (const char *const *)config->services,
	    .enctypes = enctypes};
	struct kpop *kpop = NULL;
	char text[1024];
	config_enctypes(config, enctypes);
	environment_clear();
	setenv("KRB5_CONFIG", config->krb5_conf, 1);
	if (keywatch_wants_keytab(config) && kpop_open(&kpop, &kpop_config, text, sizeof text) != KPOP_OK)
		note(text);
	kpop_close(&kpop);
	if (keywatch_missing_secrets(config, text, sizeof text))
		note(text);
}

/* What start would stumble over and can be seen without changing anything. */
static int test(const struct config *config, const char *name)
{
	char why[512];
	SSL_CTX *tls = NULL;
	if (folders_check(config, why, sizeof why) < 0 || plugins_check(config, why, sizeof why) < 0 ||
	    owners_check(config, why, sizeof why) < 0 ||
	    (config->certificate != NULL &&
		(tls = tls_context_new(config->certificate, config->key, why, sizeof why)) == NULL)) {
		fprintf(stderr, "kpopd: %s\n", why);
		return EX_CONFIG;
	}
	SSL_CTX_free(tls);
	test_keys(config);
	test_sources(config);
	test_local_sockets(config);
	printf("kpopd: %s: the configuration is sound\n", name);
	return 0;
}

int main(int argc, char **argv)
{
	char why[512];
	standard_descriptors_open();
	struct options options = options_read(argc, argv);
	/* A reload reads the same file, from another working directory. */
	char path[PATH_MAX];
	struct config *config =
	    config_read(realpath(options.config, path) != NULL ? path : options.config, why, sizeof why);
	if (config == NULL) {
		fprintf(stderr, "kpopd: %s\n", why);
		return EX_CONFIG;
	}
	if (options.test) {
		int status = test(config, options.config);
		config_free(&config);
		return status;
	}
	listeners_inherit();
	notify_open();
	umask(022);
	if (folders_make(config, why, sizeof why) < 0 || plugins_check(config, why, sizeof why) < 0) {
		fprintf(stderr, "kpopd: %s\n", why);
		return EX_CONFIG;
	}
	int pid_file = pid_file_open(config->pid_file);
	log_open(config->log_target, config->log_debug);
	log_role("master");
	int pipe_end = options.foreground ? -1 : daemonize();
	standard_descriptors_drop(options.foreground || config->log_target == LOG_TO_STDERR);
	environment_clear();
	if (chdir("/") < 0)
		log_warning("chdir /: %s", strerror(errno));
	pid_file_write(pid_file);
	char *pid_path = strdup(config->pid_file);
	int status = master_run(config, started, &pipe_end);
	if (pid_path != NULL)
		unlink(pid_path);
	free(pid_path);
	return status;
}
