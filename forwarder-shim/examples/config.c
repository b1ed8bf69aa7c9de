/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the configuration with libyaml, by a table of the keys that there are. */
#include "config.h"

#include <errno.h>
#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "memory.h"

#define FILE_BYTES_MAX (1u << 20)
#define KEY_BYTES_MAX  64
#define DEPTH_MAX      2

enum kind {
    KIND_TEXT,   /* char * */
    KIND_REGEX,  /* char *, a POSIX extended regex */
    KIND_NUMBER, /* uint32_t from min to max */
    KIND_CHOICE, /* bool: the second of two words */
    KIND_PATHS,  /* the list of paths */
    KIND_ANY     /* taken and not used */
};

struct field {
    const char *key;
    enum kind kind;
    size_t offset;
    uint32_t min;
    uint32_t max;
    uint32_t initial;
    const char *choices[2];
};

#define AT(member) offsetof(struct config, member)

static const struct field fields[] = {
    {"service_name", KIND_TEXT, AT(service_name), 0, 0, 0, {0}},
    {"instance", KIND_TEXT, AT(instance), 0, 0, 0, {0}},
    {"heartbeat_ms", KIND_NUMBER, AT(heartbeat_ms), 100, 3600000, 1000, {0}},
    {"input.paths", KIND_PATHS, AT(paths), 0, 0, 0, {0}},
    {"input.from", KIND_CHOICE, AT(from_end), 0, 0, 0, {"beginning", "end"}},
    {"transform.include", KIND_REGEX, AT(include), 0, 0, 0, {0}},
    {"transform.exclude", KIND_REGEX, AT(exclude), 0, 0, 0, {0}},
    {"batch.rows", KIND_NUMBER, AT(batch_rows), 1, 1000000, 500, {0}},
    {"batch.bytes", KIND_NUMBER, AT(batch_bytes), 1024, 1u << 26, 262144, {0}},
    {"batch.timeout_ms", KIND_NUMBER, AT(batch_timeout_ms), 1, 3600000, 1000, {0}},
    {"output.type", KIND_CHOICE, AT(output_is_file), 0, 0, 0, {"tcp", "file"}},
    {"output.address", KIND_TEXT, AT(address), 0, 0, 0, {0}},
    {"output.workers", KIND_NUMBER, AT(workers), 1, 64, 1, {0}},
    {"output.queue_batches", KIND_NUMBER, AT(queue_batches), 1, 65536, 16, {0}},
    {"output.retry_min_ms", KIND_NUMBER, AT(retry_min_ms), 1, 3600000, 100, {0}},
    {"output.retry_max_ms", KIND_NUMBER, AT(retry_max_ms), 1, 3600000, 10000, {0}},
    {"output.send_timeout_ms", KIND_NUMBER, AT(send_timeout_ms), 1, 3600000, 10000, {0}},
    {"output.auth", KIND_ANY, 0, 0, 0, 0, {0}},
};
#define FIELDS (sizeof(fields) / sizeof(fields[0]))

struct reader {
    struct config *config;
    yaml_document_t document;
    bool seen[FIELDS];
    char *error;
    size_t error_bytes;
};

/* Writes "FILE:LINE: KEY: CAUSE"; always false. */
static bool __attribute__((format(printf, 4, 5)))
refuse(struct reader *reader, const yaml_node_t *node, const char *key, const char *format, ...)
{
    char cause[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(cause, sizeof(cause), format, arguments);
    va_end(arguments);
    size_t line = node == NULL ? 1 : node->start_mark.line + 1;
    snprintf(reader->error, reader->error_bytes, "%s:%zu: %s: %s", reader->config->path, line, key,
             cause);
    return false;
}

static void *member(struct config *config, const struct field *field)
{
    return (char *)config + field->offset;
}

/* The text of a scalar, or NULL: another node, or a text that holds a NUL. */
static const char *scalar_text(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE)
        return NULL;
    const char *text = (const char *)node->data.scalar.value;
    return strlen(text) == node->data.scalar.length ? text : NULL;
}

static bool read_text(struct reader *reader, const struct field *field, const yaml_node_t *node)
{
    const char *text = scalar_text(node);
    if (text == NULL || text[0] == '\0')
        return refuse(reader, node, field->key, "expected a text that is not empty");
    char **to = member(reader->config, field);
    *to = memory_copy(text);
    return true;
}

static bool read_regex(struct reader *reader, const struct field *field, const yaml_node_t *node)
{
    if (!read_text(reader, field, node))
        return false;
    char *const *text = member(reader->config, field);
    regex_t regex;
    int status = regcomp(&regex, *text, REG_EXTENDED);
    if (status != 0) {
        char cause[128];
        regerror(status, &regex, cause, sizeof(cause));
        return refuse(reader, node, field->key, "not a regular expression: %s", cause);
    }
    regfree(&regex);
    return true;
}

static bool read_number(struct reader *reader, const struct field *field, const yaml_node_t *node)
{
    const char *text = scalar_text(node);
    char *end = NULL;
    errno = 0;
    unsigned long number = text == NULL ? 0 : strtoul(text, &end, 10);
    bool digits = text != NULL && text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
    if (!digits || number < field->min || number > field->max)
        return refuse(reader, node, field->key, "expected a number from %u to %u, got \"%.64s\"",
                      field->min, field->max, text == NULL ? "something else" : text);
    *(uint32_t *)member(reader->config, field) = (uint32_t)number;
    return true;
}

static bool read_choice(struct reader *reader, const struct field *field, const yaml_node_t *node)
{
    const char *text = scalar_text(node);
    for (int i = 0; text != NULL && i < 2; i++) {
        if (strcmp(text, field->choices[i]) == 0) {
            *(bool *)member(reader->config, field) = i == 1;
            return true;
        }
    }
    return refuse(reader, node, field->key, "expected %s or %s, got \"%.64s\"", field->choices[0],
                  field->choices[1], text == NULL ? "something else" : text);
}

static bool read_paths(struct reader *reader, const struct field *field, const yaml_node_t *node)
{
    struct config *config = reader->config;
    if (node->type != YAML_SEQUENCE_NODE)
        return refuse(reader, node, field->key, "expected a list of paths");
    for (const yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++) {
        const yaml_node_t *path = yaml_document_get_node(&reader->document, *item);
        const char *text = scalar_text(path);
        if (text == NULL || text[0] == '\0')
            return refuse(reader, path, field->key, "expected a path or glob");
        if (config->path_count == CONFIG_PATHS_MAX)
            return refuse(reader, path, field->key, "more than %d paths", CONFIG_PATHS_MAX);
        config->paths[config->path_count++] = memory_copy(text);
    }
    return true;
}

static bool read_field(struct reader *reader, const struct field *field, const yaml_node_t *key,
                       const yaml_node_t *node)
{
    if (reader->seen[field - fields])
        return refuse(reader, key, field->key, "given twice");
    reader->seen[field - fields] = true;
    switch (field->kind) {
    case KIND_TEXT:
        return read_text(reader, field, node);
    case KIND_REGEX:
        return read_regex(reader, field, node);
    case KIND_NUMBER:
        return read_number(reader, field, node);
    case KIND_CHOICE:
        return read_choice(reader, field, node);
    case KIND_PATHS:
        return read_paths(reader, field, node);
    case KIND_ANY:
        break;
    }
    return true;
}

static const struct field *find_field(const char *key)
{
    for (size_t i = 0; i < FIELDS; i++)
        if (strcmp(fields[i].key, key) == 0)
            return &fields[i];
    return NULL;
}

/* Whether `key` is the map of some field: "batch" of "batch.rows". */
static bool is_section(const char *key)
{
    size_t length = strlen(key);
    for (size_t i = 0; i < FIELDS; i++)
        if (strncmp(fields[i].key, key, length) == 0 && fields[i].key[length] == '.')
            return true;
    return false;
}

/* Reads a map whose keys begin with `prefix`. Recursion ends at DEPTH_MAX. */
static bool read_map(struct reader *reader, const yaml_node_t *map, const char *prefix,
                     unsigned depth)
{
    for (const yaml_node_pair_t *pair = map->data.mapping.pairs.start;
         pair < map->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&reader->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(&reader->document, pair->value);
        const char *text = scalar_text(key);
        char name[KEY_BYTES_MAX];
        if (text == NULL)
            return refuse(reader, key, *prefix ? prefix : "(top)", "a key must be a plain text");
        snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "." : "", text);
        const struct field *field = find_field(name);
        if (field != NULL) {
            if (!read_field(reader, field, key, value))
                return false;
        } else if (!is_section(name) || depth == DEPTH_MAX) {
            return refuse(reader, key, name, "unknown key");
        } else if (value->type != YAML_MAPPING_NODE) {
            return refuse(reader, value, name, "expected a map");
        } else if (!read_map(reader, value, name, depth + 1)) {
            return false;
        }
    }
    return true;
}

/* Whether a text is host:port, the host in brackets if it holds a colon. */
static bool is_host_and_port(const char *address)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon == address)
        return false;
    char *end = NULL;
    unsigned long port = strtoul(colon + 1, &end, 10);
    bool digits = colon[1] >= '0' && colon[1] <= '9' && *end == '\0';
    bool one = memchr(address, ':', (size_t)(colon - address)) == NULL;
    return digits && port >= 1 && port <= 65535 && (one || colon[-1] == ']');
}

/* What only the whole can tell. */
static bool check_whole(struct reader *reader)
{
    const struct config *config = reader->config;
    if (config->service_name == NULL)
        return refuse(reader, NULL, "service_name", "missing");
    if (config->path_count == 0)
        return refuse(reader, NULL, "input.paths", "missing or empty");
    if (!reader->seen[find_field("output.type") - fields])
        return refuse(reader, NULL, "output.type", "missing");
    if (config->address == NULL)
        return refuse(reader, NULL, "output.address", "missing");
    if (!config->output_is_file && !is_host_and_port(config->address))
        return refuse(reader, NULL, "output.address", "expected host:port, got \"%.64s\"",
                      config->address);
    if (config->retry_max_ms < config->retry_min_ms)
        return refuse(reader, NULL, "output.retry_max_ms", "%u is below retry_min_ms %u",
                      config->retry_max_ms, config->retry_min_ms);
    return true;
}

static bool parse(struct reader *reader)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return refuse(reader, NULL, "(file)", "out of memory");
    yaml_parser_set_input_string(&parser, (const unsigned char *)reader->config->text,
                                 reader->config->text_bytes);
    bool good = yaml_parser_load(&parser, &reader->document);
    if (!good)
        snprintf(reader->error, reader->error_bytes, "%s:%zu: not YAML: %s", reader->config->path,
                 parser.problem_mark.line + 1, parser.problem ? parser.problem : "unknown problem");
    yaml_parser_delete(&parser);
    return good;
}

/* Reads the whole file into memory. */
static bool read_file(struct reader *reader)
{
    struct config *config = reader->config;
    FILE *file = fopen(config->path, "re");
    if (file == NULL) {
        snprintf(reader->error, reader->error_bytes, "%s: %s", config->path, strerror(errno));
        return false;
    }
    config->text = memory_zeroed(FILE_BYTES_MAX + 1, 1);
    config->text_bytes = fread(config->text, 1, FILE_BYTES_MAX + 1, file);
    bool failed = ferror(file) != 0;
    int error = errno;
    fclose(file);
    if (failed)
        snprintf(reader->error, reader->error_bytes, "%s: %s", config->path, strerror(error));
    else if (config->text_bytes > FILE_BYTES_MAX)
        snprintf(reader->error, reader->error_bytes, "%s: longer than %u bytes", config->path,
                 FILE_BYTES_MAX);
    return !failed && config->text_bytes <= FILE_BYTES_MAX;
}

bool config_load(struct config *config, const char *path, char *error, size_t error_bytes)
{
    *config = (struct config){.path = memory_copy(path)};
    struct reader reader = {.config = config, .error = error, .error_bytes = error_bytes};
    for (size_t i = 0; i < FIELDS; i++)
        if (fields[i].kind == KIND_NUMBER)
            *(uint32_t *)member(config, &fields[i]) = fields[i].initial;
    if (!read_file(&reader) || !parse(&reader))
        return false;
    const yaml_node_t *root = yaml_document_get_root_node(&reader.document);
    bool good = root != NULL && root->type == YAML_MAPPING_NODE;
    if (!good)
        refuse(&reader, root, "(top)", "expected a map");
    good = good && read_map(&reader, root, "", 1) && check_whole(&reader);
    yaml_document_delete(&reader.document);
    return good;
}

void config_free(struct config *config)
{
    free(config->path);
    free(config->text);
    free(config->service_name);
    free(config->instance);
    for (size_t i = 0; i < config->path_count; i++)
        free(config->paths[i]);
    free(config->include);
    free(config->exclude);
    free(config->address);
    *config = (struct config){0};
}
