/* SPDX-License-Identifier: Apache-2.0 */
/* Signal handlers that call the shim on top of a call of their own thread. */
#include "host.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Which thread this is, and whether it is inside a round: what its handlers look at. */
static _Thread_local struct tally *mine;
static _Thread_local volatile sig_atomic_t inside;

static void round_of_mine(void)
{
    inside = 1;
    tally_round(mine);
    inside = 0;
}

static void handle(int number, void (*handler)(int number), int flags)
{
    const struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART | flags};
    if (sigaction(number, &action, NULL) != 0)
        die("sigaction", strerror(errno));
}

/* A timer that signals the calling thread, and then every so often; every_ns 0: once. */
static timer_t timer_begin(int number, long first_ns, long every_ns)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = number};
    const struct itimerspec every = {.it_interval = {.tv_nsec = every_ns},
                                     .it_value = {.tv_nsec = first_ns}};
    timer_t timer;
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
        timer_settime(timer, 0, &every, NULL) != 0)
        die("timer", strerror(errno));
    return timer;
}

/* ---- handlers that write --------------------------------------------------------------------- */

static struct tally handled; /* by all handlers */
static _Atomic uint64_t on_top, wanted;

static void write_on_top(int number)
{
    (void)number;
    const int saved = errno;
    tally_round(&handled);
    atomic_fetch_add(&on_top, (uint64_t)inside);
    errno = saved;
}

/* Two timers a thread: a handler of the one interrupts a handler of the other. */
static void *timed_writer(void *arg)
{
    mine = arg;
    timer_t slow = timer_begin(SIGUSR1, 110000, 110000), fast = timer_begin(SIGUSR2, 70000, 70000);
    while (atomic_load(&handled.done) < atomic_load(&wanted))
        round_of_mine();
    timer_delete(slow);
    timer_delete(fast);
    return NULL;
}

/* THREADS threads, until HANDLERS handlers came. */
void run_timers(char **words)
{
    static struct tallies tallies;
    const unsigned threads = (unsigned)atoi(words[1]);
    pthread_t running[THREADS_MAX];
    uint64_t begun, done;
    if (threads > THREADS_MAX)
        die("timers", "too many threads");
    host_open(words[0], "timers", 8);
    handle(SIGUSR1, write_on_top, 0);
    handle(SIGUSR2, write_on_top, 0);
    atomic_store(&wanted, strtoull(words[2], NULL, 10));
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&running[i], NULL, timed_writer, &tallies.threads[i]) != 0)
            die("no thread", "");
    for (unsigned i = 0; i < threads; i++)
        pthread_join(running[i], NULL);
    tallies_sum(&tallies, &begun, &done);
    fwdscope_close(FWDSCOPE_CLOSED, "");
    say("handlers %llu %llu", (unsigned long long)atomic_load(&handled.done),
        (unsigned long long)atomic_load(&on_top));
    say_wrote(done + atomic_load(&handled.done));
}

/* ---- handlers that never return -------------------------------------------------------------- */

static _Thread_local sigjmp_buf back;
static _Thread_local volatile sig_atomic_t may_jump;

static void jump(int number)
{
    (void)number;
    if (may_jump && inside)
        siglongjmp(back, 1);
}

/* One jump out of a round, at any place of it; then the thread writes some more, and ends. */
static void *jumper(void *arg)
{
    mine = arg;
    round_of_mine(); /* the thread has a lane */
    timer_t timer = timer_begin(SIGUSR1, 50000, 50000);
    if (sigsetjmp(back, 1) == 0) {
        may_jump = 1;
        while (true)
            round_of_mine();
    }
    may_jump = 0;
    timer_delete(timer);
    for (int i = 0; i < 5; i++)
        round_of_mine();
    return NULL;
}

enum { LAST_ROUNDS = 50 };

static void *last_writer(void *arg)
{
    mine = arg;
    for (int i = 0; i < LAST_ROUNDS; i++)
        round_of_mine();
    return NULL;
}

static void thread_run(void *(*run)(void *arg), void *arg)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, arg) != 0 || pthread_join(thread, NULL) != 0)
        die("no thread", "");
}

/* JUMPS threads, one after the other: each leaves a call of the shim in the middle, and ends. What
 * the last one, which does not jump, writes must all be there. */
void run_jumps(char **words)
{
    const int jumps = atoi(words[1]);
    struct tallies *tallies = tallies_map(words[2]);
    uint64_t begun, done;
    host_open(words[0], "jumps", 8);
    handle(SIGUSR1, jump, 0);
    for (int i = 0; i < jumps; i++)
        thread_run(jumper, &tallies->threads[i % THREADS_MAX]);
    thread_run(last_writer, &tallies->threads[0]);
    fwdscope_close(FWDSCOPE_CLOSED, "");
    tallies_sum(tallies, &begun, &done);
    say("between %llu %llu", (unsigned long long)done, (unsigned long long)begun);
}

/* ---- handlers in threads that end ------------------------------------------------------------ */

static struct tally threads_own; /* of all threads of the scenario */

static timer_t late_timer;

static long late_ns;

/* Ends under its timer: over many threads, the handler comes at every place of the end. */
static void *ends_under_timer(void *arg)
{
    mine = arg;
    round_of_mine();
    late_timer = timer_begin(SIGUSR1, late_ns, 0);
    return NULL;
}

static pthread_barrier_t all_write;

static void *writes_with_all(void *arg)
{
    mine = arg;
    pthread_barrier_wait(&all_write);
    for (int i = 0; i < 1000; i++)
        round_of_mine();
    pthread_barrier_wait(&all_write);
    return NULL;
}

/* THREADS threads that end under a timer; then 7 at once, each of which must find a lane of its
 * own. */
void run_late(char **words)
{
    pthread_t last[7];
    const int threads = atoi(words[1]);
    host_open(words[0], "late", 8);
    handle(SIGUSR1, write_on_top, 0);
    for (int i = 0; i < threads; i++) {
        late_ns = 500 + i * 7919L % 20000;
        thread_run(ends_under_timer, &threads_own);
        timer_delete(late_timer);
    }
    pthread_barrier_init(&all_write, NULL, 7);
    for (int i = 0; i < 7; i++)
        if (pthread_create(&last[i], NULL, writes_with_all, &threads_own) != 0)
            die("no thread", "");
    for (int i = 0; i < 7; i++)
        pthread_join(last[i], NULL);
    fwdscope_close(FWDSCOPE_CLOSED, "");
    say("handlers %llu", (unsigned long long)atomic_load(&handled.done));
    say_wrote(atomic_load(&threads_own.done) + atomic_load(&handled.done));
}

/* ---- stopped, continued, killed -------------------------------------------------------------- */

/* Four threads that write until the end of input; a test stops and continues or kills them. */
void run_pauses(char **words)
{
    char line[64];
    uint64_t begun, done;
    struct tallies *tallies = tallies_map(words[1]);
    host_open(words[0], "pauses", 0);
    writers_start(tallies, 4, 200);
    say("writing %d", (int)getpid());
    while (await_line(line, sizeof line)) {
    }
    writers_stop();
    fwdscope_close(FWDSCOPE_CLOSED, "told to");
    tallies_sum(tallies, &begun, &done);
    say_wrote(done);
}
