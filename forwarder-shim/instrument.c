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
    fws_text_publish(to, bytes, count);
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
                             const uint64_t *attrs, const struct attr_list *list)
{
    const struct fwdscope_instrument *what = wanted->what;
    const uint64_t strings_before = shim->strings_used;
    uint64_t name, unit, description, attributes, bounds = 0;
    if (wanted->slots > shim->sizes.slots - shim->slots_used ||
        !text_put(shim, what->name, FWS_NAME_BYTES_MAX, &name) ||
        !text_put(shim, what->unit, FWS_NAME_BYTES_MAX, &unit) ||
        !text_put(shim, what->description, FWS_DESCRIPTION_BYTES_MAX, &description) ||
        !strings_put(shim, attrs, list->words * FWS_WORD_BYTES, &attributes) ||
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
    fws_put(&words[FWS_I_ATTR_COUNT], list->count);
    fws_put(&words[FWS_I_ATTR_DROPPED], list->dropped);
    fws_put(&words[FWS_I_SLOT], shim->slots_used);
    fws_put(&words[FWS_I_SLOTS], wanted->slots);
    fws_put(&words[FWS_I_BOUNDS], bounds);
    /* Release, last: a reader that sees the entry sees what it refers to.
     * PAIRS WITH the snapshot's catalogue. */
    fws_publish(&words[FWS_I_STATE], 1);
    return true;
}

/* Gives every lane its side of a histogram, with a private copy of the bounds: the strings section
 * is ours to write, never ours to trust. */
static void histogram_wire(struct shim *shim, uint32_t index, const struct wanted *wanted)
{
    const uint32_t slot = shim->instruments[index].slot;
    double *bounds = shim->bounds + (size_t)slot * SHIM_BOUNDS_ROOM;
    for (size_t i = 0; i < wanted->bound_count + SHIM_BOUNDS_STEP; i++)
        bounds[i] = i < wanted->bound_count ? wanted->bounds[i] : (double)INFINITY;
    for (uint32_t i = 0; i < shim->sizes.lanes; i++) {
        struct lane *lane = &shim->lanes[i];
        lane->histograms[index].words = lane->values + slot;
        lane->histograms[index].bounds = bounds;
    }
}

/* Registers with the mutex held; returns the instrument's index + 1, or 0. */
static uint32_t instrument_add(struct shim *shim, const struct wanted *wanted)
{
    uint64_t attrs[SHIM_ATTRS_ROOM];
    struct attr_list list = {0};
    if (wanted->what->attributes != NULL)
        attrs_put(&list, attrs, FWS_ATTR_WORDS_MAX, wanted->what->attributes,
                  wanted->what->attribute_count, false);
    uint64_t hash = hash_bytes(UINT64_C(0xcbf29ce484222325), wanted->what->name,
                               strlen(wanted->what->name) + 1);
    hash = hash_bytes(hash, attrs, list.words * FWS_WORD_BYTES);
    hash = hash_bytes(hash, &wanted->kind, sizeof wanted->kind);
    hash = hash_bytes(hash, &wanted->number, sizeof wanted->number);
    for (uint32_t i = 0; i < shim->instrument_count; i++) {
        if (shim->instruments[i].hash == hash && shim->instruments[i].kind == wanted->kind)
            return i + 1;
    }
    uint32_t index = shim->instrument_count;
    if (index == shim->sizes.instruments || !instrument_write(shim, index, wanted, attrs, &list))
        return 0;
    shim->instruments[index] =
        (struct shim_instrument){.hash = hash, .kind = wanted->kind, .slot = shim->slots_used};
    if (wanted->kind == FWS_KIND_HISTOGRAM)
        histogram_wire(shim, index, wanted);
    shim->slots_used += wanted->slots;
    shim->instrument_count = index + 1;
    return index + 1;
}

/* The handle of an instrument. */
static uint64_t instrument_handle(const struct shim *shim, uint32_t index,
                                  const struct wanted *wanted)
{
    static const enum handle_kind kinds[] = {
        [FWS_KIND_COUNTER] = HANDLE_COUNTER,
        [FWS_KIND_TOTAL] = HANDLE_TOTAL,
        [FWS_KIND_UPDOWN] = HANDLE_UPDOWN,
        [FWS_KIND_GAUGE] = HANDLE_INT_GAUGE,
    };
    if (wanted->kind == FWS_KIND_HISTOGRAM)
        return handle_make(shim->key, HANDLE_HISTOGRAM, index);
    const bool is_double = wanted->number == FWS_NUMBER_DOUBLE;
    return handle_make(shim->key, is_double ? HANDLE_DOUBLE_GAUGE : kinds[wanted->kind],
                       shim->instruments[index].slot);
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
    return instrument_handle(shim, number - 1, wanted);
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

/* Adds in every case: on lane 0, as a thread's first call, or not at all. */
static __attribute__((noinline)) void values_add_slowly(uint64_t handle, enum handle_kind kind,
                                                        uint64_t n)
{
    const struct gate *gate = shim_enter();
    if (gate == NULL)
        return;
    const uint64_t slot = handle - gate->keys[kind];
    if (slot < fws_peek(&gate->slots))
        lane_add(gate->lane, &gate->values[slot], n);
    shim_leave();
}

/* Adds on a lane of the thread's own, which is what nearly every call finds: shim_enter() and
 * shim_leave() in the steps that are left of them then. */
static inline void values_add(uint64_t handle, enum handle_kind kind, uint64_t n)
{
    const struct gate *gate = shim_thread.gate;
    const uint64_t slot = handle - gate->keys[kind];
    if (SHIM_RARE(shim_thread.depth > 0 || slot >= fws_peek(&gate->own_slots))) {
        values_add_slowly(handle, kind, n);
        return;
    }
    shim_thread.depth = 1;
    atomic_signal_fence(memory_order_seq_cst);
    fws_put(&gate->values[slot], fws_peek(&gate->values[slot]) + n);
    atomic_signal_fence(memory_order_seq_cst);
    shim_thread.depth = 0;
}

void fwdscope_counter_add(fwdscope_counter counter, uint64_t n)
{
    values_add(counter.id, HANDLE_COUNTER, n);
}

void fwdscope_updown_add(fwdscope_updown updown, int64_t n)
{
    values_add(updown.id, HANDLE_UPDOWN, (uint64_t)n);
}

/* Sets the shared words of a handle: the value, of which the last writer wins, and that it is
 * present. False, and nothing is set: the handle is of another kind or life. */
static inline bool value_set(enum handle_kind kind, uint64_t handle, uint64_t value)
{
    const struct gate *gate = shim_gate();
    const uint64_t slot = handle - gate->keys[kind];
    if (SHIM_RARE(slot >= fws_peek(&gate->slots)))
        return false;
    fws_put(&gate->values[slot], value);
    /* Release: who sees that it is present sees a value that was set. PAIRS WITH the snapshot. */
    fws_publish(&gate->values[slot + 1], 1);
    return true;
}

void fwdscope_total_set(fwdscope_total total, uint64_t value)
{
    (void)value_set(HANDLE_TOTAL, total.id, value);
}

/* Whether it is in the range of int64_t once it is rounded toward zero; not-a-number is not. */
static bool double_fits_int(double value)
{
    return value >= -9223372036854775808.0 && value < 9223372036854775808.0;
}

static uint64_t double_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

void fwdscope_gauge_set(fwdscope_gauge gauge, double value)
{
    if (value_set(HANDLE_DOUBLE_GAUGE, gauge.id, double_bits(value)))
        return;
    if (double_fits_int(value))
        (void)value_set(HANDLE_INT_GAUGE, gauge.id, (uint64_t)(int64_t)value);
    else
        fwdscope_gauge_clear(gauge);
}

void fwdscope_gauge_set_int(fwdscope_gauge gauge, int64_t value)
{
    if (!value_set(HANDLE_INT_GAUGE, gauge.id, (uint64_t)value))
        (void)value_set(HANDLE_DOUBLE_GAUGE, gauge.id, double_bits((double)value));
}

void fwdscope_gauge_clear(fwdscope_gauge gauge)
{
    const struct gate *gate = shim_gate();
    const enum handle_kind kinds[] = {HANDLE_INT_GAUGE, HANDLE_DOUBLE_GAUGE};
    for (int i = 0; i < 2; i++) {
        const uint64_t slot = gauge.id - gate->keys[kinds[i]];
        if (slot < fws_peek(&gate->slots))
            fws_publish(&gate->values[slot + 1], 0);
    }
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

/* The first bound >= value, upper bounds being inclusive; the last ones are infinite. */
static inline size_t bucket_of(const double *bounds, double value)
{
    size_t bucket = 0;
    while (bounds[bucket + SHIM_BOUNDS_STEP - 1] < value)
        bucket += SHIM_BOUNDS_STEP;
    while (bounds[bucket] < value)
        bucket++;
    return bucket;
}

/* One measurement into a lane that is the thread's own. */
static inline void histogram_add(struct lane_histogram *histogram, double value)
{
    fws_word *words = histogram->words;
    fws_word *bucket = &words[2 + bucket_of(histogram->bounds, value)];
    const double sum = histogram->sum + value;
    histogram->sum = sum;
    fws_seq_write_begin(&words[0], &histogram->sequence);
    fws_publish(&words[1], double_bits(sum));
    fws_publish(bucket, fws_peek(bucket) + 1);
    fws_seq_write_end(&words[0], &histogram->sequence);
}

/* The same on lane 0, where others add too; false: too many races were lost. */
static bool histogram_add_shared(const struct lane_histogram *histogram, double value)
{
    if (!double_add_shared(&histogram->words[1], value))
        return false;
    fws_add(&histogram->words[2 + bucket_of(histogram->bounds, value)], 1);
    return true;
}

/* Records in every case, as values_add_slowly() adds. */
static __attribute__((noinline)) void histogram_record_slowly(uint64_t handle, double value)
{
    const struct gate *gate = shim_enter();
    if (gate == NULL)
        return;
    struct lane *lane = gate->lane;
    const uint64_t index = handle - gate->keys[HANDLE_HISTOGRAM];
    if (index < gate->shim->sizes.instruments && gate->histograms[index].words != NULL) {
        struct lane_histogram *histogram = &gate->histograms[index];
        if (!isfinite(value) || (lane->shared && !histogram_add_shared(histogram, value)))
            lane_add(lane, &lane->control[FWS_LANE_VALUES_DROPPED], 1);
        else if (!lane->shared)
            histogram_add(histogram, value);
    }
    shim_leave();
}

void fwdscope_histogram_record(fwdscope_histogram handle, double value)
{
    const struct gate *gate = shim_thread.gate;
    const uint64_t index = handle.id - gate->keys[HANDLE_HISTOGRAM];
    if (SHIM_RARE(shim_thread.depth > 0 || index >= fws_peek(&gate->own_histograms) ||
                  gate->histograms[index].words == NULL || !isfinite(value))) {
        histogram_record_slowly(handle.id, value);
        return;
    }
    shim_thread.depth = 1;
    atomic_signal_fence(memory_order_seq_cst);
    histogram_add(&gate->histograms[index], value);
    atomic_signal_fence(memory_order_seq_cst);
    shim_thread.depth = 0;
}
