/*
 * How fast the convolutions of ResNet-50 are (He et al., 2016, with the stride in the 3x3 as torchvision has it): each
 * of its 23 shapes, forward, data gradient and weight gradient, against the machine's peak as the op peak_multiply_add
 * measures it in the same run. FLOP are those of a direct convolution, so that Winograd's method passes 100 %.
 *
 *     conv_bench [--batch 8] [--threads 1] [--isa cpu_avx2] [--seconds 0.3] [--shape 3x3] [--precision bf16] [--json]
 */
#include "kernel_time.h"
#include <cvr/peaks.h>
#include <cvr/plugin/bf16.h>
#include <cvr/plugin/ops/conv.h>
#include <math.h>
#include <stdlib.h>

/* Weights are f32 in any. */
typedef struct precision {
    const char *name;
    uint32_t dtype; /* of activations and their gradients */
    uint32_t math;  /* CVR_MATH_* that kernels may use */
} precision;
static const precision precisions[] = {
    {"f32", CVR_F32, 0}, {"bf16", CVR_BF16, 0}, {"bf16x3", CVR_F32, CVR_MATH_BF16X3}};

typedef struct shape {
    int64_t c, k, kernel, stride, size; /* channels in and out, input height and width */
    int64_t times;                      /* in one network */
} shape;
static const shape shapes[] = {
    {3, 64, 7, 2, 224, 1},     {64, 64, 1, 1, 56, 1},    {64, 64, 3, 1, 56, 3},    {64, 256, 1, 1, 56, 4},
    {256, 64, 1, 1, 56, 2},    {256, 128, 1, 1, 56, 1},  {128, 128, 3, 2, 56, 1},  {128, 512, 1, 1, 28, 4},
    {256, 512, 1, 2, 56, 1},   {512, 128, 1, 1, 28, 3},  {128, 128, 3, 1, 28, 3},  {512, 256, 1, 1, 28, 1},
    {256, 256, 3, 2, 28, 1},   {256, 1024, 1, 1, 14, 6}, {512, 1024, 1, 2, 28, 1}, {1024, 256, 1, 1, 14, 5},
    {256, 256, 3, 1, 14, 5},   {1024, 512, 1, 1, 14, 1}, {512, 512, 3, 2, 14, 1},  {512, 2048, 1, 1, 7, 3},
    {1024, 2048, 1, 2, 14, 1}, {2048, 512, 1, 1, 7, 2},  {512, 512, 3, 1, 7, 2},
};
#define SHAPES (sizeof shapes / sizeof *shapes)

#define DIRECTIONS 3
static const char *const directions[DIRECTIONS] = {"forward", "data", "weight"};
static const char *const ops[DIRECTIONS] = {"conv2d", "conv2d_backward_input", "conv2d_backward_weight"};

typedef struct options {
    int64_t batch;
    uint32_t threads;
    const char *isa, *only;
    const precision *precision;
    double seconds;
    bool json;
} options;

/* ---- the machine's peak ---- */

#define PEAK_SECONDS 0.05 /* after every shape */

/* Operations a second of all threads; f32's where there is no instruction for products of bf16, or three are slower. */
static double peak_of(const case_machine *m, const precision *p) {
    cvr_peaks peaks;
    cvr_error err;
    const cvr_peak_request request = {m->plugins, m->device, m->pool, CVR_PEAK_F32 | CVR_PEAK_BF16, PEAK_SECONDS};
    cvr_error_init(&err);
    if (cvr_measure_peaks(&request, &peaks, &err) != CVR_OK) bench_fail(err.message);
    const double low = p->dtype == CVR_BF16 ? peaks.bf16 : p->math & CVR_MATH_BF16X3 ? peaks.bf16 / 3 : 0;
    return p->dtype == CVR_BF16 && low > 0 ? low : fmax(low, peaks.f32);
}

/* ---- one kernel ---- */

static void tensor_make(cvr_tensor *t, uint32_t dtype, const int64_t *dims) {
    *t = (cvr_tensor){.struct_size = sizeof *t, .dtype = dtype, .rank = 4, .pixel_stride = dims[1]};
    for (uint32_t i = 0; i < CVR_MAX_RANK; i++) t->shape[i] = i < 4 ? dims[i] : 1;
    const int64_t n = cvr_numel(4, dims);
    void *data = bench_memory((uint64_t)n * cvr_dtype_size(dtype));
    uint32_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        const float value = (float)(state >> 8) * (1.0f / 8388608.0f) - 1.0f;
        if (dtype == CVR_BF16)
            ((uint16_t *)data)[i] = cvr_bf16_of_f32(value);
        else
            ((float *)data)[i] = value;
    }
    t->data = data;
}

/* Seconds of one call of a shape in one direction. */
static double bench(const case_machine *m, const options *o, const shape *s, int direction, const precision *p) {
    const int64_t padding = s->kernel / 2, out = (s->size + 2 * padding - s->kernel) / s->stride + 1;
    cvr_tensor x, w, y;
    tensor_make(&x, p->dtype, (const int64_t[]){o->batch, s->c, s->size, s->size});
    tensor_make(&w, CVR_F32, (const int64_t[]){s->k, s->c, s->kernel, s->kernel});
    tensor_make(&y, p->dtype, (const int64_t[]){o->batch, s->k, out, out});
    const cvr_conv2d_attrs conv = {{s->stride, s->stride}, {padding, padding}, {1, 1}, 1};
    const cvr_conv2d_backward_input_attrs data = {conv, {s->size, s->size}};
    const cvr_conv2d_backward_weight_attrs weight = {conv, {s->kernel, s->kernel}};
    const void *const attrs[DIRECTIONS] = {&conv, &data, &weight};
    cvr_tensor *const first[DIRECTIONS] = {&x, &y, &x}, *const second[DIRECTIONS] = {&w, &w, &y},
                      *const results[DIRECTIONS] = {&y, &x, &w};
    const cvr_tensor *inputs[2] = {first[direction], second[direction]};
    cvr_tensor *outputs[1] = {results[direction]};
    const cvr_signature sig = {.struct_size = sizeof sig,
                               .attrs = attrs[direction],
                               .inputs = inputs,
                               .outputs = (const cvr_tensor *const *)outputs,
                               .n_inputs = 2,
                               .n_outputs = 1,
                               .n_workers = m->pool->n_workers,
                               .math = p->math};
    const cvr_kernel_desc *kernel = bench_kernel_of(m, ops[direction], &sig);
    cvr_kernel_args args = {.struct_size = sizeof args,
                            .attrs = attrs[direction],
                            .inputs = inputs,
                            .outputs = outputs,
                            .pool = m->pool,
                            .n_inputs = 2,
                            .n_outputs = 1};
    args.workspace_size = kernel->workspace ? kernel->workspace(&sig) : 0;
    args.workspace = bench_memory(args.workspace_size);
    const double seconds = bench_time_of(kernel, &args, o->seconds);
    cvr_free(args.workspace);
    cvr_free(x.data);
    cvr_free(w.data);
    cvr_free(y.data);
    return seconds;
}

static double flops_of(const shape *s, int64_t batch) {
    const int64_t out = (s->size + 2 * (s->kernel / 2) - s->kernel) / s->stride + 1;
    return 2.0 * (double)(batch * out * out) * (double)(s->c * s->k * s->kernel * s->kernel);
}

/* ---- report ---- */

typedef struct line {
    char name[64];
    double flops, seconds[DIRECTIONS];
} line;

/* One shape in one direction. */
typedef struct place {
    const char *name, *direction;
    double speed; /* FLOP/s */
} place;

static int by_speed(const void *a, const void *b) {
    const double x = ((const place *)a)->speed, y = ((const place *)b)->speed;
    return (x > y) - (x < y);
}

#define WEAKEST 5

static void print_weakest(const line *lines, double peak) {
    place all[SHAPES * DIRECTIONS];
    size_t n = 0;
    for (size_t i = 0; i < SHAPES; i++)
        for (int d = 0; d < DIRECTIONS && lines[i].flops > 0; d++)
            all[n++] = (place){lines[i].name, directions[d], lines[i].flops / lines[i].seconds[d]};
    qsort(all, n, sizeof *all, by_speed);
    (void)printf("the weakest:\n");
    for (size_t i = 0; i < n && i < WEAKEST; i++)
        (void)printf("%4.0f%% %-8s %s\n", 100 * all[i].speed / peak, all[i].direction, all[i].name);
}

static void print_table(const line *lines, const options *o, double peak, const char *precision_name) {
    double flops = 0, seconds[DIRECTIONS] = {0};
    size_t weakest[DIRECTIONS] = {0};
    for (size_t i = 0; i < SHAPES; i++)
        for (int d = 0; d < DIRECTIONS; d++) {
            const line *l = &lines[i], *w = &lines[weakest[d]];
            if (l->flops > 0 && (w->flops == 0 || l->flops / l->seconds[d] < w->flops / w->seconds[d])) weakest[d] = i;
        }
    (void)printf("%s, batch %lld, %u threads, peak %.1f GFLOP/s; * is the weakest of its kind\n%-26s %7s",
                 precision_name, (long long)o->batch, o->threads, peak * 1e-9, "shape", "GFLOP");
    for (int d = 0; d < DIRECTIONS; d++) (void)printf(" | %8s ms GFLOP/s  peak ", directions[d]);
    (void)printf("\n");
    for (size_t i = 0; i < SHAPES; i++) {
        const line *l = &lines[i];
        if (l->flops == 0) continue;
        (void)printf("%-26s %7.3f", l->name, l->flops * 1e-9);
        for (int d = 0; d < DIRECTIONS; d++) {
            (void)printf(" | %11.3f %7.1f %4.0f%%%c", l->seconds[d] * 1e3, l->flops / l->seconds[d] * 1e-9,
                         100 * l->flops / l->seconds[d] / peak, weakest[d] == i ? '*' : ' ');
            seconds[d] += l->seconds[d] * (double)shapes[i].times;
        }
        flops += l->flops * (double)shapes[i].times;
        (void)printf("\n");
    }
    (void)printf("%-26s %7.1f", "all, as often as they occur", flops * 1e-9);
    for (int d = 0; d < DIRECTIONS; d++)
        (void)printf(" | %11.3f %7.1f %4.0f%% ", seconds[d] * 1e3, flops / seconds[d] * 1e-9,
                     100 * flops / seconds[d] / peak);
    (void)printf("\n");
    print_weakest(lines, peak);
}

static void print_json(const line *lines, const options *o, double peak, const char *precision_name) {
    const char *comma = "";
    (void)printf("{\"precision\": \"%s\", \"batch\": %lld, \"threads\": %u, \"peak\": %.6g, \"shapes\": [",
                 precision_name, (long long)o->batch, o->threads, peak);
    for (size_t i = 0; i < SHAPES; i++) {
        if (lines[i].flops == 0) continue;
        (void)printf("%s\n  {\"shape\": \"%s\", \"times\": %lld, \"flop\": %.6g", comma, lines[i].name,
                     (long long)shapes[i].times, lines[i].flops);
        for (int d = 0; d < DIRECTIONS; d++) (void)printf(", \"%s_s\": %.6g", directions[d], lines[i].seconds[d]);
        (void)printf("}");
        comma = ",";
    }
    (void)printf("\n]}\n");
}

static const precision *precision_of(const char *name) {
    for (size_t p = 0; p < sizeof precisions / sizeof *precisions; p++)
        if (strcmp(name, precisions[p].name) == 0) return &precisions[p];
    bench_fail("--precision is f32, bf16 or bf16x3");
    return NULL;
}

static options options_of(int argc, char **argv) {
    options o = {.batch = 8, .threads = 1, .seconds = 0.3, .only = "", .precision = &precisions[0]};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            o.json = true;
            continue;
        }
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!value)
            bench_fail("usage: conv_bench [--batch N] [--threads N] [--isa PACK] [--seconds S] [--shape TEXT] "
                       "[--precision f32|bf16|bf16x3] [--json]");
        if (strcmp(argv[i], "--batch") == 0)
            o.batch = strtoll(value, NULL, 10);
        else if (strcmp(argv[i], "--threads") == 0)
            o.threads = (uint32_t)strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--isa") == 0)
            o.isa = value;
        else if (strcmp(argv[i], "--precision") == 0)
            o.precision = precision_of(value);
        else if (strcmp(argv[i], "--seconds") == 0)
            o.seconds = strtod(value, NULL);
        else if (strcmp(argv[i], "--shape") == 0)
            o.only = value;
        else
            bench_fail("an unknown option");
        i++;
    }
    if (o.batch < 1 || o.threads < 1) bench_fail("--batch and --threads are at least 1");
    return o;
}

int main(int argc, char **argv) {
    const options o = options_of(argc, argv);
    case_machine m;
    cvr_error err;
    cvr_error_init(&err);
    if (machine_open(&m, "cpu", o.isa, o.threads, &err) != CVR_OK) bench_fail(err.message);
    line lines[SHAPES];
    memset(lines, 0, sizeof lines);
    double peak = peak_of(&m, o.precision);
    for (size_t i = 0; i < SHAPES; i++) {
        const shape *s = &shapes[i];
        (void)snprintf(lines[i].name, sizeof lines[i].name, "%lldx%lld/%lld %lld->%lld @%lld", (long long)s->kernel,
                       (long long)s->kernel, (long long)s->stride, (long long)s->c, (long long)s->k,
                       (long long)s->size);
        if (!strstr(lines[i].name, o.only)) continue;
        lines[i].flops = flops_of(s, o.batch);
        for (int d = 0; d < DIRECTIONS; d++) lines[i].seconds[d] = bench(&m, &o, s, d, o.precision);
        const double again = peak_of(&m, o.precision);
        if (again > peak) peak = again;
    }
    (o.json ? print_json : print_table)(lines, &o, peak, o.precision->name);
    machine_close(&m);
    return 0;
}
