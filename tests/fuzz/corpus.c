/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile images, one corrupted word each: every word that means something, in turn with values
 * that hurt. Each is read as the file of a living writer (mapped; the test holds the lock) and as
 * that of a dead one (copied). Built with the sanitizers, so a read outside memory ends the test.
 *
 * The short form takes some of the values for each word, another few a word; with FWDSCOPE_LONG=1
 * in the environment it is all of them.
 *
 * What must hold: parts of the reading that do not depend on the corrupted section are exactly as
 * in the good image; CPU and memory are bounded; commands say what they print, or refuse, in plain
 * text and valid JSON; a directory entry that no reader could follow is refused by name.
 */
#include "image.h"

#include "cli.h"

#include "shmlayout/validate.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { FIELDS_MAX = 4096, HOSTILE_VALUES = 18, SHORT_VALUES = 4, COMMANDS_EVERY = 8 };

/* A small quarantine, so that the memory of the process is its own. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=4";
}

static struct {
    struct image good;
    struct reading baseline;
    char dir[64], path[128];
    int fd; /* the image's file; holds the lock while the writer is to look alive */
    const char *field;
    uint64_t value;
    bool live;
    size_t images, attached, refused_whole, refused_section, changed, commands;
    uint64_t cpu_ns_max;
} t;

static void fail(const char *what)
{
    printf("FAILED: %s, value %#llx, writer %s: %s\n", t.field, (unsigned long long)t.value,
           t.live ? "alive" : "dead", what);
    exit(1);
}

/* ---- fields ---------------------------------------------------------------------------------- */

struct field {
    size_t word;
    char name[48];
    unsigned section; /* its bit; 0: the header, or the directory */
};

static struct field fields[FIELDS_MAX];
static size_t field_count;

static void field_add(size_t word, const char *where, size_t index, unsigned section)
{
    if (field_count == FIELDS_MAX || word >= t.good.count) {
        fprintf(stderr, "field %s[%zu] is outside\n", where, index);
        exit(1);
    }
    struct field *field = &fields[field_count++];
    field->word = word;
    field->section = section;
    snprintf(field->name, sizeof field->name, "%s[%zu]", where, index);
}

static void fields_header(void)
{
    static const size_t mutable_words[] = {
        FWS_H_STATE,   FWS_H_SIGNAL,        FWS_H_SIGNAL_ADDRESS, FWS_H_SIGNAL_THREAD,
        FWS_H_REFUSED, FWS_H_SPANS_REFUSED, FWS_H_CLOSE_REASON,   FWS_H_CLOSE_REASON + 31};
    for (size_t i = 0; i < FWS_H_PREFIX_WORDS; i++)
        field_add(i, "prefix", i, 0);
    for (size_t i = 0; i < sizeof mutable_words / sizeof *mutable_words; i++)
        field_add(mutable_words[i], "header", mutable_words[i], 0);
    const size_t directory = (size_t)(t.good.words[FWS_H_DIR_OFFSET] / FWS_WORD_BYTES);
    for (size_t i = 0; i < t.good.words[FWS_H_DIR_COUNT] * FWS_D_WORDS; i++)
        field_add(directory + i, "directory", i, 0);
}

/* Words [first, first + count) of an entry of a section. */
static void fields_entry(enum fws_section kind, size_t lane, size_t index, size_t first,
                         size_t count)
{
    const uint64_t *entry = image_entry(t.good.words, kind);
    const size_t at =
        (size_t)(entry[FWS_D_OFFSET] + (lane * entry[FWS_D_COUNT] + index) * entry[FWS_D_STRIDE]) /
        FWS_WORD_BYTES;
    for (size_t i = first; i < first + count; i++)
        field_add(at + i, fws_section_name((uint64_t)kind), at + i, 1u << kind);
}

/* Control words and the first records of a lane's ring, heads, meta, attributes and all. */
static void fields_ring(enum fws_section kind, size_t lane)
{
    const uint64_t *entry = image_entry(t.good.words, kind);
    const size_t at = (size_t)(entry[FWS_D_OFFSET] + lane * entry[FWS_D_STRIDE]) / FWS_WORD_BYTES;
    const uint64_t *control = t.good.words + at;
    const uint64_t mask = control[FWS_R_CAPACITY] / FWS_WORD_BYTES - 1;

    fields_entry(kind, lane, 0, 0, FWS_R_WORDS);
    uint64_t position = control[FWS_R_START];
    for (int record = 0; record < 3 && position != control[FWS_R_TAIL]; record++) {
        const uint64_t first = position / FWS_WORD_BYTES;
        const uint64_t length = control[FWS_R_WORDS + (first & mask)];
        for (uint64_t i = 0; i < length / FWS_WORD_BYTES; i++)
            field_add(at + FWS_R_WORDS + (size_t)((first + i) & mask),
                      fws_section_name((uint64_t)kind), (size_t)i, 1u << kind);
        position += length;
    }
}

static void fields_collect(void)
{
    fields_header();
    fields_entry(FWS_SECTION_RESOURCE, 0, 0, 0, 2);
    fields_entry(FWS_SECTION_RESOURCE, 0, 0, FWS_RES_ATTR_COUNT, 20);
    fields_entry(FWS_SECTION_STRINGS, 0, 0, 0, 48);
    for (size_t i = 0; i < 7; i++) /* the last one is free */
        fields_entry(FWS_SECTION_INSTRUMENTS, 0, i, 0, FWS_I_WORDS);
    for (size_t lane = 0; lane < 2; lane++) {
        fields_entry(FWS_SECTION_VALUES, lane, 0, 0, 40);
        fields_entry(FWS_SECTION_BATCHES, lane, 0, 0, FWS_B_USED + 1);
        fields_entry(FWS_SECTION_LANES, lane, 0, 0, FWS_LANE_VALUES_DROPPED + 1);
        fields_ring(FWS_SECTION_SPAN_RINGS, lane);
        fields_ring(FWS_SECTION_LOG_RINGS, lane);
    }
    for (size_t i = 0; i < 2; i++)
        fields_entry(FWS_SECTION_PIPELINES, 0, i, 0, FWS_P_WORDS);
    for (size_t i = 0; i < 4; i++)
        fields_entry(FWS_SECTION_COMPONENTS, 0, i, 0, FWS_C_LAST_SUCCESS_UNIX_NS + 1);
    for (size_t i = 0; i < 2; i++) {
        fields_entry(FWS_SECTION_ACTIVE_SPANS, 0, i, 0, FWS_A_NAME + 1);
        fields_entry(FWS_SECTION_ACTIVE_SPANS, 0, i, FWS_A_MESSAGE, 1);
        fields_entry(FWS_SECTION_ACTIVE_SPANS, 0, i, FWS_A_ATTRS, 8);
    }
    fields_entry(FWS_SECTION_CONFIG, 0, 0, 0, FWS_CONFIG_TEXT_BYTES + 1);
    fields_entry(FWS_SECTION_CONFIG, 0, 0, FWS_CONFIG_PATH, 3);
    fields_entry(FWS_SECTION_CONFIG, 0, 0, FWS_CONFIG_TEXT, 3);
}

/* Zero, one, all ones, off by one, misaligned, huge, sizes of every packed field, not a number. */
static uint64_t hostile_value(size_t which, uint64_t good)
{
    const uint64_t values[HOSTILE_VALUES] = {
        0,
        1,
        UINT64_MAX,
        good + 1,
        good - 1,
        good + 8,
        good ^ UINT64_C(1) << 63,
        good << 32 | good >> 32,
        good * 2,
        4095,
        UINT64_C(1) << 20,
        UINT64_C(1) << 32,
        (UINT64_C(1) << 40) + 128,
        INT64_MAX,
        UINT64_C(0xfffffffffffffff8),
        UINT64_C(0x7ff8000000000001),
        UINT64_C(0x4142431b5b324aff),
        UINT64_C(0xffffffff00000000),
    };
    return values[which];
}

/* ---- one image ------------------------------------------------------------------------------- */

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void words_write(size_t first, const uint64_t *words, size_t count)
{
    const size_t bytes = count * sizeof *words;
    if (pwrite(t.fd, words, bytes, (off_t)(first * sizeof *words)) != (ssize_t)bytes) {
        perror(t.path);
        exit(1);
    }
}

/* The lock that says whether the image's writer lives. */
static void writer_set(bool live)
{
    struct flock lock = {.l_type = live ? F_WRLCK : F_UNLCK, .l_whence = SEEK_SET};
    if (fcntl(t.fd, F_OFD_SETLK, &lock) != 0) {
        perror(t.path);
        exit(1);
    }
    t.live = live;
}

/* Parts that do not depend on what was corrupted, or refused, are as in the good image. */
static void reading_check(const struct reading *reading, unsigned corrupted)
{
    bool changed = false;
    for (int part = 0; part < PARTS; part++) {
        const bool same = reading->parts[part] == t.baseline.parts[part];
        changed = changed || !same;
        if (same || (part_sections[part] & (corrupted | reading->refused)) != 0)
            continue;
        char what[64];
        snprintf(what, sizeof what, "part %d changed (refused %#x)", part, reading->refused);
        fail(what);
    }
    t.changed += changed;
    t.refused_section += reading->refused != 0;
}

static void commands_check(void)
{
    static const struct {
        const char *command, *format;
    } commands[] = {{"inspect", NULL}, {"dump", "text"}, {"dump", "json"}, {"dump", "otlp"}};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        struct output output;
        command_run(&output, commands[i].command, commands[i].format, t.path);
        const char *fault = output_fault(&output, commands[i].format != NULL &&
                                                      strcmp(commands[i].format, "text") != 0);
        if (fault != NULL) {
            printf("%s %s: exit %d\n%.2000s%.2000s\n", commands[i].command,
                   commands[i].format != NULL ? commands[i].format : "", output.code, output.error,
                   output.out);
            fail(fault);
        }
        output_free(&output);
        t.commands++;
    }
}

/* Reads the file as it stands. corrupted: bits of the sections that may read otherwise. */
static void image_check(unsigned corrupted)
{
    struct reading reading;
    const uint64_t began = cpu_ns();
    reading_take(t.path, &reading);
    if (t.images % COMMANDS_EVERY == 0)
        commands_check();
    const uint64_t took = cpu_ns() - began;
    t.cpu_ns_max = took > t.cpu_ns_max ? took : t.cpu_ns_max;
    t.images++;
    if (reading.result == ATTACH_OK) {
        t.attached++;
        reading_check(&reading, corrupted);
    } else if (reading.why[0] == '\0' || strchr(reading.why, '\n') != NULL) {
        fail("refused without a reason of one line");
    } else {
        t.refused_whole++;
    }
}

/* The sections that a word of the header or directory may take along: of a directory entry its own,
 * whatever kind it says now, and by the numbers of the directory itself all. */
static unsigned sections_touched(const struct field *field, uint64_t value)
{
    const size_t directory = (size_t)(t.good.words[FWS_H_DIR_OFFSET] / FWS_WORD_BYTES);
    if (field->section != 0)
        return field->section;
    if (field->word >= directory) {
        const size_t entry = (field->word - directory) / FWS_D_WORDS * FWS_D_WORDS;
        unsigned bits = 1u << t.good.words[directory + entry + FWS_D_KIND];
        if ((field->word - directory) % FWS_D_WORDS == FWS_D_KIND && value < FWS_SECTION_KINDS)
            bits |= 1u << value;
        return bits;
    }
    return field->word < FWS_H_PREFIX_WORDS ? UINT32_MAX : 0;
}

static void value_try(const struct field *field, uint64_t value)
{
    const uint64_t good = t.good.words[field->word];
    const bool stamped = field->word > 0 && field->word < FWS_H_CHECKSUM;

    t.field = field->name;
    t.value = value;
    if (value == good)
        return;
    words_write(field->word, &value, 1);
    if (stamped) {
        /* Once with the old checksum: such a header says nothing. */
        struct reading reading;
        reading_take(t.path, &reading);
        if (reading.result == ATTACH_OK)
            fail("a wrong checksum was accepted");
        t.good.words[field->word] = value;
        const uint64_t checksum = fws_prefix_checksum(t.good.words);
        t.good.words[field->word] = good;
        words_write(FWS_H_CHECKSUM, &checksum, 1);
    }
    image_check(sections_touched(field, value));
    words_write(field->word, &good, 1);
    if (stamped)
        words_write(FWS_H_CHECKSUM, &t.good.words[FWS_H_CHECKSUM], 1);
}

static void fields_try(bool every)
{
    for (size_t f = 0; f < field_count; f++)
        for (size_t v = 0; v < (size_t)(every ? HOSTILE_VALUES : SHORT_VALUES); v++) {
            const size_t which =
                every ? v : (f + v * HOSTILE_VALUES / SHORT_VALUES) % HOSTILE_VALUES;
            value_try(&fields[f], hostile_value(which, t.good.words[fields[f].word]));
        }
}

/* ---- refused by name ------------------------------------------------------------------------- */

/* The section must be refused, and named by inspect and by the status in a dump. */
static void refusal_check(enum fws_section kind)
{
    struct reading reading;
    struct output output;
    char named[64];

    reading_take(t.path, &reading);
    if (reading.result != ATTACH_OK || (reading.refused & 1u << kind) == 0)
        fail("the section is served");
    reading_check(&reading, 1u << kind);
    command_run(&output, "inspect", NULL, t.path);
    snprintf(named, sizeof named, "\n%s ", fws_section_name((uint64_t)kind));
    const char *line = strstr(output.out, named);
    if (output.code != EXIT_OK || line == NULL ||
        memmem(line + 1, strcspn(line + 1, "\n"), "  refused: ", 11) == NULL)
        fail("inspect does not name it");
    output_free(&output);
    command_run(&output, "dump", "json", t.path);
    snprintf(named, sizeof named, "\"%s: ", fws_section_name((uint64_t)kind));
    const char *refused = strstr(output.out, "\"refused\":[");
    if (output.code != EXIT_OK || refused == NULL ||
        memmem(refused, strcspn(refused, "]"), named, strlen(named)) == NULL)
        fail("the status does not name it");
    output_free(&output);
}

/* Directory entries that nobody can follow. */
static size_t refusals_try(void)
{
    static const struct {
        const char *name;
        size_t word;
        uint64_t value;
    } broken[] = {
        {"version 2", FWS_D_VERSION, 2},
        {"an offset that is not aligned", FWS_D_OFFSET, 4097},
        {"an offset beyond the region", FWS_D_OFFSET, UINT64_C(1) << 40},
        {"an offset that overflows", FWS_D_OFFSET, UINT64_MAX - 127},
        {"an offset in the header", FWS_D_OFFSET, 0},
        {"a length beyond the region", FWS_D_LENGTH, UINT64_C(1) << 40},
        {"a length that overflows", FWS_D_LENGTH, UINT64_MAX},
        {"no length", FWS_D_LENGTH, 0},
        {"no stride", FWS_D_STRIDE, 0},
        {"a stride of half words", FWS_D_STRIDE, 12},
        {"a stride that overflows", FWS_D_STRIDE, UINT64_MAX - 7},
        {"no entry", FWS_D_COUNT, 0},
        {"entries that overflow", FWS_D_COUNT, UINT64_MAX},
        {"no lane", FWS_D_LANES, 0},
        {"lanes that overflow", FWS_D_LANES, UINT64_MAX},
    };
    const size_t directory = (size_t)(t.good.words[FWS_H_DIR_OFFSET] / FWS_WORD_BYTES);
    size_t checks = 0;
    for (size_t section = 0; section < t.good.words[FWS_H_DIR_COUNT]; section++)
        for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
            const size_t word = directory + section * FWS_D_WORDS + broken[i].word;
            const uint64_t *entry = t.good.words + directory + section * FWS_D_WORDS;
            t.field = broken[i].name;
            t.value = entry[FWS_D_KIND];
            words_write(word, &broken[i].value, 1);
            refusal_check((enum fws_section)entry[FWS_D_KIND]);
            words_write(word, &t.good.words[word], 1);
            checks++;
        }
    return checks;
}

/* ---- main ------------------------------------------------------------------------------------ */

static long memory_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void clean_up(void)
{
    scratch_remove(t.dir);
}

static void set_up(void)
{
    scratch_make(t.dir);
    if (atexit(clean_up) != 0)
        exit(1);
    t.good = image_make(t.dir);
    snprintf(t.path, sizeof t.path, "%s/image.fwdscope", t.dir);
    t.fd = open(t.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (t.fd < 0) {
        perror(t.path);
        exit(1);
    }
    words_write(0, t.good.words, t.good.count);
    reading_take(t.path, &t.baseline);
    t.field = "the good image";
    if (t.baseline.result != ATTACH_OK || t.baseline.refused != 0 || t.baseline.undecoded != 0 ||
        t.baseline.records != 16)
        fail(t.baseline.why);
    for (int part = 0; part < PARTS; part++)
        if (t.baseline.parts[part] == 0)
            fail("a part of the reading is empty");
}

int main(void)
{
    const char *form = getenv("FWDSCOPE_LONG");
    const bool every = form != NULL && strcmp(form, "1") == 0;
    size_t refusals = 0;

    set_up();
    fields_collect();
    commands_check();
    const long memory_before = memory_kib();
    for (int live = 0; live < 2; live++) {
        writer_set(live != 0);
        fields_try(every);
        refusals += refusals_try();
    }
    const long grown = memory_kib() - memory_before;
    printf(
        "figure: corpus: %zu words, %zu images, half of them with a living writer: %zu attached "
        "(%zu read otherwise than the good one, %zu with a section refused), %zu refused whole\n",
        field_count, t.images, t.attached, t.changed, t.refused_section, t.refused_whole);
    printf("figure: corpus, bounded: at most %.1f ms of CPU an image, commands included (%zu "
           "commands), peak memory grew by %ld KiB\n",
           (double)t.cpu_ns_max / 1e6, t.commands, grown);
    printf("figure: refused by name: %zu broken directory entries, each named by the snapshot, "
           "inspect and status, all other sections as before\n",
           refusals);
    if (t.attached == 0 || t.refused_whole == 0 || t.refused_section == 0 || t.changed == 0 ||
        refusals == 0)
        fail("nothing of the kind happened");
    if (t.cpu_ns_max > UINT64_C(2000000000) || grown > 256 << 10)
        fail("over its bounds");
    close(t.fd);
    free(t.good.words);
    return 0;
}
