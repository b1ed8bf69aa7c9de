/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer over region images. The input is a list of patches of 10 bytes, {word, value}, on a
 * good image; a word beyond the image names one of those that the input changed before and adds to
 * it. The first byte says how it is read: bit 0 with a living writer, bit 1 with the checksum as it
 * was, bit 2 by a command too, and 0xff: the rest of the input is the file itself.
 */
#include "image.h"

#include "shmlayout/validate.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATCH_BYTES = 10, PATCHES_MAX = 64, LIVE = 1, UNSTAMPED = 2, COMMAND = 4, RAW = 0xff };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct image good;
static char dir[64], path[128];
static int fd;

static void clean_up(void)
{
    scratch_remove(dir);
}

static void check(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static void words_write(size_t first, const uint64_t *words, size_t count)
{
    const size_t bytes = count * sizeof *words;
    check(pwrite(fd, words, bytes, (off_t)(first * sizeof *words)) == (ssize_t)bytes, "pwrite");
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    scratch_make(dir);
    check(atexit(clean_up) == 0, "atexit");
    good = image_make(dir);
    snprintf(path, sizeof path, "%s/image.fwdscope", dir);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    check(fd >= 0, path);
    words_write(0, good.words, good.count);
    return 0;
}

static void writer_set(bool live)
{
    struct flock lock = {.l_type = live ? F_WRLCK : F_UNLCK, .l_whence = SEEK_SET};
    check(fcntl(fd, F_OFD_SETLK, &lock) == 0, "lock");
}

static void command_check(const char *command, const char *format, bool json)
{
    struct output output;
    command_run(&output, command, format, path);
    const char *fault = output_fault(&output, json);
    if (fault != NULL)
        fprintf(stderr, "%s: %s\n%.4000s%.4000s\n", command, fault, output.error, output.out);
    check(fault == NULL, "a command");
    output_free(&output);
}

static void file_read(unsigned how)
{
    struct reading reading;
    writer_set((how & LIVE) != 0);
    reading_take(path, &reading);
    check(reading.result == ATTACH_OK || (reading.why[0] != '\0' && !strchr(reading.why, '\n')),
          "refused without a reason of one line");
    if ((how & COMMAND) == 0)
        return;
    command_check("inspect", NULL, false);
    command_check("dump", "text", false);
    command_check("dump", "json", true);
    command_check("dump", "otlp", true);
}

static void raw_read(const uint8_t *data, size_t size)
{
    check(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size, "raw");
    file_read(COMMAND);
    check(ftruncate(fd, 0) == 0, "ftruncate");
    words_write(0, good.words, good.count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t changed[PATCHES_MAX], count = 0;
    if (size == 0)
        return 0;
    if (data[0] == RAW) {
        raw_read(data + 1, size - 1);
        return 0;
    }
    const unsigned how = data[0];
    uint64_t prefix[FWS_H_PREFIX_WORDS];
    memcpy(prefix, good.words, sizeof prefix);
    for (data++, size--; size >= PATCH_BYTES && count < PATCHES_MAX;
         data += PATCH_BYTES, size -= PATCH_BYTES) {
        size_t word = data[0] | (size_t)data[1] << 8;
        uint64_t value;
        memcpy(&value, data + 2, sizeof value);
        if (word >= good.count) {
            word = count > 0 ? changed[word % count] : word % good.count;
            value += good.words[word];
        }
        words_write(word, &value, 1);
        if (word < FWS_H_PREFIX_WORDS)
            prefix[word] = value;
        changed[count++] = word;
    }
    if ((how & UNSTAMPED) == 0) {
        prefix[FWS_H_CHECKSUM] = fws_prefix_checksum(prefix);
        words_write(FWS_H_CHECKSUM, &prefix[FWS_H_CHECKSUM], 1);
    }
    file_read(how);
    for (size_t i = 0; i < count; i++)
        words_write(changed[i], &good.words[changed[i]], 1);
    words_write(FWS_H_CHECKSUM, &good.words[FWS_H_CHECKSUM], 1);
    return 0;
}
