/* What a network would cost with fewer channels: it is planned, and for its time also run, beside the session's own. */
#include "pruning.h"

/* The median of a few runs. */
static int32_t measure(run_network *n, net_program *p, cvr_session_cost *out, cvr_error *err) {
    cvr_arena *arena;
    CVR_TRY(cvr_store_place(n->store, n->device, err));
    CVR_TRY(cvr_arena_create(&arena, n->device, &p->program, 1, 0, err));
    int32_t status = cvr_program_bind(p->program, arena, err);
    if (status == CVR_OK) status = cost_time(p, out, err);
    cvr_program_unbind(p->program);
    cvr_arena_destroy(&arena);
    return status;
}

static int32_t cost_of(run_network *n, const program_key *key, uint32_t what, double *out, cvr_error *err) {
    cvr_session_cost cost = {0};
    net_program *p = NULL;
    int32_t status;
    CVR_TRY_OUT(net_program_plan(n, key, &p, err));
    cost_count(p->program, key->batch, &cost);
    if (what == CVR_COST_SECONDS) CVR_TRY_OUT(measure(n, p, &cost, err));
    *out = what == CVR_COST_SECONDS ? cost.seconds
           : what == CVR_COST_MACS  ? cost.macs
                                    : (double)session_count_params(n->store);
out:
    net_program_destroy(&p);
    return status;
}

int32_t pruning_cost(const cvr_compression *c, const uint8_t *units, uint32_t what, double *out, cvr_error *err) {
    pruning *p = c->ctx;
    const cvr_session *s = p->s;
    const cvr_canvas *canvases;
    cvr_text widths = {0};
    run_network n = s->net;
    int32_t status;
    n.store = NULL;
    n.told = true;
    if (p->removed) return cvr_fail(err, CVR_ERR_PLUGIN, "costs are asked for after channels are removed");
    if (what < CVR_COST_MACS || what > CVR_COST_SECONDS)
        return cvr_fail(err, CVR_ERR_PLUGIN, "there is no cost of kind %u", what);
    (void)cvr_batches_canvases(s->data.splits[CVR_SPLIT_VAL].batches, &canvases);
    const program_key key = {
        .purpose = PROGRAM_PREDICT, .batch = what == CVR_COST_SECONDS ? s->set.prune->batch : 1, .canvas = canvases[0]};
    CVR_TRY(cvr_channels_remove(p->traced.channels, units, err));
    cvr_text_add(&widths, "%s", "");
    cvr_channels_write(p->traced.channels, &widths);
    cvr_channels_restore(p->traced.channels);
    CVR_TRY_OUT(widths.failed ? cvr_fail(err, CVR_ERR_NOMEM, "out of memory") : CVR_OK);
    n.widths = widths.s;
    CVR_TRY_OUT(cvr_store_create(&n.store, (uint64_t)s->set.run->seed, err));
    status = cost_of(&n, &key, what, out, err);
out:
    cvr_store_destroy(&n.store);
    cvr_text_clear(&widths);
    return status;
}
