/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions as files: what creating promises and what it leaves behind when it fails, who holds the
 * lock, what an attach says of everything that is not a region, and a file cut short while read.
 */
#include "shmlayout/region.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { BYTES = 64 * 1024, SKIPPED = 77 };

static const char name[] = "unit.1.00000000.fwdscope";
static char dir[64];
static char path[128];
static char why[512];

/* ---- helpers --------------------------------------------------------------------------------- */

static int dir_make(void **state)
{
    (void)state;
    strcpy(dir, "/dev/shm/fwdscope-unit-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    why[0] = '\0';
    return 0;
}

/* Removes what is in the directory; returns how many entries that were. */
static int dir_empty(void)
{
    int count = 0;
    DIR *entries = opendir(dir);
    struct dirent *entry;
    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        count++;
        unlinkat(dirfd(entries), entry->d_name, 0);
        unlinkat(dirfd(entries), entry->d_name, AT_REMOVEDIR);
    }
    closedir(entries);
    return count;
}

static int dir_remove(void **state)
{
    (void)state;
    dir_empty();
    return rmdir(dir);
}

static void header_fill(struct fws_region *region)
{
    fws_put(&region->words[FWS_H_BYTE_ORDER], FWS_BYTE_ORDER);
    fws_put(&region->words[FWS_H_WORD_BITS], FWS_WORD_BITS);
    fws_put(&region->words[FWS_H_MAJOR], FWS_LAYOUT_MAJOR);
    fws_put(&region->words[FWS_H_HEADER_BYTES], FWS_PAGE_BYTES);
    fws_put(&region->words[FWS_H_REGION_BYTES], region->bytes);
    fws_put(&region->words[FWS_H_DIR_OFFSET], FWS_PAGE_BYTES);
    fws_put(&region->words[FWS_H_DIR_STRIDE], FWS_D_WORDS * 8);
    fws_put(&region->words[FWS_H_STATE], FWS_STATE_RUNNING);
}

static bool region_create(struct fws_region *region)
{
    return fws_region_create(dir, name, BYTES, false, region, NULL, why, sizeof why);
}

static bool region_make(struct fws_region *region)
{
    if (!region_create(region))
        return false;
    header_fill(region);
    return fws_region_publish(region, dir, name, why, sizeof why);
}

static void region_drop(struct fws_region *region)
{
    fws_region_release(region);
    munmap((void *)region->words, region->bytes);
}

/* A writer in a process of its own, stopped until it is told to go on or killed. */
struct peer {
    pid_t pid;
    int tell; /* closing it lets the writer end */
};

static struct peer peer_start(void (*before)(struct fws_region *region))
{
    int ready[2], tell[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(tell), 0);
    struct peer peer = {.pid = fork(), .tell = tell[1]};
    assert_true(peer.pid >= 0);
    if (peer.pid == 0) {
        struct fws_region region;
        close(tell[1]);
        close(ready[0]);
        if (!region_make(&region))
            _exit(1);
        if (before != NULL)
            before(&region);
        if (write(ready[1], "r", 1) != 1)
            _exit(2);
        while (read(tell[0], &byte, 1) > 0) {
        }
        _exit(0);
    }
    close(tell[0]);
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return peer;
}

static void peer_kill(struct peer *peer)
{
    int status;
    assert_int_equal(kill(peer->pid, SIGKILL), 0);
    assert_int_equal(waitpid(peer->pid, &status, 0), peer->pid);
    close(peer->tell);
}

static enum fws_lock_state lock_now(void)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    enum fws_lock_state lock = fws_lock_ask(fd);
    close(fd);
    return lock;
}

/* Runs a body in a child, where it may break limits and descriptors; its exit status. */
static int in_child(int (*body)(void))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(body());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* ---- creating -------------------------------------------------------------------------------- */

static void test_create_and_publish(void **state)
{
    (void)state;
    struct fws_region region;
    struct stat st;
    char temp[256];
    const mode_t masks[] = {0777, 0, 022};
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        const mode_t before = umask(masks[i]);
        const bool made = region_create(&region);
        umask(before);
        assert_true(made);
        /* Under its temporary name only, until it is published. */
        snprintf(temp, sizeof temp, "%s/.%s.creating", dir, name);
        assert_int_equal(stat(temp, &st), 0);
        assert_int_equal(stat(path, &st), -1);
        header_fill(&region);
        assert_true(fws_region_publish(&region, dir, name, why, sizeof why));
        assert_int_equal(stat(temp, &st), -1);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0640); /* whatever the umask is */
        assert_int_equal(st.st_size, BYTES);
        assert_true(st.st_blocks * 512 >= BYTES); /* every block is there */
        assert_string_equal(region.path, path);
        assert_int_equal(fws_peek(&region.words[FWS_H_MAGIC]), FWS_MAGIC);
        region_drop(&region);
        assert_int_equal(dir_empty(), 1);
    }
}

static void test_abandon_leaves_nothing(void **state)
{
    (void)state;
    struct fws_region region;
    assert_true(region_create(&region));
    fws_region_abandon(&region, dir, name);
    assert_null(region.words);
    assert_int_equal(region.fd, -1);
    assert_int_equal(dir_empty(), 0);
}

static void test_publish_fails(void **state)
{
    (void)state;
    struct fws_region region;
    assert_int_equal(mkdir(path, 0700), 0); /* something stands where the file is to go */
    assert_false(region_make(&region));
    assert_non_null(strstr(why, "cannot rename"));
    assert_null(region.words);
    assert_int_equal(dir_empty(), 1); /* that something */
}

static void test_second_create_takes_nothing_from_the_first(void **state)
{
    (void)state;
    struct fws_region first, second;
    assert_true(region_create(&first));
    assert_false(region_create(&second));
    assert_non_null(strstr(why, "File exists"));
    header_fill(&first);
    assert_true(fws_region_publish(&first, dir, name, why, sizeof why));
    region_drop(&first);
}

static void test_directory_missing(void **state)
{
    (void)state;
    struct fws_region region;
    bool no_space = true;
    assert_false(fws_region_create("/dev/shm/no/such/place", name, BYTES, false, &region, &no_space,
                                   why, sizeof why));
    assert_false(no_space);
    assert_non_null(strstr(why, "/dev/shm/no/such/place"));
    assert_non_null(strstr(why, "No such file"));
    assert_false(
        fws_region_create("/dev/null", name, BYTES, false, &region, NULL, why, sizeof why));
}

static void test_path_too_long(void **state)
{
    (void)state;
    struct fws_region region;
    char longest[5000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_false(fws_region_create(dir, longest, BYTES, false, &region, NULL, why, sizeof why));
    assert_non_null(strstr(why, "too long"));
    assert_false(fws_region_create(longest, name, BYTES, false, &region, NULL, why, sizeof why));
    assert_non_null(strstr(why, "too long"));
}

static void test_disk_is_refused(void **state)
{
    (void)state;
    struct fws_region region;
    struct statfs fs;
    char disk[] = "/var/tmp/fwdscope-unit-XXXXXX";
    assert_non_null(mkdtemp(disk));
    assert_int_equal(statfs(disk, &fs), 0);
    if (fs.f_type == TMPFS_MAGIC) {
        rmdir(disk);
        skip();
    }
    assert_false(fws_region_create(disk, name, BYTES, false, &region, NULL, why, sizeof why));
    assert_non_null(strstr(why, "is not on tmpfs"));
    assert_non_null(strstr(why, "allow_disk")); /* the cure */
    assert_true(fws_region_create(disk, name, BYTES, true, &region, NULL, why, sizeof why));
    fws_region_abandon(&region, disk, name);
    assert_int_equal(rmdir(disk), 0); /* empty again */
}

/* A tmpfs that is too small, in a mount namespace that ends with the child. */
static int no_space_body(void)
{
    struct fws_region region;
    bool no_space = false;
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", dir, "tmpfs", 0, "size=32k") != 0)
        return SKIPPED;
    if (fws_region_create(dir, name, BYTES, false, &region, &no_space, why, sizeof why))
        return 1;
    if (!no_space || strstr(why, "No space left") == NULL || strstr(why, "smaller rings") == NULL)
        return 2;
    if (region.words != NULL || region.fd != -1)
        return 3;
    return dir_empty() == 0 ? 0 : 4;
}

static void test_no_space(void **state)
{
    (void)state;
    const int status = in_child(no_space_body);
    if (status == SKIPPED)
        skip(); /* not root; the limit below shows the same path */
    assert_int_equal(status, 0);
}

/* Beyond RLIMIT_FSIZE the kernel would send SIGXFSZ, which kills: asked before. */
static int file_size_body(void)
{
    struct fws_region region;
    const struct rlimit limit = {.rlim_cur = BYTES - 1, .rlim_max = BYTES - 1};
    bool no_space = true;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 1;
    if (fws_region_create(dir, name, BYTES, false, &region, &no_space, why, sizeof why))
        return 2;
    return !no_space && strstr(why, "RLIMIT_FSIZE") != NULL && dir_empty() == 0 ? 0 : 3;
}

static void test_file_size_limit(void **state)
{
    (void)state;
    assert_int_equal(in_child(file_size_body), 0);
}

static int no_stdio_body(void)
{
    struct fws_region region;
    close(0);
    close(1);
    close(2);
    if (!region_make(&region))
        return 1;
    if (region.fd < 3)
        return 2;
    /* And none of our own is left where a host's printf would go. */
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) != -1)
            return 3;
    return (fcntl(region.fd, F_GETFD) & FD_CLOEXEC) != 0 ? 0 : 4;
}

static void test_descriptor_above_stdio(void **state)
{
    (void)state;
    assert_int_equal(in_child(no_stdio_body), 0);
}

/* Room for the directory's descriptor but not for the file's, above the standard three. */
static int no_descriptors_body(void)
{
    struct fws_region region;
    const struct rlimit limit = {.rlim_cur = 4, .rlim_max = 4};
    close(0);
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1;
    if (region_create(&region))
        return 2;
    if (strstr(why, "Too many open files") == NULL)
        return 3;
    return dir_empty() == 0 ? 0 : 4;
}

static void test_no_descriptors_leaves_nothing(void **state)
{
    (void)state;
    assert_int_equal(in_child(no_descriptors_body), 0);
}

static void test_no_memory_for_the_map(void **state)
{
    (void)state;
    struct fws_region region;
    /* More than an address space holds is refused by the allocation of blocks or by the map. */
    assert_false(
        fws_region_create(dir, name, UINT64_C(1) << 60, false, &region, NULL, why, sizeof why));
    assert_true(strlen(why) > 10);
    assert_int_equal(dir_empty(), 0);
}

/* ---- the lock -------------------------------------------------------------------------------- */

static void test_lock_of_another_process(void **state)
{
    (void)state;
    struct peer peer = peer_start(NULL);
    assert_int_equal(lock_now(), FWS_LOCK_HELD);
    peer_kill(&peer);
    assert_int_equal(lock_now(), FWS_LOCK_FREE);
    assert_int_equal(fws_lock_ask(-1), FWS_LOCK_UNKNOWN);
}

static void close_behind_our_back(struct fws_region *region)
{
    close(region->fd);
}

/* A host that closes every descriptor it finds does not seem dead: the map keeps the open file. */
static void test_lock_survives_a_host_that_closes_descriptors(void **state)
{
    (void)state;
    struct peer peer = peer_start(close_behind_our_back);
    assert_int_equal(lock_now(), FWS_LOCK_HELD);
    peer_kill(&peer);
    assert_int_equal(lock_now(), FWS_LOCK_FREE);
}

/* The lock belongs to the open file, and the map refers to that too: closing alone would keep it.
 */
static void test_release_drops_the_lock_and_keeps_the_map(void **state)
{
    (void)state;
    struct fws_region region;
    assert_true(region_make(&region));
    assert_int_equal(lock_now(), FWS_LOCK_HELD);
    fws_region_release(&region);
    assert_int_equal(lock_now(), FWS_LOCK_FREE);
    assert_int_equal(region.fd, -1);
    assert_int_equal(fws_peek(&region.words[FWS_H_MAGIC]), FWS_MAGIC);
    fws_region_release(&region); /* once more: nothing */
    munmap((void *)region.words, region.bytes);
}

/* The host closed our descriptor and has the number for a file of its own now. */
static void test_release_leaves_a_reused_descriptor_alone(void **state)
{
    (void)state;
    struct fws_region region;
    for (int disown = 0; disown < 2; disown++) {
        assert_true(region_make(&region));
        const int number = region.fd;
        int pipe_fds[2];
        assert_int_equal(pipe(pipe_fds), 0);
        assert_int_equal(dup2(pipe_fds[0], number), number);
        if (disown == 0)
            fws_region_release(&region);
        else
            fws_region_disown(&region);
        assert_int_equal(region.fd, -1);
        assert_int_not_equal(fcntl(number, F_GETFD), -1);
        close(number);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        munmap((void *)region.words, region.bytes);
        dir_empty();
    }
}

static int grandchild_pipe[2];

static void fork_a_child(struct fws_region *region)
{
    int disowned[2];
    char byte;
    if (pipe(disowned) != 0)
        _exit(4);
    if (fork() == 0) {
        fws_region_disown(region);
        close(grandchild_pipe[1]);
        if (write(disowned[1], "d", 1) != 1)
            _exit(5);
        while (read(grandchild_pipe[0], &byte, 1) > 0) {
        }
        _exit(0);
    }
    if (read(disowned[0], &byte, 1) != 1)
        _exit(6);
}

/* A child that disowned its copy neither takes the lock from its parent nor keeps it after. */
static void test_lock_is_not_inherited(void **state)
{
    (void)state;
    assert_int_equal(pipe(grandchild_pipe), 0);
    struct peer peer = peer_start(fork_a_child);
    assert_int_equal(lock_now(), FWS_LOCK_HELD);
    peer_kill(&peer);
    assert_int_equal(lock_now(), FWS_LOCK_FREE); /* and the child still lives: */
    assert_int_equal(write(grandchild_pipe[1], "x", 1), 1);
    close(grandchild_pipe[0]);
    close(grandchild_pipe[1]);
}

/* ---- attaching ------------------------------------------------------------------------------- */

static enum fws_attach attach(struct fws_view *view)
{
    why[0] = '\0';
    return fws_view_attach(path, view, why, sizeof why);
}

/* Refused for that reason, with nothing kept. */
static void attach_refused(enum fws_attach result, const char *words)
{
    struct fws_view view;
    assert_int_equal(attach(&view), result);
    if (strstr(why, words) == NULL)
        fail_msg("the reason is: %s; expected: %s", why, words);
    assert_int_equal(view.fd, -1);
    assert_null(view.words);
    dir_empty();
}

static void test_attach_live_and_dead(void **state)
{
    (void)state;
    struct fws_view view;
    struct peer peer = peer_start(NULL);
    assert_int_equal(attach(&view), FWS_ATTACH_OK);
    assert_false(view.copied);
    assert_true(view.fd > 2);
    assert_int_equal(view.bytes, BYTES);
    assert_int_equal(view.prefix[FWS_H_REGION_BYTES], BYTES);
    assert_int_equal(fws_lock_ask(view.fd), FWS_LOCK_HELD); /* our attach is not a lock */
    peer_kill(&peer);
    assert_int_equal(fws_lock_ask(view.fd), FWS_LOCK_FREE);
    assert_int_equal(fws_peek(&view.words[FWS_H_STATE]), FWS_STATE_RUNNING);
    fws_view_detach(&view);
    fws_view_detach(&view); /* twice is as good */

    assert_int_equal(attach(&view), FWS_ATTACH_OK);
    assert_true(view.copied);
    assert_int_equal(unlink(path), 0); /* the copy survives the file */
    assert_int_equal(fws_peek(&view.words[FWS_H_STATE]), FWS_STATE_RUNNING);
    fws_view_detach(&view);
}

static void test_attach_missing(void **state)
{
    (void)state;
    attach_refused(FWS_ATTACH_NOT_FOUND, "No such file");
}

static void test_attach_link(void **state)
{
    (void)state;
    assert_int_equal(symlink("/etc/passwd", path), 0);
    attach_refused(FWS_ATTACH_CORRUPT, "a symbolic link, not a region");
}

static void test_attach_fifo(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    attach_refused(FWS_ATTACH_CORRUPT, "not a regular file"); /* and it did not wait */
}

static void test_attach_directory(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path, 0700), 0);
    attach_refused(FWS_ATTACH_CORRUPT, "not a regular file");
}

static void test_attach_socket(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    attach_refused(FWS_ATTACH_CORRUPT, "No such device");
    close(fd);
}

static int denied_body(void)
{
    struct fws_view view;
    struct fws_region region;
    if (geteuid() != 0 || !region_make(&region) || chmod(dir, 0755) != 0)
        return SKIPPED;
    if (setegid(65534) != 0 || seteuid(65534) != 0)
        return SKIPPED;
    return attach(&view) == FWS_ATTACH_DENIED ? 0 : 1;
}

static void test_attach_denied(void **state)
{
    (void)state;
    const int status = in_child(denied_body);
    if (status == SKIPPED)
        skip();
    assert_int_equal(status, 0);
}

/* A file of `bytes` bytes, zero but for `head`. */
static void file_write(const void *head, size_t head_bytes, off_t bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, head, head_bytes), (ssize_t)head_bytes);
    assert_int_equal(ftruncate(fd, bytes), 0);
    close(fd);
}

static void test_attach_no_region(void **state)
{
    (void)state;
    file_write("", 0, 0);
    attach_refused(FWS_ATTACH_CORRUPT, "less than a header");
    file_write("FWDSCOPE", 8, 2047);
    attach_refused(FWS_ATTACH_CORRUPT, "2047 bytes are less than a header");
    file_write("\x7f"
               "ELF....",
               8, BYTES);
    attach_refused(FWS_ATTACH_CORRUPT, "not a fwdscope region");
    file_write("", 0, BYTES);
    attach_refused(FWS_ATTACH_NOT_READY, "has not finished creating it");
    file_write("EPOCSDWF", 8, BYTES);
    attach_refused(FWS_ATTACH_INCOMPATIBLE, "another byte order");
    file_write("FWDSCOPE", 8, BYTES);
    attach_refused(FWS_ATTACH_INCOMPATIBLE, "byte order");
}

/* Bends one word of a dead region; the checksum is made right when asked. */
static void region_bend(enum fws_header_word word, uint64_t value, bool sealed)
{
    struct fws_region region;
    uint64_t prefix[FWS_H_PREFIX_WORDS];
    assert_true(region_make(&region));
    fws_put(&region.words[word], value);
    for (int w = 0; w < FWS_H_PREFIX_WORDS; w++)
        prefix[w] = fws_peek(&region.words[w]);
    if (sealed)
        fws_put(&region.words[FWS_H_CHECKSUM], fws_prefix_checksum(prefix));
    region_drop(&region);
}

static void test_attach_bent(void **state)
{
    (void)state;
    struct fws_view view;
    region_bend(FWS_H_PID, 1, false);
    attach_refused(FWS_ATTACH_CORRUPT, "checksum is wrong");
    region_bend(FWS_H_DIR_OFFSET, 8, true);
    attach_refused(FWS_ATTACH_CORRUPT, "contradict each other");
    region_bend(FWS_H_REGION_BYTES, BYTES + 4096, true);
    attach_refused(FWS_ATTACH_CORRUPT, "truncated: 65536 of 69632 bytes are there");
    region_bend(FWS_H_INCOMPAT, 1, true);
    attach_refused(FWS_ATTACH_INCOMPATIBLE, "does not know");
    region_bend(FWS_H_WORD_BITS, 32, true);
    attach_refused(FWS_ATTACH_INCOMPATIBLE, "another word size");
    region_bend(FWS_H_MAJOR, 2, true);
    assert_int_equal(attach(&view), FWS_ATTACH_INCOMPATIBLE);
    assert_int_equal(view.prefix[FWS_H_MAJOR], 2); /* the identity stays readable */
    attach_refused(FWS_ATTACH_INCOMPATIBLE, "layout 2.0, this version reads 1.x");
}

static void punch_hole(struct fws_region *region)
{
    if (fallocate(region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 16384, 4096) != 0)
        _exit(3);
}

/* Reading a hole of a live region would allocate it on the writer's account. */
static void test_attach_holes(void **state)
{
    (void)state;
    struct peer peer = peer_start(punch_hole);
    attach_refused(FWS_ATTACH_CORRUPT, "has holes: only 61440 of 65536 bytes");
    peer_kill(&peer);
}

/* A dead region costs its data, not the size that it gives itself. */
static void test_attach_sparse(void **state)
{
    (void)state;
    struct fws_view view;
    struct stat st;
    region_bend(FWS_H_REGION_BYTES, FWS_REGION_BYTES_MAX, true);
    assert_int_equal(truncate(path, (off_t)FWS_REGION_BYTES_MAX), 0);
    assert_int_equal(stat(path, &st), 0);
    const blkcnt_t blocks = st.st_blocks;
    assert_int_equal(attach(&view), FWS_ATTACH_OK);
    assert_true(view.copied);
    assert_int_equal(view.bytes, FWS_REGION_BYTES_MAX);
    assert_true(view.copied_bytes > 0 && view.copied_bytes <= BYTES);
    assert_int_equal(fws_peek(&view.words[FWS_H_STATE]), FWS_STATE_RUNNING);
    assert_int_equal(fws_peek(&view.words[FWS_REGION_BYTES_MAX / 8 - 1]), 0);
    fws_view_detach(&view);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_blocks, blocks); /* no hole was filled by reading it */
}

/* With more data than is copied, and holes that a map would fill. */
static void test_attach_sparse_and_large(void **state)
{
    (void)state;
    const uint64_t data_bytes = UINT64_C(17) << 20;
    struct fws_view view;
    region_bend(FWS_H_REGION_BYTES, FWS_REGION_BYTES_MAX, true);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    if (ftruncate(fd, (off_t)FWS_REGION_BYTES_MAX) != 0 ||
        posix_fallocate(fd, 0, (off_t)data_bytes) != 0) {
        close(fd);
        skip(); /* no room for it here */
    }
    attach_refused(FWS_ATTACH_CORRUPT, "has holes: only 17825792 of 1073741824 bytes");
    close(fd);
    region_bend(FWS_H_REGION_BYTES, data_bytes, true);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(posix_fallocate(fd, 0, (off_t)data_bytes), 0);
    close(fd);
    assert_int_equal(attach(&view), FWS_ATTACH_OK);
    assert_false(view.copied);
    fws_view_detach(&view);
}

static void test_lock_ask_file(void **state)
{
    (void)state;
    assert_int_equal(fws_lock_ask_file(path), FWS_LOCK_UNKNOWN);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(fws_lock_ask_file(path), FWS_LOCK_UNKNOWN);
    dir_empty();
    struct peer peer = peer_start(NULL);
    assert_int_equal(fws_lock_ask_file(path), FWS_LOCK_HELD);
    peer_kill(&peer);
    assert_int_equal(fws_lock_ask_file(path), FWS_LOCK_FREE);
}

static void test_prefix_read(void **state)
{
    (void)state;
    uint64_t prefix[FWS_H_PREFIX_WORDS];
    struct fws_region region;
    int fd = -7, at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fws_prefix_read(at, name, prefix, &fd), FWS_ATTACH_NOT_FOUND);
    assert_int_equal(mkfifoat(at, name, 0600), 0);
    assert_int_equal(fws_prefix_read(at, name, prefix, &fd), FWS_ATTACH_CORRUPT);
    dir_empty();
    assert_int_equal(fd, -7);
    assert_true(region_make(&region));
    assert_int_equal(fws_prefix_read(at, name, prefix, &fd), FWS_ATTACH_OK);
    assert_int_equal(prefix[FWS_H_REGION_BYTES], BYTES);
    assert_int_equal(fws_lock_ask(fd), FWS_LOCK_HELD);
    close(fd);
    /* Of another major: named all the same. In another byte order: not. */
    fws_put(&region.words[FWS_H_MAJOR], FWS_LAYOUT_MAJOR + 1);
    for (int w = 0; w < FWS_H_PREFIX_WORDS; w++)
        prefix[w] = fws_peek(&region.words[w]);
    fws_put(&region.words[FWS_H_CHECKSUM], fws_prefix_checksum(prefix));
    assert_int_equal(fws_prefix_read(at, name, prefix, &fd), FWS_ATTACH_INCOMPATIBLE);
    assert_int_equal(prefix[FWS_H_REGION_BYTES], BYTES);
    assert_int_equal(fws_lock_ask(fd), FWS_LOCK_HELD);
    close(fd);
    fd = -7;
    fws_put(&region.words[FWS_H_MAGIC], __builtin_bswap64(FWS_MAGIC));
    assert_int_equal(fws_prefix_read(at, name, prefix, &fd), FWS_ATTACH_CORRUPT);
    assert_int_equal(fd, -7);
    close(at);
    region_drop(&region);
}

/* ---- the guard ------------------------------------------------------------------------------- */

struct sweep {
    const struct fws_view *view;
    uint64_t pages, sum;
};

static void sweep_read(void *arg)
{
    struct sweep *sweep = arg;
    for (uint64_t at = 0; at < sweep->view->bytes; at += FWS_PAGE_BYTES) {
        sweep->sum += fws_peek(&sweep->view->words[at / 8]);
        sweep->pages++;
    }
}

static void test_guard(void **state)
{
    (void)state;
    struct fws_view view;
    struct peer peer = peer_start(NULL);
    assert_int_equal(attach(&view), FWS_ATTACH_OK);
    struct sweep whole = {.view = &view};
    assert_true(fws_view_guard(&view, sweep_read, &whole));
    assert_int_equal(whole.pages, BYTES / FWS_PAGE_BYTES);

    static const off_t cuts[] = {BYTES / 2, 4096, 0};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        assert_int_equal(truncate(path, cuts[i]), 0);
        for (int again = 0; again < 3; again++) {
            struct sweep cut = {.view = &view};
            assert_false(fws_view_guard(&view, sweep_read, &cut));
            assert_int_equal(cut.pages, (uint64_t)cuts[i] / FWS_PAGE_BYTES);
        }
    }
    peer_kill(&peer);
    fws_view_detach(&view);
}

static void test_guard_of_a_copy(void **state)
{
    (void)state;
    struct fws_view view;
    struct peer peer = peer_start(NULL);
    peer_kill(&peer);
    assert_int_equal(attach(&view), FWS_ATTACH_OK);
    assert_int_equal(truncate(path, 0), 0);
    struct sweep sweep = {.view = &view};
    assert_true(fws_view_guard(&view, sweep_read, &sweep));
    assert_int_equal(sweep.pages, BYTES / FWS_PAGE_BYTES);
    fws_view_detach(&view);
}

static void host_handler(int number)
{
    (void)number;
    _exit(0);
}

static void nothing(void *arg)
{
    (void)arg;
}

/* A SIGBUS that is none of ours goes to who had the signal before. */
static int foreign_bus_body(void)
{
    struct fws_view view = {.words = NULL, .bytes = 0, .fd = -1};
    const struct sigaction action = {.sa_handler = host_handler};
    int fd = memfd_create("host", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 4096) != 0 || sigaction(SIGBUS, &action, NULL) != 0)
        return 1;
    volatile char *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED || ftruncate(fd, 0) != 0 || !fws_view_guard(&view, nothing, NULL))
        return 2;
    (void)map[0];
    return 3;
}

static void test_guard_leaves_the_host_its_signals(void **state)
{
    (void)state;
    assert_int_equal(in_child(foreign_bus_body), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guard_leaves_the_host_its_signals), /* before any other guard */
        cmocka_unit_test(test_create_and_publish),
        cmocka_unit_test(test_abandon_leaves_nothing),
        cmocka_unit_test(test_publish_fails),
        cmocka_unit_test(test_second_create_takes_nothing_from_the_first),
        cmocka_unit_test(test_directory_missing),
        cmocka_unit_test(test_path_too_long),
        cmocka_unit_test(test_disk_is_refused),
        cmocka_unit_test(test_no_space),
        cmocka_unit_test(test_file_size_limit),
        cmocka_unit_test(test_descriptor_above_stdio),
        cmocka_unit_test(test_no_descriptors_leaves_nothing),
        cmocka_unit_test(test_no_memory_for_the_map),
        cmocka_unit_test(test_lock_of_another_process),
        cmocka_unit_test(test_lock_survives_a_host_that_closes_descriptors),
        cmocka_unit_test(test_release_drops_the_lock_and_keeps_the_map),
        cmocka_unit_test(test_release_leaves_a_reused_descriptor_alone),
        cmocka_unit_test(test_lock_is_not_inherited),
        cmocka_unit_test(test_attach_live_and_dead),
        cmocka_unit_test(test_attach_missing),
        cmocka_unit_test(test_attach_link),
        cmocka_unit_test(test_attach_fifo),
        cmocka_unit_test(test_attach_directory),
        cmocka_unit_test(test_attach_socket),
        cmocka_unit_test(test_attach_denied),
        cmocka_unit_test(test_attach_no_region),
        cmocka_unit_test(test_attach_bent),
        cmocka_unit_test(test_attach_holes),
        cmocka_unit_test(test_attach_sparse),
        cmocka_unit_test(test_attach_sparse_and_large),
        cmocka_unit_test(test_lock_ask_file),
        cmocka_unit_test(test_prefix_read),
        cmocka_unit_test(test_guard),
        cmocka_unit_test(test_guard_of_a_copy),
    };
    struct CMUnitTest each[sizeof tests / sizeof *tests];
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        each[i] = tests[i]; /* every test has a directory of its own */
        each[i].setup_func = dir_make;
        each[i].teardown_func = dir_remove;
    }
    return cmocka_run_group_tests_name("region", each, NULL, NULL);
}
