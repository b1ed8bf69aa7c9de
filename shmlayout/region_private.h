/* SPDX-License-Identifier: Apache-2.0 */
/* What the writer's and the reader's side of region.h share. */
#ifndef SHMLAYOUT_REGION_PRIVATE_H
#define SHMLAYOUT_REGION_PRIVATE_H

#include "shmlayout/region.h"

/* The descriptor moved to 3 or more: a host that closed its standard streams must never print into
 * us. Negative ones are passed through. */
int fws_fd_above_stdio(int fd);

/* Opens a file of somebody else's for reading: follows no link, waits for nobody. -1 and errno. */
int fws_file_open(int dirfd, const char *path);

/* Reads [offset, offset + bytes) whole. False: the file ends before, or an error (errno; 0: end). */
bool fws_read_whole(int fd, void *out, uint64_t bytes, uint64_t offset);

/* Maps the file's first bytes, shared. NULL and why. */
fws_word *fws_map_shared(int fd, uint64_t bytes, int protection, char *why, size_t cap);

enum fws_attach fws_attach_of_errno(int error);
enum fws_attach fws_attach_of_verdict(enum fws_verdict verdict);

#endif
