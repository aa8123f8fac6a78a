/*
 * Times non-maximum suppression of boxes that come from elsewhere, on one thread (see nms_against_torchvision):
 *
 *     nms_bench FILE THRESHOLD [--isa cpu_avx2] [--seconds 0.5]
 *
 * FILE holds n boxes x1, y1, x2, y2 and then n scores, all f32. Prints the kernel's pack and the seconds of the fastest
 * call, then the rows that are kept.
 */
#include "kernel_time.h"
#include <cvr/plugin/ops/detect.h>
#include <stdlib.h>

typedef struct numbers {
    float *all; /* 5 * n */
    int64_t n;
} numbers;

static numbers read_numbers(const char *path) {
    FILE *f = fopen(path, "rbe");
    numbers r = {NULL, 0};
    if (!f || fseek(f, 0, SEEK_END) != 0) bench_fail("the file cannot be read");
    const long bytes = ftell(f);
    if (bytes <= 0 || bytes % (5 * (long)sizeof(float)) != 0) bench_fail("the file has no whole number of boxes");
    r.n = bytes / (5 * (long)sizeof(float));
    r.all = bench_memory((uint64_t)bytes);
    rewind(f);
    if (fread(r.all, 1, (size_t)bytes, f) != (size_t)bytes) bench_fail("the file cannot be read");
    fclose(f);
    return r;
}

static cvr_tensor tensor_of(uint32_t dtype, uint32_t rank, int64_t rows, int64_t columns, void *data) {
    cvr_tensor t = {.struct_size = sizeof t, .dtype = dtype, .rank = rank, .shape = {1, rows, columns, 1, 1, 1}};
    t.data = data;
    return t;
}

static void run(const case_machine *m, const numbers *x, double threshold, double seconds) {
    const cvr_nms_attrs attrs = {
        .iou_threshold = threshold, .score_threshold = -1e18, .min_size = -1e18, .max_out = x->n};
    int32_t *index = bench_memory((uint64_t)x->n * sizeof *index), count = 0;
    const cvr_tensor boxes = tensor_of(CVR_F32, 3, x->n, 4, x->all);
    const cvr_tensor scores = tensor_of(CVR_F32, 2, x->n, 1, x->all + 4 * x->n);
    cvr_tensor kept = tensor_of(CVR_I32, 2, x->n, 1, index), found = tensor_of(CVR_I32, 1, 1, 1, &count);
    const cvr_tensor *in[2] = {&boxes, &scores};
    cvr_tensor *out[2] = {&kept, &found};
    const cvr_signature sig = {.struct_size = sizeof sig,
                               .attrs = &attrs,
                               .inputs = in,
                               .outputs = (const cvr_tensor *const *)out,
                               .n_inputs = 2,
                               .n_outputs = 2,
                               .n_workers = m->pool->n_workers};
    const cvr_kernel_desc *kernel = bench_kernel_of(m, "nms", &sig);
    const uint64_t bytes = kernel->workspace ? kernel->workspace(&sig) : 0;
    const cvr_kernel_args args = {.struct_size = sizeof args,
                                  .attrs = &attrs,
                                  .inputs = in,
                                  .outputs = out,
                                  .workspace = bench_memory(bytes),
                                  .workspace_size = bytes,
                                  .pool = m->pool,
                                  .n_inputs = 2,
                                  .n_outputs = 2};
    printf("%s %.9f", m->label, bench_time_of(kernel, &args, seconds));
    for (int32_t i = 0; i < count; i++) printf(" %d", index[i]);
    printf("\n");
    cvr_free(args.workspace);
    cvr_free(index);
}

int main(int argc, char **argv) {
    const char *isa = NULL;
    double seconds = 0.5;
    case_machine m;
    cvr_error err = CVR_ERROR_INIT;
    if (argc < 3) bench_fail("nms_bench FILE THRESHOLD [--isa cpu_avx2] [--seconds 0.5]");
    for (int i = 3; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--isa") == 0)
            isa = argv[i + 1];
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = strtod(argv[i + 1], NULL);
        else
            bench_fail("unknown option");
    }
    const numbers x = read_numbers(argv[1]);
    if (machine_open(&m, "cpu", isa, 1, &err) != CVR_OK) bench_fail(err.message);
    run(&m, &x, strtod(argv[2], NULL), seconds);
    machine_close(&m);
    cvr_free(x.all);
    return 0;
}
