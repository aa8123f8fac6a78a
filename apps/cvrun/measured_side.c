/* Measures networks before and after, see measured_side.h. */
#include "measured_side.h"
#include "cvrun.h"
#include "run_folder.h"
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

/* ---- measuring ---- */

static uint64_t size_of_file(const char *folder, const char *name) {
    struct stat st;
    char *path = cvr_fs_join(folder, name);
    const uint64_t bytes = path && stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
    cvr_free(path);
    return bytes;
}

int32_t measure_side(cvr_session *s, const char *folder, measured_side *to, cvr_error *err) {
    progress bar;
    cvr_session_info info;
    progress_start(&bar, "validation");
    const cvr_evaluate_options how = {.progress = progress_count, .ctx = &bar};
    const int32_t status = cvr_evaluate(s, &how, &to->metrics, err);
    progress_clear(&bar);
    CVR_TRY(status);
    CVR_TRY(cvr_session_cost_of(s, 1, &to->one, err));
    CVR_TRY(cvr_session_cost_of(s, MEASURED_MANY, &to->many, err));
    cvr_session_describe(s, &info);
    const char *metric = cvr_config_get(cvr_session_config(s), "val", "metric", NULL);
    (void)snprintf(to->metric, sizeof to->metric, "%s", metric && *metric ? metric : cvr_session_task(s)->best_metric);
    to->params = info.params;
    to->file_bytes = size_of_file(folder, "weights/best.safetensors");
    if (!to->file_bytes) to->file_bytes = size_of_file(folder, "weights/last.safetensors");
    return CVR_OK;
}

int32_t measure_origin(const char *run, const char *origin, measured_side *to, cvr_error *err) {
    char *recipe = cvr_fs_join(run, "config.ini");
    const arguments there = {.path = recipe, .settings = {"compressed.by="}, .n_settings = 1};
    cvr_session *s = NULL;
    if (!recipe) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    int32_t status = try_session(&there, CVR_FOR_EVALUATION | CVR_FROM_RUN, &s, err);
    if (status == CVR_OK) status = measure_side(s, origin, to, err);
    cvr_session_close(&s);
    cvr_free(recipe);
    return status;
}

void measured_side_clear(measured_side *m) {
    cvr_metrics_clear(&m->metrics);
}

int32_t run_folder_beside(const char *run, const char *suffix, char *folder, size_t size, cvr_error *err) {
    char *real = realpath(run, NULL), *weights = NULL, name[512];
    const char *slash = real ? strrchr(real, '/') : NULL;
    if (!slash || snprintf(name, sizeof name, "%.400s-%.60s", slash + 1, suffix) < 0) {
        free(real);
        return cvr_fail(err, CVR_ERR_IO, "cannot tell where this folder is");
    }
    char *parent = cvr_strndup(real, slash == real ? 1 : (size_t)(slash - real));
    free(real);
    int32_t status =
        parent ? run_folder_first_free(parent, name, folder, size, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (status == CVR_OK) {
        weights = cvr_fs_join(folder, "weights");
        status = weights ? cvr_fs_mkdirs(weights, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    cvr_free(weights);
    cvr_free(parent);
    return status;
}

/* ---- what came of it ---- */

void measured_side_json(cvr_text *t, const char *name, const measured_side *s) {
    cvr_text_add(t, "  \"%s\": {\n    \"metrics\": {", name);
    for (size_t i = 0; i < s->metrics.n; i++) {
        cvr_text_add(t, "%s", i ? ", " : "");
        cvr_text_add_json(t, s->metrics.names[i]);
        cvr_text_add(t, isfinite(s->metrics.values[i]) ? ": %.9g" : ": null", s->metrics.values[i]);
    }
    cvr_text_add(t, "},\n    \"metric\": ");
    cvr_text_add_json(t, s->metric);
    cvr_text_add(t,
                 ",\n    \"params\": %lld, \"macs\": %.0f, \"file_bytes\": %llu, \"planned_memory_bytes\": %llu,\n"
                 "    \"ms_batch1\": %.4f, \"ms_batch32\": %.4f, \"nodes\": %lld, \"int8_nodes\": %lld\n  }",
                 (long long)s->params, s->one.macs, (unsigned long long)s->file_bytes,
                 (unsigned long long)s->one.planned_bytes, 1e3 * s->one.seconds, 1e3 * s->many.seconds,
                 (long long)s->one.nodes, (long long)s->one.int8_nodes);
}

static void print_row(const char *name, const char *a, const char *b, const char *ratio) {
    print_text("%-22s %12s %12s  %s\n", name, a, b, ratio);
}

static void print_ratio(const char *name, int digits, double a, double b, double of) {
    char x[48], y[48], ratio[48] = "";
    (void)snprintf(x, sizeof x, "%.*f", digits, a);
    (void)snprintf(y, sizeof y, "%.*f", digits, b);
    if (of > 0) (void)snprintf(ratio, sizeof ratio, "%.2fx", of);
    print_row(name, x, y, ratio);
}

/* "2.00x smaller" or "2.00x larger"; nothing where the two are the same but for a hundredth. */
static const char *times_smaller(uint64_t before, uint64_t after, char *text, size_t size) {
    const double of = before && after ? (double)before / (double)after : 1;
    text[0] = '\0';
    if (of > 1.005) (void)snprintf(text, size, "%.2fx smaller", of);
    if (of < 0.995) (void)snprintf(text, size, "%.2fx larger", 1 / of);
    return text;
}

void measured_sides_print(const measured_side *a, const measured_side *b) {
    char x[32], y[32], ratio[32];
    print_row("", "before", "after", "");
    for (size_t i = 0; i < a->metrics.n && i < b->metrics.n; i++)
        print_ratio(a->metrics.names[i], 4, a->metrics.values[i], b->metrics.values[i], 0);
    print_ratio("MACs, millions", 2, a->one.macs / 1e6, b->one.macs / 1e6, 0);
    print_row("weights", cvr_bytes_text(a->file_bytes, x), cvr_bytes_text(b->file_bytes, y),
              times_smaller(a->file_bytes, b->file_bytes, ratio, sizeof ratio));
    print_row("memory, batch 1", cvr_bytes_text(a->one.planned_bytes, x), cvr_bytes_text(b->one.planned_bytes, y), "");
    print_ratio("ms, batch 1", 3, 1e3 * a->one.seconds, 1e3 * b->one.seconds, a->one.seconds / b->one.seconds);
    print_ratio("ms, batch 32", 3, 1e3 * a->many.seconds, 1e3 * b->many.seconds, a->many.seconds / b->many.seconds);
}
