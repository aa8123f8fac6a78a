/* See kernel_time.h. */
#include "kernel_time.h"
#include <stdlib.h>
#include <time.h>

void bench_fail(const char *what) {
    (void)fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void *bench_memory(uint64_t bytes) {
    void *p = cvr_alloc_aligned(bytes + 64, 64);
    if (!p) bench_fail("out of memory");
    memset(p, 0, bytes);
    return p;
}

double bench_time_of(const cvr_kernel_desc *kernel, const cvr_kernel_args *args, double seconds) {
    const cvr_cpu_fn *fn = kernel->payload;
    double best = 0;
    cvr_error err = CVR_ERROR_INIT;
    if (fn->run(args, &err) != CVR_OK) bench_fail(err.message);
    const double start = now();
    for (int n = 0; n < 5 || now() - start < seconds; n++) {
        const double t = now();
        (void)fn->run(args, &err);
        const double took = now() - t;
        if (n == 0 || took < best) best = took;
    }
    return best;
}

const cvr_kernel_desc *bench_kernel_of(const case_machine *m, const char *name, const cvr_signature *sig) {
    const void *op;
    const cvr_kernel_desc *const *kernels;
    size_t n;
    cvr_error err = CVR_ERROR_INIT;
    if (cvr_plugins_find(m->plugins, CVR_KIND_OP, name, &op, &err) != CVR_OK) bench_fail(err.message);
    if (cvr_plugins_kernels(m->plugins, op, "cpu", &kernels, &n, &err) != CVR_OK) bench_fail(err.message);
    const bool low = sig->inputs[0]->dtype == CVR_BF16;
    for (size_t i = 0; i < n; i++) {
        const bool takes = cvr_kernel_is_host(kernels[i]) && (!low || (kernels[i]->flags & CVR_KERNEL_BF16));
        if (takes && (!kernels[i]->supports || kernels[i]->supports(sig, &err) == CVR_OK)) return kernels[i];
    }
    bench_fail("the cpu backend has no such kernel");
}
