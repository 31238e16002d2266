/* SPDX-License-Identifier: ISC */
/* Who has mail: the template read backwards against real directories. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/server/config_text.h"
#include "tools/everyone.h"

static char dir[] = "/tmp/everyone_test.XXXXXX";

/* Sorted, as directories have no order. */
struct names {
	char *names[64];
	size_t count, limit;
	char notes[512];
};

static int take(void *arg, const char *user)
{
	struct names *names = arg;
	assert_true(names->count < 64);
	names->names[names->count++] = strdup(user);
	return names->limit != 0 && names->count == names->limit ? 7 : 0;
}

static void note(void *arg, const char *path, int error)
{
	struct names *names = arg;
	size_t len = strlen(names->notes);
	snprintf(names->notes + len, sizeof(names->notes) - len, "%s: %s\n", path, strerror(error));
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type;
	return ftw->level == 0 ? 0 : remove(path);
}

/* "a/b/" is a directory, "a/b" a file, "a>b" a symbolic link to b. */
static void make(const char *what)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", dir, what);
	for (char *slash = path + strlen(dir) + 1; (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
		*slash = '\0';
		assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
	}
	char *target = strchr(path, '>');
	if (target != NULL) {
		*target++ = '\0';
		assert_int_equal(symlink(target, path), 0);
	} else if (path[strlen(path) - 1] != '/') {
		int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_true(fd >= 0);
		close(fd);
	}
}

static int walk(const char *text, struct names *names)
{
	struct config *config = config_text(text);
	const struct everyone everyone = {config, take, note, names};
	int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(root >= 0);
	int result = everyone_walk(&everyone, root);
	close(root);
	config_free(&config);
	return result;
}

static void test_templates(void **state)
{
	static const struct {
		const char *sentence, *config, *tree, *want;
	} rows[] = {
	    {"an empty root", "", "", ""},
	    {"a user, and one without mail", "", "alice/Maildir/new/ bob/", "alice"},
	    {"names that are none", "", "-a/Maildir/ .b/Maildir/ c..d/Maildir/ e@/Maildir/ f@g/Maildir/",
		"f@g"},
	    {"a file in the place of a Maildir, or of the user", "", "alice/Maildir bob", ""},
	    {"a symbolic link is nobody's mail", "",
		"alice/Maildir/ bob>alice carol/Maildir>../alice/Maildir", "alice"},
	    {"the Maildir itself", "maildir = '%u'\n", "alice/ bob/ carol", "alice bob"},
	    {"deep down", "maildir = 'a/b/%u/c/d'\n", "a/b/alice/c/d/ a/b/bob/c/ a/x/carol/c/d/", "alice"},
	    {"with letters round it", "maildir = 'of-%u.mail'\n",
		"of-alice.mail/ of-bob.mai/ o-c.mail/ of-.mail/", "alice"},
	    {"by domain", "maildir = '%d/%n/Maildir'\n",
		"x.example/alice/Maildir/ default/bob/Maildir/ y/carol/", "alice@x.example bob"},
	    {"by domain, letters round it", "maildir = 'd_%d/%n_n'\n", "d_x.example/al_n_n/ d_default/b_n/",
		"al_n@x.example b"},
	    {"by name and domain, which must agree", "maildir = '%d/%u'\n",
		"x.example/alice@x.example/ x.example/alice@y.example/ default/bob/ y.example/carol/",
		"alice@x.example bob"},
	    {"the name before the domain", "maildir = '%n/%d'\n", "alice/x.example/ alice/default/",
		"alice alice@x.example"},
	    {"two in one component", "maildir = '%u/%n.%d'\n",
		"a@b.c/a.b.c/ a@b.c/a.b/ a.b/a.b.default/ x/x.default/ x/y.default/", "a.b a@b.c x"},
	    {"two in one component, before the name", "maildir = '%n%d/%u'\n",
		"abc/a@bc/ abc/ab@c/ abc/b@c/ adefault/a/", "a a@bc ab@c"},
	    {"the same twice", "maildir = '%u/%u'\n", "alice/alice/ alice/bob/ bob/alice/", "alice"},
	    {"another spelling of a name is nobody's", "fold_case = true\n", "alice/Maildir/ Bob/Maildir/",
		"alice"},
	    {"a domain that goes", "local_domains = {'x.example'}\n",
		"a@x.example/Maildir/ b@y.example/Maildir/", "b@y.example"},
	    {"a spool", "spool = '%u'\n", "alice bob/ carol.lock dave", "alice dave"},
	    {"a spool by domain", "spool = '%d/%n'\n", "x.example/alice default/bob x.example/bob.lock",
		"alice@x.example bob"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char tree[512], got[512] = "";
		struct names names = {0};
		snprintf(tree, sizeof(tree), "%s", rows[i].tree);
		for (char *save, *word = strtok_r(tree, " ", &save); word != NULL;
		     word = strtok_r(NULL, " ", &save))
			make(word);
		assert_int_equal(walk(rows[i].config, &names), 0);
		qsort(names.names, names.count, sizeof(*names.names), compare);
		for (size_t n = 0; n < names.count; n++) {
			snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", n > 0 ? " " : "",
			    names.names[n]);
			free(names.names[n]);
		}
		if (strcmp(got, rows[i].want) != 0 || names.notes[0] != '\0')
			fail_msg("%s: %s, not %s; %s", rows[i].sentence, got, rows[i].want, names.notes);
		nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	}
}

static void test_end(void **state)
{
	struct names names = {.limit = 1};

	(void)state;
	make("alice/Maildir/");
	make("bob/Maildir/");
	assert_int_equal(walk("", &names), 7);
	assert_int_equal(names.count, 1);
	free(names.names[0]);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void test_unreadable(void **state)
{
	struct names names = {0};
	char path[512];

	(void)state;
	make("x/alice/");
	make("y/bob/");
	snprintf(path, sizeof(path), "%s/x", dir);
	assert_int_equal(chmod(path, 0), 0);
	if (geteuid() == 0) /* whom no mode stops */
		skip();
	assert_int_equal(walk("maildir = '%d/%n'\n", &names), 0);
	assert_int_equal(chmod(path, 0700), 0);
	assert_int_equal(names.count, 1);
	assert_string_equal(names.names[0], "bob@y");
	assert_string_equal(names.notes, "x: Permission denied\n");
	free(names.names[0]);
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_templates),
	    cmocka_unit_test(test_end),
	    cmocka_unit_test(test_unreadable),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
