// SPDX-License-Identifier: Apache-2.0
// The public header as C++17 without a warning, and a whole life of the shim through it.
#include "fwdscope.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

static int failures;

static void check(bool holds, const char *what)
{
    if (!holds) {
        std::fprintf(stderr, "does not hold: %s (%s)\n", what, fwdscope_reason());
        failures++;
    }
}

static void life(const char *directory)
{
    fwdscope_attribute resource[] = {fwdscope_string("team", "logs"), fwdscope_int("shard", 3),
                                     fwdscope_double("load", 0.5), fwdscope_bool("canary", true)};
    fwdscope_options options{};
    options.service_name = "cxx";
    options.directory = directory;
    options.resource = resource;
    options.resource_count = sizeof resource / sizeof *resource;
    check(fwdscope_open(&options), "the shim opens");

    fwdscope_instrument what{};
    what.name = "cxx.lines";
    what.unit = "{line}";
    what.attributes = resource;
    what.attribute_count = 2;
    const fwdscope_counter counter = fwdscope_counter_register(&what);
    check(counter.id != 0, "a counter is registered");
    check(fwdscope_counter_register(&what).id == counter.id, "and found again");
    fwdscope_counter_add(counter, 1);
    const double bounds[] = {1, 2, 4};
    what.name = "cxx.seconds";
    fwdscope_histogram_record(fwdscope_histogram_register(&what, bounds, 3), 1.5);

    const fwdscope_pipeline pipeline =
        fwdscope_pipeline_register("main", 1u << FWDSCOPE_BATCH_SEND);
    const fwdscope_component input =
        fwdscope_input_register(pipeline, "in", "file", 1u << FWDSCOPE_ROTATIONS);
    fwdscope_component_health(input, FWDSCOPE_HEALTHY);
    fwdscope_component_progress(input, 1, 80);
    fwdscope_batch batch{};
    batch.batches = 1;
    fwdscope_batch_add(pipeline, &batch);

    const fwdscope_span span = fwdscope_span_start("batch", FWDSCOPE_SPAN_INTERNAL, 0);
    fwdscope_span_set(span, resource, 4);
    fwdscope_span_status(span, FWDSCOPE_STATUS_OK, nullptr);
    fwdscope_log_record(nullptr);
    fwdscope_log(FWDSCOPE_INFO, "hello", 5);
    fwdscope_span_end(span, 0);
    fwdscope_heartbeat();
    check(std::strncmp(fwdscope_path(), directory, std::strlen(directory)) == 0, "the path");
    const char *path = fwdscope_path();
    check(unlink(path) == 0, "the file is there");
    fwdscope_close(FWDSCOPE_CLOSED, "done");
    check(!fwdscope_is_on(), "the shim is off");
}

int main()
{
    char directory[] = "/dev/shm/fwdscope-cxx-XXXXXX";
    if (mkdtemp(directory) == nullptr)
        return 1;
    life(directory);
    check(rmdir(directory) == 0, "the directory is empty");
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
