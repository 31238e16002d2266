/* SPDX-License-Identifier: ISC */
/*
 * replay: runs a fuzz target over the files of its corpus, as a plain test that prints TAP.
 *
 * Each argument is a file or a directory of files; without arguments, the corpus named by
 * REPLAY_CORPUS (relative to the source tree) is used.
 */
#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned replayed;

static void replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	if (file == NULL) {
		printf("not ok %u - open %s\n", ++replayed, path);
		exit(1);
	}
	uint8_t *data = NULL;
	size_t len = 0;
	size_t size = 0;
	size_t got;
	do {
		if (size - len < 65536) {
			size += 65536;
			data = realloc(data, size);
			if (data == NULL)
				abort();
		}
		got = fread(data + len, 1, size - len, file);
		len += got;
	} while (got > 0);
	fclose(file);
	/* An exact copy, so that a sanitizer sees a read past its end. */
	uint8_t *exact = malloc(len + (len == 0));
	if (exact == NULL)
		abort();
	memcpy(exact, data, len);
	free(data);
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
	const char *name = strrchr(path, '/');
	printf("ok %u - %s\n", ++replayed, name == NULL ? path : name + 1);
}

static void replay(const char *path)
{
	struct dirent **entries;
	int count = scandir(path, &entries, NULL, alphasort);
	if (count < 0) {
		replay_file(path);
		return;
	}
	for (int i = 0; i < count; i++) {
		char file[PATH_MAX];
		if (entries[i]->d_name[0] != '.' &&
		    snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name) < (int)sizeof(file))
			replay_file(file);
		free(entries[i]);
	}
	free(entries);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
#ifdef REPLAY_CORPUS
	const char *srcdir = getenv("KPOPD_SRCDIR");
	char path[PATH_MAX];
	if (argc == 1 && snprintf(path, sizeof(path), "%s/%s", srcdir == NULL ? "." : srcdir, REPLAY_CORPUS) <
			     (int)sizeof(path))
		replay(path);
#endif
	if (replayed == 0)
		printf("not ok 1 - the corpus is empty\n");
	printf("1..%u\n", replayed == 0 ? 1 : replayed);
	return replayed == 0;
}
