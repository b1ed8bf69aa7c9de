/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the shim's cases, and reads regions for them. */
#include "shim_cases.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

char case_dir[64];

_Noreturn void check_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    _exit(1);
}

void check_equal(uint64_t a, uint64_t b, const char *condition, const char *file, int line)
{
    if (a == b)
        return;
    fprintf(stderr, "%s:%d: %llu, not %llu\n", file, line, (unsigned long long)a,
            (unsigned long long)b);
    check_failed(condition, file, line);
}

void check_text(const char *text, const char *part, const char *file, int line)
{
    if (strstr(text, part) != NULL)
        return;
    fprintf(stderr, "%s:%d: \"%s\" is not in \"%s\"\n", file, line, part, text);
    _exit(1);
}

/* ---- cases ----------------------------------------------------------------------------------- */

int case_dir_files(void)
{
    int count = 0;
    DIR *entries = opendir(case_dir);
    struct dirent *entry;
    CHECK(entries != NULL);
    while ((entry = readdir(entries)) != NULL)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(entries);
    return count;
}

static void case_dir_remove(void)
{
    DIR *entries = opendir(case_dir);
    struct dirent *entry;
    while (entries != NULL && (entry = readdir(entries)) != NULL)
        unlinkat(dirfd(entries), entry->d_name, 0);
    if (entries != NULL)
        closedir(entries);
    rmdir(case_dir);
}

static void case_run(void **state)
{
    const struct shim_case *one = *state;
    int status;
    strcpy(case_dir, "/dev/shm/fwdscope-case-XXXXXX");
    assert_non_null(mkdtemp(case_dir));
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        one->run();
        _exit(0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    case_dir_remove();
    if (WIFSIGNALED(status))
        fail_msg("%s: killed by signal %d", one->name, WTERMSIG(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int shim_cases_run(const char *group, const struct shim_case *cases, size_t count)
{
    struct CMUnitTest tests[128];
    if (count > sizeof tests / sizeof *tests)
        return 1;
    for (size_t i = 0; i < count; i++)
        tests[i] = (struct CMUnitTest){.name = cases[i].name,
                                       .test_func = case_run,
                                       .initial_state = (void *)(uintptr_t)&cases[i]};
    return _cmocka_run_group_tests(group, tests, count, NULL, NULL);
}

struct fwdscope_options case_options(void)
{
    return (struct fwdscope_options){.service_name = "unit", .directory = case_dir};
}

void case_open(void)
{
    const struct fwdscope_options options = case_options();
    if (!fwdscope_open(&options))
        check_failed(fwdscope_reason(), __FILE__, __LINE__);
}

/* ---- reading --------------------------------------------------------------------------------- */

struct peek peek_open(const char *path)
{
    struct peek peek = {.view = {.fd = -1}};
    struct fws_section_info infos[FWS_SECTIONS_MAX];
    char why[512];
    if (fws_view_attach(path, &peek.view, why, sizeof why) != FWS_ATTACH_OK)
        check_failed(why, __FILE__, __LINE__);
    const uint64_t *prefix = peek.view.prefix;
    uint64_t directory[FWS_SECTIONS_MAX * FWS_D_WORDS];
    const uint64_t count = prefix[FWS_H_DIR_COUNT];
    CHECK_EQUAL(prefix[FWS_H_DIR_STRIDE], FWS_D_WORDS * 8);
    for (size_t i = 0; i < count * FWS_D_WORDS; i++)
        directory[i] = fws_peek(&peek.view.words[prefix[FWS_H_DIR_OFFSET] / 8 + i]);
    const size_t found =
        fws_check_directory(directory, count, FWS_D_WORDS * 8, prefix[FWS_H_HEADER_BYTES],
                            prefix[FWS_H_DIR_OFFSET], peek.view.bytes, infos);
    CHECK_EQUAL(found, FWS_SECTION_KINDS - 1);
    for (size_t i = 0; i < found; i++) {
        if (infos[i].refused != NULL)
            check_failed(infos[i].refused, __FILE__, __LINE__);
        peek.sections[infos[i].kind] = infos[i];
    }
    return peek;
}

struct peek peek_now(void)
{
    return peek_open(fwdscope_path());
}

uint64_t peek_header(const struct peek *peek, int word)
{
    return fws_peek(&peek->view.words[word]);
}

const fws_word *peek_entry(const struct peek *peek, enum fws_section kind, size_t lane,
                           size_t index)
{
    const struct fws_section_info *s = &peek->sections[kind];
    CHECK(lane < s->lanes && index < s->count);
    return peek->view.words + (s->offset + s->stride * (lane * s->count + index)) / 8;
}

bool peek_text_is(const struct peek *peek, uint64_t ref, const char *text)
{
    const fws_word *words = peek_entry(peek, FWS_SECTION_STRINGS, 0, FWS_REF_OFFSET(ref) / 8);
    if (FWS_REF_LENGTH(ref) != strlen(text))
        return false;
    for (size_t i = 0; i < strlen(text); i++)
        if ((fws_peek(&words[i / 8]) >> (i % 8 * 8) & 0xff) != (unsigned char)text[i])
            return false;
    return true;
}

const fws_word *peek_instrument(const struct peek *peek, const char *name, size_t nth)
{
    for (size_t i = 0; i < peek->sections[FWS_SECTION_INSTRUMENTS].count; i++) {
        const fws_word *entry = peek_entry(peek, FWS_SECTION_INSTRUMENTS, 0, i);
        if (fws_observe(&entry[FWS_I_STATE]) != 1)
            return NULL;
        if (peek_text_is(peek, fws_peek(&entry[FWS_I_NAME]), name) && nth-- == 0)
            return entry;
    }
    return NULL;
}

static const fws_word *peek_slot(const struct peek *peek, const char *name, size_t offset,
                                 size_t lane)
{
    const fws_word *entry = peek_instrument(peek, name, 0);
    CHECK(entry != NULL);
    CHECK(offset < fws_peek(&entry[FWS_I_SLOTS]));
    return peek_entry(peek, FWS_SECTION_VALUES, lane, fws_peek(&entry[FWS_I_SLOT]) + offset);
}

uint64_t peek_sum(const struct peek *peek, const char *name, size_t offset)
{
    uint64_t sum = 0;
    for (size_t lane = 0; lane < peek->sections[FWS_SECTION_VALUES].lanes; lane++)
        sum += fws_peek(peek_slot(peek, name, offset, lane));
    return sum;
}

double peek_sum_double(const struct peek *peek, const char *name, size_t offset)
{
    double sum = 0, value;
    for (size_t lane = 0; lane < peek->sections[FWS_SECTION_VALUES].lanes; lane++) {
        const uint64_t bits = fws_peek(peek_slot(peek, name, offset, lane));
        memcpy(&value, &bits, sizeof value);
        sum += value;
    }
    return sum;
}

uint64_t peek_lanes_sum(const struct peek *peek, enum fws_lane_word word)
{
    uint64_t sum = 0;
    for (size_t lane = 0; lane < peek->sections[FWS_SECTION_LANES].lanes; lane++)
        sum += fws_peek(&peek_entry(peek, FWS_SECTION_LANES, lane, 0)[word]);
    return sum;
}

uint64_t peek_records(const struct peek *peek, enum fws_section kind, peek_each each, void *arg)
{
    uint64_t record[FWS_RECORD_WORDS_MAX], lost = 0;
    for (size_t lane = 0; lane < peek->sections[kind].lanes; lane++) {
        const fws_word *control = peek_entry(peek, kind, lane, 0);
        struct fws_ring_reader reader;
        enum fws_ring_result result;
        size_t words;
        fws_ring_reader_init(&reader, control, control + FWS_R_WORDS,
                             fws_peek(&control[FWS_R_CAPACITY]), fws_peek(&control[FWS_R_START]),
                             fws_peek(&control[FWS_R_START_NUMBER]));
        while ((result = fws_ring_read(&reader, record, &words)) == FWS_RING_RECORD)
            each(arg, record, words);
        CHECK_EQUAL(result, FWS_RING_EMPTY);
        lost += reader.lost;
    }
    return lost;
}
