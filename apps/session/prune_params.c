/* The parameters that a pruning begins with, and their gradients. */
#include "pruning.h"

pruned_param *pruning_find(const pruning *p, const char *name) {
    for (size_t i = 0; i < p->n_params; i++)
        if (strcmp(p->params[i].name, name) == 0) return &p->params[i];
    return NULL;
}

static int32_t take_param(pruning *p, size_t index, cvr_error *err) {
    cvr_store *store = p->s->net.store;
    const cvr_store_entry *e = cvr_store_get(store, index);
    pruned_param *to = &p->params[p->n_params];
    *to = (pruned_param){.name = cvr_strdup(e->name), .type = e->type, .values = cvr_alloc_aligned(e->bytes + 8, 64)};
    p->n_params++;
    if (!to->name || !to->values) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    to->view = (cvr_param_view){
        .struct_size = sizeof to->view, .name = to->name, .type = &to->type, .values = to->values, .flags = e->flags};
    if (e->type.dtype == CVR_F32) p->shown[p->n_shown++] = p->n_params - 1;
    return cvr_store_read(store, index, to->values, err);
}

int32_t pruning_take_params(pruning *p, cvr_error *err) {
    const cvr_store *store = p->s->net.store;
    const size_t n = cvr_store_count(store);
    p->params = cvr_calloc(n + 1, sizeof *p->params);
    p->shown = cvr_calloc(n + 1, sizeof *p->shown);
    if (!p->params || !p->shown) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        if (cvr_store_in_weights(cvr_store_get(store, i))) CVR_TRY(take_param(p, i, err));
    return CVR_OK;
}

void pruning_free_params(pruning *p) {
    for (size_t i = 0; i < p->n_params; i++) {
        cvr_free(p->params[i].name);
        cvr_free(p->params[i].values);
        cvr_free(p->params[i].gradients);
        cvr_free(p->params[i].mask);
    }
    cvr_free(p->params);
    cvr_free(p->shown);
}

/* ---- calibration data through the training program ---- */

static int32_t run_batch(cvr_session *s, const cvr_batch *b, int64_t i, int64_t of, cvr_error *err) {
    const program_key key = {.purpose = PROGRAM_ACCUMULATE, .batch = b->view.n, .canvas = b->canvas};
    const net_scalars at = {
        .loss_scale = 1 / (double)of, .step = i, .updates = i, .micro_step = i, .seed = s->set.run->seed};
    net_program *program;
    CVR_TRY(network_program(&s->net, &key, &program, err));
    CVR_TRY(net_program_run(program, &b->view, &at, err));
    return cvr_program_wait(program->program, err);
}

int32_t pruning_run(cvr_session *s, uint64_t batches, int64_t *ran, cvr_error *err) {
    cvr_batches_options o;
    cvr_batches *from;
    cvr_batch b;
    int32_t status;
    session_calibration(s, &o);
    const int64_t there = split_samples(&s->data.splits[CVR_SPLIT_TRAIN]), pictures = o.limit < there ? o.limit : there,
                  all = (pictures + o.batch - 1) / o.batch,
                  n = batches && (int64_t)batches < all ? (int64_t)batches : all;
    *ran = 0;
    CVR_TRY(data_suggest_skip(&s->set, cvr_batches_create(&from, &o, err), err));
    CVR_TRY_OUT(cvr_batches_begin(from, 0, 0, err));
    for (int64_t i = 0; i < n; i++) {
        CVR_TRY_OUT(cvr_batches_next(from, &b, err));
        if (b.view.n == 0) break;
        if (b.view.n < 2 && i > 0) break; /* a batch norm has no statistics of one picture */
        CVR_TRY_OUT(run_batch(s, &b, i, n, err));
        *ran += b.view.n;
    }
out:
    cvr_batches_destroy(&from);
    return data_suggest_skip(&s->set, status, err);
}

int32_t pruning_gradients(const cvr_compression *c, uint64_t batches, cvr_error *err) {
    pruning *p = c->ctx;
    cvr_store *store = p->s->net.store;
    int64_t ran;
    CVR_TRY(pruning_run(p->s, batches, &ran, err));
    for (size_t i = 0; i < cvr_store_count(store); i++) {
        const cvr_store_entry *e = cvr_store_get(store, i);
        pruned_param *of =
            e->role == CVR_STORE_GRADIENT ? pruning_find(p, cvr_store_get(store, (size_t)e->of)->name) : NULL;
        if (!of) continue;
        if (!of->gradients) of->gradients = cvr_alloc_aligned(e->bytes + 8, 64);
        if (!of->gradients) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        CVR_TRY(cvr_store_read(store, i, of->gradients, err));
        of->view.gradients = of->gradients;
    }
    return CVR_OK;
}
