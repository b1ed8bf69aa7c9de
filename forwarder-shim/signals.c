/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opt-in: a fatal signal is marked in the region and then goes where it would have gone without us.
 * An object of its own, on public calls only: who does not call it does not link it.
 */
#include "fwdscope.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CAUGHT = 7, FLUSH_MS = 1000 };

static const int caught[CAUGHT] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
static struct sigaction previous[CAUGHT]; /* written before its signal is caught */

/* Only linked when the forwarder captures its standard error. */
__attribute__((weak)) bool fwdscope_stderr_flush(unsigned ms);

static uint64_t thread_id(void)
{
    return (uint64_t)syscall(SYS_gettid);
}

static void last_words(void)
{
    if (fwdscope_stderr_flush != NULL)
        (void)fwdscope_stderr_flush(FLUSH_MS);
}

/* What the signal is about. */
static uint64_t fault_address(int number, const siginfo_t *info)
{
    /* SI_KERNEL: a fault of which the processor tells no address. */
    if (info->si_code <= 0 || info->si_code == SI_KERNEL || number == SIGABRT)
        return FWDSCOPE_NO_ADDRESS;
    return (uint64_t)(uintptr_t)(number == SIGSYS ? info->si_call_addr : info->si_addr);
}

/* The default action, with the very siginfo: the signal is blocked until the handler returns, so
 * that it ends the process where it was interrupted, and the core shows that place. */
static void end_by_default(int number, siginfo_t *info)
{
    const struct sigaction by_default = {.sa_handler = SIG_DFL};
    (void)sigaction(number, &by_default, NULL);
    if (syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)thread_id(), number, info) != 0)
        (void)syscall(SYS_tgkill, getpid(), (pid_t)thread_id(), number);
}

/* Whether the kernel would have passed the signal over: the first process of a pid namespace ends
 * only of its own faults, and abort() finds its way. */
static bool is_passed_over(int number, const siginfo_t *info)
{
    return getpid() == 1 && info->si_code <= 0 && !(number == SIGABRT && info->si_code == SI_TKILL);
}

/* Whether the instruction that was interrupted faults again. */
static bool is_fault(int number, const siginfo_t *info)
{
    return info->si_code > 0 &&
           (number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE);
}

/* Whether the process still ends of the signal although the forwarder's handler returned: it
 * restored the default action and meets it again, by the fault or by raise(); or abort() goes on.
 */
static bool is_still_fatal(int number, const siginfo_t *info)
{
    struct sigaction now;
    sigset_t pending;
    if (number == SIGABRT && info->si_code == SI_TKILL && info->si_pid == getpid())
        return true;
    if (sigaction(number, NULL, &now) != 0 || now.sa_handler != SIG_DFL)
        return false;
    return is_fault(number, info) || (sigpending(&pending) == 0 && sigismember(&pending, number));
}

static void on_fatal(int number, siginfo_t *info, void *context)
{
    const int saved = errno;
    size_t i = 0;
    while (caught[i] != number)
        i++;
    const bool by_default = previous[i].sa_handler == SIG_DFL;
    if (by_default && is_passed_over(number, info))
        return;
    const bool noted = fwdscope_signal_mark(number, fault_address(number, info), thread_id());
    last_words();
    errno = saved;
    if (by_default) {
        end_by_default(number, info);
        errno = saved;
        return;
    }
    if ((previous[i].sa_flags & SA_SIGINFO) != 0)
        previous[i].sa_sigaction(number, info, context);
    else
        previous[i].sa_handler(number);
    const int theirs = errno;
    last_words(); /* what their handler wrote */
    /* What an outer handler noted, in the middle of which this signal came, stays. */
    if (noted && !is_still_fatal(number, info))
        (void)fwdscope_signal_mark(0, FWDSCOPE_NO_ADDRESS, thread_id());
    errno = theirs;
}

/* Catches one signal in the way of the handler that was there: its mask, its flags. */
static bool signal_catch(size_t i)
{
    struct sigaction *before = &previous[i];
    if (sigaction(caught[i], NULL, before) != 0)
        return false;
    if (before->sa_handler == SIG_IGN)
        return true; /* not fatal here */
    struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
    if (before->sa_handler == SIG_DFL) {
        (void)sigfillset(&ours.sa_mask);
    } else {
        ours.sa_mask = before->sa_mask;
        ours.sa_flags = before->sa_flags | SA_SIGINFO;
    }
    ours.sa_sigaction = on_fatal;
    return sigaction(caught[i], &ours, NULL) == 0;
}

bool fwdscope_fatal_signals_catch(void)
{
    static atomic_flag done = ATOMIC_FLAG_INIT;
    const int saved = errno;
    bool all = true;
    if (atomic_flag_test_and_set(&done))
        return true;
    for (size_t i = 0; i < CAUGHT; i++) {
        /* The first process of a pid namespace cannot send itself a signal that ends it: these two
         * would be survived when the handler returns. */
        if (getpid() == 1 && (caught[i] == SIGTRAP || caught[i] == SIGSYS))
            continue;
        all = signal_catch(i) && all;
    }
    errno = saved;
    return all;
}
