/* Reads a golden file through the weights plugin `safetensors`. */
#include "golden.h"
#include <dirent.h>
#include <stdlib.h>

static int32_t keep_tensor(void *ctx, const cvr_weight *w, cvr_error *err) {
    golden *g = ctx;
    const char *slash = strrchr(w->name, '/');
    if (!slash || !w->dtype || w->rank > CVR_MAX_RANK)
        return cvr_fail(err, CVR_ERR_FORMAT, "tensor %s is no CASE/FIELD of a known type", w->name);
    golden_tensor *more = realloc(g->tensors, (g->n + 1) * sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    g->tensors = more;
    golden_tensor *t = &more[g->n++];
    memset(t, 0, sizeof *t);
    t->label = strndup(w->name, (size_t)(slash - w->name));
    t->field = strdup(slash + 1);
    cvr_type_set(&t->type, w->dtype, w->rank, w->shape);
    t->bytes = w->bytes;
    t->data = calloc(1, w->bytes + 8);
    if (!t->label || !t->field || !t->data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memcpy(t->data, w->data, w->bytes);
    for (size_t i = 0; i < g->n_cases; i++) {
        if (strcmp(g->cases[i], t->label) == 0) return CVR_OK;
    }
    char **cases = realloc(g->cases, (g->n_cases + 1) * sizeof *cases);
    if (!cases) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    g->cases = cases;
    cases[g->n_cases++] = t->label;
    return CVR_OK;
}

int32_t golden_open(golden *g, cvr_plugins *plugins, const char *path, cvr_error *err) {
    const void *desc;
    uint8_t *bytes;
    uint64_t n;
    memset(g, 0, sizeof *g);
    int32_t status;
    CVR_TRY(cvr_plugins_find(plugins, CVR_KIND_WEIGHTS, "safetensors", &desc, err));
    CVR_TRY(cvr_fs_read(path, UINT64_C(1) << 30, &bytes, &n, err));
    CVR_TRY_OUT(((const cvr_weights_desc *)desc)->read(cvr_plugins_host(plugins), bytes, n, keep_tensor, g, err));
out:
    cvr_free(bytes);
    return status;
}

void golden_close(golden *g) {
    for (size_t i = 0; i < g->n; i++) {
        free(g->tensors[i].label);
        free(g->tensors[i].field);
        free(g->tensors[i].data);
    }
    free(g->tensors);
    free(g->cases);
    memset(g, 0, sizeof *g);
}

const golden_tensor *golden_find(golden *g, const char *label, const char *field) {
    for (size_t i = 0; i < g->n; i++) {
        golden_tensor *t = &g->tensors[i];
        if (strcmp(t->label, label) != 0 || strcmp(t->field, field) != 0) continue;
        t->used = true;
        return t;
    }
    return NULL;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **files_like(const char *folder, const char *begin, const char *end, size_t *n) {
    char **paths = calloc(1, sizeof *paths);
    DIR *d = opendir(folder);
    *n = 0;
    if (!d || !paths) abort();
    for (const struct dirent *e; (e = readdir(d));) {
        const size_t length = strlen(e->d_name);
        if (strncmp(e->d_name, begin, strlen(begin)) != 0 || length < strlen(end)) continue;
        if (strcmp(e->d_name + length - strlen(end), end) != 0) continue;
        char **more = realloc(paths, (*n + 1) * sizeof *paths);
        const size_t size = strlen(folder) + length + 2;
        char *path = malloc(size);
        if (!more || !path) abort();
        paths = more;
        (void)snprintf(path, size, "%s/%s", folder, e->d_name);
        paths[(*n)++] = path;
    }
    closedir(d);
    qsort(paths, *n, sizeof *paths, by_name);
    return paths;
}
