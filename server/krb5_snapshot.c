/* SPDX-License-Identifier: ISC */
#include "server/krb5_snapshot.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INCLUDE_DEPTH = 8, LINE_OCTETS = 8192 };

struct copy {
	FILE *out;
	char *why;
	size_t size;
};

static int copy_file(struct copy *copy, const char *path, unsigned depth);

static int complain(struct copy *copy, const char *path, const char *what)
{
	snprintf(copy->why, copy->size, "%s: %s", path, what);
	return -1;
}

/* The library reads only these from a directory: no editor's leftovers. */
static int sound_name(const struct dirent *entry)
{
	const char *name = entry->d_name;
	size_t len = strlen(name);
	if (name[0] == '.')
		return 0;
	if (len > 5 && strcmp(name + len - 5, ".conf") == 0)
		return 1;
	for (; *name != '\0'; name++)
		if (!isalnum((unsigned char)*name) && *name != '-' && *name != '_')
			return 0;
	return 1;
}

static int copy_directory(struct copy *copy, const char *path, unsigned depth)
{
	struct dirent **entries;
	int count = scandir(path, &entries, sound_name, alphasort);
	if (count < 0)
		return complain(copy, path, strerror(errno));
	int ret = 0;
	for (int i = 0; i < count; i++) {
		char file[PATH_MAX];
		if (ret == 0 &&
		    snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name) < (int)sizeof file)
			ret = copy_file(copy, file, depth);
		free(entries[i]);
	}
	free(entries);
	return ret;
}

/* The argument of a directive at the line's very beginning, or NULL. */
static const char *directive(const char *line, const char *word)
{
	size_t len = strlen(word);
	if (strncmp(line, word, len) != 0 || !isspace((unsigned char)line[len]))
		return NULL;
	return line + len + strspn(line + len, " \t");
}

static int copy_line(struct copy *copy, const char *path, char *line, unsigned depth)
{
	size_t len = strlen(line);
	if (len == LINE_OCTETS - 1 && line[len - 1] != '\n')
		return complain(copy, path, "a line is too long");
	const char *file = directive(line, "include"), *directory = directive(line, "includedir");
	if (file == NULL && directory == NULL)
		return fputs(line, copy->out) < 0 || (line[len - 1] != '\n' && fputc('\n', copy->out) < 0)
			   ? complain(copy, path, strerror(errno))
			   : 0;
	while (len > 0 && isspace((unsigned char)line[len - 1]))
		line[--len] = '\0';
	return file != NULL ? copy_file(copy, file, depth + 1) : copy_directory(copy, directory, depth + 1);
}

static int copy_file(struct copy *copy, const char *path, unsigned depth)
{
	char line[LINE_OCTETS];
	if (depth > INCLUDE_DEPTH)
		return complain(copy, path, "files include each other too deeply");
	FILE *in = fopen(path, "re");
	if (in == NULL)
		return depth == 0 && errno == ENOENT ? 0 : complain(copy, path, strerror(errno));
	int ret = 0;
	while (ret == 0 && fgets(line, sizeof line, in) != NULL)
		ret = copy_line(copy, path, line, depth);
	if (ret == 0 && ferror(in) != 0)
		ret = complain(copy, path, strerror(errno));
	fclose(in);
	return ret;
}

int krb5_snapshot(const char *from, const char *to, char *why_r, size_t size)
{
	char temporary[PATH_MAX];
	if (snprintf(temporary, sizeof temporary, "%s.new", to) >= (int)sizeof temporary) {
		snprintf(why_r, size, "%s: name too long", to);
		return -1;
	}
	unlink(temporary);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
	if (out == NULL) {
		snprintf(why_r, size, "%s: %s", temporary, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	struct copy copy = {out, why_r, size};
	/* A umask of the administrator's must not hide it from auth, who is another user. */
	int ret =
	    fchmod(fd, 0644) < 0 ? complain(&copy, temporary, strerror(errno)) : copy_file(&copy, from, 0);
	bool written = fflush(out) == 0;
	fclose(out);
	if (ret == 0 && (!written || rename(temporary, to) < 0))
		ret = complain(&copy, to, strerror(errno));
	if (ret < 0)
		unlink(temporary);
	return ret;
}
