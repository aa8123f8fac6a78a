/* A launch on a device's memory, with copies of its tensors in the host's. */
#include "kernel_check.h"
#include "launch_copy.h"

/* An input that lies where an earlier one does shares its copy, too. */
static int32_t stage_input(const kernel_check *k, launch_copy *c, const cvr_kernel_args *a, uint32_t i,
                           cvr_error *err) {
    const cvr_tensor *t = a->inputs[i];
    const uint64_t bytes = check_tensor_bytes(t);
    for (uint32_t before = 0; before < i; before++) {
        if (!a->inputs[before] || a->inputs[before]->data != t->data || check_tensor_bytes(a->inputs[before]) != bytes)
            continue;
        c->tensors[i].data = c->tensors[before].data;
        return CVR_OK;
    }
    CVR_TRY(launch_copy_give(c, i, bytes, err));
    return check_copy_out(&k->bench, c->data[i], t->data, bytes, err);
}

static int32_t stage(const kernel_check *k, launch_copy *c, const cvr_launch *l, cvr_error *err) {
    const cvr_kernel_args *a = l->args;
    launch_copy_begin(c, l);
    for (uint32_t i = 0; i < a->n_inputs; i++)
        if (a->inputs[i]) CVR_TRY(stage_input(k, c, a, i, err));
    for (uint32_t i = 0; i < a->n_outputs; i++)
        if (c->out[i]) c->out[i]->data = NULL;
    return CVR_OK;
}

int32_t kernel_check_on_device(void *ctx, const cvr_launch *l, cvr_error *err) {
    static launch_copy c;
    kernel_check *k = ctx;
    int32_t status;
    if (!kernel_check_has(k, l->op)) return CVR_OK;
    k->bench.remote = !(k->bench.backend->flags & CVR_BACKEND_HOST_VISIBLE);
    CVR_TRY_OUT(stage(k, &c, l, err));
    status = kernel_check_launch(k, &c.launch, err);
out:
    launch_copy_clear(&c);
    return status;
}
