/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reader processes for hurt_calls: each is this program again, reading the region with the
 * sidecar's own snapshot code every 20 ms. They can be stopped and killed in the middle of a read:
 * a reader that is told to does it to itself while it has a record of the ring in its hands.
 */
#ifndef STRESS_HURT_READERS_H
#define STRESS_HURT_READERS_H

#include <stdint.h>

enum { READERS_MAX = 50 };

/* Ends the process, and by that the test. */
_Noreturn void hurt_die(const char *what, const char *detail);

/* The body of a reader process: REGION, the file that it shares with the writer, its number. */
int reader_main(const char *region, const char *shared, const char *number);

/* The file that readers and writer share; once, before all else. */
void readers_share(const char *path);

/* Starts readers up to `count` in all, and awaits the first whole reading of each. */
void readers_start(const char *region, unsigned count);

/* Stops, or kills, every reader in the middle of a read. Calls write() until each has a record to
 * read. */
void readers_stop(void (*write)(void));
void readers_kill(void (*write)(void));

/* Lets stopped readers go on. */
void readers_continue(void);

/* Whole readings so far, of all readers that ever were. */
uint64_t readers_readings(void);

#endif
