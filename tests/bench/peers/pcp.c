/* SPDX-License-Identifier: Apache-2.0 */
/* Performance Co-Pilot's memory-mapped values: the nearest kin of a region's instruments. */
#include "peer.h"

#include <pcp/pmapi.h>

#include <pcp/mmv_stats.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/dev/shm/fwdscope-bench-pcp-XXXXXX";
static void *values;
static pmAtomValue *counter, *gauge;

static void values_remove(void)
{
    char path[sizeof directory + 16];
    snprintf(path, sizeof path, "%s/mmv/bench", directory);
    unlink(path);
    snprintf(path, sizeof path, "%s/mmv", directory);
    rmdir(path);
    rmdir(directory);
}

/* A file of its own on tmpfs, as a region has. */
static void values_open(void)
{
    char path[sizeof directory + 16];
    const pmUnits count = MMV_UNITS(0, 0, 1, 0, 0, PM_COUNT_ONE);
    if (mkdtemp(directory) == NULL)
        peer_failed("no directory below /dev/shm");
    atexit(values_remove);
    snprintf(path, sizeof path, "%s/mmv", directory);
    if (mkdir(path, 0700) != 0 || setenv("PCP_TMP_DIR", directory, 1) != 0)
        peer_failed("no directory for values");
    mmv_registry_t *registry = mmv_stats_registry("bench", 1, MMV_FLAG_PROCESS);
    if (registry == NULL ||
        mmv_stats_add_metric(registry, "lines", 1, MMV_TYPE_U64, MMV_SEM_COUNTER, count, 0, "lines",
                             "lines") != 0 ||
        mmv_stats_add_metric(registry, "depth", 2, MMV_TYPE_DOUBLE, MMV_SEM_INSTANT, count, 0,
                             "depth", "depth") != 0)
        peer_failed("no registry");
    values = mmv_stats_start(registry);
    if (values == NULL)
        peer_failed("no file of values");
    counter = mmv_lookup_value_desc(values, "lines", NULL);
    gauge = mmv_lookup_value_desc(values, "depth", NULL);
    if (counter == NULL || gauge == NULL)
        peer_failed("no values");
}

static void inc(uint64_t calls)
{
    for (uint64_t i = 0; i < calls; i++)
        mmv_inc(values, counter);
}

static void set(uint64_t calls)
{
    for (uint64_t i = 0; i < calls; i++) {
        double value = (double)(int64_t)i;
        mmv_set(values, gauge, &value);
    }
}

/* Per cent of the updates of two threads that are not in the value. */
static double lost(uint64_t calls)
{
    static uint64_t before;
    const uint64_t counted = counter->ull - before;
    before = counter->ull;
    return calls == 0 ? 0 : 100.0 * (1 - (double)counted / (2.0 * (double)calls));
}

static const struct peer_operation operations[] = {
    {"mmv_inc", inc, 1, NULL, values_open},
    {"mmv_inc_2t", inc, 2, NULL, values_open},
    {"mmv_inc_2t_lost", inc, 2, lost, values_open},
    {"mmv_set", set, 1, NULL, values_open},
};

int main(int argc, char **argv)
{
    return peer_main(operations, sizeof operations / sizeof *operations, argc, argv);
}
