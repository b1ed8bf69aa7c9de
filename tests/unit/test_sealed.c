/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions without a file: what the seals keep everybody from, what a kernel without them is told,
 * and how a reader opens what a process has open without being led to anything else.
 */
#include "shmlayout/region.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { BYTES = 64 * 1024 };

static char why[512];

/* ---- helpers --------------------------------------------------------------------------------- */

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

static void region_make(struct fws_region *region)
{
    if (!fws_region_create_sealed("unit.1.00000000", BYTES, region, why, sizeof why))
        fail_msg("%s", why);
    header_fill(region);
    assert_true(fws_region_publish(region, NULL, "unit.1.00000000", why, sizeof why));
}

static void region_drop(struct fws_region *region)
{
    fws_region_release(region);
    munmap((void *)region->words, region->bytes);
}

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

/* ---- the writer ------------------------------------------------------------------------------ */

static void test_create(void **state)
{
    (void)state;
    struct fws_region region;
    struct stat st;
    char link[256], expected[64];
    region_make(&region);
    snprintf(expected, sizeof expected, "/proc/%d/fd/%d", (int)getpid(), region.fd);
    assert_string_equal(region.path, expected);
    ssize_t n = readlink(region.path, link, sizeof link - 1);
    assert_true(n > 0);
    link[n] = '\0';
    assert_string_equal(link, "/memfd:fwdscope:unit.1.00000000 (deleted)");
    assert_int_equal(fstat(region.fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0444);
    assert_int_equal(st.st_size, BYTES);
    assert_true(st.st_blocks * 512 >= BYTES);
    assert_true((fcntl(region.fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(fcntl(region.fd, F_GET_SEALS),
                     F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
    region_drop(&region);
}

/* Through the writer's own descriptor, which has every right that there is. */
static void test_nobody_cuts_or_scribbles(void **state)
{
    (void)state;
    struct fws_region region;
    const char byte = 'x';
    region_make(&region);
    assert_int_equal(ftruncate(region.fd, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(region.fd, 2 * BYTES), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(pwrite(region.fd, &byte, 1, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(
        fallocate(region.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, FWS_PAGE_BYTES), -1);
    assert_int_equal(errno, EPERM);
    assert_ptr_equal(mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd, 0),
                     MAP_FAILED);
    assert_int_equal(errno, EPERM);
    void *map = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, region.fd, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    assert_int_equal(mprotect(map, BYTES, PROT_READ | PROT_WRITE), -1);
    assert_int_equal(munmap(map, BYTES), 0);
    assert_int_equal(fcntl(region.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    assert_int_equal(errno, EPERM);
    /* The writer's map alone goes on. */
    fws_put(&region.words[FWS_H_REFUSED], 7);
    uint64_t word = 0;
    assert_int_equal(pread(region.fd, &word, sizeof word, FWS_H_REFUSED * 8), sizeof word);
    assert_int_equal(word, 7);
    region_drop(&region);
}

static int lock_of_path(const char *path)
{
    return (int)fws_lock_ask_file(path);
}

static void test_lock(void **state)
{
    (void)state;
    struct fws_region region;
    struct fws_view view;
    region_make(&region);
    assert_int_equal(lock_of_path(region.path), FWS_LOCK_HELD);
    assert_int_equal(fws_view_attach(region.path, &view, why, sizeof why), FWS_ATTACH_OK);
    assert_false(view.copied);
    region_drop(&region);
    /* No name leads there any more, but who had it open keeps it. */
    assert_int_equal(lock_of_path(region.path), FWS_LOCK_UNKNOWN);
    assert_int_equal(fws_lock_ask(view.fd), FWS_LOCK_FREE);
    assert_int_equal(fws_peek(&view.words[FWS_H_STATE]), FWS_STATE_RUNNING);
    fws_view_detach(&view);
}

static void test_long_name(void **state)
{
    (void)state;
    struct fws_region region;
    char name[400];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_true(fws_region_create_sealed(name, BYTES, &region, why, sizeof why));
    fws_region_abandon(&region, NULL, name);
    assert_int_equal(region.fd, -1);
    assert_null(region.words);
}

/* ---- kernels and limits ---------------------------------------------------------------------- */

/* From now on a system call whose number, and second argument where `argument` is not 0, is this
 * fails with `error`, as on a kernel that does not know it. */
static bool kernel_lacks(unsigned number, unsigned argument, unsigned error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | (argument != 0 ? BPF_JEQ : BPF_JGE) | BPF_K, argument, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* 0: refused for that reason, and no descriptor was left. */
static int refused_for(const char *part)
{
    struct fws_region region;
    const int next = dup(0);
    close(next);
    if (fws_region_create_sealed("unit", BYTES, &region, why, sizeof why))
        return 3;
    if (strstr(why, part) == NULL || strchr(why, '\n') != NULL) {
        fprintf(stderr, "the reason is: %s; expected: %s\n", why, part);
        return 4;
    }
    const int after = dup(0);
    close(after);
    return region.fd == -1 && region.words == NULL && next == after ? 0 : 5;
}

static int no_future_write_body(void)
{
    return kernel_lacks(SYS_fcntl, F_ADD_SEALS, EINVAL) ? refused_for("needs Linux 5.1") : 2;
}

static int no_memfd_body(void)
{
    return kernel_lacks(SYS_memfd_create, 0, ENOSYS)
               ? refused_for("cannot make a memfd: Function not implemented")
               : 2;
}

static int no_descriptor_body(void)
{
    const struct rlimit none = {0, 0};
    struct fws_region region;
    if (setrlimit(RLIMIT_NOFILE, &none) != 0)
        return 2;
    return !fws_region_create_sealed("unit", BYTES, &region, why, sizeof why) &&
                   strstr(why, "Too many open files") != NULL
               ? 0
               : 3;
}

static int file_size_body(void)
{
    const struct rlimit small = {FWS_PAGE_BYTES, FWS_PAGE_BYTES};
    return setrlimit(RLIMIT_FSIZE, &small) == 0 ? refused_for("RLIMIT_FSIZE") : 2;
}

static void test_refused(void **state)
{
    (void)state;
    assert_int_equal(in_child(no_future_write_body), 0);
    assert_int_equal(in_child(no_memfd_body), 0);
    assert_int_equal(in_child(no_descriptor_body), 0);
    assert_int_equal(in_child(file_size_body), 0);
}

/* ---- what a process has open ----------------------------------------------------------------- */

static void test_process_links(void **state)
{
    (void)state;
    assert_true(fws_path_is_process_link("/proc/1/fd/0"));
    assert_true(fws_path_is_process_link("/proc/4194304/fd/1048576"));
    assert_true(fws_path_is_process_link("/proc/12/map_files/7f00a-7f0ff"));
    const char *const others[] = {
        "",
        "/proc/1/fd/",
        "/proc/1/fd",
        "/proc/self/fd/3",
        "/proc/1/fd/3/x",
        "/proc/1/fd/3.fwdscope",
        "/proc/1/fd/../root/etc/passwd",
        "/proc/ 1/fd/3",
        "/proc/-1/fd/3",
        "proc/1/fd/3",
        "/proc/1/root/a.fwdscope",
        "/proc/1/map_files/a-b/c",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (fws_path_is_process_link(others[i]))
            fail_msg("taken for a link: %s", others[i]);
    }
}

static void refused_descriptor(int fd)
{
    struct fws_view view;
    uint64_t header[FWS_H_WORDS];
    enum fws_lock_state lock;
    char path[64];
    assert_true(fd >= 0);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), fd);
    assert_int_equal(fws_view_attach(path, &view, why, sizeof why), FWS_ATTACH_CORRUPT);
    assert_non_null(strstr(why, "not a regular file"));
    assert_int_equal(fws_header_read(path, header, &lock, why, sizeof why), FWS_ATTACH_CORRUPT);
    assert_int_equal(lock, FWS_LOCK_UNKNOWN);
    assert_int_equal(fws_lock_ask_file(path), FWS_LOCK_UNKNOWN);
    close(fd);
}

/* What acts on being opened is never opened: a terminal would become ours, a FIFO would wake its
 * writer, who waits here for nobody. */
static void test_other_descriptors(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    refused_descriptor(ends[0]);
    assert_int_equal(write(ends[1], "x", 1), -1); /* nobody else holds a reading end */
    assert_int_equal(errno, EPIPE);
    close(ends[1]);
    refused_descriptor(open("/dev/null", O_RDONLY));
    refused_descriptor(open("/", O_RDONLY | O_DIRECTORY));
}

static void test_header_read(void **state)
{
    (void)state;
    struct fws_region region;
    uint64_t header[FWS_H_WORDS];
    enum fws_lock_state lock;
    region_make(&region);
    fws_put(&region.words[FWS_H_SIGNAL], 11);
    assert_int_equal(fws_header_read(region.path, header, &lock, why, sizeof why), FWS_ATTACH_OK);
    assert_int_equal(lock, FWS_LOCK_HELD);
    assert_int_equal(header[FWS_H_REGION_BYTES], BYTES);
    assert_int_equal(header[FWS_H_SIGNAL], 11);
    fws_put(&region.words[FWS_H_MAJOR], 9);
    assert_true(fws_region_publish(&region, NULL, "", why, sizeof why)); /* the checksum again */
    assert_int_equal(fws_header_read(region.path, header, &lock, why, sizeof why),
                     FWS_ATTACH_INCOMPATIBLE);
    assert_int_equal(header[FWS_H_MAJOR], 9);
    assert_non_null(strstr(why, "layout 9.0"));
    fws_put(&region.words[FWS_H_MAGIC], 0);
    assert_int_equal(fws_header_read(region.path, header, &lock, why, sizeof why),
                     FWS_ATTACH_NOT_READY);
    region_drop(&region);
    assert_int_equal(fws_header_read(region.path, header, &lock, why, sizeof why),
                     FWS_ATTACH_NOT_FOUND);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_nobody_cuts_or_scribbles),
        cmocka_unit_test(test_lock),
        cmocka_unit_test(test_long_name),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_process_links),
        cmocka_unit_test(test_other_descriptors),
        cmocka_unit_test(test_header_read),
    };
    return cmocka_run_group_tests_name("sealed", tests, NULL, NULL);
}
