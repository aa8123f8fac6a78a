/*
 * detector_run CASES.safetensors OUT.safetensors train|eval|losses [BACKEND]: every case of a file (detector_case.h),
 * one after the other, and what came out of each, CASE/NAME, for tests/parity. `losses`: evaluation with targets.
 */
#include "support/detector_case.h"
#include <stdlib.h>

#define MOST (16 * DETECTOR_MOST_RESULTS)

static int32_t write_bytes(void *ctx, const void *bytes, uint64_t n, cvr_error *err) {
    return fwrite(bytes, 1, (size_t)n, ctx) == n ? CVR_OK : cvr_fail(err, CVR_ERR_IO, "cannot write");
}

static int32_t save(cvr_plugins *plugins, const char *path, const cvr_weight *const *all, size_t n, cvr_error *err) {
    const void *desc;
    FILE *f = fopen(path, "wb");
    if (!f) return cvr_fail(err, CVR_ERR_IO, "%s: cannot open", path);
    int32_t status = cvr_plugins_find(plugins, CVR_KIND_WEIGHTS, "safetensors", &desc, err);
    if (status == CVR_OK)
        status =
            ((const cvr_weights_desc *)desc)->write(cvr_plugins_host(plugins), all, n, NULL, 0, write_bytes, f, err);
    return fclose(f) == 0 ? status : cvr_fail(err, CVR_ERR_IO, "%s: cannot write", path);
}

/* The results of a case, whose memory they keep. */
static void collect(const char *label, const detector_result *r, const cvr_weight **all, size_t *n) {
    for (size_t i = 0; i < r->n && *n < MOST; i++) {
        const detector_tensor *t = &r->all[i];
        cvr_weight *w = calloc(1, sizeof *w);
        char *name = calloc(1, strlen(label) + sizeof t->name + 2);
        if (!w || !name) abort();
        (void)sprintf(name, "%s/%s", label, t->name);
        *w = (cvr_weight){.struct_size = sizeof *w, .name = name, .dtype = t->type.dtype, .rank = t->type.rank};
        memcpy(w->shape, t->type.shape, t->type.rank * sizeof *w->shape);
        w->data = t->data;
        w->bytes = (uint64_t)cvr_numel(t->type.rank, t->type.shape) * cvr_dtype_size(t->type.dtype);
        all[(*n)++] = w;
    }
}

static int32_t run_all(golden *g, cvr_plugins *plugins, char **argv, const char *backend, cvr_error *err) {
    static const cvr_weight *all[MOST];
    cvr_threadpool *pool;
    size_t n = 0;
    CVR_TRY(golden_open(g, plugins, argv[1], err));
    CVR_TRY(cvr_pool_create(&pool, 2, err));
    for (size_t i = 0; i < g->n_cases; i++) {
        detector_result *r = malloc(sizeof *r);
        const detector_case c = {
            g, g->cases[i], plugins, pool, backend, strcmp(argv[3], "train") == 0, strcmp(argv[3], "losses") == 0};
        if (!r) abort();
        CVR_TRY(detector_run(&c, r, err));
        collect(g->cases[i], r, all, &n);
    }
    CVR_TRY(save(plugins, argv[2], all, n, err));
    cvr_pool_destroy(&pool);
    return CVR_OK;
}

int main(int argc, char **argv) {
    golden g;
    cvr_plugins *plugins;
    cvr_error err = CVR_ERROR_INIT;
    if (argc < 4) {
        (void)fprintf(stderr, "usage: detector_run CASES.safetensors OUT.safetensors train|eval|losses [BACKEND]\n");
        return 2;
    }
    int32_t status = cvr_plugins_open(&plugins, NULL, 0, &err);
    if (status == CVR_OK) status = run_all(&g, plugins, argv, argc > 4 ? argv[4] : "cpu", &err);
    if (status != CVR_OK) (void)fprintf(stderr, "detector_run: %s\n", err.message);
    return status != CVR_OK;
}
