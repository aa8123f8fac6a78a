/*
 * `[augment] preset = NAME`: a list of transforms from share/cvrun/augment.ini, where each section is one. Lines before
 * and after it do their part before and after it. `none` is an empty list: a line, so that no others are proposed.
 */
#include "augment_presets.h"
#include "presets.h"
#include <cvr/session.h>

#define MOST_PRESETS 64

typedef struct reading {
    const char *name;
    augment_preset_fn each;
    void *ctx;
    bool found;
    char *names[MOST_PRESETS];
    size_t n;
} reading;

static int32_t on_line(void *ctx, const char *section, const char *key, const char *value, uint32_t line,
                       cvr_error *err) {
    reading *r = ctx;
    (void)line;
    if (r->n < MOST_PRESETS && (r->n == 0 || strcmp(r->names[r->n - 1], section) != 0)) {
        r->names[r->n] = cvr_strdup(section);
        if (!r->names[r->n]) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        r->n++;
    }
    if (strcmp(section, r->name) != 0) return CVR_OK;
    r->found = true;
    return r->each(r->ctx, key, value, err);
}

static int32_t unknown(const reading *r, cvr_error *err) {
    const char *nearest = cvr_nearest(r->name, (const char *const *)r->names, r->n);
    cvr_text list = {0};
    for (size_t i = 0; i < r->n; i++) cvr_text_add(&list, "%s%s", i ? ", " : "", r->names[i]);
    if (nearest)
        cvr_fail(err, CVR_ERR_USAGE, "there is no preset `%s`; did you mean `%s`?", r->name, nearest);
    else
        cvr_fail(err, CVR_ERR_USAGE, "there is no preset `%s`, but %s", r->name, list.s ? list.s : "none");
    cvr_text_clear(&list);
    return CVR_ERR_USAGE;
}

int32_t cvr_session_presets(cvr_ini_fn each, void *ctx, cvr_error *err) {
    char *path = preset_data_file("augment.ini");
    if (!path) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = cvr_ini_read(path, each, ctx, err);
    cvr_free(path);
    return status;
}

int32_t augment_preset_each(const char *name, augment_preset_fn each, void *ctx, cvr_error *err) {
    reading r = {.name = name, .each = each, .ctx = ctx};
    if (strcmp(name, "none") == 0) return CVR_OK;
    int32_t status = cvr_session_presets(on_line, &r, err);
    if (status == CVR_OK && !r.found) status = unknown(&r, err);
    for (size_t i = 0; i < r.n; i++) cvr_free(r.names[i]);
    return status;
}
