/* SPDX-License-Identifier: ISC */
#include "server/message_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

bool message_begin(struct message_memory *message)
{
	message->fd = memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	message->octets = 0;
	return message->fd >= 0;
}

bool message_write(struct message_memory *message, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	while (len > 0 && message->fd >= 0) {
		ssize_t put = write(message->fd, p, len);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0) {
			message_clear(message);
			break;
		}
		p += put;
		len -= (size_t)put;
		message->octets += (uint64_t)put;
	}
	return message->fd >= 0;
}

bool message_seal(struct message_memory *message)
{
	if (message->fd >= 0 && fcntl(message->fd, F_ADD_SEALS, SEALS) < 0)
		message_clear(message);
	return message->fd >= 0;
}

void message_clear(struct message_memory *message)
{
	if (message->fd >= 0)
		close(message->fd);
	*message = (struct message_memory){.fd = -1};
}

/* What is no memory file has no seals at all. */
bool message_sound(int fd, uint64_t *octets_r)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	*octets_r = (uint64_t)st.st_size;
	return true;
}
