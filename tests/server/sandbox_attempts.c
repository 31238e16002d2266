/* SPDX-License-Identifier: ISC */
#include "tests/server/sandbox_attempts.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <event2/event.h>
#include <krb5.h>
#include <lmdb.h>
#include <openssl/err.h>

#include "tests/server/tls_fixture.h"

static int outcome(long result)
{
	return result >= 0 ? 0 : errno;
}

static void count_one(evutil_socket_t fd, short what, void *count)
{
	char octet;

	(void)what;
	if (fd < 0 || read(fd, &octet, 1) == 1)
		++*(int *)count;
}

static int run_event_loop(struct scene *scene)
{
	struct timeval soon = {.tv_usec = 1000};
	struct event_base *base = event_base_new();
	struct event *timer, *readable;
	int count = 0;

	if (base == NULL)
		return ENOMEM;
	timer = event_new(base, -1, 0, count_one, &count);
	readable = event_new(base, scene->pair[0], EV_READ, count_one, &count);
	event_add(timer, &soon);
	event_add(readable, NULL);
	if (write(scene->pair[1], "+", 1) != 1)
		return errno;
	event_base_dispatch(base);
	event_free(timer);
	event_free(readable);
	event_base_free(base);
	return count == 2 ? 0 : EPROTO;
}

static int shake_hands(struct scene *scene)
{
	SSL *server = SSL_new(scene->server), *client = SSL_new(scene->client);
	int done = 0;

	SSL_set_fd(server, scene->pair[0]);
	SSL_set_fd(client, scene->pair[1]);
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	for (int turn = 0; turn < 10 && done != 3; turn++) {
		ERR_clear_error();
		done = (SSL_do_handshake(client) == 1 ? 1 : 0) | (SSL_do_handshake(server) == 1 ? 2 : 0);
	}
	SSL_free(server);
	SSL_free(client);
	return done == 3 ? 0 : EPROTO;
}

static int accept_client(struct scene *scene)
{
	return outcome(accept4(scene->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

static int set_nodelay(struct scene *scene)
{
	int on = 1;

	return outcome(setsockopt(scene->connected, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
}

static int ask_connection(struct scene *scene)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return outcome(getsockopt(scene->connected, IPPROTO_TCP, TCP_INFO, &info, &len));
}

static int peek(struct scene *scene)
{
	char octet;

	return recv(scene->pair[0], &octet, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN ? 0 : errno;
}

static int pass_descriptor(struct scene *scene)
{
	union {
		char octets[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	char octet = '+';
	struct iovec iov = {&octet, 1};
	struct msghdr message = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		return errno;
	*header = (struct cmsghdr){
	    .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
	memcpy(CMSG_DATA(header), &scene->pair[0], sizeof(int));
	if (sendmsg(pair[0], &message, MSG_NOSIGNAL) != 1)
		return errno;
	return outcome(recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC));
}

static int sort_much(struct scene *scene)
{
	enum { OCTETS = 400000 };
	unsigned char *octets = malloc(OCTETS);

	(void)scene;
	if (octets == NULL)
		return ENOMEM;
	for (size_t i = 0; i < OCTETS; i++)
		octets[i] = (unsigned char)(i * 31);
	octets = realloc(octets, (size_t)OCTETS * 2);
	free(octets);
	return octets != NULL ? 0 : ENOMEM;
}

static int look_at_descriptor(struct scene *scene)
{
	struct stat st;

	return outcome(fstat(scene->pair[0], &st));
}

static int context_without_file(struct scene *scene)
{
	krb5_context context = NULL;
	int result;

	(void)scene;
	setenv("KRB5_CONFIG", "", 1);
	result = krb5_init_context(&context);
	krb5_free_context(context);
	return result;
}

/* Of libkrb5, exported but in no header: the only way to a replay cache that needs no ticket. */
struct k5_rc_st;
krb5_error_code k5_rc_resolve(krb5_context context, const char *name, struct k5_rc_st **rc_r);
krb5_error_code k5_rc_store(krb5_context context, struct k5_rc_st *rc, const krb5_enc_data *authenticator);
void k5_rc_close(krb5_context context, struct k5_rc_st *rc);

static int use_replay_cache(struct scene *scene)
{
	krb5_enc_data authenticator = {.enctype = ENCTYPE_AES256_CTS_HMAC_SHA1_96,
	    .ciphertext = {.length = 32, .data = (char[]){"0123456789abcdef0123456789abcdef"}}};
	struct k5_rc_st *rc = NULL;
	krb5_context context = NULL;
	char name[128];
	int result;

	(void)scene;
	setenv("KRB5_CONFIG", fixture_path("krb5.conf"), 1);
	snprintf(name, sizeof(name), "file2:%s/replay", fixture_dir());
	result = krb5_init_context(&context);
	if (result == 0)
		result = k5_rc_resolve(context, name, &rc);
	if (result == 0)
		result = k5_rc_store(context, rc, &authenticator);
	if (result == 0 && k5_rc_store(context, rc, &authenticator) != KRB5KRB_AP_ERR_REPEAT)
		result = EPROTO;
	if (rc != NULL)
		k5_rc_close(context, rc);
	krb5_free_context(context);
	return result;
}

static int use_lmdb(struct scene *scene)
{
	MDB_val key = {1, (char[]){"k"}}, value = {1, (char[]){"v"}};
	MDB_env *env = NULL;
	MDB_txn *txn = NULL;
	MDB_dbi dbi;
	int result = mdb_env_create(&env);

	(void)scene;
	if (result == 0)
		result = mdb_env_open(env, fixture_path("index.mdb"), MDB_NOSUBDIR | MDB_NOTLS, 0600);
	if (result == 0)
		result = mdb_txn_begin(env, NULL, 0, &txn);
	if (result == 0)
		result = mdb_dbi_open(txn, NULL, 0, &dbi);
	if (result == 0)
		result = mdb_put(txn, dbi, &key, &value, 0);
	if (result == 0)
		result = mdb_txn_commit(txn);
	mdb_env_close(env);
	return result;
}

static int lock_file(struct scene *scene)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = open(fixture_path("lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	(void)scene;
	return fd < 0 ? errno : outcome(fcntl(fd, F_OFD_SETLK, &lock));
}

static int unlink_and_sync(struct scene *scene)
{
	int dir;

	(void)scene;
	if (unlink(fixture_path("new/mail")) != 0)
		return errno;
	dir = open(fixture_path("new"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? errno : outcome(fsync(dir));
}

static int rename_across(struct scene *scene)
{
	(void)scene;
	return outcome(rename(fixture_path("new/moves"), fixture_path("cur/moves")));
}

static int make_memfd(struct scene *scene)
{
	int fd;

	(void)scene;
	fd = memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, 100) != 0)
		return errno;
	return outcome(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW));
}

static void *nothing(void *argument)
{
	return argument;
}

static int start_thread(struct scene *scene)
{
	pthread_t thread;
	int result = pthread_create(&thread, NULL, nothing, scene);

	return result != 0 ? result : pthread_join(thread, NULL);
}

static int fork_child(struct scene *scene)
{
	pid_t child = fork();
	int status;

	(void)scene;
	if (child == 0)
		_exit(0);
	return child < 0 ? errno : outcome(waitpid(child, &status, 0));
}

static int open_own_file(struct scene *scene)
{
	(void)scene;
	return outcome(open(fixture_path("own"), O_RDONLY | O_CLOEXEC));
}

static int open_foreign_file(struct scene *scene)
{
	(void)scene;
	return outcome(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}

static int make_foreign_file(struct scene *scene)
{
	(void)scene;
	return outcome(open("/tmp/kpopd-test-escaped", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
}

static int link_file(struct scene *scene)
{
	(void)scene;
	return outcome(link(fixture_path("own"), fixture_path("linked")));
}

static int make_directory(struct scene *scene)
{
	(void)scene;
	return outcome(mkdir(fixture_path("made"), 0700));
}

static int remove_directory(struct scene *scene)
{
	(void)scene;
	return outcome(unlinkat(AT_FDCWD, fixture_path("empty"), AT_REMOVEDIR));
}

static int make_symlink(struct scene *scene)
{
	(void)scene;
	return outcome(symlink("/etc/passwd", fixture_path("symlink")));
}

static int make_inet_socket(struct scene *scene)
{
	(void)scene;
	return outcome(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int make_unix_socket(struct scene *scene)
{
	(void)scene;
	return outcome(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

static int connect_out(struct scene *scene)
{
	struct sockaddr_in at;
	socklen_t len = sizeof(at);

	if (getsockname(scene->listener, (struct sockaddr *)&at, &len) != 0)
		return errno;
	/* Whoever may do it leaves it connected for the next. */
	return connect(scene->fresh, (struct sockaddr *)&at, len) == 0 || errno == EISCONN ? 0 : errno;
}

static int bind_port(struct scene *scene)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	return outcome(bind(scene->fresh, (struct sockaddr *)&at, sizeof(at)));
}

static int listen_port(struct scene *scene)
{
	return outcome(listen(scene->fresh, 1));
}

static int shut_listener(struct scene *scene)
{
	return outcome(shutdown(scene->listener, SHUT_RDWR));
}

/* Its flags are every process's who has it: the log would block them all. */
static int make_blocking(struct scene *scene)
{
	return outcome(fcntl(scene->pair[0], F_SETFL, 0));
}

static int outlive_parent(struct scene *scene)
{
	(void)scene;
	return outcome(prctl(PR_SET_PDEATHSIG, 0));
}

static int set_other_option(struct scene *scene)
{
	int on = 1;

	return outcome(setsockopt(scene->connected, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)));
}

static int run_shell(struct scene *scene)
{
	char *const arguments[] = {(char[]){"sh"}, NULL};

	(void)scene;
	return outcome(execve("/bin/sh", arguments, arguments + 1));
}

static int trace_parent(struct scene *scene)
{
	(void)scene;
	return outcome(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}

static int read_memory(struct scene *scene)
{
	(void)scene;
	return outcome(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0));
}

static int signal_parent(struct scene *scene)
{
	(void)scene;
	return outcome(kill(getppid(), SIGURG)); /* which it ignores */
}

/* As a store asks whether the holder of a lock file lives. */
static int ask_for_process(struct scene *scene)
{
	(void)scene;
	return outcome(kill(getpid(), 0));
}

static int signal_thread(struct scene *scene)
{
	(void)scene;
	return outcome(syscall(SYS_tgkill, getppid(), getppid(), 0));
}

static int map_executable(struct scene *scene)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)scene;
	return at == MAP_FAILED ? errno : 0;
}

static int map_module(struct scene *scene)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, scene->code, 0);

	return at == MAP_FAILED ? errno : 0;
}

static int make_executable(struct scene *scene)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)scene;
	return outcome(mprotect(at, 4096, PROT_READ | PROT_EXEC));
}

static int become_root(struct scene *scene)
{
	(void)scene;
	return outcome(setresuid(0, 0, 0));
}

static int change_root(struct scene *scene)
{
	(void)scene;
	return outcome(chroot("/"));
}

static int new_namespace(struct scene *scene)
{
	(void)scene;
	return outcome(unshare(CLONE_NEWUSER));
}

static int clone_into_namespace(struct scene *scene)
{
	long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);

	(void)scene;
	if (child == 0)
		_exit(0);
	return outcome(child);
}

static int become_dumpable(struct scene *scene)
{
	(void)scene;
	return outcome(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static int raise_core_limit(struct scene *scene)
{
	struct rlimit more = {RLIM_INFINITY, RLIM_INFINITY};

	(void)scene;
	return outcome(setrlimit(RLIMIT_CORE, &more));
}

static int stop_a_terminal(struct scene *scene)
{
	return outcome(ioctl(scene->pair[0], TIOCSTI, "x"));
}

/* As an lmtp process collects what it will hand over. */
static int seal_message(struct scene *scene)
{
	int fd = memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)scene;
	if (fd < 0 || write(fd, "mail\n", 5) != 5)
		return errno;
	return outcome(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
}

/* As a deliverer makes a maildrop that is missing, and a store what belongs to an mbox. */
static int make_directory_there(struct scene *scene)
{
	int dir = open(fixture_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result;

	(void)scene;
	if (dir < 0 && errno == ENOENT) /* nothing is open to it */
		dir = AT_FDCWD;
	result = outcome(mkdirat(dir, "made", 0700));
	return result == EEXIST ? 0 : result;
}

/* For file servers that cannot rename without replacing. */
static int link_across(struct scene *scene)
{
	int result =
	    outcome(linkat(AT_FDCWD, fixture_path("new/mail"), AT_FDCWD, fixture_path("cur/linked"), 0));

	(void)scene;
	return result == EEXIST ? 0 : result;
}

#define ROW(sentence, run, want)             \
	{                                    \
		sentence, run, want, 0, true \
	}
const struct attempt attempts[] = {
    ROW("run an event loop", run_event_loop, "aaaaaaaaaaaa"),
    ROW("shake hands in TLS over inherited sockets", shake_hands, "aaaaaaaaaaaa"),
    ROW("accept a client", accept_client, "aakkkkkdaakk"),
    ROW("switch off Nagle's delay", set_nodelay, "aakkkaaaaakk"),
    ROW("ask how a connection fares", ask_connection, "aakkkkkdaakk"),
    ROW("peek at what waits", peek, "aaaaaaaaaaaa"),
    ROW("make a socket pair and pass a descriptor", pass_descriptor, "aaaaaaaaaaaa"),
    ROW("ask for much memory and give it back", sort_much, "aaaaaaaaaaaa"),
    ROW("fstat a descriptor", look_at_descriptor, "aaaaaaaaaaaa"),
    ROW("make a krb5 context without a file", context_without_file, "aaaaaaaaaaaa"),
    ROW("write a replay cache in its directory", use_replay_cache, "ddaaaddaddaa"),
    ROW("open and write LMDB in its directory", use_lmdb, "ddaaaddaddaa"),
    ROW("lock a file in its directory", lock_file, "ddaaaddaddaa"),
    ROW("open a file in its directory", open_own_file, "ddaaaaaaddaa"),
    ROW("unlink a message and fsync the directory", unlink_and_sync, "kkdaaddakkaa"),
    {"rename a message from new to cur", rename_across, "kkdaakkakkaa", 2, true},
    ROW("make a sealed memfd", make_memfd, "kkkaakkakkaa"),
    ROW("write a message into memory and seal it", seal_message, "kkkaakkaaaaa"),
    ROW("start a thread", start_thread, "akkaaakaakak"),
    ROW("fork", fork_child, "akkakakaakak"),
    {"open /etc/passwd", open_foreign_file, "dddddddddddd", 1, true},
    {"create a file elsewhere", make_foreign_file, "dddddddddddd", 1, true},
    ROW("make a hard link", link_file, "kkkkkkkdkkkk"),
    ROW("make a directory", make_directory, "kkdkkkkdkkkk"),
    ROW("make a directory in one that is open", make_directory_there, "kkdaakkakkaa"),
    {"link a message from new to cur", link_across, "kkkkkkkakkaa", 2, true},
    ROW("remove a directory", remove_directory, "kkdkkkkdkkkk"),
    ROW("make a symbolic link", make_symlink, "kkkkkkkdkkkk"),
    ROW("make a network socket", make_inet_socket, "kkdkkaaakkkk"),
    ROW("make a local socket", make_unix_socket, "kkdkkaaakkkk"),
    ROW("connect an inherited socket", connect_out, "kkdkkaaakkkk"),
    ROW("bind an inherited socket", bind_port, "kkkkkdddkkkk"),
    ROW("listen on an inherited socket", listen_port, "kkkkkkkdkkkk"),
    ROW("shut a shared listener down", shut_listener, "kkkkkkkdkkkk"),
    ROW("make a shared descriptor wait", make_blocking, "dddddaaadddd"),
    ROW("choose to outlive its parent", outlive_parent, "akkkkakdakkk"),
    ROW("set another socket option", set_other_option, "kkkkkaaakkkk"),
    ROW("execve a shell", run_shell, "kkkkkkkdkkkk"),
    ROW("ptrace its parent", trace_parent, "kkkkkkkdkkkk"),
    ROW("read its parent's memory", read_memory, "kkkkkkkdkkkk"),
    ROW("signal its parent", signal_parent, "kkkkkkkdkkkk"),
    ROW("ask whether a process lives", ask_for_process, "kkkaakkakkaa"),
    {"signal a thread of its parent", signal_thread, "kkkkkkkdkkkk", 0, false},
    ROW("map executable memory", map_executable, "kkkkkkkdkkkk"),
    ROW("map a module's code", map_module, "kkkkkaaakkkk"),
    ROW("make memory executable", make_executable, "kkkkkkkdkkkk"),
    ROW("become root", become_root, "kkkkkkkdkkkk"),
    ROW("change its root directory", change_root, "kkkkkkkdkkkk"),
    ROW("unshare a user namespace", new_namespace, "kkkkkkkdkkkk"),
    ROW("clone into a user namespace", clone_into_namespace, "kkkkkkkdkkkk"),
    ROW("become dumpable", become_dumpable, "kkkkkkkdkkkk"),
    ROW("raise its core limit", raise_core_limit, "dkkdkdkddkdk"),
    ROW("type into a terminal", stop_a_terminal, "dddddkkddddd"),
};
const size_t attempt_count = sizeof(attempts) / sizeof(attempts[0]);
