/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/listeners.h"
#include "server/local_socket.h"

static char *v4_only[] = {"127.0.0.1", NULL}, *both[] = {"127.0.0.1", "::1", NULL},
	    *bad[] = {"localhost", NULL};
/* Not of this machine (RFC 5737): nothing is sent there, it only cannot be bound. */
static char *not_ours[] = {"127.0.0.1", "192.0.2.1", NULL};

/* A port that is free on both loopback addresses just now. */
static uint16_t free_port(void)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	socklen_t len = sizeof any;
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof any), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&any, &len), 0);
	close(fd);
	return ntohs(any.sin6_port);
}

static bool connects(const char *address, uint16_t port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	bool is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
	int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM, 0);
	inet_pton(AF_INET6, address, &v6.sin6_addr);
	int ret = is_v4 ? connect(fd, (struct sockaddr *)&v4, sizeof v4)
			: connect(fd, (struct sockaddr *)&v6, sizeof v6);
	close(fd);
	return ret == 0;
}

static void test_open_and_reload(void **state)
{
	(void)state;
	char why[256] = "";
	uint16_t first = free_port(), second = free_port();
	struct listener_config configs[] = {
	    {.protocol = PROTOCOL_POP3, .name = "pop3", .addresses = both, .port = first},
	    {.protocol = PROTOCOL_KPOP, .name = "kpop", .addresses = v4_only, .port = second},
	};
	struct config config = {.listeners = configs, .listener_count = 2};
	struct listeners old, new;
	assert_int_equal(listeners_open(&old, NULL, &config, why, sizeof why), 0);
	assert_int_equal(old.count, 3);
	assert_true(connects("127.0.0.1", first) && connects("::1", first) && connects("127.0.0.1", second));
	assert_false(connects("::1", second));
	assert_int_equal(old.entries[2].section, 1);
	assert_true((fcntl(old.entries[0].fd, F_GETFL) & O_NONBLOCK) != 0);
	assert_true((fcntl(old.entries[0].fd, F_GETFD) & FD_CLOEXEC) != 0);

	/* What stays is the same socket, never closed for a moment; what is gone is closed. */
	config.listener_count = 1;
	configs[0].addresses = v4_only;
	assert_int_equal(listeners_open(&new, &old, &config, why, sizeof why), 0);
	assert_int_equal(new.count, 1);
	assert_int_equal(new.entries[0].fd, old.entries[0].fd);
	listeners_close(&old, &new);
	assert_true(connects("127.0.0.1", first));
	assert_false(connects("::1", first));
	assert_false(connects("127.0.0.1", second));

	/* A new configuration that cannot be had leaves the old one serving. */
	configs[0].addresses = not_ours;
	assert_int_equal(listeners_open(&old, &new, &config, why, sizeof why), -1);
	assert_non_null(strstr(why, "192.0.2.1"));
	assert_true(connects("127.0.0.1", first));
	configs[0].addresses = bad;
	assert_int_equal(listeners_open(&old, &new, &config, why, sizeof why), -1);
	assert_non_null(strstr(why, "localhost is not a numeric address"));
	listeners_close(&new, NULL);
	assert_false(connects("127.0.0.1", first));
}

static char *nowhere[] = {NULL};
static char folder[] = "/tmp/kpopd-listeners.XXXXXX";

static struct sockaddr_un local_address(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	return address;
}

static bool connects_to(const char *path)
{
	struct sockaddr_un address = local_address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int ret = connect(fd, (struct sockaddr *)&address, sizeof address);
	close(fd);
	return ret == 0;
}

static int local_socket(const char *path)
{
	struct sockaddr_un address = local_address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

static unsigned mode_of(const char *path)
{
	struct stat st;
	assert_int_equal(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

static void test_local(void **state)
{
	(void)state;
	char why[256] = "", path[64], mode[] = "0620", nobody[] = "no-such-user";
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/lmtp", folder);
	struct listener_config mail = {
	    .protocol = PROTOCOL_LMTP, .name = "mail", .addresses = nowhere, .path = path, .path_mode = mode};
	struct config config = {.listeners = &mail, .listener_count = 1};
	struct listeners old, new;
	mode_t mask = umask(022);
	assert_int_equal(listeners_open(&old, NULL, &config, why, sizeof why), 0);
	umask(mask);
	assert_int_equal(old.count, 1);
	assert_true(mode_of(path) == 0620 && connects_to(path));
	assert_true((fcntl(old.entries[0].fd, F_GETFL) & O_NONBLOCK) != 0);

	/* What stays is the same socket, with another mode. */
	strcpy(mode, "0600");
	assert_int_equal(listeners_open(&new, &old, &config, why, sizeof why), 0);
	assert_int_equal(new.entries[0].fd, old.entries[0].fd);
	listeners_close(&old, &new);
	assert_true(mode_of(path) == 0600 && connects_to(path));

	/* Another kpopd would not take it away, and what cannot be had leaves it serving. */
	assert_int_equal(listeners_open(&old, NULL, &config, why, sizeof why), -1);
	assert_non_null(strstr(why, "something is there already"));
	mail.path_owner = nobody;
	assert_int_equal(listeners_open(&old, &new, &config, why, sizeof why), -1);
	assert_non_null(strstr(why, "there is no such user"));
	mail.path_owner = NULL;
	assert_true(connects_to(path));

	/* One whose file somebody has removed is made anew. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(listeners_open(&old, &new, &config, why, sizeof why), 0);
	listeners_close(&new, &old);
	assert_true(connects_to(path));
	listeners_close(&old, NULL);
	assert_int_equal(access(path, F_OK), -1);

	/* What is left over gives way; what is no socket does not. */
	close(local_socket(path));
	assert_int_equal(listeners_open(&old, NULL, &config, why, sizeof why), 0);
	assert_true(connects_to(path));
	listeners_close(&old, NULL);
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_int_equal(listeners_open(&old, NULL, &config, why, sizeof why), -1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(chmod(folder, 01777), 0);
	assert_int_equal(listeners_open(&old, NULL, &config, why, sizeof why), -1);
	assert_non_null(strstr(why, "anybody may write to that directory"));
	assert_int_equal(rmdir(folder), 0);
	assert_int_equal(listeners_open(&old, NULL, &config, why, sizeof why), -1);
	assert_non_null(strstr(why, "make the directory first"));

	/* Who must be there is looked for before. */
	assert_int_equal(local_socket_check_owner(&mail, why, sizeof why), 0);
	mail.path_owner = nobody;
	assert_int_equal(local_socket_check_owner(&mail, why, sizeof why), -1);
	assert_non_null(strstr(why, "path_owner: there is no such user; make it"));
	mail.path_owner = NULL;
	mail.path_group = nobody;
	assert_int_equal(local_socket_check_owner(&mail, why, sizeof why), -1);
	assert_non_null(strstr(why, "path_group: there is no such group; make it"));
}

static void test_split(void **state)
{
	(void)state;
	struct listener_config configs[] = {
	    {.protocol = PROTOCOL_LMTP}, {.protocol = PROTOCOL_POP3}, {.protocol = PROTOCOL_LMTP}};
	struct config config = {.listeners = configs, .listener_count = 3};
	struct listeners all = {.entries = {{.fd = 10}, {.fd = 11, .section = 1}, {.fd = 12, .section = 2}},
			     .count = 3},
			 fronts, lmtp;
	listeners_split(&all, &config, &fronts, &lmtp);
	assert_true(fronts.count == 1 && fronts.entries[0].fd == 11);
	assert_true(lmtp.count == 2 && lmtp.entries[0].fd == 10 && lmtp.entries[1].fd == 12);
	assert_true(listeners_want(&config, true) && listeners_want(&config, false));
	config.listener_count = 1;
	assert_true(listeners_want(&config, true) && !listeners_want(&config, false));
}

static int listening_at(in_addr_t address, uint16_t *port_r)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
	socklen_t len = sizeof any;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof any), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&any, &len), 0);
	*port_r = ntohs(any.sin_port);
	return fd;
}

static int listening(uint16_t *port_r)
{
	return listening_at(INADDR_LOOPBACK, port_r);
}

/* As systemd hands them over. */
static void place(int fd, int wanted)
{
	int high = fcntl(fd, F_DUPFD, 100);
	close(fd);
	assert_int_equal(dup2(high, wanted), wanted);
	close(high);
}

static void test_inherited(void **state)
{
	(void)state;
	char why[256] = "", pid[32];
	uint16_t named_port, matching_port;
	/* As systemd does: from descriptor 3 on, in order. */
	int named = listening(&named_port), matching = listening(&matching_port);
	uint16_t open_port;
	char path[] = "/tmp/kpopd-listeners-lmtp.XXXXXX", mode[] = "0660";
	int open = listening_at(INADDR_ANY, &open_port), unique = mkstemp(path);
	close(unique);
	unlink(path);
	int local = local_socket(path);
	named = fcntl(named, F_DUPFD, 50);
	matching = fcntl(matching, F_DUPFD, 50);
	open = fcntl(open, F_DUPFD, 50);
	place(fcntl(local, F_DUPFD, 50), 5);
	place(named, 3);
	place(matching, 4);
	place(open, 6);
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "4", 1);
	setenv("LISTEN_FDNAMES", "kpop:unknown:strange:wide", 1);
	listeners_inherit();

	struct listener_config configs[] = {
	    {.protocol = PROTOCOL_POP3, .name = "pop3", .addresses = v4_only, .port = matching_port},
	    {.protocol = PROTOCOL_KPOP, .name = "kpop", .addresses = both, .port = 1109},
	};
	struct config config = {.listeners = configs, .listener_count = 2};
	struct listeners l;
	assert_int_equal(listeners_open(&l, NULL, &config, why, sizeof why), 0);
	/* One by its address, one by its name, and nothing bound beside the named one. */
	assert_int_equal(l.count, 2);
	assert_int_equal(l.entries[0].fd, 4);
	assert_int_equal(l.entries[0].section, 0);
	assert_int_equal(l.entries[1].fd, 3);
	assert_int_equal(l.entries[1].section, 1);
	assert_int_equal(ntohs(l.entries[1].address.sin6_port), named_port);
	assert_true((fcntl(3, F_GETFL) & O_NONBLOCK) != 0);
	/* They are systemd's: a reload without them does not close them for good. */
	listeners_close(&l, NULL);
	assert_true(fcntl(3, F_GETFD) >= 0 && fcntl(4, F_GETFD) >= 0);

	/* A Unix socket by its path; it stays systemd's, too. */
	struct listener_config mail = {
	    .protocol = PROTOCOL_LMTP, .name = "mail", .addresses = nowhere, .path = path, .path_mode = mode};
	config = (struct config){.listeners = &mail, .listener_count = 1};
	assert_int_equal(listeners_open(&l, NULL, &config, why, sizeof why), 0);
	assert_int_equal(l.entries[0].fd, 5);
	listeners_close(&l, NULL);
	assert_true(fcntl(5, F_GETFD) >= 0 && access(path, F_OK) == 0);
	unlink(path);
	/* One that other machines reach is not for LMTP, whoever made it. */
	mail = (struct listener_config){
	    .protocol = PROTOCOL_LMTP, .name = "wide", .addresses = v4_only, .port = open_port};
	assert_int_equal(listeners_open(&l, NULL, &config, why, sizeof why), -1);
	assert_non_null(strstr(why, "is open to other machines"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_open_and_reload),
	    cmocka_unit_test(test_local),
	    cmocka_unit_test(test_split),
	    cmocka_unit_test(test_inherited),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
