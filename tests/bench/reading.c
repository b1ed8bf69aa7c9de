/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_reading reading_1000 [CALLS]: what a tick does before it writes anything: one reading of a
 * region with 1,000 counters of 3 attributes each, and its row of points. Prints us a reading.
 */
#include "bench.h"

#include "fwdscope.h"
#include "model.h"
#include "snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { POINTS = 1000, CALLS = 200, TEXT_BYTES = 64 };

static struct {
    char directory[64], path[512];
    struct region *region;
    struct series_table *table;
    struct point_row *row; /* the last */
    uint64_t now;
} the;

__attribute__((noreturn)) static void fail(const char *why)
{
    fprintf(stderr, "bench_reading: %s\n", why);
    exit(1);
}

/* Leaves nothing behind, however the program ends. */
static void end(void)
{
    free(the.row);
    series_table_free(&the.table);
    region_close(&the.region);
    fwdscope_close(FWDSCOPE_CLOSED, "measured");
    unlink(the.path);
    rmdir(the.directory);
}

static void counters_register(void)
{
    char name[TEXT_BYTES], file[TEXT_BYTES];
    for (int i = 0; i < POINTS; i++) {
        snprintf(name, sizeof name, "shipper.output.bytes_%d", i / 20);
        snprintf(file, sizeof file, "/var/log/app-%d.log", i);
        const struct fwdscope_attribute attributes[] = {
            fwdscope_string("pipeline", "default"),
            fwdscope_string("file", file),
            fwdscope_int("worker", i % 16),
        };
        const struct fwdscope_instrument what = {
            .name = name, .unit = "By", .attributes = attributes, .attribute_count = 3};
        fwdscope_counter_add(fwdscope_counter_register(&what), (uint64_t)i + 1);
    }
}

static void begin(void)
{
    char why[512];
    strcpy(the.directory, "/dev/shm/fwdscope-bench-XXXXXX");
    if (mkdtemp(the.directory) == NULL)
        fail("no directory below /dev/shm");
    atexit(end);
    const struct fwdscope_options options = {
        .service_name = "bench", .directory = the.directory, .instruments = POINTS};
    if (!fwdscope_open(&options))
        fail(fwdscope_reason());
    snprintf(the.path, sizeof the.path, "%s", fwdscope_path());
    counters_register();
    if (region_open(the.path, &the.region, NULL, why, sizeof why) != ATTACH_OK)
        fail(why);
    the.table = series_table_new("bench");
    if (the.table == NULL)
        fail("no memory");
}

static void reading(uint64_t calls)
{
    static const struct process_figures unseen;
    for (uint64_t i = 0; i < calls; i++) {
        the.now += UINT64_C(2000000000);
        const struct snapshot *snapshot = region_sample(the.region, the.now, the.now);
        struct point_row *row =
            series_table_row(the.table, region_identity(the.region), snapshot, &unseen, the.row);
        if (row == NULL || snapshot->stale != 0)
            fail("no reading");
        free(the.row);
        the.row = row;
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        puts("reading_1000");
        return 0;
    }
    if (argc < 2 || strcmp(argv[1], "reading_1000") != 0)
        fail("usage: bench_reading reading_1000 [CALLS] | --list");
    const uint64_t calls = argc > 2 ? strtoull(argv[2], NULL, 10) : CALLS;
    begin();
    reading(2); /* the second has one before it */
    if (the.row->series_count < POINTS)
        fail("the row is not of what was written");
    const uint64_t began = now_ns();
    reading(calls);
    printf("%.6g\n", (double)(now_ns() - began) / (double)calls / 1000);
    return 0;
}
