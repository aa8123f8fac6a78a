/*
 * What an op means on a launch: its reference kernel's results. A reference kernel that knows no low precision computes
 * in f32, of the same numbers, and its results are rounded once.
 */
#include "kernel_ask.h"
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
typedef struct wide_launch {
    cvr_launch launch;
    cvr_kernel_args args;
    cvr_tensor tensors[2 * CVR_MAX_IO];
    const cvr_tensor *in[CVR_MAX_IO];
    cvr_tensor *out[CVR_MAX_IO];
    float *data[CVR_MAX_IO];
} wide_launch;

static int32_t widen(wide_launch *w, const cvr_launch *l, cvr_error *err) {
    const cvr_kernel_args *a = l->args;
    *w = (wide_launch){.launch = *l, .args = *a};
    for (uint32_t i = 0; i < a->n_inputs + a->n_outputs; i++) {
        const bool input = i < a->n_inputs;
        const cvr_tensor *t = input ? a->inputs[i] : a->outputs[i - a->n_inputs];
        cvr_tensor *wide = t ? &w->tensors[i] : NULL;
        if (input)
            w->in[i] = wide;
        else
            w->out[i - a->n_inputs] = wide;
        if (!t) continue;
        *wide = *t;
        if (!is_low(t)) continue;
        wide->dtype = CVR_F32;
        if (!input) continue;
        const int64_t n = cvr_numel(t->rank, t->shape);
        w->data[i] = cvr_alloc_aligned((uint64_t)n * 4 + 4, 64);
        if (!w->data[i]) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        for (int64_t k = 0; k < n; k++) w->data[i][k] = check_real((const uint8_t *)t->data + 2 * k, t->dtype);
        wide->data = w->data[i];
    }
    w->args.inputs = w->in;
    w->args.outputs = w->out;
    w->launch.args = &w->args;
    return CVR_OK;
}

/* Results as the launch has them. */
static void narrow(const cvr_kernel_args *a, kernel_results *r) {
    for (uint32_t i = a->n_inputs; i < a->n_inputs + a->n_outputs; i++) {
        const cvr_tensor *t = a->outputs[i - a->n_inputs];
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
        if (is_low(i < a->n_inputs ? a->inputs[i] : a->outputs[i - a->n_inputs])) return true;
    return false;
}

int32_t kernel_reference(kernel_check *k, const cvr_launch *l, kernel_results *out, const cvr_kernel_desc **which,
                         cvr_error *err) {
    static wide_launch wide;
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
    for (uint32_t i = 0; i < CVR_MAX_IO; i++) cvr_free(wide.data[i]);
    return status;
}
