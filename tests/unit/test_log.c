/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines as they arrive at the other end of stderr: a pipe, and a terminal. */
#include "log.h"

#include <errno.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int saved_stderr, reader;
static char line[8192];

/* Makes `descriptor` the standard error until restore(). */
static void redirect(int descriptor)
{
    saved_stderr = dup(STDERR_FILENO);
    assert_true(saved_stderr >= 0);
    assert_int_equal(dup2(descriptor, STDERR_FILENO), STDERR_FILENO);
    close(descriptor);
}

static void restore(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
}

static int begin_pipe(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    reader = ends[0];
    redirect(ends[1]);
    return 0;
}

static int begin_terminal(void **state)
{
    (void)state;
    int terminal;
    assert_int_equal(openpty(&reader, &terminal, NULL, NULL, NULL), 0);
    redirect(terminal);
    return 0;
}

static int end(void **state)
{
    (void)state;
    restore();
    close(reader);
    return 0;
}

/* What one read gives is what one write wrote. */
static size_t read_line(void)
{
    const ssize_t count = read(reader, line, sizeof line - 1);
    assert_true(count > 0);
    line[count] = '\0';
    return (size_t)count;
}

/* The line without its time, which must have the form of RFC 3339. */
static const char *after_time(void)
{
    int year, month, day, hour, minute, second, millisecond, taken = 0;
    assert_int_equal(sscanf(line, "{\"time\":\"%4d-%2d-%2dT%2d:%2d:%2d.%3dZ\",%n", &year, &month,
                            &day, &hour, &minute, &second, &millisecond, &taken),
                     7);
    assert_int_equal(taken, strlen("{\"time\":\"2000-01-01T00:00:00.000Z\","));
    assert_true(year >= 2024);
    return line + taken;
}

static void json_elsewhere(void **state)
{
    (void)state;
    log_line(LOG_LEVEL_WARN, "cannot open \"%s\": %d", "C:\\x", 7);
    read_line();
    assert_string_equal(after_time(), "\"level\":\"warning\",\"message\":"
                                      "\"cannot open \\\"C:\\\\x\\\": 7\"}\n");
}

static void each_level_has_its_name(void **state)
{
    (void)state;
    log_line(LOG_LEVEL_INFO, "a");
    read_line();
    assert_string_equal(after_time(), "\"level\":\"info\",\"message\":\"a\"}\n");
    log_line(LOG_LEVEL_ERROR, "b");
    read_line();
    assert_string_equal(after_time(), "\"level\":\"error\",\"message\":\"b\"}\n");
}

static void control_characters_and_invalid_bytes_are_escaped(void **state)
{
    (void)state;
    log_line(LOG_LEVEL_INFO, "%s", "a\nb\x1B\x7F\xFF\xC3\xBC");
    read_line();
    assert_string_equal(after_time(), "\"level\":\"info\",\"message\":"
                                      "\"a\\u000ab\\u001b\\u007f\xEF\xBF\xBD\xC3\xBC\"}\n");
}

static void a_long_line_is_cut_between_characters(void **state)
{
    (void)state;
    char text[3000];
    for (size_t shift = 0; shift < 3; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 3 < sizeof text; i += 3) {
            memcpy(text + i, "\xE2\x82\xAC", 4);
        }
        log_line(LOG_LEVEL_INFO, "%s", text);
        const size_t length = read_line();
        assert_true(length <= 2000 && length > 1990);
        assert_string_equal(line + length - 6, "\xE2\x82\xAC\"}\n");
        assert_null(strstr(line, "\xEF\xBF\xBD"));
    }
}

static void errno_stays(void **state)
{
    (void)state;
    errno = ENOSPC;
    log_line(LOG_LEVEL_INFO, "x");
    assert_int_equal(errno, ENOSPC);
    read_line();
}

static void readable_on_a_terminal(void **state)
{
    (void)state;
    log_line(LOG_LEVEL_WARN, "cannot open \"%s\"\x1B[2J", "a\\b");
    read_line();
    assert_string_equal(line, "fwdscope: warning: cannot open \"a\\b\"\\u001b[2J\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(json_elsewhere, begin_pipe, end),
        cmocka_unit_test_setup_teardown(each_level_has_its_name, begin_pipe, end),
        cmocka_unit_test_setup_teardown(control_characters_and_invalid_bytes_are_escaped,
                                        begin_pipe, end),
        cmocka_unit_test_setup_teardown(a_long_line_is_cut_between_characters, begin_pipe, end),
        cmocka_unit_test_setup_teardown(errno_stays, begin_pipe, end),
        cmocka_unit_test_setup_teardown(readable_on_a_terminal, begin_terminal, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
