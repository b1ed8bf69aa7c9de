/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cases for the shim. A process has one shim, and opens it a bounded number of times, so every case
 * runs in a child of its own with a directory of its own on tmpfs. And a plain reader of regions,
 * so that the cases see what any other program would see.
 */
#ifndef TESTS_SHIM_CASES_H
#define TESTS_SHIM_CASES_H

#include "fwdscope.h"

#include "shmlayout/region.h"
#include "shmlayout/ring.h"
#include "shmlayout/seqlock.h"

/* Ends the case with a word about what did not hold. */
#define CHECK(condition) ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))
#define CHECK_EQUAL(a, b) check_equal((uint64_t)(a), (uint64_t)(b), #a " == " #b, __FILE__, __LINE__)
#define CHECK_TEXT(text, part) check_text(text, part, __FILE__, __LINE__)
_Noreturn void check_failed(const char *condition, const char *file, int line);
void check_equal(uint64_t a, uint64_t b, const char *condition, const char *file, int line);
/* That `part` occurs in `text`. */
void check_text(const char *text, const char *part, const char *file, int line);

struct shim_case {
    const char *name;
    void (*run)(void);
};
int shim_cases_run(const char *group, const struct shim_case *cases, size_t count);

extern char case_dir[64]; /* of the running case; removed after it */
int case_dir_files(void); /* entries in it */

/* Options of an ordinary forwarder in case_dir; a case changes what it is about. */
struct fwdscope_options case_options(void);
void case_open(void);

/* ---- reading --------------------------------------------------------------------------------- */

struct peek {
    struct fws_view view;
    struct fws_section_info sections[FWS_SECTION_KINDS];
};

struct peek peek_open(const char *path);
struct peek peek_now(void); /* of the region that is open here */
uint64_t peek_header(const struct peek *peek, int word);
const fws_word *peek_entry(const struct peek *peek, enum fws_section kind, size_t lane,
                           size_t index);
/* The entry of an instrument of that name, the n-th; NULL: none. */
const fws_word *peek_instrument(const struct peek *peek, const char *name, size_t nth);
/* A word of an instrument's slots, summed over the lanes. */
uint64_t peek_sum(const struct peek *peek, const char *name, size_t offset);
double peek_sum_double(const struct peek *peek, const char *name, size_t offset);
uint64_t peek_lanes_sum(const struct peek *peek, enum fws_lane_word word);
/* Whether a reference of the strings section says this. */
bool peek_text_is(const struct peek *peek, uint64_t ref, const char *text);

/* Gives every record of the rings of that kind to `each`; returns how many were overwritten. */
typedef void (*peek_each)(void *arg, const uint64_t *record, size_t words);
uint64_t peek_records(const struct peek *peek, enum fws_section kind, peek_each each, void *arg);

#endif
