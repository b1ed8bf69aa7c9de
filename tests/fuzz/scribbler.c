/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A forwarder gone mad: opens the shim, fills its region, and from the first line on its standard
 * input to the end of it stores random words all over the region, while a thread of it goes on
 * making ordinary calls. Now and then a stretch, and header and directory, are as they were at
 * first, so that readers find something to follow.
 *
 *   scribbler DIR FIRST   FIRST: the first word that is scribbled on; 0 takes the header along
 *
 * Prints "on PATH", and at its end how many words it stored.
 */
#include "fwdscope.h"
#include "image.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BURST = 2000, HEAL_WORDS = 512 };

static _Atomic uint64_t *words;
static uint64_t *first_words; /* as they were at first */
static size_t word_count, first;
static atomic_bool stop;

static uint64_t random_next(void)
{
    static uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void region_map(void)
{
    struct stat st;
    const int fd = open(fwdscope_path(), O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        perror(fwdscope_path());
        exit(1);
    }
    word_count = (size_t)st.st_size / sizeof *words;
    words = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    first_words = malloc((size_t)st.st_size);
    if (words == MAP_FAILED || first_words == NULL) {
        perror("map");
        exit(1);
    }
    for (size_t i = 0; i < word_count; i++)
        first_words[i] = atomic_load_explicit(&words[i], memory_order_relaxed);
    close(fd);
}

/* Half of the stores go where descriptors and control words are, at the start of every section. */
static size_t place_pick(void)
{
    const size_t directory = (size_t)(first_words[FWS_H_DIR_OFFSET] / 8);
    size_t at = random_next() % word_count;
    if (random_next() % 2 == 0) {
        const size_t section = random_next() % first_words[FWS_H_DIR_COUNT];
        const uint64_t *entry = first_words + directory + section * FWS_D_WORDS;
        const size_t lane = random_next() % entry[FWS_D_LANES];
        at = (size_t)(entry[FWS_D_OFFSET] + lane * entry[FWS_D_COUNT] * entry[FWS_D_STRIDE]) / 8 +
             random_next() % 128;
    }
    return at < word_count && at >= first ? at : first + random_next() % (word_count - first);
}

static uint64_t value_pick(size_t at)
{
    static const uint64_t hostile[] = {0,
                                       1,
                                       UINT64_MAX,
                                       INT64_MAX,
                                       4097,
                                       UINT64_C(1) << 40,
                                       UINT64_C(0x7ff8000000000001),
                                       UINT64_C(0xfffffffffffffff8)};
    const uint64_t now = atomic_load_explicit(&words[at], memory_order_relaxed);
    switch (random_next() % 4) {
    case 0:
        return hostile[random_next() % (sizeof hostile / sizeof *hostile)];
    case 1:
        return now + random_next() % 17 - 8;
    case 2:
        return now ^ UINT64_C(1) << random_next() % 64;
    default:
        return random_next();
    }
}

static void heal_from(size_t from, size_t count)
{
    for (size_t i = from; i < from + count && i < word_count; i++)
        atomic_store_explicit(&words[i], first_words[i], memory_order_relaxed);
}

static void heal(void)
{
    for (int i = 0; i < 4; i++)
        heal_from(first + random_next() % (word_count - first), HEAL_WORDS);
    if (random_next() % 2 == 0)
        heal_from(0, (size_t)(first_words[FWS_H_DIR_OFFSET] / 8 +
                              first_words[FWS_H_DIR_COUNT] * FWS_D_WORDS));
}

static void *calls_make(void *arg)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    (void)arg;
    for (unsigned n = 0; !atomic_load(&stop); n++) {
        const fwdscope_span span = fwdscope_span_start("mad", FWDSCOPE_SPAN_INTERNAL, 0);
        fwdscope_log(FWDSCOPE_INFO, "a line between scribbles", 24);
        fwdscope_span_end(span, 0);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    pthread_t caller;
    unsigned long long stored = 0;
    if (argc != 3 || !shim_fill(argv[1]))
        return 2;
    first = strtoul(argv[2], NULL, 0);
    region_map();
    setvbuf(stdin, NULL, _IONBF, 0); /* poll() is to see its end */
    printf("on %s\n", fwdscope_path());
    fflush(stdout);
    if (getchar() != '\n' || pthread_create(&caller, NULL, calls_make, NULL) != 0)
        return 2;
    while (poll(&input, 1, 1) == 0) { /* a millisecond between bursts: others run too */
        for (int i = 0; i < BURST; i++, stored++) {
            const size_t at = place_pick();
            atomic_store_explicit(&words[at], value_pick(at), memory_order_relaxed);
        }
        heal();
    }
    atomic_store(&stop, true);
    pthread_join(caller, NULL);
    printf("stored %llu\n", stored);
    return 0;
}
