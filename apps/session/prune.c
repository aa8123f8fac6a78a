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

/* Layers that keep their width since an op says nothing; a head's results keep it anyway. */
static int32_t note_silent(const pruning *p, cvr_error *err) {
    const cvr_store *store = p->s->net.store;
    char why[400], text[600];
    bool silent;
    for (size_t i = 0; i < cvr_store_count(store); i++) {
        const cvr_store_entry *e = cvr_store_get(store, i);
        if (e->role != CVR_STORE_TRAINED || e->type.rank < 2 || strcmp(e->stage, "head") == 0) continue;
        if (!cvr_channels_why(p->traced.channels, e->name, 0, &silent, why, sizeof why) || !silent) continue;
        (void)snprintf(text, sizeof text, "%.180s: %.390s", e->name, why);
        CVR_TRY(take_note(&p->api, "stays whole", text, err));
    }
    return CVR_OK;
}

/* ---- the network as it becomes ---- */

/* What is left of values that have the shape of a parameter. */
static int32_t write_left(const pruning *p, const pruned_param *like, const char *name, const void *values,
                          cvr_error *err) {
    cvr_store *store = p->s->net.store;
    const int64_t at = cvr_store_find(store, name);
    const uint64_t bytes = (uint64_t)cvr_numel(like->type.rank, like->type.shape) * cvr_dtype_size(like->type.dtype);
    if (at < 0) return CVR_OK;
    void *left = cvr_alloc_aligned(bytes + 8, 64);
    if (!left) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (!cvr_channels_cut_again(p->traced.channels, like->name, values, left)) memcpy(left, values, bytes);
    const int32_t status = cvr_store_write(store, (size_t)at, left, err);
    cvr_free(left);
    return status;
}

/* A parameter, of which what is masked is zero, and then its mask. */
static int32_t write_masked(const pruning *p, const pruned_param *from, cvr_error *err) {
    const int64_t n = cvr_numel(from->type.rank, from->type.shape);
    float *values = from->values;
    char mask[256];
    for (int64_t i = 0; i < n; i++)
        if (!from->mask[i]) values[i] = 0;
    CVR_TRY(write_left(p, from, from->name, values, err));
    for (int64_t i = 0; i < n; i++) values[i] = from->mask[i] ? 1 : 0;
    (void)snprintf(mask, sizeof mask, MASK_OF, from->name);
    return write_left(p, from, mask, values, err);
}

/* The parameter that this is the mask of; NULL: it is none. */
static const pruned_param *masked_by(const pruning *p, const char *name) {
    char of[256];
    const size_t n = strlen(name), tail = sizeof "_mask" - 1;
    if (n <= tail || n >= sizeof of || strcmp(name + n - tail, "_mask") != 0) return NULL;
    (void)snprintf(of, sizeof of, "%.*s", (int)(n - tail), name);
    return pruning_find(p, of);
}

static int32_t write_params(const pruning *p, cvr_error *err) {
    for (size_t i = 0; i < p->n_params; i++) {
        const pruned_param *from = &p->params[i], *of = masked_by(p, from->name);
        if (of && of->mask) continue;
        CVR_TRY(from->mask ? write_masked(p, from, err) : write_left(p, of ? of : from, from->name, from->values, err));
    }
    return CVR_OK;
}

/* Those that had masks, and those that have them now; with prune.remove, none. */
static int32_t list_held(const pruning *p, cvr_error *err) {
    cvr_session *s = p->s;
    cvr_text t = {0};
    cvr_text_add(&t, "%s", "");
    for (size_t i = 0; i < p->n_params; i++) {
        const pruned_param *of = masked_by(p, p->params[i].name), *own = &p->params[i];
        const pruned_param *held = own->mask ? own : of && !of->mask ? of : NULL;
        if (held && !s->set.prune->remove) cvr_text_add(&t, "%s%s", t.n ? "," : "", held->name);
    }
    if (t.failed) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    s->held = t.s;
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
    static const char *const names[] = {CVR_PRUNED_WEIGHTS, "weights/best.safetensors"};
    for (size_t i = 0; i < 2; i++) {
        char *weights = cvr_fs_join(p->o->folder, names[i]);
        const int32_t status =
            weights ? cvr_session_save_weights(p->s, weights, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        cvr_free(weights);
        CVR_TRY(status);
    }
    return CVR_OK;
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
    CVR_TRY_OUT(list_held(p, err));
    s->net.widths = widths.s;
    s->net.held = result->held = s->held;
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
    result->lr = s->set.lr;
    p.api = session_compression(s, &p, s->set.prune_attrs);
    p.api.note = take_note;
    p.api.channels = give_channels;
    p.api.param = give_param;
    p.api.gradients = pruning_gradients;
    p.api.cost = pruning_cost;
    p.api.remove = take_removal;
    p.api.mask = take_mask;
    CVR_TRY_OUT(trace(&p, err));
    CVR_TRY_OUT(note_silent(&p, err));
    CVR_TRY_OUT(pruning_take_params(&p, err));
    CVR_TRY_OUT(CVR_CALL(method, compress, NULL, err, &p.api));
    status = make_pruned(&p, result, err);
out:
    pruning_free_params(&p);
    network_trace_free(&p.traced);
    return settings_blame(&s->set, status, err);
}
