/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service manager's side of `serve`: sd_notify(3) and sd_listen_fds(3), spoken directly. The
 * protocols are stable and a few lines each; the library would bring five others into the image.
 * Every call does nothing where no manager asked for it. Main thread only.
 */
#ifndef SIDECAR_MANAGER_H
#define SIDECAR_MANAGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sends one datagram to $NOTIFY_SOCKET: "READY=1", "STATUS=...", "WATCHDOG=1", "STOPPING=1", one
 * assignment a line. Never waits: a manager that does not read misses it. */
void manager_notify(const char *text);

/* How often the manager wants to hear "WATCHDOG=1", in ns; 0: not. */
uint64_t manager_watchdog_ns(void);

/* Listening sockets that the process was started with; 0: none. */
struct manager_sockets {
    int listen; /* the one named anything but "probe" (systemd: FileDescriptorName=) */
    int probe;
};

/* Takes them from $LISTEN_FDS. False and why: there are more than one of a kind. */
bool manager_sockets_take(struct manager_sockets *out, char *why, size_t cap);

#endif
