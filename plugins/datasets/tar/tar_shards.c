/*
 * Patterns of archives' names, with braces as bash and webdataset write them out.
 */
#define _GNU_SOURCE /* memmem */
#include "tar_shards.h"
#include "../dataset_picture.h"
#include <glob.h>
#include <stdlib.h>

#define MOST_SHARDS 100000
#define MOST_BRACES 8

static int32_t fail_pattern(const char *pattern, const char *what, cvr_error *err) {
    return cvr_fail(err, CVR_ERR_USAGE, "%.300s: %s", pattern, what);
}

static int32_t add_shard(tar_index *x, const char *path, cvr_error *err) {
    int64_t number;
    if (x->shards.n >= MOST_SHARDS) return fail_pattern(path, "more than 100,000 archives; make larger ones", err);
    return name_table_put(&x->shards, path, &number, err);
}

/* A path without braces. */
static int32_t look_up(tar_index *x, const char *path, cvr_error *err) {
    glob_t found;
    int32_t status = CVR_OK;
    if (!strpbrk(path, "*?[")) return add_shard(x, path, err);
    const int code = glob(path, 0, NULL, &found);
    if (code == GLOB_NOSPACE) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the list of archives");
    if (code != 0) return CVR_OK; /* whether there are any at all is looked at in the end */
    for (size_t i = 0; i < found.gl_pathc && status == CVR_OK; i++) status = add_shard(x, found.gl_pathv[i], err);
    globfree(&found);
    return status;
}

static int32_t expand(tar_index *x, const char *pattern, int depth, cvr_error *err);

/* `pattern` with what stands in its first braces replaced. */
static int32_t with(tar_index *x, const char *pattern, const char *open, const char *close, const char *text,
                    uint64_t n, int depth, cvr_error *err) {
    char path[4096];
    const int length =
        snprintf(path, sizeof path, "%.*s%.*s%s", (int)(open - pattern), pattern, (int)n, text, close + 1);
    if (length < 0 || (size_t)length >= sizeof path) return fail_pattern(pattern, "a path of over 4095 bytes", err);
    return expand(x, path, depth + 1, err);
}

/* "000..012": all numbers, as wide as the first. 0 where it is not such a range. */
static int32_t is_range(const char *text, uint64_t n, uint64_t *first, uint64_t *last, int *width) {
    char *end;
    const char *const dots = n && n < 32 ? memmem(text, n, "..", 2) : NULL;
    if (!dots || strspn(text, "0123456789") != (size_t)(dots - text) || dots == text) return 0;
    *width = (int)(dots - text);
    *first = strtoull(text, NULL, 10);
    *last = strtoull(dots + 2, &end, 10);
    return end == text + n && end > dots + 2;
}

static int32_t expand(tar_index *x, const char *pattern, int depth, cvr_error *err) {
    const char *const open = strchr(pattern, '{'), *const close = open ? strchr(open, '}') : NULL;
    uint64_t first, last;
    int width;
    if (!open) return look_up(x, pattern, err);
    if (!close || depth >= MOST_BRACES) return fail_pattern(pattern, "a brace that is not closed, or too many", err);
    const uint64_t n = (uint64_t)(close - open - 1);
    if (is_range(open + 1, n, &first, &last, &width)) {
        if (last < first || last - first >= MOST_SHARDS)
            return fail_pattern(pattern, "a range of none, or of over 100,000 archives", err);
        for (uint64_t i = first; i <= last; i++) {
            char number[64];
            (void)snprintf(number, sizeof number, "%0*llu", width, (unsigned long long)i);
            CVR_TRY(with(x, pattern, open, close, number, strlen(number), depth, err));
        }
        return CVR_OK;
    }
    for (const char *at = open + 1; at <= close;) {
        const uint64_t part = strcspn(at, ",}");
        CVR_TRY(with(x, pattern, open, close, at, part, depth, err));
        at += part + 1;
    }
    return CVR_OK;
}

int32_t tar_shards_find(tar_index *x, const char *pattern, cvr_error *err) {
    CVR_TRY(expand(x, pattern, 0, err));
    return x->shards.n ? CVR_OK : fail_pattern(pattern, "there is no such archive; check the path", err);
}
