/*
 * What the session does for a compressor that prunes (cvr/plugin/compressor.h): the groups of channels, parameters and
 * their gradients, and what a choice would cost; and then the network without what goes: its widths in the config, its
 * weights cut, the statistics of batch norms taken anew.
 */
#include "pruning.h"

static int32_t give_channels(const cvr_compression *c, const cvr_channel_group *const **groups, uint64_t *n,
                             cvr_error *err) {
    size_t count;
    CVR_TRY(cvr_channels_view(((pruning *)c->ctx)->traced.channels, groups, &count, err));
    *n = count;
    return CVR_OK;
}

static const cvr_param_view *give_param(const cvr_compression *c, uint64_t i) {
    const pruning *p = c->ctx;
    return i < p->n_shown ? &p->params[p->shown[i]].view : NULL;
}

static int32_t take_removal(const cvr_compression *c, const uint8_t *units, cvr_error *err) {
    pruning *p = c->ctx;
    if (p->removed) return cvr_fail(err, CVR_ERR_PLUGIN, "channels are removed twice");
    CVR_TRY(cvr_channels_remove(p->traced.channels, units, err));
    p->removed = true;
    return CVR_OK;
}

static int32_t take_mask(const cvr_compression *c, const char *name, const uint8_t *mask, cvr_error *err) {
    pruned_param *to = pruning_find(c->ctx, name);
    if (!to || to->type.dtype != CVR_F32)
        return cvr_fail(err, CVR_ERR_PLUGIN, "a mask for `%s`, which is no parameter of f32", name);
    const size_t n = (size_t)cvr_numel(to->type.rank, to->type.shape);
    if (!to->mask) to->mask = cvr_calloc(n + 1, 1);
    if (!to->mask) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memcpy(to->mask, mask, n);
    return CVR_OK;
}

static int32_t take_note(const cvr_compression *c, const char *what, const char *text, cvr_error *err) {
    const pruning *p = c->ctx;
    (void)err;
    p->o->note(p->o->ctx, what, text);
    return CVR_OK;
}

static int32_t no_probe(const cvr_compression *c, const cvr_probe *probe, cvr_error *err) {
    (void)c, (void)probe;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "a compressor of [prune] has no probes");
}

static int32_t no_tensor(const cvr_compression *c, const char *name, const cvr_type *type, const void *memory,
                         cvr_error *err) {
    (void)c, (void)name, (void)type, (void)memory;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "a compressor of [prune] gives no tensors");
}

static int32_t no_plan(const cvr_compression *c, const char *text, cvr_error *err) {
    (void)c, (void)text;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "a compressor of [prune] has no plan");
}

static int32_t no_measure(const cvr_compression *c, double *before, double *after, cvr_error *err) {
    (void)c, (void)before, (void)after;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "a compressor of [prune] cannot measure metrics");
}

/* ---- the network as it was ---- */

/* As it is trained: what only training has, such as auxiliary heads, is pruned too. */
static int32_t trace(pruning *p, cvr_error *err) {
    const cvr_session *s = p->s;
    const cvr_canvas *canvases;
    net_program program = {0};
    (void)cvr_batches_canvases(s->data.splits[CVR_SPLIT_TRAIN].batches, &canvases);
    program.key = (program_key){.purpose = PROGRAM_ACCUMULATE, .batch = 2, .canvas = canvases[0]};
    int32_t status = net_program_inputs(&s->net, &program, err);
    if (status == CVR_OK) status = network_trace(&s->net, program.graph, &p->traced, err);
    cvr_graph_destroy(&program.graph);
    return status;
}

/* ---- the network as it becomes ---- */

/* What is left of a parameter. */
static int32_t narrow_param(const pruning *p, const pruned_param *from, void **out, cvr_error *err) {
    cvr_type whole = from->type, left;
    const uint64_t size = cvr_dtype_size(whole.dtype);
    float *values = from->values;
    *out = cvr_alloc_aligned((uint64_t)cvr_numel(whole.rank, whole.shape) * size + 8, 64);
    if (!*out) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (int64_t i = 0; from->mask && i < cvr_numel(whole.rank, whole.shape); i++)
        if (!from->mask[i]) values[i] = 0;
    if (!cvr_channels_type(p->traced.channels, from->name, &left))
        memcpy(*out, values, (uint64_t)cvr_numel(whole.rank, whole.shape) * size);
    else
        cvr_channels_cut_again(p->traced.channels, from->name, values, *out);
    return CVR_OK;
}

static int32_t write_params(const pruning *p, cvr_error *err) {
    cvr_store *store = p->s->net.store;
    for (size_t i = 0; i < p->n_params; i++) {
        const int64_t at = cvr_store_find(store, p->params[i].name);
        void *left = NULL;
        if (at < 0) continue;
        int32_t status = narrow_param(p, &p->params[i], &left, err);
        if (status == CVR_OK) status = cvr_store_write(store, (size_t)at, left, err);
        cvr_free(left);
        CVR_TRY(status);
    }
    return CVR_OK;
}

/* Opens the network anew, with these widths. */
static int32_t open_narrow(const pruning *p, cvr_error *err) {
    cvr_session *s = p->s;
    network_close(&s->net);
    s->has_weights = true;
    CVR_TRY(session_plan_for_data(s, err));
    return write_params(p, err);
}

static int32_t save(const pruning *p, cvr_error *err) {
    char *weights = cvr_fs_join(p->o->folder, "weights/best.safetensors");
    const int32_t status =
        weights ? cvr_session_save_weights(p->s, weights, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    cvr_free(weights);
    return status;
}

/* The lines go into the config last: those of [net] that the session has would move. */
static int32_t tell_config(const pruning *p, const char *widths, cvr_error *err) {
    for (int i = 1; *widths; i++) {
        char key[32];
        const size_t n = strcspn(widths, "\n");
        char *line = cvr_strndup(widths, n);
        if (!line) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        (void)snprintf(key, sizeof key, "%d", i);
        const cvr_setting s = {.section = "widths", .key = key, .value = line, .base = ".", .file = "cvrun prune"};
        const int32_t status = cvr_config_suggest(p->s->set.config, &s, true, err);
        cvr_free(line);
        CVR_TRY(status);
        widths += n + (widths[n] == '\n');
    }
    return CVR_OK;
}

static int32_t make_pruned(pruning *p, cvr_compress_result *result, cvr_error *err) {
    cvr_session *s = p->s;
    cvr_text widths = {0};
    int32_t status;
    cvr_text_add(&widths, "%s", "");
    cvr_channels_write(p->traced.channels, &widths);
    CVR_TRY_OUT(widths.failed ? cvr_fail(err, CVR_ERR_NOMEM, "out of memory") : CVR_OK);
    s->net.widths = widths.s;
    CVR_TRY_OUT(open_narrow(p, err));
    CVR_TRY_OUT(pruning_run(s, 0, &result->pictures, err));
    CVR_TRY_OUT(save(p, err));
    status = tell_config(p, widths.s, err);
out:
    s->net.widths = NULL;
    cvr_text_clear(&widths);
    return status;
}

int32_t cvr_session_prune(cvr_session *s, const cvr_compress_options *o, cvr_compress_result *result, cvr_error *err) {
    pruning p = {.s = s, .o = o};
    const cvr_compressor_desc *method = s->set.prune_method;
    int32_t status;
    *result = (cvr_compress_result){.of = split_samples(&s->data.splits[CVR_SPLIT_TRAIN])};
    (void)snprintf(result->by, sizeof result->by, "%s", method->name);
    p.api = (cvr_compression){.struct_size = sizeof p.api,
                              .ctx = &p,
                              .host = cvr_plugins_host(s->plugins),
                              .attrs = s->set.prune_attrs,
                              .probe = no_probe,
                              .tensor = no_tensor,
                              .plan = no_plan,
                              .measure = no_measure,
                              .note = take_note,
                              .channels = give_channels,
                              .param = give_param,
                              .gradients = pruning_gradients,
                              .cost = pruning_cost,
                              .remove = take_removal,
                              .mask = take_mask};
    CVR_TRY_OUT(trace(&p, err));
    CVR_TRY_OUT(pruning_take_params(&p, err));
    CVR_TRY_OUT(CVR_CALL(method, compress, NULL, err, &p.api));
    status = make_pruned(&p, result, err);
out:
    pruning_free_params(&p);
    network_trace_free(&p.traced);
    return settings_blame(&s->set, status, err);
}
