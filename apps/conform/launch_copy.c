/* See launch_copy.h. */
#include "launch_copy.h"
#include <cvr/base.h>

const cvr_tensor *launch_tensor(const cvr_kernel_args *a, uint32_t i) {
    return i < a->n_inputs ? a->inputs[i] : a->outputs[i - a->n_inputs];
}

void launch_copy_begin(launch_copy *c, const cvr_launch *l) {
    const cvr_kernel_args *a = l->args;
    *c = (launch_copy){.launch = *l, .args = *a};
    for (uint32_t i = 0; i < a->n_inputs + a->n_outputs; i++) {
        const cvr_tensor *t = launch_tensor(a, i);
        if (!t) continue;
        c->tensors[i] = *t;
        if (i < a->n_inputs)
            c->in[i] = &c->tensors[i];
        else
            c->out[i - a->n_inputs] = &c->tensors[i];
    }
    c->args.inputs = c->in;
    c->args.outputs = c->out;
    c->launch.args = &c->args;
}

int32_t launch_copy_give(launch_copy *c, uint32_t i, uint64_t bytes, cvr_error *err) {
    c->data[i] = cvr_alloc_aligned(bytes + 1, 64);
    if (!c->data[i]) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    c->tensors[i].data = c->data[i];
    return CVR_OK;
}

void launch_copy_clear(launch_copy *c) {
    for (uint32_t i = 0; i < CVR_MAX_IO; i++) cvr_free(c->data[i]);
    memset(c->data, 0, sizeof c->data);
}
