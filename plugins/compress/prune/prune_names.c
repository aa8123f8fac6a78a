/* Patterns of layers' names. */
#include "prune.h"

static int fits(const char *p, const char *end, const char *name) {
    for (; p < end; p++, name++) {
        if (*p == '*') {
            for (const char *rest = name;; rest++) {
                if (fits(p + 1, end, rest)) return 1;
                if (!*rest) return 0;
            }
        }
        if (!*name || (*p != '?' && *p != *name)) return 0;
    }
    return *name == '\0' || *name == '.';
}

int32_t prune_fits(const char *patterns, const char *name) {
    for (const char *p = patterns; *p;) {
        p += strspn(p, ", ");
        const size_t n = strcspn(p, ", ");
        if (n && fits(p, p + n, name)) return 1;
        p += n;
    }
    return 0;
}
