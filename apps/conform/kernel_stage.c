/* A launch on a device's memory, with copies of its tensors in the host's. */
#include "kernel_check.h"

typedef struct staged {
    cvr_launch launch;
    cvr_kernel_args args;
    cvr_tensor tensors[2 * CVR_MAX_IO];
    const cvr_tensor *in[CVR_MAX_IO];
    cvr_tensor *out[CVR_MAX_IO];
    void *data[CVR_MAX_IO]; /* of the inputs; NULL: absent, or an earlier one's */
} staged;

/* An input that lies where an earlier one does shares its copy, too. */
static int32_t stage_input(const kernel_check *k, staged *s, const cvr_kernel_args *a, uint32_t i, cvr_error *err) {
    const cvr_tensor *t = a->inputs[i];
    const uint64_t bytes = check_tensor_bytes(t);
    for (uint32_t before = 0; before < i; before++) {
        if (!a->inputs[before] || a->inputs[before]->data != t->data || check_tensor_bytes(a->inputs[before]) != bytes)
            continue;
        s->tensors[i].data = s->tensors[before].data;
        return CVR_OK;
    }
    s->data[i] = cvr_alloc_aligned(bytes + 1, 64);
    if (!s->data[i]) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    s->tensors[i].data = s->data[i];
    return check_copy_out(&k->bench, s->data[i], t->data, bytes, err);
}

static int32_t stage(const kernel_check *k, staged *s, const cvr_launch *l, cvr_error *err) {
    const cvr_kernel_args *a = l->args;
    *s = (staged){.launch = *l, .args = *a};
    for (uint32_t i = 0; i < a->n_inputs + a->n_outputs; i++) {
        const bool input = i < a->n_inputs;
        const cvr_tensor *t = input ? a->inputs[i] : a->outputs[i - a->n_inputs];
        cvr_tensor *own = t ? &s->tensors[i] : NULL;
        if (input)
            s->in[i] = own;
        else
            s->out[i - a->n_inputs] = own;
        if (!t) continue;
        *own = *t;
        own->data = NULL;
        if (input) CVR_TRY(stage_input(k, s, a, i, err));
    }
    s->args.inputs = s->in;
    s->args.outputs = s->out;
    s->launch.args = &s->args;
    return CVR_OK;
}

int32_t kernel_check_on_device(void *ctx, const cvr_launch *l, cvr_error *err) {
    static staged s;
    kernel_check *k = ctx;
    int32_t status;
    if (!kernel_check_has(k, l->op)) return CVR_OK;
    k->bench.remote = !(k->bench.backend->flags & CVR_BACKEND_HOST_VISIBLE);
    CVR_TRY_OUT(stage(k, &s, l, err));
    status = kernel_check_launch(k, &s.launch, err);
out:
    for (uint32_t i = 0; i < CVR_MAX_IO; i++) cvr_free(s.data[i]);
    return status;
}
