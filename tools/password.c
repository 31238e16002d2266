/* SPDX-License-Identifier: ISC */
#include "tools/password.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = number;
}

/* One line, octet by octet: nothing of it stays in a buffer that nobody wipes. */
static int read_line(char *line_r, const char **why_r)
{
	size_t len = 0;
	ssize_t got;
	char octet;

	while ((got = read(STDIN_FILENO, &octet, 1)) == 1 && octet != '\n') {
		if (octet == '\0' || len == SECRETS_PASSWORD_OCTETS) {
			*why_r = octet == '\0' ? "a password cannot have a NUL in it"
					       : "the password is longer than 255 octets";
			explicit_bzero(line_r, PASSWORD_OCTETS);
			return -1;
		}
		line_r[len++] = octet;
	}
	line_r[len] = '\0';
	if (got < 0 || len == 0) {
		*why_r = got < 0 ? "the password cannot be read" : "the password is empty";
		explicit_bzero(line_r, PASSWORD_OCTETS);
		return -1;
	}
	return 0;
}

/* While the terminal shows nothing, a signal must not leave it so: it is noted, and raised afterwards. */
static int prompt(const char *text, const char *user, char *line_r, const char **why_r)
{
	static const int signals[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGTSTP};
	struct sigaction action = {.sa_handler = on_signal}, old[sizeof(signals) / sizeof(signals[0])];
	struct termios shown, hidden;
	int rc;

	if (tcgetattr(STDIN_FILENO, &shown) < 0) {
		*why_r = strerror(errno);
		return -1;
	}
	hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	hidden.c_lflag |= ECHONL;
	interrupted = 0;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, &old[i]);
	fprintf(stderr, "%s %s: ", text, user);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
	rc = read_line(line_r, why_r);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &old[i], NULL);
	if (interrupted != 0) {
		explicit_bzero(line_r, PASSWORD_OCTETS);
		raise(interrupted);
		*why_r = "interrupted";
		rc = -1;
	}
	return rc;
}

int password_read(const char *user, char *password_r, const char **why_r)
{
	char again_secret[PASSWORD_OCTETS];
	int rc;

	if (!isatty(STDIN_FILENO))
		return read_line(password_r, why_r);
	if (prompt("Password for", user, password_r, why_r) < 0)
		return -1;
	rc = prompt("Again, for", user, again_secret, why_r);
	if (rc == 0 && strcmp(password_r, again_secret) != 0) {
		*why_r = "the two passwords differ";
		rc = -1;
	}
	explicit_bzero(again_secret, sizeof(again_secret));
	if (rc < 0)
		explicit_bzero(password_r, PASSWORD_OCTETS);
	return rc;
}
