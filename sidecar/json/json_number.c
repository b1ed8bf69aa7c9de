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

static unsigned count_digits(uint64_t value)
{
    static const uint64_t powers[20] = {
        0, /* so that 0 has one digit */
        10U,
        100U,
        1000U,
        10000U,
        100000U,
        1000000U,
        10000000U,
        100000000U,
        1000000000U,
        10000000000U,
        100000000000U,
        1000000000000U,
        10000000000000U,
        100000000000000U,
        1000000000000000U,
        10000000000000000U,
        100000000000000000U,
        1000000000000000000U,
        10000000000000000000U,
    };
    /* 1233 / 4096 is log10(2), near enough for 64 bits to be right or one too many. */
    const unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
    const unsigned guess = bits * 1233 >> 12;
    return guess + (value >= powers[guess] ? 1 : 0);
}

/* Writes exactly `digits` decimal digits of value, leading zeros included. */
static void write_digits(char *at, unsigned digits, uint64_t value)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    while (digits >= 2) {
        digits -= 2;
        memcpy(at + digits, pairs + value % 100 * 2, 2);
        value /= 100;
    }
    if (digits == 1) {
        at[0] = (char)('0' + value % 10);
    }
}

void json_put_uint(struct buffer *out, uint64_t value)
{
    const unsigned digits = count_digits(value);
    char *place = json_room(out, digits);
    if (place != NULL) {
        write_digits(place, digits, value);
        out->length += digits;
    }
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
static void put_decimal(struct buffer *out, uint64_t integer, unsigned digits, uint64_t power)
{
    json_put_uint(out, integer / power);
    json_put_char(out, '.');
    char *place = json_room(out, digits);
    if (place != NULL) {
        write_digits(place, digits, integer % power);
        out->length += digits;
    }
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
            put_decimal(out, integer, digits, power);
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
