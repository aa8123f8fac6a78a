/*
 * Priority decides which instruction set multiplies, and it was given by whoever wrote the kernels, not measured. Here
 * every one that this machine has is measured by itself, so that `cvrun bench` can tell where priority is wrong.
 */
#include "instruction_sets.h"
#include <stdlib.h>

#define MOST_SETS 16
#define ROUNDS 2 /* in turn, since others may be at work while one of them is measured */
#define SECONDS 0.04
#define LEAST_GAIN 1.1 /* less is noise */

typedef struct instruction_set {
    const char *isa;
    int32_t priority;
    cvr_peaks peaks;
} instruction_set;

/* Those that have a kernel for products, the preferred ones first. */
static int32_t list_sets(cvr_session *s, instruction_set sets[MOST_SETS], size_t *n, cvr_error *err) {
    cvr_plugins *p = cvr_session_plugins(s);
    const cvr_backend_desc *backend = cvr_device_backend(cvr_session_device(s));
    const void *op;
    *n = 0;
    if (cvr_plugins_find(p, CVR_KIND_OP, "peak_multiply_add", &op, err) != CVR_OK) return CVR_OK;
    for (uint32_t b = 0; b < backend->n_runs; b++) {
        const cvr_kernel_desc *const *kernels;
        size_t count;
        CVR_TRY(cvr_plugins_kernels(p, op, backend->runs[b], &kernels, &count, err));
        for (size_t i = 0; i < count && *n < MOST_SETS; i++)
            if (cvr_kernel_is_host(kernels[i]))
                sets[(*n)++] =
                    (instruction_set){.isa = kernels[i]->isa ? kernels[i]->isa : "", .priority = kernels[i]->priority};
    }
    return CVR_OK;
}

/* Types in which the set's own kernel multiplied, and not another's in its place. */
static uint32_t own_types(const instruction_set *set) {
    const cvr_peaks *p = &set->peaks;
    return (p->f32_isa && strcmp(p->f32_isa, set->isa) == 0 ? CVR_PEAK_F32 : 0) |
           (p->bf16_isa && strcmp(p->bf16_isa, set->isa) == 0 ? CVR_PEAK_BF16 : 0);
}

static double speed_of(const instruction_set *set, bool bf16) {
    if (!(own_types(set) & (bf16 ? CVR_PEAK_BF16 : CVR_PEAK_F32))) return 0;
    return bf16 ? set->peaks.bf16 : set->peaks.f32;
}

static int32_t measure_sets(cvr_session *s, instruction_set *sets, size_t n, cvr_error *err) {
    cvr_plugins *p = cvr_session_plugins(s);
    cvr_peak_request request = {p, cvr_session_device(s), cvr_session_pool(s), CVR_PEAK_F32 | CVR_PEAK_BF16, 0};
    for (size_t i = 0; i < n; i++) { /* at a glance: which types are its own */
        cvr_plugins_limit_isa(p, sets[i].isa);
        CVR_TRY(cvr_raise_peaks(&request, &sets[i].peaks, err));
    }
    request.seconds = SECONDS;
    for (size_t i = 0; i < n * ROUNDS; i++) {
        instruction_set *set = &sets[i % n];
        request.what = own_types(set);
        cvr_plugins_limit_isa(p, set->isa);
        CVR_TRY(cvr_raise_peaks(&request, &set->peaks, err));
    }
    return CVR_OK;
}

static const char *name_of(const instruction_set *set) {
    return *set->isa ? set->isa : "base";
}

/* The set that multiplies where nobody says otherwise, against the fastest of those behind it. */
static void warn_of(const instruction_set *sets, size_t n, bool bf16) {
    size_t first = 0;
    while (first < n && speed_of(&sets[first], bf16) <= 0) first++;
    size_t best = first;
    for (size_t i = first; i < n; i++)
        if (speed_of(&sets[i], bf16) > speed_of(&sets[best], bf16)) best = i;
    if (first == n || sets[best].priority >= sets[first].priority ||
        speed_of(&sets[best], bf16) < LEAST_GAIN * speed_of(&sets[first], bf16))
        return;
    cvr_log(CVR_LOG_WARNING,
            "%s: kernels for `%s` come first (priority %d) and measure %.4g GFLOP/s, those for `%s` (priority %d) "
            "%.4g; try backend.isa='%s'",
            bf16 ? "bf16" : "f32", name_of(&sets[first]), sets[first].priority, 1e-9 * speed_of(&sets[first], bf16),
            name_of(&sets[best]), sets[best].priority, 1e-9 * speed_of(&sets[best], bf16), name_of(&sets[best]));
}

int32_t warn_of_slow_instruction_sets(cvr_session *s, cvr_error *err) {
    instruction_set sets[MOST_SETS];
    size_t n;
    CVR_TRY(list_sets(s, sets, &n, err));
    const int32_t status = measure_sets(s, sets, n, err);
    cvr_session_limit_isa(s);
    if (status != CVR_OK) return status;
    warn_of(sets, n, false);
    warn_of(sets, n, true);
    return CVR_OK;
}
