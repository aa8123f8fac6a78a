/* cvrun bench: where the time of a training step, or of inference, goes. */
#include "cvrun.h"
#include <stdlib.h>

#define BENCH_STEPS 20

/* Nodes of one layer and phase, added up. */
typedef struct bench_row {
    char name[96];
    bool backward;
    double seconds, flops;
    uint64_t bytes;
} bench_row;

static int by_time(const void *a, const void *b) {
    const double x = ((const bench_row *)a)->seconds, y = ((const bench_row *)b)->seconds;
    return (x < y) - (x > y);
}

static size_t add_up(const cvr_bench *b, bench_row *rows) {
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        const cvr_node_info *node = &b->nodes[i].info;
        const size_t length = strcspn(node->name, "/");
        size_t k = 0;
        while (k < n && !(rows[k].backward == node->backward && strlen(rows[k].name) == length &&
                          strncmp(rows[k].name, node->name, length) == 0))
            k++;
        if (k == n) {
            n++;
            (void)snprintf(rows[k].name, sizeof rows[k].name, "%.*s", (int)length, node->name);
            rows[k].backward = node->backward;
        }
        rows[k].seconds += b->nodes[i].seconds;
        rows[k].flops += node->flops;
        rows[k].bytes += node->bytes;
    }
    qsort(rows, n, sizeof *rows, by_time);
    return n;
}

static void print_table(const cvr_bench *b, const bench_row *rows, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += rows[i].seconds;
    printf("%-28s %-9s %10s %7s %10s %9s\n", "layer", "phase", "ms", "share", "GFLOP/s", "GB/s");
    for (size_t i = 0; i < n; i++) {
        const bench_row *r = &rows[i];
        const double s = r->seconds > 0 ? r->seconds : 1e-12;
        printf("%-28s %-9s %10.3f %5.1f %% %10.1f %9.1f\n", r->name, r->backward ? "backward" : "forward",
               1e3 * r->seconds, sum > 0 ? 100 * r->seconds / sum : 0, r->flops / s * 1e-9,
               (double)r->bytes / s * 1e-9);
    }
    printf("\na step of %lld picture%s takes %.2f ms: %.4g images/s\n", (long long)b->batch, b->batch == 1 ? "" : "s",
           1e3 * b->step_seconds, b->images_per_s);
}

static void print_json(const cvr_bench *b, const bench_row *rows, size_t n) {
    cvr_text t = {0};
    cvr_text_add(&t, "{\"batch\": %lld, \"step_seconds\": %.9g, \"images_per_s\": %.6g, \"layers\": [",
                 (long long)b->batch, b->step_seconds, b->images_per_s);
    for (size_t i = 0; i < n; i++) {
        cvr_text_add(&t, "%s\n  {\"name\": ", i ? "," : "");
        cvr_text_add_json(&t, rows[i].name);
        cvr_text_add(&t, ", \"phase\": \"%s\", \"seconds\": %.9g, \"flops\": %.0f, \"bytes\": %llu}",
                     rows[i].backward ? "backward" : "forward", rows[i].seconds, rows[i].flops,
                     (unsigned long long)rows[i].bytes);
    }
    cvr_text_add(&t, "\n]}\n");
    fputs(t.s ? t.s : "", stdout);
    cvr_text_clear(&t);
}

static int run_bench(const arguments *a) {
    cvr_error err;
    cvr_session *session;
    cvr_bench bench;
    int status = open_session(a, CVR_FOR_TRAINING, &session);
    if (status != EXIT_OK) return status;
    cvr_error_init(&err);
    bench_row *rows = NULL;
    if (cvr_session_bench(session, !a->inference, BENCH_STEPS, &bench, &err) != CVR_OK) {
        status = report_error(&err);
    } else if ((rows = cvr_calloc(bench.n + 1, sizeof *rows))) {
        const size_t n = add_up(&bench, rows);
        if (a->json)
            print_json(&bench, rows, n);
        else
            print_table(&bench, rows, n);
    }
    cvr_free(rows);
    cvr_bench_free(&bench);
    cvr_session_close(&session);
    return status;
}

const command bench_command = {
    .name = "bench",
    .usage = "RECIPE.ini [--inference] [key=value ...]",
    .summary = "speed of a training step or of inference, layer by layer",
    .help =
        "Medians of 20 steps on the first batch. A layer's time is that of its nodes; the step's is measured "
        "apart, without the\n"
        "profiler. --inference takes the network as validation runs it, on a validation batch. --json prints JSON.\n",
    .run = run_bench,
    .needs_path = true,
};
