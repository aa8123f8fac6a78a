/* See kernel_ask.h. */
#include "kernel_ask.h"
#include "launch_copy.h"

#define LARGEST_WORKSPACE (UINT64_C(1) << 36) /* bytes; cases are small */

void verification_begin(verification *v, kernel_check *k, const tested_kernel *t, const cvr_launch *l) {
    memset(v, 0, sizeof *v);
    v->k = k;
    v->t = t;
    v->bench = k->device && t->row ? &k->bench : &k->host;
    v->args = *l->args;
    v->args.workspace_size = v->args.prepared_size = 0;
    v->args.prepared = NULL;
    v->args.device = cvr_kernel_is_host(t->desc) ? NULL : cvr_device_info_of(k->device);
    v->launch = (cvr_launch){.struct_size = sizeof v->launch,
                             .kernel = t->desc,
                             .args = &v->args,
                             .name = t->op->name,
                             .op = t->op,
                             .attrs_size = l->attrs_size};
}

static void make_signature(verification *v, uint32_t workers, bool prepared) {
    const cvr_kernel_args *a = &v->args;
    for (uint32_t i = 0; i < a->n_inputs + a->n_outputs; i++) {
        const cvr_tensor *t = launch_tensor(a, i);
        const cvr_tensor **to = i < a->n_inputs ? &v->in[i] : &v->out[i - a->n_inputs];
        *to = t ? &v->shapes[i] : NULL;
        if (!t) continue;
        v->shapes[i] = *t;
        v->shapes[i].data = NULL;
    }
    v->sig = (cvr_signature){.struct_size = sizeof v->sig,
                             .attrs = a->attrs,
                             .inputs = v->in,
                             .outputs = v->out,
                             .n_inputs = a->n_inputs,
                             .n_outputs = a->n_outputs,
                             .n_workers = cvr_kernel_is_host(v->t->desc) ? workers : 1,
                             .math = CVR_MATH_F32,
                             .prepared = prepared,
                             .device = v->args.device};
}

/* Asked twice: the same answer. *does: whether the kernel takes these tensors. */
static int32_t ask_support(const verification *v, bool *does, cvr_error *err) {
    const cvr_kernel_desc *k = v->t->desc;
    cvr_error first = CVR_ERROR_INIT, second = CVR_ERROR_INIT;
    *does = true;
    for (uint32_t i = 0; i < v->sig.n_inputs + v->sig.n_outputs; i++) {
        const cvr_tensor *t = i < v->sig.n_inputs ? v->in[i] : v->out[i - v->sig.n_inputs];
        if (t && t->dtype == CVR_BF16 && !(k->flags & CVR_KERNEL_BF16)) *does = false;
        if (t && t->dtype == CVR_F16 && !(k->flags & CVR_KERNEL_F16)) *does = false;
    }
    if (!k->supports || !*does) return CVR_OK;
    board_doing(v->k->board, v->t->row, "in its callback `supports`");
    const int32_t one = k->supports(&v->sig, &first), two = k->supports(&v->sig, &second);
    *does = one == CVR_OK;
    if (one != CVR_OK && (one != CVR_ERR_UNSUPPORTED || !first.message[0]))
        return check_blame(v->bench, &v->launch, CVR_ERR_PLUGIN, err,
                           "refuses by `supports` with status %d and %s; a no is CVR_ERR_UNSUPPORTED with a reason",
                           one, first.message[0] ? first.message : "no word");
    if (one == two && strcmp(first.message, second.message) == 0) return CVR_OK;
    return check_blame(v->bench, &v->launch, CVR_ERR_PLUGIN, err,
                       "gives two answers by `supports` to the same question: %d (%.100s), then %d (%.100s)", one,
                       first.message, two, second.message);
}

int32_t verification_ask_size(const verification *v, uint64_t (*ask)(const cvr_signature *), const char *what,
                              uint64_t *size, cvr_error *err) {
    *size = 0;
    if (!ask) return CVR_OK;
    board_doing(v->k->board, v->t->row, "in its callback `%s`", what);
    *size = ask(&v->sig);
    const uint64_t again = ask(&v->sig);
    if (again != *size)
        return check_blame(v->bench, &v->launch, CVR_ERR_PLUGIN, err,
                           "gives two answers by `%s` to the same question: %llu, then %llu", what,
                           (unsigned long long)*size, (unsigned long long)again);
    if (*size <= LARGEST_WORKSPACE) return CVR_OK;
    return check_blame(v->bench, &v->launch, CVR_ERR_PLUGIN, err, "wants %llu bytes by `%s` for a small case",
                       (unsigned long long)*size, what);
}

int32_t verification_ask(verification *v, const cvr_threadpool *pool, bool prepared, bool *does, cvr_error *err) {
    make_signature(v, pool->n_workers, prepared);
    v->args.pool = pool;
    CVR_TRY(ask_support(v, does, err));
    return *does ? verification_ask_size(v, v->t->desc->workspace, "workspace", &v->args.workspace_size, err) : CVR_OK;
}
