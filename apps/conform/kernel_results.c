/* See kernel_results.h. */
#include "kernel_results.h"
#include "launch_copy.h"
#include <math.h>

int32_t kernel_results_take(kernel_results *r, const check_bench *b, uint64_t mutates, cvr_error *err) {
    memset(r, 0, sizeof *r);
    r->n = b->n_blocks - 2;
    r->n_inputs = b->n_inputs;
    for (uint32_t i = 0; i < r->n; i++) {
        const check_block *k = &b->blocks[i];
        const bool wanted = i >= b->n_inputs || (i < 64 && (mutates >> i & 1));
        if (!k->used || !wanted) continue;
        r->data[i] = cvr_alloc_aligned(k->bytes + 1, 8);
        if (!r->data[i]) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        memcpy(r->data[i], b->after + k->at, k->bytes);
        r->bytes[i] = k->bytes;
        r->dtype[i] = k->dtype;
    }
    return CVR_OK;
}

void kernel_results_clear(kernel_results *r) {
    for (uint32_t i = 0; i < r->n; i++) cvr_free(r->data[i]);
    memset(r, 0, sizeof *r);
}

int64_t kernel_results_differ(const kernel_results *a, const kernel_results *b) {
    for (uint32_t i = 0; i < a->n; i++)
        if (a->bytes[i] != b->bytes[i] || (a->data[i] && memcmp(a->data[i], b->data[i], a->bytes[i]) != 0)) return i;
    return -1;
}

static double number(const uint8_t *at, uint32_t dtype, uint64_t i) {
    return (double)check_real(at + i * cvr_dtype_size(dtype), dtype);
}

static double largest_of(const uint8_t *at, uint32_t dtype, uint64_t n) {
    double largest = 0;
    for (uint64_t i = 0; i < n; i++) {
        const double x = fabs(number(at, dtype, i));
        if (isfinite(x) && x > largest) largest = x;
    }
    return largest;
}

static bool is_real(uint32_t dtype) {
    return dtype == CVR_F32 || dtype == CVR_BF16 || dtype == CVR_F16;
}

static double block_distance(const kernel_results *a, const kernel_results *b, uint32_t k,
                             const kernel_tolerance *allowed, bool *bad) {
    const uint32_t dtype = b->dtype[k];
    double worst = 0;
    *bad = a->bytes[k] != b->bytes[k] || a->dtype[k] != dtype ||
           (!is_real(dtype) && memcmp(a->data[k], b->data[k], b->bytes[k]) != 0);
    if (*bad || !is_real(dtype)) return *bad ? INFINITY : 0;
    const uint64_t n = b->bytes[k] / cvr_dtype_size(dtype);
    const double largest = largest_of(b->data[k], dtype, n);
    for (uint64_t i = 0; i < n; i++) {
        const double x = number(a->data[k], dtype, i), y = number(b->data[k], dtype, i), far = fabs(x - y),
                     scale = fabs(y) + largest;
        if ((isnan(x) && isnan(y)) || x == y) continue;
        if (!(far <= allowed->relative * scale + allowed->absolute)) *bad = true;
        const double here = scale > 0 && isfinite(far) ? far / scale : INFINITY;
        if (here > worst) worst = here;
    }
    return worst;
}

double kernel_results_distance(const kernel_results *a, const kernel_results *b, const kernel_tolerance *allowed,
                               int64_t *bad) {
    double worst = 0;
    *bad = -1;
    for (uint32_t i = 0; i < b->n; i++) {
        bool wrong;
        if (!b->data[i] || !a->data[i]) continue;
        const double here = block_distance(a, b, i, allowed, &wrong);
        if (wrong && *bad < 0) *bad = i;
        if (here > worst) worst = here;
    }
    return worst;
}

/* bf16 before f16, whose numbers are the finer ones. */
static uint32_t coarser(uint32_t a, uint32_t b) {
    const bool bf16 = a == CVR_BF16 || b == CVR_BF16, f16 = a == CVR_F16 || b == CVR_F16;
    return bf16 ? CVR_BF16 : f16 ? CVR_F16 : 0;
}

kernel_tolerance kernel_tolerance_of(const cvr_kernel_args *a, uint32_t rounded) {
    double product = 1, terms = 1;
    uint32_t low = rounded;
    for (uint32_t i = 0; i < a->n_inputs + a->n_outputs; i++) {
        const cvr_tensor *t = launch_tensor(a, i);
        if (!t) continue;
        low = coarser(low, t->dtype);
        const double n = (double)cvr_numel(t->rank, t->shape);
        if (i >= a->n_inputs || !is_real(t->dtype)) continue;
        product *= fmax(1, largest_of(t->data, t->dtype, (uint64_t)n));
        terms = fmax(terms, n);
    }
    const kernel_tolerance f32 = {1e-5, ldexp(sqrt(terms) * product, -22)},
                           f16 = {0x1.8p-9, ldexp(sqrt(terms) * product, -12)},
                           bf16 = {0x1.8p-6, ldexp(sqrt(terms) * product, -9)};
    return low == CVR_BF16 ? bf16 : low == CVR_F16 ? f16 : f32;
}
