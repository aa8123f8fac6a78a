/* Patterns of names: how settings such as model.freeze, quant.skip and prune.layers list layers and parameters. */
#ifndef CVR_PLUGIN_NAMES_H
#define CVR_PLUGIN_NAMES_H

#include "abi.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Whether the pattern of the `n` bytes at `pattern` fits the name, all of it or up to one of its dots: "layer1" fits
 * "layer1.0.conv1". `*` stands for any characters, dots too, `?` for one, `#` for a number. Where a character does not
 * fit, the last star takes one more, so that the time is at most that of name times pattern.
 */
static inline int32_t cvr_name_fits(const char *pattern, uint64_t n, const char *name) {
    const char *p = pattern, *const end = pattern + n, *star = NULL, *from = NULL;
    while (*name) {
        if (p < end && *p == '*') {
            star = p++;
            from = name;
        } else if (p < end && *p == '#' && *name >= '0' && *name <= '9') {
            while (*name >= '0' && *name <= '9') name++;
            p++;
        } else if (p < end && (*p == '?' || *p == *name)) {
            p++;
            name++;
        } else if (p == end && *name == '.') {
            return 1;
        } else if (star) {
            p = star + 1;
            name = ++from;
        } else {
            return 0;
        }
    }
    while (p < end && *p == '*') p++;
    return p == end;
}

/* The next pattern of a list, of `n` bytes, and moves the list behind it; NULL: there are no more. Commas and blanks
 * stand between patterns. */
static inline const char *cvr_next_pattern(const char **list, uint64_t *n) {
    const char *pattern = *list + strspn(*list, ", \t");
    *n = (uint64_t)strcspn(pattern, ", \t");
    *list = pattern + *n;
    return *n ? pattern : NULL;
}

/* Whether one pattern of the list fits. */
static inline int32_t cvr_names_fit(const char *list, const char *name) {
    const char *pattern;
    uint64_t n;
    while ((pattern = cvr_next_pattern(&list, &n)))
        if (cvr_name_fits(pattern, n, name)) return 1;
    return 0;
}

#ifdef __cplusplus
}
#endif

#endif
