/*
 * What an op means on a launch: its reference kernel's results. A reference kernel that knows no low precision computes
 * in f32, of the same numbers, and its results are rounded once.
 */
#include "kernel_ask.h"
#include "launch_copy.h"
#include <cvr/plugin/bf16.h>
#include <cvr/plugin/f16.h>

/* Where it is under test itself. */
static const conform_row *row_of(const kernel_check *k, const cvr_kernel_desc *desc) {
    for (size_t i = 0; i < k->n; i++)
        if (k->kernels[i].desc == desc) return k->kernels[i].row;
    return NULL;
}

/* The first that takes the launch; *which NULL: none does. */
static int32_t compute(kernel_check *k, const cvr_launch *l, const cvr_kernel_desc *const *kernels, size_t n,
                       kernel_results *out, const cvr_kernel_desc **which, cvr_error *err) {
    static verification v;
    *which = NULL;
    for (size_t i = 0; i < n; i++) {
        const tested_kernel t = {kernels[i], l->op, NULL};
        bool does;
        if (!cvr_kernel_is_host(kernels[i])) continue;
        verification_begin(&v, k, &t, l);
        CVR_TRY(verification_ask(&v, k->one, false, &does, err));
        if (!does) continue;
        *which = kernels[i];
        k->host.what = 0;
        board_doing(k->board, row_of(k, kernels[i]), "while it computed");
        const check_run r = {.launch = &v.launch, .in_place = -1, .on_host = true};
        CVR_TRY(check_once(&k->host, &r, err));
        return kernel_results_take(out, &k->host, l->op->mutates, err);
    }
    return CVR_OK;
}

/* ---- in f32 ---- */

static bool is_low(const cvr_tensor *t) {
    return t && (t->dtype == CVR_BF16 || t->dtype == CVR_F16);
}

/* The launch with tensors of f32 in the place of those of low precision. */
static int32_t widen(launch_copy *c, const cvr_launch *l, cvr_error *err) {
    const cvr_kernel_args *a = l->args;
    launch_copy_begin(c, l);
    for (uint32_t i = 0; i < a->n_inputs + a->n_outputs; i++) {
        const cvr_tensor *t = launch_tensor(a, i);
        if (!is_low(t)) continue;
        c->tensors[i].dtype = CVR_F32;
        if (i >= a->n_inputs) continue;
        const int64_t n = cvr_numel(t->rank, t->shape);
        CVR_TRY(launch_copy_give(c, i, (uint64_t)n * sizeof(float), err));
        float *wide = c->data[i];
        for (int64_t k = 0; k < n; k++) wide[k] = check_real((const uint8_t *)t->data + 2 * k, t->dtype);
    }
    return CVR_OK;
}

/* Results as the launch has them. */
static void narrow(const cvr_kernel_args *a, kernel_results *r) {
    for (uint32_t i = a->n_inputs; i < a->n_inputs + a->n_outputs; i++) {
        const cvr_tensor *t = launch_tensor(a, i);
        if (!is_low(t) || !r->data[i]) continue;
        const uint64_t n = r->bytes[i] / 4;
        for (uint64_t k = 0; k < n; k++) {
            float x;
            memcpy(&x, r->data[i] + 4 * k, sizeof x);
            const uint16_t low = t->dtype == CVR_F16 ? cvr_f16_of_f32(x) : cvr_bf16_of_f32(x);
            memcpy(r->data[i] + 2 * k, &low, sizeof low);
        }
        r->bytes[i] = 2 * n;
        r->dtype[i] = t->dtype;
    }
}

static bool any_low(const cvr_launch *l) {
    const cvr_kernel_args *a = l->args;
    for (uint32_t i = 0; i < a->n_inputs + a->n_outputs; i++)
        if (is_low(launch_tensor(a, i))) return true;
    return false;
}

int32_t kernel_reference(kernel_check *k, const cvr_launch *l, kernel_results *out, const cvr_kernel_desc **which,
                         cvr_error *err) {
    static launch_copy wide;
    const cvr_kernel_desc *const *kernels;
    size_t n;
    int32_t status;
    CVR_TRY(cvr_plugins_kernels(k->plugins, l->op, "reference", &kernels, &n, err));
    CVR_TRY(compute(k, l, kernels, n, out, which, err));
    if (*which || !any_low(l)) return CVR_OK;
    CVR_TRY_OUT(widen(&wide, l, err));
    CVR_TRY_OUT(compute(k, &wide.launch, kernels, n, out, which, err));
    if (*which) narrow(l->args, out);
out:
    launch_copy_clear(&wide);
    return status;
}
