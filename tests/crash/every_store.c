/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer dies at its N-th store, for every N of a scenario that uses every call of the shim.
 *
 *   every_store image DIR [KEEP_DIR EVERY]  one run; before each store the region's bytes are
 * copied to a file, which is what a SIGKILL there would leave, and read as a new reader would; a
 *       second reader that was there from the start reads the living region. Every EVERY-th image
 *       is kept in KEEP_DIR.
 *   every_store kill DIR EVERY  one process a store, ended by SIGKILL before it, for every EVERY-th
 *       store and all of those of open; then the lock is free, what is left is read, and after a
 *       kill in open, and after every RESTART_EVERY-th of the others, the instance starts again.
 *
 * The shim is built a second time for this, with its stores counted by crash_store_hook().
 */
#include "listing.h"
#include "oracle.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

void crash_store_hook(void);

enum { RESTART_EVERY = 16, HANG_S = 60, IMAGE_BYTES_MAX = 1 << 20 };

static const char *regions_dir;
static struct oracle oracle;

/* What the hook does. */
static struct {
    uint64_t stores;
    uint64_t kill_at; /* 0: never */
    void (*act)(void);
} hook;

void crash_store_hook(void)
{
    hook.stores++;
    if (hook.stores == hook.kill_at)
        kill(getpid(), SIGKILL);
    if (hook.act != NULL)
        hook.act();
}

__attribute__((noreturn)) static void die(const char *what, const char *detail)
{
    fprintf(stderr, "store %llu, step %u (%s): %s: %s\n", (unsigned long long)hook.stores,
            scenario.step, scenario.call, what, detail);
    exit(1);
}

/* ---- images ---------------------------------------------------------------------------------- */

static struct {
    char path[512]; /* the image at hand */
    const char *keep_dir;
    uint64_t keep_every, kept;
    uint64_t none, filling, attached; /* images without a region, not ready, read */
    struct subject live;
    unsigned char bytes[IMAGE_BYTES_MAX];
} images;

static size_t file_read(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || (size_t)st.st_size > sizeof images.bytes ||
        pread(fd, images.bytes, (size_t)st.st_size, 0) != st.st_size)
        die(path, strerror(errno));
    close(fd);
    return (size_t)st.st_size;
}

/* Over what was there: an image is as long as the one before. */
static void file_write(const char *path, size_t bytes)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || pwrite(fd, images.bytes, bytes, 0) != (ssize_t)bytes)
        die(path, strerror(errno));
    close(fd);
}

static void image_keep(size_t bytes)
{
    char path[512];
    if (images.keep_dir == NULL || hook.stores % images.keep_every != 0)
        return;
    snprintf(path, sizeof path, "%s/%06llu.fwdscope", images.keep_dir,
             (unsigned long long)hook.stores);
    file_write(path, bytes);
    images.kept++;
}

/* The region as a reader finds it that comes after the death. */
static void image_judge(void)
{
    struct subject subject = {.continued = false};
    char why[256] = "";
    const enum attach_result result =
        region_open(images.path, &subject.region, NULL, why, sizeof why);
    if (result == ATTACH_NOT_READY && !scenario.before.open && why[0] != '\0') {
        images.filling++;
        return;
    }
    if (result != ATTACH_OK)
        die("the image is refused", why);
    if (!oracle_read(&oracle, &subject, &scenario.before, &scenario.after, scenario.shared))
        die("the image", oracle.why);
    images.attached++;
    region_close(&subject.region);
}

/* The region as a reader sees it that is there all the time. */
static void live_judge(const char *path)
{
    char why[256] = "";
    images.live.continued = true;
    if (images.live.region == NULL &&
        region_open(path, &images.live.region, NULL, why, sizeof why) != ATTACH_OK)
        die("the living region is refused", why);
    if (!oracle_read(&oracle, &images.live, &scenario.before, &scenario.after, scenario.shared))
        die("the living region", oracle.why);
}

static void image_take(void)
{
    const struct listing listing = listing_read(regions_dir);
    alarm(HANG_S); /* a reader that hangs ends the test */
    if (listing.newest[0] == '\0') {
        images.none++;
        return;
    }
    const size_t bytes = file_read(listing.newest);
    file_write(images.path, bytes);
    image_keep(bytes);
    image_judge();
    if (listing.regions > 0)
        live_judge(listing.newest);
}

static int images_run(const char *image_dir, const char *keep_dir, uint64_t keep_every)
{
    snprintf(images.path, sizeof images.path, "%s/image.fwdscope", image_dir);
    images.keep_dir = keep_dir;
    images.keep_every = keep_every;
    hook.act = image_take;
    if (!scenario_run(regions_dir))
        die("the shim does not start", fwdscope_reason());
    image_take(); /* after the last store */
    region_close(&images.live.region);
    if (images.attached == 0 || images.filling == 0 || oracle.units_left_out == 0 ||
        oracle.records == 0)
        die("this run shows nothing", "no image was read, or no unit was ever in the middle");
    printf("figure: a memory image at every store: stores %llu, calls %u, images read %llu, not "
           "ready %llu, no file yet %llu, readings of both readers %llu, units as before %llu, as "
           "after %llu, left out and said so %llu, records %llu, mixtures 0\n",
           (unsigned long long)hook.stores, scenario.step, (unsigned long long)images.attached,
           (unsigned long long)images.filling, (unsigned long long)images.none,
           (unsigned long long)oracle.readings, (unsigned long long)oracle.units_old,
           (unsigned long long)oracle.units_new, (unsigned long long)oracle.units_left_out,
           (unsigned long long)oracle.records);
    printf("figure: budget of a reading: at most %.1f ms of CPU, at most 64 tries a unit\n",
           (double)oracle.cpu_ns_max / 1e6);
    return 0;
}

/* ---- kills ----------------------------------------------------------------------------------- */

/* What a child tells; survives it. */
struct told {
    volatile uint64_t step; /* the call in progress */
    volatile uint64_t restarted;
    struct listing listing; /* after the restart */
    char reason[256];
};

static struct {
    struct world worlds[WORLD_STEPS_MAX + 1]; /* after each step; [0] before the first */
    bool shared[WORLD_STEPS_MAX + 1];
    const char *calls[WORLD_STEPS_MAX + 1];
    struct told *told;
    uint64_t killed, attached, filling, none, restarts;
} kills;

static void world_keep(void)
{
    if (scenario.step > WORLD_STEPS_MAX)
        die("too many steps", "");
    kills.worlds[scenario.step] = scenario.after;
    kills.shared[scenario.step] = scenario.shared;
    kills.calls[scenario.step] = scenario.call;
    if (scenario.step == 1)
        kills.worlds[0] = scenario.before;
}

static void child_wait(pid_t pid, int *status)
{
    if (pid < 0 || waitpid(pid, status, 0) != pid)
        die("a child", strerror(errno));
}

/* True: the child died at that store. False: the scenario has fewer. */
static bool child_kill(uint64_t store)
{
    int status;
    const pid_t pid = fork();
    if (pid == 0) {
        alarm(HANG_S);
        hook.kill_at = store;
        scenario.step_told = &kills.told->step;
        scenario.step_done = NULL;
        _exit(scenario_run(regions_dir) ? 0 : 3);
    }
    child_wait(pid, &status);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return false;
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        die("the writer did not die by the kill", "its status is another");
    return true;
}

static void remains_judge(uint64_t store)
{
    const size_t step = (size_t)kills.told->step;
    const struct world *before = &kills.worlds[step > 0 ? step - 1 : 0];
    const struct listing listing = listing_read(regions_dir);
    struct subject subject = {.continued = false};
    char why[256] = "";

    hook.stores = store; /* these three for messages */
    scenario.step = (unsigned)step;
    scenario.call = step > 0 ? kills.calls[step] : "nothing yet";
    if (listing.newest[0] == '\0') {
        kills.none++;
        return;
    }
    const enum attach_result result =
        region_open(listing.newest, &subject.region, NULL, why, sizeof why);
    if (result == ATTACH_NOT_READY && !before->open && why[0] != '\0') {
        kills.filling++;
        return;
    }
    if (result != ATTACH_OK)
        die("what the writer left is refused", why);
    if (region_sample(subject.region, 1, 1)->lock != LOCK_FREE)
        die("what the writer left", "its lock is not free");
    oracle_forget(&oracle);
    if (!oracle_read(&oracle, &subject, before, &kills.worlds[step], kills.shared[step]))
        die("what the writer left", oracle.why);
    kills.attached++;
    region_close(&subject.region);
}

/* The next life starts, keeps at most the dead one, and counts on. */
static void restart_judge(void)
{
    int status;
    const uint64_t generation = listing_read(regions_dir).generation;
    struct told *told = kills.told;

    told->restarted = 0;
    const pid_t pid = fork();
    if (pid == 0) {
        hook.kill_at = 0;
        told->restarted = scenario_open(regions_dir);
        snprintf(told->reason, sizeof told->reason, "%s", fwdscope_reason());
        told->listing = listing_read(regions_dir);
        _exit(0);
    }
    child_wait(pid, &status);
    if (!told->restarted)
        die("the next life does not start", told->reason);
    if (told->listing.regions > 2 || told->listing.filling > 0)
        die("the next life", "more than one region is left over");
    if (told->listing.generation != generation + 1)
        die("the next life", "its generation is not the next one");
    kills.restarts++;
}

static int kills_run(uint64_t every)
{
    scenario.step_done = world_keep;
    (void)scenario_run(NULL);
    kills.told =
        mmap(NULL, sizeof *kills.told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (kills.told == MAP_FAILED)
        die("mmap", strerror(errno));
    hook.stores = 0;
    bool in_open = true;
    for (uint64_t store = 1;; store += in_open ? 1 : every) {
        kills.told->step = 0;
        hook.stores = 0;
        if (!child_kill(store))
            break;
        kills.killed++;
        in_open = kills.told->step <= 1;
        remains_judge(store);
        if (in_open || kills.killed % RESTART_EVERY == 0)
            restart_judge();
        listing_clear(regions_dir);
    }
    if (kills.attached == 0 || kills.filling == 0 || kills.restarts == 0)
        die("this run shows nothing", "no region was read, or no life followed");
    printf("figure: SIGKILL at a store: processes killed %llu (one store in %llu, each of open), "
           "regions read %llu, not ready %llu, no file yet %llu, units left out and said so %llu, "
           "records %llu, mixtures 0\n",
           (unsigned long long)kills.killed, (unsigned long long)every,
           (unsigned long long)kills.attached, (unsigned long long)kills.filling,
           (unsigned long long)kills.none, (unsigned long long)oracle.units_left_out,
           (unsigned long long)oracle.records);
    printf("figure: a start after a kill at a store: starts %llu, failed 0, leftovers at most 1\n",
           (unsigned long long)kills.restarts);
    return 0;
}

int main(int argc, char **argv)
{
    char dir[256];
    oracle_init(&oracle);
    if (argc < 3)
        return 2;
    snprintf(dir, sizeof dir, "%s/regions", argv[2]);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        die(dir, strerror(errno));
    regions_dir = dir;
    int result = 2;
    if (strcmp(argv[1], "image") == 0)
        result = images_run(argv[2], argc > 4 ? argv[3] : NULL,
                            argc > 4 ? strtoull(argv[4], NULL, 10) : 0);
    else if (strcmp(argv[1], "kill") == 0 && argc == 4)
        result = kills_run(strtoull(argv[3], NULL, 10));
    oracle_free(&oracle);
    return result;
}
