/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redaction of a YAML configuration on libyaml's events: parse everything, mark what is secret,
 * emit the rest. Comments are no events, so they vanish. The rules over names and texts are in
 * scrub.h; here are those over structure:
 *
 *   - the whole value under a secret key, or with a secret-looking tag, becomes one string;
 *   - so does `value` beside a `name` that is secret ({name: API_TOKEN, value: x}), the second of a
 *     pair in a list of pairs ([[X-Api-Key, x]]), and the item after a secret flag ([--token, x]);
 *   - an alias and its anchor share their fate, in both directions;
 *   - every other scalar, keys included, goes through scrub_text().
 *
 * Fails closed on all that is not a document of maps and lists: parse errors, other encodings than
 * UTF-8, a lone scalar, keys that are no scalars, undefined aliases, and anything over the limits.
 * The result is checked to redact to itself.
 */
#include "fwdscope_redact.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <yaml.h>

#include "scrub.h"
#include "text.h"

/* Of input and output alike, so that a result may come in again. */
#define BYTES_MAX   (1u << 20)
#define NODES_MAX   65536u
#define ANCHORS_MAX 1024u
#define DEPTH_MAX   64u
/* Rounds after which a text that still changes is given up. One is the rule. */
#define ROUNDS_MAX 4

#define NONE SIZE_MAX

/* How a node is treated. Flags spread to all below and through aliases. */
enum { SECRET = 1u, ENDPOINT = 2u };

/* One event. Scalars and aliases end where they begin, a collection at its end event. */
struct node {
    yaml_event_t event; /* owned until it is handed to the emitter */
    size_t end;         /* index of the last event that belongs to it */
    size_t parent;      /* index of the collection around it, or NONE */
    size_t key;         /* of a value: index of its key, else NONE */
    size_t target;      /* of an alias: index of the node that it stands for, else NONE */
    bool is_key;
    bool in_flow;
    unsigned flags;
};

struct document {
    struct node *nodes;
    size_t count;
    size_t room;
    size_t anchors[ANCHORS_MAX]; /* nodes with an anchor, of the YAML document being read */
    size_t anchor_count;
    struct frame {
        size_t start; /* index of the open collection */
        size_t key;   /* of a map: the key whose value is awaited, else NONE */
    } open[DEPTH_MAX];
    size_t depth;
    size_t flow_depth;
    size_t *pending; /* aliases whose target is to be marked; each enters once a flag at most */
    size_t pending_count;
};

enum outcome { OUTCOME_DONE, OUTCOME_REFUSED, OUTCOME_NO_MEMORY };

/* ---- reading --------------------------------------------------------------------------------- */

static const char *anchor_of(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return (const char *)event->data.alias.anchor;
    case YAML_SCALAR_EVENT:
        return (const char *)event->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT:
        return (const char *)event->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT:
        return (const char *)event->data.mapping_start.anchor;
    default:
        return NULL;
    }
}

static bool is_node(const yaml_event_t *event)
{
    return event->type == YAML_ALIAS_EVENT || event->type == YAML_SCALAR_EVENT ||
           event->type == YAML_SEQUENCE_START_EVENT || event->type == YAML_MAPPING_START_EVENT;
}

static bool is_flow(const yaml_event_t *event)
{
    return event->type == YAML_MAPPING_START_EVENT
               ? event->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE
               : event->type == YAML_SEQUENCE_START_EVENT &&
                     event->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
}

/* The scalar that a node is or stands for, or NULL. */
static const yaml_event_t *scalar_of(const struct document *document, size_t i)
{
    if (i != NONE && document->nodes[i].event.type == YAML_ALIAS_EVENT)
        i = document->nodes[i].target;
    if (i == NONE || document->nodes[i].event.type != YAML_SCALAR_EVENT)
        return NULL;
    return &document->nodes[i].event;
}

static bool node_name_matches(const struct document *document, size_t i,
                              bool (*rule)(const char *, size_t))
{
    const yaml_event_t *scalar = scalar_of(document, i);
    return scalar != NULL &&
           rule((const char *)scalar->data.scalar.value, scalar->data.scalar.length);
}

/* Whether a node is that text, in any case. */
static bool node_is(const struct document *document, size_t i, const char *text)
{
    const yaml_event_t *scalar = scalar_of(document, i);
    return scalar != NULL && scalar->data.scalar.length == strlen(text) &&
           strncasecmp((const char *)scalar->data.scalar.value, text, strlen(text)) == 0;
}

/* Takes the event over and returns its node, or NULL. */
static struct node *node_add(struct document *document, yaml_event_t *event)
{
    if (document->count == document->room) {
        size_t room = document->room == 0 ? 256 : 2 * document->room;
        struct node *grown = realloc(document->nodes, room * sizeof(*grown));
        if (grown == NULL)
            return NULL;
        document->nodes = grown;
        document->room = room;
    }
    struct node *node = &document->nodes[document->count];
    *node = (struct node){.event = *event,
                          .end = document->count,
                          .parent = NONE,
                          .key = NONE,
                          .target = NONE,
                          .in_flow = document->flow_depth > 0};
    memset(event, 0, sizeof(*event));
    document->count++;
    return node;
}

/* Binds an alias to the last node of that anchor, or notes an anchor. */
static bool anchor_note(struct document *document, size_t i)
{
    struct node *node = &document->nodes[i];
    const char *name = anchor_of(&node->event);
    if (name == NULL)
        return true;
    if (node->event.type != YAML_ALIAS_EVENT) {
        if (document->anchor_count == ANCHORS_MAX)
            return false;
        document->anchors[document->anchor_count++] = i;
        return true;
    }
    for (size_t k = document->anchor_count; k > 0; k--) {
        size_t target = document->anchors[k - 1];
        if (strcmp(anchor_of(&document->nodes[target].event), name) == 0) {
            node->target = target;
            return true;
        }
    }
    return false;
}

/* Gives a node its place: in a list, as a key, or as the value of the last key. */
static bool node_place(struct document *document, size_t i)
{
    struct node *node = &document->nodes[i];
    if (document->depth == 0) {
        /* A lone scalar is no configuration: any text file may read as one. */
        return node->event.type != YAML_ALIAS_EVENT &&
               (node->event.type != YAML_SCALAR_EVENT || node->event.data.scalar.length == 0);
    }
    struct frame *frame = &document->open[document->depth - 1];
    node->parent = frame->start;
    if (document->nodes[frame->start].event.type != YAML_MAPPING_START_EVENT)
        return true;
    node->is_key = frame->key == NONE;
    if (node->is_key) {
        frame->key = i;
        return scalar_of(document, i) != NULL;
    }
    node->key = frame->key;
    frame->key = NONE;
    return true;
}

static bool collection_open(struct document *document, size_t i)
{
    if (document->depth == DEPTH_MAX)
        return false;
    document->open[document->depth++] = (struct frame){.start = i, .key = NONE};
    document->flow_depth += is_flow(&document->nodes[i].event);
    return true;
}

static void collection_close(struct document *document, size_t end)
{
    size_t start = document->open[--document->depth].start;
    document->nodes[start].end = end;
    document->flow_depth -= is_flow(&document->nodes[start].event);
}

static enum outcome event_take(struct document *document, yaml_event_t *event)
{
    if (document->count == NODES_MAX)
        return OUTCOME_REFUSED;
    struct node *node = node_add(document, event);
    if (node == NULL)
        return OUTCOME_NO_MEMORY;
    size_t i = document->count - 1;
    bool good = true;
    switch (node->event.type) {
    case YAML_DOCUMENT_START_EVENT:
        document->anchor_count = 0;
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        collection_close(document, i);
        break;
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        good = anchor_note(document, i) && node_place(document, i) && collection_open(document, i);
        break;
    case YAML_SCALAR_EVENT:
    case YAML_ALIAS_EVENT:
        good = anchor_note(document, i) && node_place(document, i);
        break;
    default:
        break;
    }
    return good ? OUTCOME_DONE : OUTCOME_REFUSED;
}

static enum outcome document_read(struct document *document, const char *yaml, size_t bytes)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return OUTCOME_NO_MEMORY;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)yaml, bytes);
    enum outcome outcome = OUTCOME_DONE;
    for (bool end = false; outcome == OUTCOME_DONE && !end;) {
        yaml_event_t event = {0};
        if (!yaml_parser_parse(&parser, &event)) {
            outcome = parser.error == YAML_MEMORY_ERROR ? OUTCOME_NO_MEMORY : OUTCOME_REFUSED;
            break;
        }
        end = event.type == YAML_STREAM_END_EVENT;
        outcome = event_take(document, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return outcome;
}

/* ---- marking --------------------------------------------------------------------------------- */

static void mark_span(struct document *document, size_t i, unsigned flag)
{
    if (document->nodes[i].flags & flag)
        return;
    for (size_t k = i; k <= document->nodes[i].end; k++) {
        struct node *node = &document->nodes[k];
        if (node->target != NONE && !(node->flags & flag))
            document->pending[document->pending_count++] = k;
        node->flags |= flag;
    }
}

/* Marks a node, all below it, and whatever the aliases among them stand for. */
static void mark(struct document *document, size_t i, unsigned flag)
{
    mark_span(document, i, flag);
    while (document->pending_count > 0) {
        size_t alias = document->pending[--document->pending_count];
        mark_span(document, document->nodes[alias].target, flag);
    }
}

/* Index of the item after `i` in its collection, or of the collection's end. */
static size_t next_item(const struct document *document, size_t i)
{
    return document->nodes[i].end + 1;
}

/* A map that says {name: API_TOKEN, value: x}, or that may get such a name from a merge. */
static void mark_named_value(struct document *document, size_t map)
{
    bool named = false;
    bool secret = false;
    bool merges = false;
    for (size_t k = map + 1; k < document->nodes[map].end; k = next_item(document, k)) {
        size_t key = document->nodes[k].key;
        if (node_is(document, key, "name") || node_is(document, key, "key") ||
            node_is(document, key, "header")) {
            named = true;
            secret |= node_name_matches(document, k, scrub_name_is_secret);
        }
        merges |= node_is(document, key, "<<");
    }
    if (!secret && (named || !merges))
        return;
    for (size_t k = map + 1; k < document->nodes[map].end; k = next_item(document, k)) {
        size_t key = document->nodes[k].key;
        if (node_is(document, key, "value") || node_is(document, key, "values") ||
            (secret && node_is(document, key, "<<")))
            mark(document, k, SECRET);
    }
}

/* A list [[X-Api-Key, x], ...] of pairs, or [--token, x, ...] of arguments. */
static void mark_list(struct document *document, size_t list)
{
    size_t parent = document->nodes[list].parent;
    bool in_list =
        parent != NONE && document->nodes[parent].event.type == YAML_SEQUENCE_START_EVENT;
    size_t end = document->nodes[list].end;
    size_t first = list + 1;
    for (size_t k = first; k < end; k = next_item(document, k)) {
        size_t next = next_item(document, k);
        const yaml_event_t *scalar = scalar_of(document, k);
        if (scalar == NULL || next >= end)
            continue;
        bool flag = scalar->data.scalar.value[0] == '-';
        bool pair = in_list && k == first && next_item(document, next) == end;
        if ((flag || pair) && node_name_matches(document, k, scrub_name_is_secret))
            mark(document, next, SECRET);
    }
}

static const char *tag_of(const yaml_event_t *event)
{
    const yaml_char_t *tag =
        event->type == YAML_SCALAR_EVENT           ? event->data.scalar.tag
        : event->type == YAML_SEQUENCE_START_EVENT ? event->data.sequence_start.tag
        : event->type == YAML_MAPPING_START_EVENT  ? event->data.mapping_start.tag
                                                   : NULL;
    return tag == NULL ? "" : (const char *)tag;
}

static void document_mark(struct document *document)
{
    for (size_t i = 0; i < document->count; i++) {
        const struct node *node = &document->nodes[i];
        if (!is_node(&node->event))
            continue;
        const char *tag = tag_of(&node->event);
        if (node_name_matches(document, node->key, scrub_name_is_secret) ||
            scrub_name_is_secret(tag, strlen(tag)))
            mark(document, i, SECRET);
        if (node_name_matches(document, node->key, scrub_name_is_endpoint))
            mark(document, i, ENDPOINT);
        if (node->event.type == YAML_MAPPING_START_EVENT)
            mark_named_value(document, i);
        if (node->event.type == YAML_SEQUENCE_START_EVENT)
            mark_list(document, i);
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static int output_write(void *context, unsigned char *bytes, size_t count)
{
    struct text *out = context;
    if (out->used + count > BYTES_MAX)
        return 0;
    text_add(out, (const char *)bytes, count);
    return !out->failed;
}

/* Emits a string without a tag, in the given style where YAML lets it. */
static bool emit_string(yaml_emitter_t *emitter, const char *anchor, const char *bytes,
                        size_t count, yaml_scalar_style_t style)
{
    yaml_event_t event;
    return yaml_scalar_event_initialize(&event, (const yaml_char_t *)anchor, NULL,
                                        (const yaml_char_t *)bytes, (int)count, 1, 1, style) &&
           yaml_emitter_emit(emitter, &event);
}

static bool emit_as_it_is(yaml_emitter_t *emitter, struct node *node)
{
    yaml_event_t event = node->event;
    memset(&node->event, 0, sizeof(node->event));
    return yaml_emitter_emit(emitter, &event);
}

/* Emits a scalar as it is, or without what scrub_text() takes out of it. */
static bool emit_scalar(yaml_emitter_t *emitter, struct node *node)
{
    const char *value = (const char *)node->event.data.scalar.value;
    const char *anchor = (const char *)node->event.data.scalar.anchor;
    size_t length = node->event.data.scalar.length;
    yaml_scalar_style_t style = node->event.data.scalar.style;
    /* libyaml would quote an empty plain scalar here, and so turn null into a string. */
    if (length == 0 && style == YAML_PLAIN_SCALAR_STYLE && node->event.data.scalar.tag == NULL &&
        (node->in_flow || node->is_key))
        return emit_string(emitter, anchor, "null", 4, style);
    size_t scrubbed_length = 0;
    char *scrubbed = scrub_text(value, length, node->flags & ENDPOINT, &scrubbed_length);
    if (scrubbed == NULL)
        return false;
    bool same = scrubbed_length == length && memcmp(scrubbed, value, length) == 0;
    bool good = same ? emit_as_it_is(emitter, node)
                     : emit_string(emitter, anchor, scrubbed, scrubbed_length, style);
    free(scrubbed);
    return good;
}

static bool document_emit(struct document *document, yaml_emitter_t *emitter)
{
    bool good = true;
    for (size_t i = 0; good && i < document->count; i++) {
        struct node *node = &document->nodes[i];
        bool secret = (node->flags & SECRET) ||
                      (node->target != NONE && (document->nodes[node->target].flags & SECRET));
        if (secret) {
            good = emit_string(emitter, NULL, SCRUB_REDACTED, strlen(SCRUB_REDACTED),
                               YAML_PLAIN_SCALAR_STYLE);
            i = node->end;
        } else if (node->event.type == YAML_SCALAR_EVENT) {
            good = emit_scalar(emitter, node);
        } else {
            good = emit_as_it_is(emitter, node);
        }
    }
    return good;
}

static enum outcome document_write(struct document *document, struct text *out)
{
    yaml_emitter_t emitter;
    if (!yaml_emitter_initialize(&emitter))
        return OUTCOME_NO_MEMORY;
    yaml_emitter_set_output(&emitter, output_write, out);
    yaml_emitter_set_unicode(&emitter, 1);
    yaml_emitter_set_width(&emitter, -1);
    text_add(out, "", 0);
    bool good = document_emit(document, &emitter);
    yaml_emitter_delete(&emitter);
    if (out->failed)
        return OUTCOME_NO_MEMORY;
    return good ? OUTCOME_DONE : OUTCOME_REFUSED;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void document_free(struct document *document)
{
    for (size_t i = 0; i < document->count; i++)
        yaml_event_delete(&document->nodes[i].event);
    free(document->nodes);
    free(document->pending);
    free(document);
}

static enum outcome redact_once(const char *yaml, size_t bytes, struct text *out)
{
    struct document *document = calloc(1, sizeof(*document));
    if (document == NULL)
        return OUTCOME_NO_MEMORY;
    enum outcome outcome = document_read(document, yaml, bytes);
    if (outcome == OUTCOME_DONE) {
        document->pending = malloc((document->count + 1) * sizeof(*document->pending));
        if (document->pending == NULL)
            outcome = OUTCOME_NO_MEMORY;
    }
    if (outcome == OUTCOME_DONE) {
        document_mark(document);
        outcome = document_write(document, out);
    }
    document_free(document);
    return outcome;
}

/* Redacts until the text redacts to itself. */
static enum outcome redact_until_stable(const char *yaml, size_t bytes, struct text *out)
{
    enum outcome outcome = redact_once(yaml, bytes, out);
    for (int round = 0; outcome == OUTCOME_DONE && round < ROUNDS_MAX; round++) {
        struct text again = {0};
        outcome = redact_once(out->bytes, out->used, &again);
        bool same = outcome == OUTCOME_DONE && again.used == out->used &&
                    memcmp(again.bytes, out->bytes, out->used) == 0;
        text_free(out);
        *out = again;
        if (same)
            return OUTCOME_DONE;
    }
    return outcome == OUTCOME_DONE ? OUTCOME_REFUSED : outcome;
}

char *fwdscope_redact_yaml(const char *yaml, size_t bytes, bool *ok)
{
    struct text out = {0};
    enum outcome outcome = OUTCOME_REFUSED;
    if (yaml == NULL)
        bytes = 0;
    if (bytes <= BYTES_MAX && (bytes == 0 || memchr(yaml, '\0', bytes) == NULL))
        outcome = redact_until_stable(yaml == NULL ? "" : yaml, bytes, &out);
    *ok = outcome == OUTCOME_DONE;
    if (outcome == OUTCOME_REFUSED)
        text_become(&out, FWDSCOPE_CONFIG_UNAVAILABLE);
    if (outcome == OUTCOME_NO_MEMORY || out.failed) {
        *ok = false;
        text_free(&out);
    }
    return out.bytes;
}
