/* cvrun bench: where the time of a training step, or of inference, goes, and how far from the machine's best that is.
 */
#include "cvrun.h"
#include "instruction_sets.h"
#include "measure.h"
#include <stdlib.h>

#define NEGLIGIBLE 0.005 /* of the time: folded into one line of the table */

/* Nodes that belong together, added up. */
typedef struct bench_sum {
    char name[96];
    const char *phase; /* "" for kinds */
    double seconds, fastest_seconds, flops, bytes;
    double roof_seconds; /* what the machine would take at its best, node by node; 0: not known */
} bench_sum;

/* What is printed: sums by layer and phase, and by kind, largest first. */
typedef struct bench_report {
    const measurement *bench;
    cvr_session_info session;
    bool inference;
    bench_sum *layers, *kinds, all, recompute; /* recompute: of all, what is computed a second time */
    size_t n_layers, n_kinds;
} bench_report;

static bool has_roof(const measurement *b) {
    return b->peak > 0 && b->peaks.bandwidth > 0;
}

/* Seconds at the machine's best: arithmetic at its peak or memory at its bandwidth, whichever takes longer. */
static double roof_seconds(const measurement *b, double flops, double bytes) {
    if (!has_roof(b)) return 0;
    const double compute = flops / b->peak, memory = bytes / b->peaks.bandwidth;
    return compute > memory ? compute : memory;
}

static double ratio(double a, double b) {
    return b > 0 ? a / b : 0;
}

/* ---- adding up ---- */

static void add_node(bench_sum *to, const measurement *b, const measured_node *node) {
    to->seconds += node->seconds;
    to->fastest_seconds += node->fastest_seconds;
    to->flops += node->info.flops;
    to->bytes += (double)node->info.bytes;
    to->roof_seconds += roof_seconds(b, node->info.flops, (double)node->info.bytes);
}

static bench_sum *find_sum(bench_sum *sums, size_t *n, const char *name, const char *phase) {
    for (size_t i = 0; i < *n; i++)
        if (sums[i].phase == phase && strcmp(sums[i].name, name) == 0) return &sums[i];
    bench_sum *s = &sums[(*n)++];
    (void)snprintf(s->name, sizeof s->name, "%s", name);
    s->phase = phase;
    return s;
}

/* An update has no output. */
static const char *phase_of(const cvr_node_info *info) {
    static const char *const names[] = {"forward", "backward", "update", "recompute"};
    return names[!info->backward ? 0 : info->recompute ? 3 : info->output ? 1 : 2];
}

/* The layer's name: a node's up to "/", an update's (which is its parameter's) up to the last dot. */
static void layer_name(const cvr_node_info *info, char *name, size_t size) {
    (void)snprintf(name, size, "%.*s", (int)strcspn(info->name, "/"), info->name);
    char *dot = info->backward && !info->output ? strrchr(name, '.') : NULL;
    if (dot) *dot = '\0';
}

static int by_time(const void *a, const void *b) {
    const double x = ((const bench_sum *)a)->seconds, y = ((const bench_sum *)b)->seconds;
    return (x < y) - (x > y);
}

static void add_up(bench_report *r) {
    const measurement *b = r->bench;
    for (size_t i = 0; i < b->n; i++) {
        const cvr_node_info *info = &b->nodes[i].info;
        char name[96];
        layer_name(info, name, sizeof name);
        add_node(find_sum(r->layers, &r->n_layers, name, phase_of(info)), b, &b->nodes[i]);
        add_node(find_sum(r->kinds, &r->n_kinds, info->op, ""), b, &b->nodes[i]);
        add_node(&r->all, b, &b->nodes[i]);
        if (info->recompute) add_node(&r->recompute, b, &b->nodes[i]);
    }
    qsort(r->layers, r->n_layers, sizeof *r->layers, by_time);
    qsort(r->kinds, r->n_kinds, sizeof *r->kinds, by_time);
}

/* Images a second if the whole step had nothing to wait for: min(peak / FLOP, bandwidth / bytes). */
static double roof_images_per_s(const bench_report *r) {
    return ratio((double)r->bench->batch, roof_seconds(r->bench, r->all.flops, r->all.bytes));
}

/* What is computed a second time is no work of the model's (Chowdhery et al., "PaLM", 2022, appendix B). */
static double mfu(const bench_report *r) {
    return ratio((r->all.flops - r->recompute.flops) / r->bench->step_seconds, r->bench->peak);
}

/* ---- the table ---- */

static void print_sum(const bench_report *r, const bench_sum *s, const char *name) {
    print_text("%-30.30s %-9s %10.3f %5.1f %% %9.1f %8.1f", name, s->phase, 1e3 * s->seconds,
               100 * ratio(s->seconds, r->all.seconds), 1e-9 * ratio(s->flops, s->seconds),
               1e-9 * ratio(s->bytes, s->seconds));
    if (has_roof(r->bench)) printf(" %5.0f %%", 100 * ratio(s->roof_seconds, s->seconds));
    printf("\n");
}

static void print_sums(const bench_report *r, const char *what, const bench_sum *sums, size_t n) {
    bench_sum rest = {.phase = ""};
    char name[64];
    size_t shown = 0;
    print_text("%-30s %-9s %10s %7s %9s %8s%s\n", what, sums[0].phase[0] ? "phase" : "", "ms", "share", "GFLOP/s",
               "GB/s", has_roof(r->bench) ? " of roof" : "");
    for (; shown < n && (sums[shown].seconds >= NEGLIGIBLE * r->all.seconds || shown + 1 == n); shown++)
        print_sum(r, &sums[shown], sums[shown].name);
    for (size_t i = shown; i < n; i++) {
        rest.seconds += sums[i].seconds;
        rest.flops += sums[i].flops;
        rest.bytes += sums[i].bytes;
        rest.roof_seconds += sums[i].roof_seconds;
    }
    (void)snprintf(name, sizeof name, "%zu others, below %.1f %% each", n - shown, 100 * NEGLIGIBLE);
    if (shown < n) print_sum(r, &rest, name);
    printf("\n");
}

/* "12.34", "1,234" */
static const char *rate(double v, char buf[32]) {
    if (v >= 1000) return human_count((int64_t)(v + 0.5), buf);
    (void)snprintf(buf, 32, "%.4g", v);
    return buf;
}

static void print_machine(const bench_report *r) {
    const measurement *b = r->bench;
    char text[32];
    print_text("machine   %s", r->session.device);
    if (b->peaks.f32 > 0) printf("; f32 %s GFLOP/s", rate(1e-9 * b->peaks.f32, text));
    if (b->peaks.bf16 > 0) printf("; bf16 %s GFLOP/s", rate(1e-9 * b->peaks.bf16, text));
    if (b->peaks.bandwidth > 0) printf("; memory %s GB/s", rate(1e-9 * b->peaks.bandwidth, text));
    print_text("%s\n", has_roof(b) ? "" : "; its peaks could not be measured, hence no shares of them");
}

static void print_roof(const bench_report *r) {
    const measurement *b = r->bench;
    const double images = (double)b->batch, roof = roof_images_per_s(r);
    const bool arithmetic = r->all.flops / b->peak > r->all.bytes / b->peaks.bandwidth;
    char text[32];
    printf("an image  %.4g GFLOP, %.4g MB read and written\n", 1e-9 * r->all.flops / images,
           1e-6 * r->all.bytes / images);
    if (!has_roof(b)) return;
    print_text("MFU       %.1f %% of the peak in %s, %s GFLOP/s\n", 100 * mfu(r), r->session.precision,
               rate(1e-9 * b->peak, text));
    print_text("roof      %s images/s, by %s: %.1f %% of it\n", rate(roof, text),
               arithmetic ? "arithmetic" : "memory bandwidth", 100 * ratio(b->images_per_s, roof));
}

static void print_summary(const bench_report *r) {
    const measurement *b = r->bench;
    const uint32_t workers = r->session.workers;
    char text[32], other[32];
    print_text("%-9s %s images/s in %s: %lld picture%s in %.4g ms, median of %lld steps\n",
               r->inference ? "inference" : "training", rate(b->images_per_s, text), r->session.precision,
               (long long)b->batch, b->batch == 1 ? "" : "s", 1e3 * b->step_seconds, (long long)b->steps);
    print_text("a step    %.4g ms at least, %.4g ms of processor time\n", 1e3 * b->fastest_step_seconds,
               1e3 * b->step_cpu_seconds);
    print_machine(r);
    print_roof(r);
    print_text("memory    %s planned; the process's peak is %s", cvr_bytes_text(r->session.planned_bytes, text),
               cvr_bytes_text(b->peak_memory_bytes, other));
    print_text(", %s before the first step\n", cvr_bytes_text(b->start_memory_bytes, text));
    if (r->recompute.seconds > 0)
        printf("recompute %.1f %% of the time computes activations a second time, for train.memory\n",
               100 * ratio(r->recompute.seconds, r->all.seconds));
    print_text("loader    %s images/s alone, by %u thread%s: %s times as fast as the steps\n",
               rate(b->loader_images_per_s, text), workers ? workers : 1, workers > 1 ? "s" : "",
               rate(ratio(b->loader_images_per_s, b->images_per_s), other));
}

static void print_table(const bench_report *r) {
    if (r->all.seconds > 0) {
        print_sums(r, "layer", r->layers, r->n_layers);
        print_sums(r, "kind", r->kinds, r->n_kinds);
    } else {
        printf("a step is one program for this device, so there are no times of its layers\n\n");
    }
    print_summary(r);
}

/* ---- JSON ---- */

static void add_sums(cvr_text *t, const bench_report *r, const char *what, const bench_sum *sums, size_t n) {
    cvr_text_add(t, ",\n \"%s\": [", what);
    for (size_t i = 0; i < n; i++) {
        const bench_sum *s = &sums[i];
        cvr_text_add(t, "%s\n  {\"name\": ", i ? "," : "");
        cvr_text_add_json(t, s->name);
        if (s->phase[0]) cvr_text_add(t, ", \"phase\": \"%s\"", s->phase);
        cvr_text_add(
            t, ", \"seconds\": %.9g, \"fastest_seconds\": %.9g, \"share\": %.6g, \"flops\": %.0f, \"bytes\": %.0f",
            s->seconds, s->fastest_seconds, ratio(s->seconds, r->all.seconds), s->flops, s->bytes);
        if (has_roof(r->bench)) cvr_text_add(t, ", \"share_of_roof\": %.6g", ratio(s->roof_seconds, s->seconds));
        cvr_text_add(t, "}");
    }
    cvr_text_add(t, "]");
}

/* What was not measured is left out. */
static void add_machine(cvr_text *t, const bench_report *r) {
    const measurement *b = r->bench;
    cvr_text_add(t, ",\n \"backend\": ");
    cvr_text_add_json(t, r->session.backend);
    cvr_text_add(t, ", \"precision\": \"%s\", \"threads\": %u", r->session.precision, r->session.threads);
    if (b->peaks.f32 > 0) cvr_text_add(t, ", \"peak_f32_flops\": %.6g", b->peaks.f32);
    if (b->peaks.bf16 > 0) cvr_text_add(t, ", \"peak_bf16_flops\": %.6g", b->peaks.bf16);
    if (b->peaks.bandwidth > 0) cvr_text_add(t, ", \"bandwidth_bytes\": %.6g", b->peaks.bandwidth);
    if (!has_roof(b)) return;
    cvr_text_add(t, ",\n \"mfu\": %.6g, \"roof_images_per_s\": %.6g, \"share_of_roof\": %.6g", mfu(r),
                 roof_images_per_s(r), ratio(b->images_per_s, roof_images_per_s(r)));
}

static void print_json(const bench_report *r) {
    const measurement *b = r->bench;
    cvr_text t = {0};
    cvr_text_add(&t, "{\"phase\": \"%s\", \"batch\": %lld, \"steps\": %lld, \"step_seconds\": %.9g, ",
                 r->inference ? "inference" : "training", (long long)b->batch, (long long)b->steps, b->step_seconds);
    cvr_text_add(&t, "\"fastest_step_seconds\": %.9g, \"step_cpu_seconds\": %.9g, ", b->fastest_step_seconds,
                 b->step_cpu_seconds);
    cvr_text_add(&t, "\"images_per_s\": %.6g, \"flops\": %.0f, \"bytes\": %.0f", b->images_per_s, r->all.flops,
                 r->all.bytes);
    add_machine(&t, r);
    cvr_text_add(&t, ",\n \"planned_memory_bytes\": %llu, \"start_memory_bytes\": %llu, \"peak_memory_bytes\": %llu",
                 (unsigned long long)r->session.planned_bytes, (unsigned long long)b->start_memory_bytes,
                 (unsigned long long)b->peak_memory_bytes);
    cvr_text_add(&t, ", \"recompute_seconds\": %.9g, \"loader_images_per_s\": %.6g", r->recompute.seconds,
                 b->loader_images_per_s);
    add_sums(&t, r, "layers", r->layers, r->n_layers);
    add_sums(&t, r, "kinds", r->kinds, r->n_kinds);
    cvr_text_add(&t, "}\n");
    fputs(t.s ? t.s : "", stdout);
    cvr_text_clear(&t);
}

/* ---- the command ---- */

static int report(cvr_session *session, const measurement *bench, const arguments *a) {
    bench_report r = {.bench = bench,
                      .inference = a->inference,
                      .layers = cvr_calloc(bench->n + 1, sizeof *r.layers),
                      .kinds = cvr_calloc(bench->n + 1, sizeof *r.kinds)};
    cvr_session_describe(session, &r.session);
    const bool enough = r.layers && r.kinds;
    if (enough) add_up(&r);
    if (enough) (a->json ? print_json : print_table)(&r);
    cvr_free(r.layers);
    cvr_free(r.kinds);
    return enough ? EXIT_OK : EXIT_FAILED;
}

static int run_bench(const arguments *a) {
    cvr_error err;
    cvr_session *session;
    measurement bench;
    cvr_error_init(&err);
    int status = open_session(a, a->inference ? CVR_FOR_EVALUATION : CVR_FOR_TRAINING, &session);
    if (status != EXIT_OK) return status;
    status = measure_session(session, !a->inference, &bench, &err) == CVR_OK ? report(session, &bench, a)
                                                                             : report_error(&err);
    measurement_clear(&bench);
    if (status == EXIT_OK && warn_of_slow_instruction_sets(session, &err) != CVR_OK) status = report_error(&err);
    cvr_session_close(&session);
    return status;
}

const command bench_command = {
    .name = "bench",
    .usage = "RECIPE.ini [--inference] [key=value ...]",
    .summary = "speed by layer and phase against the machine's peak",
    .help = "Medians of 5 to 50 steps, as many as take 10 seconds, on one batch. A layer's time is that of its "
            "nodes; the step's is measured apart, without the profiler. --inference takes the network as "
            "validation runs it, on a validation batch. Layers that take less than 0.5 % are one line of the "
            "table; --json has them all. The least time of a step, and the processor time of all its threads, say "
            "more than the median where others use the machine too.\n"
            "\n"
            "In the same run all threads measure the machine's peaks: multiply-adds in f32, products of bf16 "
            "where there is an instruction for them, and memory bandwidth by a copy that is larger than the "
            "caches.\n"
            "  of roof   max(FLOP / peak, bytes / bandwidth) / time: 100 % is the best that the layer could do "
            "alone\n"
            "  MFU       images/s x FLOP of an image / peak; what train.memory recomputes is no part of it\n"
            "  roof      min(peak / FLOP, bandwidth / bytes) in images/s\n"
            "Bytes are what each node reads and writes. A layer passes 100 % where its values stay in a cache, "
            "and where a 3x3 convolution is computed by Winograd's method: FLOP are those of the direct one, "
            "up to 4 times as many. The peak of bf16x3 is a third of bf16's, or f32's where that is more. A "
            "backend without kernels for the ops peak_multiply_add and peak_copy gets no shares, and one that "
            "compiles a step as a whole no times of layers. Where others use the machine too, its peaks come "
            "out low as well: compare figures of one run. Priority decides between instruction sets of one "
            "precision; a warning says where one of a lower priority measures at least 1.1 times as fast.\n",
    .run = run_bench,
    .needs_path = true,
};
