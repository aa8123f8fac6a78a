/*
 * The samples of the shards: files in a row whose names are alike up to the first dot (webdataset's rule).
 */
#include "../dataset_picture.h"
#include "tar_label.h"
#include "tar_shards.h"

/* A class as text or JSON. */
#define MOST_LABEL (1u << 20)

/* The sample that is being put together. */
typedef struct gathered {
    char key[TAR_MOST_NAME];
    tar_sample sample;
    int32_t has_picture, has_label;
} gathered;

static int32_t out_of_memory(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the index of the archives");
}

void tar_index_free(tar_index *x) {
    name_table_free(&x->shards);
    if (x->text) x->host->free(x->host, x->text);
    if (x->samples) x->host->free(x->host, x->samples);
    x->text = NULL;
    x->samples = NULL;
    x->n = 0;
}

static int32_t fail_sample(const tar_file *f, const char *key, const char *what, cvr_error *err) {
    char text[512];
    (void)snprintf(text, sizeof text, "sample %.300s: %s", key, what);
    return tar_file_fail(f, dataset_printable(text), err);
}

static int32_t finish(tar_index *x, const tar_file *f, gathered *g, cvr_error *err) {
    const uint64_t n = strlen(g->key) + 1;
    if (!g->has_picture && !g->has_label) return CVR_OK; /* files of something else */
    if (!g->has_picture) return fail_sample(f, g->key, "a label without a picture", err);
    if (!g->has_label) return fail_sample(f, g->key, "a picture without a label (.cls or .json)", err);
    char *const text = dataset_grow(x->host, x->text, x->text_n, n, &x->text_room, 1);
    if (!text) return out_of_memory(err);
    x->text = text;
    tar_sample *const samples = dataset_grow(x->host, x->samples, x->n, 1, &x->room, sizeof *samples);
    if (!samples) return out_of_memory(err);
    x->samples = samples;
    memcpy(text + x->text_n, g->key, n);
    g->sample.key = x->text_n;
    x->text_n += n;
    samples[x->n++] = g->sample;
    if (g->sample.label > x->highest) x->highest = g->sample.label;
    return CVR_OK;
}

/* The place of the dot that ends the key: the first of the file's own name. NULL: no sample's file. */
static char *ending_of(char *name) {
    char *const slash = strrchr(name, '/'), *const base = slash ? slash + 1 : name;
    return base[0] == '.' ? NULL : strchr(base, '.');
}

static int32_t take_label(const tar_index *x, const tar_file *f, const tar_member *m, int32_t json, gathered *g,
                          cvr_error *err) {
    int32_t status = CVR_OK;
    if (g->has_label) return fail_sample(f, g->key, "two labels", err);
    if (m->size > MOST_LABEL) return fail_sample(f, g->key, "a label of over 1 MiB", err);
    char *const text = x->host->alloc(x->host, m->size + 1, 1);
    if (!text) return out_of_memory(err);
    CVR_TRY_OUT(tar_file_read(f, m->offset, text, m->size, err));
    g->sample.label =
        (int32_t)(json ? tar_label_of_json(text, m->size, x->label_key) : tar_label_of_text(text, m->size));
    g->has_label = 1;
    if (g->sample.label < 0)
        status = fail_sample(f, g->key,
                             json ? "its JSON has no class of 0 to 65535 under data.label_key"
                                  : "its label is not a number of 0 to 65535",
                             err);
out:
    x->host->free(x->host, text);
    return status;
}

static int32_t take_member(tar_index *x, const tar_file *f, tar_member *m, gathered *g, cvr_error *err) {
    char *const dot = ending_of(m->name);
    if (!dot) return CVR_OK;
    const uint64_t n = (uint64_t)(dot - m->name);
    if (strncmp(m->name, g->key, n) != 0 || g->key[n]) {
        const uint32_t shard = g->sample.shard;
        CVR_TRY(finish(x, f, g, err));
        *g = (gathered){.sample = {.shard = shard}};
        memcpy(g->key, m->name, n);
        g->key[n] = '\0';
    }
    char name[TAR_MOST_NAME];
    (void)snprintf(name, sizeof name, "x%.*s", 255, dot);
    const int32_t cls = strcmp(dot, ".cls") == 0, json = strcmp(dot, ".json") == 0 && !g->has_label,
                  picture = !strchr(dot + 1, '.') && x->image->is_picture(x->image, name);
    if (!cls && !json && !picture) return CVR_OK;
    if (m->is_link)
        return fail_sample(f, g->key, "a link in place of a file; make the archive with -h --hard-dereference", err);
    if (!picture) return take_label(x, f, m, json, g, err);
    if (g->has_picture) return fail_sample(f, g->key, "two pictures", err);
    g->has_picture = 1;
    g->sample.offset = m->offset;
    g->sample.size = m->size;
    return CVR_OK;
}

static int32_t go_through(tar_index *x, uint32_t shard, gathered *g, tar_member *m, cvr_error *err) {
    const uint64_t before = x->n;
    tar_file f;
    int32_t status, done = 0;
    *g = (gathered){.sample = {.shard = shard}};
    CVR_TRY_OUT(tar_file_open(&f, name_table_get(&x->shards, shard), err));
    for (;;) {
        CVR_TRY_OUT(tar_file_next(&f, m, &done, err));
        if (done) break;
        CVR_TRY_OUT(take_member(x, &f, m, g, err));
    }
    CVR_TRY_OUT(finish(x, &f, g, err));
    if (x->n == before) status = tar_file_fail(&f, "no sample (a picture with .cls or .json) in it", err);
out:
    tar_file_close(&f);
    return status;
}

int32_t tar_index_make(tar_index *x, cvr_error *err) {
    int32_t status = CVR_OK;
    gathered *const g = x->host->alloc(x->host, sizeof *g, 16);
    tar_member *const m = x->host->alloc(x->host, sizeof *m, 16);
    if (!g || !m) status = out_of_memory(err);
    for (uint32_t i = 0; status == CVR_OK && i < x->shards.n; i++) status = go_through(x, i, g, m, err);
    if (g) x->host->free(x->host, g);
    if (m) x->host->free(x->host, m);
    return status;
}
