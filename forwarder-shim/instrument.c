/* SPDX-License-Identifier: Apache-2.0 */
/* Instruments: registration into append-only tables, and the hot calls on their slots. */
#include "shim.h"

#include <math.h>
#include <string.h>

/* ---- registration ---------------------------------------------------------------------------- */

void shim_refuse(struct shim *shim)
{
    fws_add(&shim->header[FWS_H_REFUSED], 1);
}

bool strings_put(struct shim *shim, const void *bytes, size_t count, uint64_t *ref)
{
    uint64_t padded = fws_words_of(count) * FWS_WORD_BYTES;
    if (padded > shim->sizes.string_bytes - shim->strings_used)
        return false;
    *ref = FWS_REF(shim->strings_used, count);
    fws_word *to = shim->strings + shim->strings_used / FWS_WORD_BYTES;
    for (size_t at = 0; at < count; at += FWS_WORD_BYTES) {
        uint64_t word = 0;
        size_t left = count - at;
        memcpy(&word, (const char *)bytes + at, left < FWS_WORD_BYTES ? left : FWS_WORD_BYTES);
        /* Relaxed: the state word of the entry that refers to it publishes it. */
        fws_put(&to[at / FWS_WORD_BYTES], word);
    }
    shim->strings_used += padded;
    return true;
}

static bool text_put(struct shim *shim, const char *text, size_t max, uint64_t *ref)
{
    if (text == NULL)
        text = "";
    return strings_put(shim, text, text_cut(text, strnlen(text, max + 1), max), ref);
}

/* A letter, then letters, digits, _ . / - ; at most 255 bytes. */
static bool name_valid(const char *name)
{
    if (name == NULL)
        return false;
    size_t bytes = strnlen(name, FWS_NAME_BYTES_MAX + 1);
    if (bytes == 0 || bytes > FWS_NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool further = (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '/' || c == '-';
        if (!letter && (i == 0 || !further))
            return false;
    }
    return true;
}

/* At most 255 bytes, or none. */
static bool unit_valid(const char *unit)
{
    return unit == NULL || strnlen(unit, FWS_NAME_BYTES_MAX + 1) <= FWS_NAME_BYTES_MAX;
}

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* What a registration asks for. */
struct wanted {
    const struct fwdscope_instrument *what;
    enum fws_instrument_kind kind;
    enum fws_number number;
    uint32_t slots;
    const double *bounds;
    size_t bound_count;
};

/* Writes the descriptor of instrument `index`; false when strings or slots are used up. */
static bool instrument_write(struct shim *shim, uint32_t index, const struct wanted *wanted,
                             const uint64_t *attrs, const struct attr_block *block)
{
    const struct fwdscope_instrument *what = wanted->what;
    const uint64_t strings_before = shim->strings_used;
    uint64_t name, unit, description, attributes, bounds = 0;
    if (wanted->slots > shim->sizes.slots - shim->slots_used ||
        !text_put(shim, what->name, FWS_NAME_BYTES_MAX, &name) ||
        !text_put(shim, what->unit, FWS_NAME_BYTES_MAX, &unit) ||
        !text_put(shim, what->description, FWS_DESCRIPTION_BYTES_MAX, &description) ||
        !strings_put(shim, attrs, block->words * FWS_WORD_BYTES, &attributes) ||
        !strings_put(shim, wanted->bounds, wanted->bound_count * sizeof(double), &bounds)) {
        shim->strings_used = strings_before; /* nothing refers to what was put */
        return false;
    }

    fws_word *words = shim->instruments_words + (size_t)index * FWS_I_WORDS;
    fws_put(&words[FWS_I_KIND], wanted->kind);
    fws_put(&words[FWS_I_NUMBER], wanted->number);
    fws_put(&words[FWS_I_NAME], name);
    fws_put(&words[FWS_I_UNIT], unit);
    fws_put(&words[FWS_I_DESCRIPTION], description);
    fws_put(&words[FWS_I_ATTRS], attributes);
    fws_put(&words[FWS_I_ATTR_COUNT], block->count);
    fws_put(&words[FWS_I_ATTR_DROPPED], block->dropped);
    fws_put(&words[FWS_I_SLOT], shim->slots_used);
    fws_put(&words[FWS_I_SLOTS], wanted->slots);
    fws_put(&words[FWS_I_BOUNDS], bounds);
    /* Release, last: a reader that sees the entry sees what it refers to.
     * PAIRS WITH the snapshot's catalogue. */
    fws_publish(&words[FWS_I_STATE], 1);
    return true;
}

/* Registers with the mutex held; returns the instrument's index + 1, or 0. */
static uint32_t instrument_add(struct shim *shim, const struct wanted *wanted)
{
    uint64_t attrs[FWS_ATTR_WORDS_MAX];
    struct attr_block block = attr_block_encode(attrs, FWS_ATTR_WORDS_MAX, wanted->what->attributes,
                                                wanted->what->attribute_count);
    uint64_t hash = hash_bytes(UINT64_C(0xcbf29ce484222325), wanted->what->name,
                               strlen(wanted->what->name) + 1);
    hash = hash_bytes(hash, attrs, block.words * FWS_WORD_BYTES);
    hash = hash_bytes(hash, &wanted->kind, sizeof wanted->kind);
    hash = hash_bytes(hash, &wanted->number, sizeof wanted->number);
    for (uint32_t i = 0; i < shim->instrument_count; i++) {
        if (shim->instruments[i].hash == hash && shim->instruments[i].kind == wanted->kind)
            return i + 1;
    }
    uint32_t index = shim->instrument_count;
    if (index == shim->sizes.instruments || !instrument_write(shim, index, wanted, attrs, &block))
        return 0;
    shim->instruments[index] =
        (struct shim_instrument){.hash = hash,
                                 .kind = wanted->kind,
                                 .is_double = wanted->number == FWS_NUMBER_DOUBLE,
                                 .slot = shim->slots_used,
                                 .bounds = shim->bounds + shim->slots_used,
                                 .bound_count = wanted->bound_count};
    if (wanted->bound_count > 0) /* the strings section is ours to write, never ours to trust */
        memcpy(shim->bounds + shim->slots_used, wanted->bounds,
               wanted->bound_count * sizeof(double));
    shim->slots_used += wanted->slots;
    shim->instrument_count = index + 1;
    return index + 1;
}

static uint64_t instrument_register(const struct wanted *wanted)
{
    struct shim *shim = shim_current();
    if (shim == NULL)
        return 0;
    uint32_t number = 0;
    if (wanted->what != NULL && name_valid(wanted->what->name) && unit_valid(wanted->what->unit)) {
        pthread_mutex_lock(&shim->registering);
        number = instrument_add(shim, wanted);
        pthread_mutex_unlock(&shim->registering);
    }
    if (number == 0) {
        shim_refuse(shim);
        return 0;
    }
    return handle_make(shim, number - 1);
}

fwdscope_counter fwdscope_counter_register(const struct fwdscope_instrument *what)
{
    struct wanted wanted = {.what = what, .kind = FWS_KIND_COUNTER, .slots = 1};
    return (fwdscope_counter){instrument_register(&wanted)};
}

fwdscope_total fwdscope_total_register(const struct fwdscope_instrument *what)
{
    struct wanted wanted = {.what = what, .kind = FWS_KIND_TOTAL, .slots = 2};
    return (fwdscope_total){instrument_register(&wanted)};
}

fwdscope_updown fwdscope_updown_register(const struct fwdscope_instrument *what)
{
    struct wanted wanted = {.what = what, .kind = FWS_KIND_UPDOWN, .slots = 1};
    return (fwdscope_updown){instrument_register(&wanted)};
}

fwdscope_gauge fwdscope_gauge_register(const struct fwdscope_instrument *what)
{
    struct wanted wanted = {
        .what = what, .kind = FWS_KIND_GAUGE, .number = FWS_NUMBER_DOUBLE, .slots = 2};
    return (fwdscope_gauge){instrument_register(&wanted)};
}

fwdscope_gauge fwdscope_int_gauge_register(const struct fwdscope_instrument *what)
{
    struct wanted wanted = {.what = what, .kind = FWS_KIND_GAUGE, .slots = 2};
    return (fwdscope_gauge){instrument_register(&wanted)};
}

fwdscope_histogram fwdscope_histogram_register(const struct fwdscope_instrument *what,
                                               const double *bounds, size_t count)
{
    bool valid = bounds != NULL && count >= 1 && count <= FWS_BOUNDS_MAX;
    for (size_t i = 0; valid && i < count; i++)
        valid = isfinite(bounds[i]) && (i == 0 || bounds[i - 1] < bounds[i]);
    struct wanted wanted = {.what = valid ? what : &(struct fwdscope_instrument){0},
                            .kind = FWS_KIND_HISTOGRAM,
                            .number = FWS_NUMBER_DOUBLE,
                            .slots = (uint32_t)(valid ? 2 + count + 1 : 0),
                            .bounds = bounds,
                            .bound_count = valid ? count : 0};
    return (fwdscope_histogram){instrument_register(&wanted)};
}

/* ---- hot calls ------------------------------------------------------------------------------- */

/* The instrument of a handle, or NULL: no-op, of another life, or of another kind. */
static const struct shim_instrument *instrument_of(const struct shim *shim, uint64_t handle,
                                                   enum fws_instrument_kind kind)
{
    uint32_t index;
    if (!handle_open(shim, handle, &index) || index >= shim->sizes.instruments ||
        shim->instruments[index].kind != kind)
        return NULL;
    return &shim->instruments[index];
}

static void values_add(uint64_t handle, enum fws_instrument_kind kind, uint64_t n)
{
    struct entry entry;
    if (!shim_enter(&entry))
        return;
    const struct shim_instrument *instrument = instrument_of(entry.shim, handle, kind);
    if (instrument != NULL)
        lane_add(entry.lane, &entry.lane->values[instrument->slot], n);
    shim_leave();
}

void fwdscope_counter_add(fwdscope_counter counter, uint64_t n)
{
    values_add(counter.id, FWS_KIND_COUNTER, n);
}

void fwdscope_updown_add(fwdscope_updown updown, int64_t n)
{
    values_add(updown.id, FWS_KIND_UPDOWN, (uint64_t)n);
}

/* Sets a shared value: one word, the last writer wins. */
static void value_set(struct shim *shim, uint32_t slot, uint64_t value)
{
    fws_word *shared = &shim->lanes[0].values[slot];
    fws_put(&shared[0], value);
    /* Release: who sees that it is present sees a value that was set. PAIRS WITH the snapshot. */
    fws_publish(&shared[1], 1);
}

void fwdscope_total_set(fwdscope_total total, uint64_t value)
{
    struct shim *shim = shim_current();
    const struct shim_instrument *instrument =
        shim != NULL ? instrument_of(shim, total.id, FWS_KIND_TOTAL) : NULL;
    if (instrument != NULL)
        value_set(shim, instrument->slot, value);
}

/* The gauge of a handle and the life that is on, or NULL. */
static const struct shim_instrument *gauge_of(struct shim **shim, fwdscope_gauge gauge)
{
    *shim = shim_current();
    return *shim != NULL ? instrument_of(*shim, gauge.id, FWS_KIND_GAUGE) : NULL;
}

static int64_t double_to_int(double value)
{
    if (isnan(value))
        return 0;
    if (value >= 9223372036854775808.0)
        return INT64_MAX;
    if (value < -9223372036854775808.0)
        return INT64_MIN;
    return (int64_t)value;
}

static uint64_t double_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

void fwdscope_gauge_set(fwdscope_gauge gauge, double value)
{
    struct shim *shim;
    const struct shim_instrument *instrument = gauge_of(&shim, gauge);
    if (instrument != NULL)
        value_set(shim, instrument->slot,
                  instrument->is_double ? double_bits(value) : (uint64_t)double_to_int(value));
}

void fwdscope_gauge_set_int(fwdscope_gauge gauge, int64_t value)
{
    struct shim *shim;
    const struct shim_instrument *instrument = gauge_of(&shim, gauge);
    if (instrument != NULL)
        value_set(shim, instrument->slot,
                  instrument->is_double ? double_bits((double)value) : (uint64_t)value);
}

void fwdscope_gauge_clear(fwdscope_gauge gauge)
{
    struct shim *shim;
    const struct shim_instrument *instrument = gauge_of(&shim, gauge);
    if (instrument != NULL)
        fws_publish(&shim->lanes[0].values[instrument->slot + 1], 0);
}

/* Adds to a double that several threads add to; false after too many lost races. */
static bool double_add_shared(fws_word *word, double n)
{
    uint64_t seen = fws_peek(word);
    for (int attempt = 0; attempt < SHIM_TRIES; attempt++) {
        double sum;
        memcpy(&sum, &seen, sizeof sum);
        if (fws_claim(word, &seen, double_bits(sum + n)))
            return true;
    }
    return false;
}

static size_t bucket_of(const struct shim_instrument *instrument, double value)
{
    size_t low = 0, high = instrument->bound_count;
    while (low < high) { /* the first bound >= value; upper bounds are inclusive */
        size_t middle = (low + high) / 2;
        if (instrument->bounds[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void fwdscope_histogram_record(fwdscope_histogram histogram, double value)
{
    struct entry entry;
    if (!shim_enter(&entry))
        return;
    struct lane *lane = entry.lane;
    const struct shim_instrument *instrument =
        instrument_of(entry.shim, histogram.id, FWS_KIND_HISTOGRAM);
    if (instrument != NULL) {
        fws_word *words = &lane->values[instrument->slot]; /* sequence, sum, buckets */
        size_t bucket = 2 + bucket_of(instrument, value);
        if (!isfinite(value)) {
            lane_add(lane, &lane->control[FWS_LANE_VALUES_DROPPED], 1);
        } else if (lane->shared) {
            if (double_add_shared(&words[1], value))
                fws_add(&words[bucket], 1);
            else
                fws_add(&lane->control[FWS_LANE_VALUES_DROPPED], 1);
        } else {
            uint64_t *sequence = &lane->histogram_seq[instrument->slot];
            double sum;
            uint64_t bits = fws_peek(&words[1]);
            memcpy(&sum, &bits, sizeof sum);
            fws_seq_write_begin(&words[0], sequence);
            fws_publish(&words[1], double_bits(sum + value));
            fws_publish(&words[bucket], fws_peek(&words[bucket]) + 1);
            fws_seq_write_end(&words[0], sequence);
        }
    }
    shim_leave();
}
