/* See finetune.h. */
#include "finetune.h"

int32_t finetune_open(cvr_session *s, const cvr_compressor_desc *method, cvr_error *err) {
    if (!method->finetune || s->set.method != method) {
        cvr_fail(err, CVR_ERR_USAGE, "quant.method = %s: this run was made by `%s`%s", s->set.quant->method,
                 method->name, method->finetune ? "" : ", which trains nothing");
        return cvr_config_blame(s->set.config, "quant", "method", CVR_ERR_USAGE, err);
    }
    if (s->set.phases.n)
        return cvr_config_blame(s->set.config, "model", "unfreeze",
                                cvr_fail(err, CVR_ERR_USAGE, "model.unfreeze: %s has phases of its own", method->name),
                                err);
    CVR_TRY(phases_of_stages(&s->set.phases, method, s->set.method_attrs, s->set.train->epochs, err));
    s->net.rewriting = (network_rewriting){.finetune = method, .plan = s->plan};
    return CVR_OK;
}

/* What the compressor left as it was has the numbers of the network that is trained. */
static int32_t copy_numbers(const run_network *from, const run_network *to, cvr_error *err) {
    for (size_t i = 0; i < cvr_store_count(to->store); i++) {
        const cvr_store_entry *e = cvr_store_get(to->store, i);
        const int64_t at = e->role <= CVR_STORE_BUFFER ? cvr_store_find(from->store, e->name) : -1;
        if (at < 0) continue;
        void *logical = cvr_alloc_aligned(e->bytes + 8, 64);
        if (!logical) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        int32_t status = cvr_store_read(from->store, (size_t)at, logical, err);
        if (status == CVR_OK) status = cvr_store_write(to->store, i, logical, err);
        cvr_free(logical);
        CVR_TRY(status);
    }
    return CVR_OK;
}

int32_t finetune_enter(cvr_session *s, conversion *c, cvr_error *err) {
    const cvr_compressor_desc *method = s->net.rewriting.finetune;
    c->entered = false;
    compressing_begin(&c->made, s, NULL);
    CVR_TRY(CVR_CALL(method, finetune->convert, NULL, err, &c->made.api, s->net.rewriting.plan));
    if (!c->made.plan) return cvr_call_blame(method, "finetune->convert", NULL, err, "gives no plan");
    c->trained = s->net;
    c->entered = true;
    s->net = (run_network){.settings = c->trained.settings,
                           .rewriting = {.compressor = method, .plan = c->made.plan, .alone = true},
                           .data = c->trained.data,
                           .plugins = c->trained.plugins,
                           .pool = c->trained.pool,
                           .told = true};
    memcpy(s->net.backend, c->trained.backend, sizeof s->net.backend);
    memcpy(s->net.chosen, c->trained.chosen, sizeof s->net.chosen);
    memcpy(s->net.home, c->trained.home, sizeof s->net.home);
    CVR_TRY(session_open_evaluation(s, err));
    CVR_TRY(copy_numbers(&c->trained, &s->net, err));
    return compress_write_tensors(&c->made, &s->net, err);
}

void finetune_leave(cvr_session *s, conversion *c) {
    if (c->entered) {
        network_close(&s->net);
        s->net = c->trained;
    }
    compressing_end(&c->made);
}
