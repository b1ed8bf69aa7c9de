/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets: TCP from ADDR:PORT, unix from a path, or handed over by a service manager; and
 * the words for why there is none. */
#ifndef SIDECAR_LISTEN_H
#define SIDECAR_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LISTEN_NAME_BYTES = 80, LISTEN_PATH_BYTES = 128 };

struct listen_socket {
    int fd; /* non-blocking, close-on-exec, TCP_NODELAY for what it accepts; listening */
    bool loopback; /* only this machine reaches it: a loopback address or a unix socket */
    char host[LISTEN_NAME_BYTES];     /* as it stands in a Host header: 127.0.0.1 or [::1] */
    char address[LISTEN_PATH_BYTES]; /* host:port as bound, or the path of a unix socket */
    uint64_t device, inode;          /* of a unix socket that was bound here */
};

/* Binds and listens on where = ADDR:PORT, [V6]:PORT or localhost:PORT; flag names the option in
 * messages. False and a line naming cause and cure in why on failure. The caller owns fd. */
bool listen_open(const char *where, const char *flag, struct listen_socket *out, char *why,
                 size_t cap);

/* The same on a unix socket at path, mode 0660. One that nobody listens on any more is replaced; a
 * file of another kind is not. */
bool listen_open_unix(const char *path, struct listen_socket *out, char *why, size_t cap);

/* Removes the path of a unix socket that was bound here, unless another stands there by now. */
void listen_unlink_unix(const struct listen_socket *socket);

/* Takes a listening stream socket that the process was started with. */
bool listen_take(int fd, struct listen_socket *out, char *why, size_t cap);

/* What where is, without binding it. */
enum listen_reach { LISTEN_NOT_AN_ADDRESS, LISTEN_LOOPBACK, LISTEN_PUBLIC };
enum listen_reach listen_reach(const char *where);

#endif
