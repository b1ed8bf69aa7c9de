// SPDX-License-Identifier: Apache-2.0
// spdlog's asynchronous logger as it comes: a queue of 8,192 messages, one thread that writes them
// to a file (on tmpfs), block when the queue is full, or overwrite what is oldest.
#include "peer.h"

#include <spdlog/async.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <string>
#include <unistd.h>

namespace
{

std::shared_ptr<spdlog::logger> logger;
std::string path;
const std::string line(160, 'x');

void logger_close()
{
    logger.reset();
    spdlog::shutdown();
    (void)unlink(path.c_str());
}

// The logger's thread has the last CPU that we were given, the calling thread the first.
template <typename Factory> void logger_open()
{
    cpu_set_t given;
    if (sched_getaffinity(0, sizeof given, &given) != 0)
        peer_failed("no CPUs");
    path = "/dev/shm/fwdscope-bench-spdlog-" + std::to_string(getpid());
    spdlog::init_thread_pool(spdlog::details::default_async_q_size, 1,
                             [given] { peer_pin(&given, CPU_COUNT(&given) - 1); });
    logger = spdlog::basic_logger_mt<Factory>("bench", path);
    atexit(logger_close);
    peer_pin(&given, 0);
}

void log(uint64_t calls)
{
    for (uint64_t i = 0; i < calls; i++)
        logger->info(line);
}

const struct peer_operation operations[] = {
    {"async", log, 1, nullptr, logger_open<spdlog::async_factory>},
    {"async_overwrite", log, 1, nullptr, logger_open<spdlog::async_factory_nonblock>},
};

} // namespace

int main(int argc, char **argv)
{
    return peer_main(operations, sizeof operations / sizeof *operations, argc, argv);
}
