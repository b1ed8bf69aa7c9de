/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as JSON text. Most values are integers, and most others are decimals of a few digits;
 * both are written exactly and without the C library, which takes the rest.
 */
#include "json_put.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* An IEEE 754 double of the largest magnitude with 9 digits after the point. */
#define FIXED_TEXT_MAX (1 + DBL_MAX_10_EXP + 1 + 1 + 9 + 1)

/* The eight digits of a value below 10^8, as numbers; the first is the lowest byte. Halves of it,
 * then pairs, then digits are divided side by side; the products are exact for what stands there.
 */
static uint64_t eight_digits(uint32_t value)
{
    uint64_t digits = value / 10000 | (uint64_t)(value % 10000) << 32;
    const uint64_t hundreds = digits * 10486 >> 20 & 0x0000007F0000007FU;
    digits = hundreds | (digits - 100 * hundreds) << 16;
    const uint64_t tens = digits * 103 >> 10 & 0x000F000F000F000FU;
    return tens | (digits - 10 * tens) << 8;
}

static const uint64_t zeros = 0x3030303030303030U;

static char *write_eight(char *at, uint32_t value)
{
    const uint64_t text = eight_digits(value) + zeros;
    memcpy(at, &text, sizeof text);
    return at + sizeof text;
}

/* Without leading zeros; eight bytes are written all the same. */
static char *write_up_to_eight(char *at, uint32_t value)
{
    if (value < 10) { /* kinds, flags, and what happened seldom */
        *at = (char)('0' + value);
        return at + 1;
    }
    const uint64_t digits = eight_digits(value);
    /* The last digit counts even if it is 0. */
    const unsigned skip = (unsigned)__builtin_ctzll(digits | UINT64_C(1) << 56) / 8;
    const uint64_t text = (digits + zeros) >> 8 * skip;
    memcpy(at, &text, sizeof text);
    return at + sizeof text - skip;
}

#define TEN_TO_8  UINT64_C(100000000)
#define TEN_TO_16 (TEN_TO_8 * TEN_TO_8)

char *json_write_uint(char *at, uint64_t value)
{
    if (value >= TEN_TO_16) {
        at = write_up_to_eight(at, (uint32_t)(value / TEN_TO_16));
        at = write_eight(at, (uint32_t)(value / TEN_TO_8 % TEN_TO_8));
    } else if (value >= TEN_TO_8) {
        at = write_up_to_eight(at, (uint32_t)(value / TEN_TO_8));
    } else {
        return write_up_to_eight(at, (uint32_t)value);
    }
    return write_eight(at, (uint32_t)(value % TEN_TO_8));
}

char *json_write_nine(char *at, uint32_t value)
{
    *at = (char)('0' + value / (uint32_t)TEN_TO_8);
    return write_eight(at + 1, value % (uint32_t)TEN_TO_8);
}

char *json_write_int(char *at, int64_t value)
{
    if (value < 0) {
        *at++ = '-';
        return json_write_uint(at, 0 - (uint64_t)value);
    }
    return json_write_uint(at, (uint64_t)value);
}

void json_put_uint(struct buffer *out, uint64_t value)
{
    char text[JSON_UINT_ROOM];
    json_put(out, text, (size_t)(json_write_uint(text, value) - text));
}

void json_put_int(struct buffer *out, int64_t value)
{
    if (value < 0) {
        json_put_char(out, '-');
        json_put_uint(out, 0 - (uint64_t)value);
    } else {
        json_put_uint(out, (uint64_t)value);
    }
}

/* Writes integer / 10^digits, where power is 10^digits. */
static void put_decimal(struct buffer *out, uint64_t integer, uint64_t power)
{
    json_put_uint(out, integer / power);
    /* The power's own 1 before the digits keeps their zeros, and gives way to the point. */
    char text[JSON_UINT_ROOM];
    const char *end = json_write_uint(text, power + integer % power);
    text[0] = '.';
    json_put(out, text, (size_t)(end - text));
}

/*
 * Writes a value within the bounds below when it is integer / 10^digits with an integer of at most
 * 15 digits. Integer and power are then exact doubles, and a reader gets their quotient rounded
 * once: the very value that is compared here. Below 2^50 the product is off by less than a half.
 */
static bool put_short_decimal(struct buffer *out, double value)
{
    const double magnitude = fabs(value);
    double scale = 1;
    uint64_t power = 1;
    if (!(magnitude >= 1e-4 && magnitude < 1e15)) { /* %g writes an exponent */
        return false;
    }
    for (unsigned digits = 1; digits <= 19; digits++) {
        scale *= 10;
        power *= 10;
        const double product = magnitude * scale;
        if (product >= 0x1p50) {
            return false;
        }
        const uint64_t integer = (uint64_t)(product + 0.5);
        if ((double)integer / scale == magnitude) {
            json_put(out, "-", value < 0 ? 1 : 0);
            put_decimal(out, integer, power);
            return true;
        }
    }
    return false;
}

/* The C library writes the point of its locale; here it is one character, a point. */
static void put_library_text(struct buffer *out, const char *text)
{
    const size_t before = strspn(text, "-0123456789");
    json_put(out, text, before);
    const size_t rest = before + strcspn(text + before, "0123456789e");
    if (rest > before) {
        json_put_char(out, '.');
    }
    json_put(out, text + rest, strlen(text + rest));
}

/*
 * A number's shortest text, where it has fewer than 15 digits, is what 15 digits come to without
 * their zeros at the end; only numbers that are not normal are less precise. The nearest decimal of
 * 16 digits can fail where a farther one would do: next to a power of two, whose lower neighbour is
 * the closer one.
 */
static void put_long_decimal(struct buffer *out, double value)
{
    char text[32];
    int digits = fabs(value) < DBL_MIN ? 1 : DBL_DIG;
    do {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        digits++;
    } while (digits <= DBL_DECIMAL_DIG && strtod(text, NULL) != value);
    put_library_text(out, text);
}

void json_put_double(struct buffer *out, double value)
{
    const double magnitude = fabs(value);
    if (value == 0 && signbit(value)) {
        json_put(out, "-0.0", 4); /* many readers take -0 for an integer, and its sign away */
    } else if (magnitude < 0x1p53 && magnitude == (double)(uint64_t)magnitude) {
        json_put_int(out, (int64_t)value);
    } else if (!put_short_decimal(out, value)) {
        put_long_decimal(out, value);
    }
}

void json_put_fixed(struct buffer *out, double value, int digits)
{
    assert(digits >= 0 && digits <= 9);
    char text[FIXED_TEXT_MAX];
    (void)snprintf(text, sizeof text, "%.*f", digits, value);
    put_library_text(out, text);
}
