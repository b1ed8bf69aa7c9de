/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resource. Of each key the first that is known wins: the name and version that the forwarder
 * opened with, what it published, what its region says, then the environment. What is unknown is
 * absent; service.name alone is always there.
 */
#include "build.h"

/* What a resource adds at most beyond the published and the environment's. */
enum { OWN_ATTRIBUTES_MAX = 6 };

static bool add_known_text(struct build *build, struct key_values *list, const char *key,
                           const char *text)
{
    return text[0] == '\0' || key_values_add_text(build, list, key, text);
}

/* Before what was published. */
static bool add_named(struct build *build, struct key_values *list, const struct identity *identity)
{
    return add_known_text(build, list, "service.name", identity->service_name) &&
           add_known_text(build, list, "service.version", identity->service_version);
}

/* After it: a published instance id, or the pid of the process that an adapter reports on, wins. */
static bool add_region(struct build *build, struct key_values *list,
                       const struct identity *identity)
{
    const bool has_pid = identity->pid != 0 && identity->pid <= INT64_MAX;
    return add_known_text(build, list, "service.instance.id", identity->uuid) &&
           (!has_pid || key_values_add_uint(build, list, "process.pid", identity->pid));
}

static bool add_self(struct build *build, struct key_values *list)
{
    return key_values_add_text(build, list, "service.name", "fwdscope") &&
           key_values_add_text(build, list, "service.version", FWDSCOPE_VERSION);
}

static bool add_all(struct build *build, struct key_values *list, const struct resource_view *view)
{
    const struct identity *identity = view->identity;
    return (identity == NULL || add_named(build, list, identity)) &&
           key_values_add(build, list, view->published, view->published_count) &&
           (identity != NULL ? add_region(build, list, identity) : add_self(build, list)) &&
           key_values_add(build, list, view->extra, view->extra_count) &&
           key_values_add_text(build, list, "service.name", "unknown_service");
}

Resource *build_resource(struct build *build, const struct resource_view *view)
{
    struct key_values list;
    Resource *resource =
        build_message(build, &opentelemetry__proto__resource__v1__resource__descriptor);
    if (resource == NULL ||
        !key_values_begin(build, &list,
                          view->published_count + view->extra_count + OWN_ATTRIBUTES_MAX) ||
        !add_all(build, &list, view)) {
        return NULL;
    }
    resource->n_attributes = list.count;
    resource->attributes = list.items;
    return resource;
}
