/*
 * What the rest of libcvr stands on: the allocator table, text buffers, the log, files.
 *
 * libcvr never prints, exits or calls malloc by itself: memory and messages go through the tables here, so that an
 * application decides where they go and a test can make them fail.
 */
#ifndef CVR_BASE_H
#define CVR_BASE_H

#include <cvr/plugin/plugin.h>
#include <stdbool.h>

#pragma GCC visibility push(default)

/* ---- memory ---- */

/* `alloc` gives memory aligned to `align` (a power of two >= 8) or NULL. Both may be called from any thread. */
typedef struct cvr_allocator {
    void *ctx;
    void *(*alloc)(void *ctx, size_t bytes, size_t align);
    void (*free)(void *ctx, void *p);
} cvr_allocator;

/* Replaces the allocator; NULL brings the C library's back. Call before anything else of libcvr is in use. */
void cvr_set_allocator(const cvr_allocator *a);
/* Allocations made so far, for tests that count them. */
uint64_t cvr_alloc_count(void);
/* `n * size` bytes, zeroed; NULL when that overflows or memory is out. */
void *cvr_calloc(size_t n, size_t size);
/* Not zeroed. */
void *cvr_alloc_aligned(size_t bytes, size_t align);
void cvr_free(void *p);
/* A copy of the first `n` bytes of `s`, ended by a NUL. NULL when memory is out. */
char *cvr_strndup(const char *s, size_t n);
char *cvr_strdup(const char *s);
/* Makes room for one more element in an array that doubles: returns the array (old contents kept) or NULL, which leaves
 * it as it was. */
void *cvr_grow(void *array, size_t count, size_t *capacity, size_t element_size);

/* ---- errors ---- */

/* The same error as another kind: what a plugin calls not found or invalid is, in a recipe, the user's setting
 * (CVR_ERR_USAGE). */
static inline int32_t cvr_fail_as(cvr_error *err, int32_t code) {
    if (err) err->code = code;
    return code;
}

/* ---- text ---- */

/* A string that grows. `failed` is set when memory ran out; `s` is never NULL after the first append that worked. */
typedef struct cvr_text {
    char *s;
    size_t n, capacity;
    bool failed;
} cvr_text;

void cvr_text_add(cvr_text *t, const char *format, ...) CVR_PRINTF(2, 3);
void cvr_text_add_bytes(cvr_text *t, const void *bytes, size_t n);
/* A JSON string, quotes included; bytes that are not UTF-8 become U+FFFD. */
void cvr_text_add_json(cvr_text *t, const char *s);
/* "1.5 GB": powers of 1000. */
const char *cvr_bytes_text(uint64_t bytes, char buf[32]);
void cvr_text_clear(cvr_text *t);

/* The candidate nearest to `word`, blind to case: by edit distance, at most a third of its length and one, or the
 * shortest that `word` begins; or NULL. */
const char *cvr_nearest(const char *word, const char *const *candidates, size_t n);
/* The end of a message: "did you mean `x`?", or "there are a, b, c" where nothing is near. */
const char *cvr_hint(const char *word, const char *const *candidates, size_t n, char buf[400]);

/* ---- log ---- */

typedef void (*cvr_log_fn)(void *ctx, uint32_t level, const char *text);
void cvr_set_log(cvr_log_fn fn, void *ctx);
/* What this thread logs from now on is about this file, whose name stands before it; "": it was all said before, and is
 * not said again; NULL: about none. Returns how many lines were about the one until now. */
uint32_t cvr_log_about(const char *file);
void cvr_log(uint32_t level, const char *format, ...) CVR_PRINTF(2, 3);

/* ---- files ---- */

/* The whole file, NUL-terminated past its end, at most `max` bytes. Free with cvr_free. */
int32_t cvr_fs_read(const char *path, uint64_t max, uint8_t **bytes, uint64_t *n, cvr_error *err);
/* A file mapped for reading. An empty file has bytes == NULL. */
typedef struct cvr_mapping {
    const uint8_t *bytes;
    uint64_t n;
} cvr_mapping;
int32_t cvr_fs_map(const char *path, cvr_mapping *m, cvr_error *err);
void cvr_fs_unmap(cvr_mapping *m);
/* Folder and all that lead to it. */
int32_t cvr_fs_mkdirs(const char *path, cvr_error *err);
bool cvr_fs_exists(const char *path);
bool cvr_fs_is_folder(const char *path);
/* `path` seen from folder `base`, absolute, without "." and "..". Free with cvr_free. NULL when memory is out. */
char *cvr_fs_absolute(const char *base, const char *path);
/* Folder part of a path. Free with cvr_free. */
char *cvr_fs_dirname(const char *path);
char *cvr_fs_join(const char *folder, const char *name);

/* Seconds of a clock that only goes forward. */
double cvr_now(void);
/* Names of CPU features that this machine (and its kernel) has: true where every word of `isa` is one. */
bool cvr_cpu_has(const char *isa, const char **missing);

#pragma GCC visibility pop
#endif
