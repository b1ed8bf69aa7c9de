/* SPDX-License-Identifier: Apache-2.0 */
/* Lines by POSIX extended regular expressions. */
#include "filter.h"

bool filter_open(struct filter *filter, const char *include, const char *exclude)
{
    *filter = (struct filter){0};
    if (include != NULL) {
        if (regcomp(&filter->include, include, REG_EXTENDED) != 0)
            return false;
        filter->has_include = true;
    }
    if (exclude != NULL) {
        if (regcomp(&filter->exclude, exclude, REG_EXTENDED) != 0) {
            filter_close(filter);
            return false;
        }
        filter->has_exclude = true;
    }
    return true;
}

/* REG_STARTEND takes the line as it is, NUL bytes included. */
static bool matches(const regex_t *regex, const char *line, size_t bytes)
{
    regmatch_t range = {.rm_so = 0, .rm_eo = (regoff_t)bytes};
    return regexec(regex, line, 1, &range, REG_STARTEND) == 0;
}

bool filter_passes(const struct filter *filter, const char *line, size_t bytes)
{
    if (filter->has_include && !matches(&filter->include, line, bytes))
        return false;
    return !filter->has_exclude || !matches(&filter->exclude, line, bytes);
}

void filter_close(struct filter *filter)
{
    if (filter->has_include)
        regfree(&filter->include);
    if (filter->has_exclude)
        regfree(&filter->exclude);
    *filter = (struct filter){0};
}
