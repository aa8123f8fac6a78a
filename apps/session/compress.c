/*
 * What the session does for a compressor (cvr/plugin/compressor.h): calibration data through the network with values
 * as outputs, the metric of what it has made so far, and in the end weights and plan in a run folder.
 */
#include "compress.h"
#include <math.h>

#define MOST_PROGRAMS 16

/* ---- numbers and plan ---- */

static int32_t take_tensor(const cvr_compression *c, const char *name, const cvr_type *type, const void *memory,
                           cvr_error *err) {
    compressing *k = c->ctx;
    const uint64_t bytes = (uint64_t)cvr_numel(type->rank, type->shape) * cvr_dtype_size(type->dtype);
    size_t i = 0;
    void *logical = cvr_alloc_aligned(bytes + 8, 64);
    if (!logical) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    cvr_to_logical(type, memory, logical);
    while (i < k->n && strcmp(k->tensors[i].name, name) != 0) i++;
    if (i == k->n) {
        kept_tensor *more = cvr_grow(k->tensors, k->n, &k->capacity, sizeof *more);
        if (more) k->tensors = more;
        char *copy = more ? cvr_strdup(name) : NULL;
        if (!copy) {
            cvr_free(logical);
            return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        }
        more[k->n++] = (kept_tensor){.name = copy};
    }
    cvr_free(k->tensors[i].logical);
    k->tensors[i].logical = logical;
    return CVR_OK;
}

static int32_t take_plan(const cvr_compression *c, const char *text, cvr_error *err) {
    compressing *k = c->ctx;
    char *copy = cvr_strdup(text);
    if (!copy) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    cvr_free(k->plan);
    k->plan = copy;
    return CVR_OK;
}

static int32_t take_note(const cvr_compression *c, const char *what, const char *text, cvr_error *err) {
    const compressing *k = c->ctx;
    (void)err;
    if (k->o) k->o->note(k->o->ctx, what, text);
    return CVR_OK;
}

int32_t compress_write_tensors(const compressing *k, const run_network *net, cvr_error *err) {
    cvr_store *store = net->store;
    CVR_TRY(cvr_store_place(store, net->device, err));
    for (size_t i = 0; i < k->n; i++) {
        const int64_t at = cvr_store_find(store, k->tensors[i].name);
        /* what no graph reads any more, an auxiliary head's, has no memory */
        if (at >= 0 && cvr_store_get(store, (size_t)at)->role != CVR_STORE_REPLACED)
            CVR_TRY(cvr_store_write(store, (size_t)at, k->tensors[i].logical, err));
    }
    return CVR_OK;
}

/* ---- probes ---- */

typedef struct probing {
    const compressing *k;
    const cvr_probe *probe;
    net_program *programs[MOST_PROGRAMS]; /* for sizes of batches */
    cvr_arena *arenas[MOST_PROGRAMS];
    size_t n;
} probing;

static int32_t program_of(probing *p, const cvr_batch *b, net_program **out, cvr_error *err) {
    run_network *net = &p->k->s->net;
    const program_key key = {.purpose = PROGRAM_PREDICT, .batch = b->view.n, .canvas = b->canvas};
    for (size_t i = 0; i < p->n; i++) {
        const program_key *is = &p->programs[i]->key;
        *out = p->programs[i];
        if (is->batch == key.batch && is->canvas.height == key.canvas.height && is->canvas.width == key.canvas.width)
            return CVR_OK;
    }
    if (p->n == MOST_PROGRAMS)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "calibration pictures have more than %d sizes; set data.img_size",
                        MOST_PROGRAMS);
    CVR_TRY(net_program_plan(net, &key, out, err));
    p->programs[p->n++] = *out;
    CVR_TRY(compress_write_tensors(p->k, net, err));
    CVR_TRY(cvr_arena_create(&p->arenas[p->n - 1], net->device, &(*out)->program, 1, 0, err));
    return cvr_program_bind((*out)->program, p->arenas[p->n - 1], err);
}

static int32_t show_value(const probing *p, const net_program *program, int32_t slot, cvr_error *err) {
    const cvr_type *t = cvr_program_slot_type(program->program, slot);
    const uint64_t bytes = (uint64_t)cvr_numel(t->rank, t->shape) * cvr_dtype_size(t->dtype);
    cvr_tensor x = net_tensor_of(t);
    x.data = cvr_alloc_aligned(bytes + 8, 64);
    if (!x.data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    int32_t status = cvr_program_read(program->program, slot, x.data, err);
    if (status == CVR_OK) status = p->probe->see(p->probe->ctx, cvr_program_slot_name(program->program, slot), &x, err);
    cvr_free(x.data);
    return status;
}

static int32_t look_at(probing *p, const cvr_batch *b, cvr_error *err) {
    const net_scalars zero = {0};
    const size_t n = strlen(p->probe->prefix);
    net_program *program;
    const char *name;
    CVR_TRY(program_of(p, b, &program, err));
    CVR_TRY(net_program_run(program, &b->view, &zero, err));
    for (int32_t slot = 0; (name = cvr_program_slot_name(program->program, slot)); slot++)
        if (strncmp(name, p->probe->prefix, n) == 0) CVR_TRY(show_value(p, program, slot, err));
    return CVR_OK;
}

void session_calibration(const cvr_session *s, cvr_batches_options *o) {
    const bool prunes = s->purpose & CVR_FOR_PRUNING;
    const int64_t batch = prunes ? s->set.prune->batch : s->set.quant->batch;
    data_batch_options(&s->data, &s->set, s->plugins, CVR_SPLIT_TRAIN, o);
    const int64_t most = s->set.data->limit, pictures = prunes ? s->set.prune->pictures : s->set.quant->pictures;
    o->limit = most && most < pictures ? most : pictures;
    o->batch = batch < o->limit ? batch : o->limit;
}

static int32_t look_at_all(probing *p, cvr_error *err) {
    cvr_batches_options o;
    cvr_batches *batches;
    cvr_batch b;
    int32_t status;
    session_calibration(p->k->s, &o);
    CVR_TRY(data_suggest_skip(&p->k->s->set, cvr_batches_create(&batches, &o, err), err));
    CVR_TRY_OUT(cvr_batches_begin(batches, 0, 0, err));
    for (uint64_t i = 0; !p->probe->batches || i < p->probe->batches; i++) {
        CVR_TRY_OUT(cvr_batches_next(batches, &b, err));
        if (b.view.n == 0) break;
        CVR_TRY_OUT(look_at(p, &b, err));
    }
out:
    cvr_batches_destroy(&batches);
    return data_suggest_skip(&p->k->s->set, status, err);
}

static int32_t run_probe(const cvr_compression *c, const cvr_probe *probe, cvr_error *err) {
    compressing *k = c->ctx;
    probing p = {.k = k, .probe = probe};
    network_rewriting *w = &k->s->net.rewriting;
    w->probe = probe;
    const int32_t status = look_at_all(&p, err);
    w->probe = NULL;
    for (size_t i = 0; i < p.n; i++) {
        net_program_destroy(&p.programs[i]);
        cvr_arena_destroy(&p.arenas[i]);
    }
    return status;
}

/* ---- the metric ---- */

static int32_t measure_network(cvr_session *s, double *value, cvr_error *err) {
    const char *wanted = evaluation_best_metric(s);
    const double sign = evaluation_lower_is_better(s) ? -1 : 1;
    const cvr_evaluate_options how = {0};
    cvr_metrics m = {0};
    int32_t status = cvr_evaluate(s, &how, &m, err);
    *value = (double)NAN;
    for (size_t i = 0; i < m.n; i++)
        if (strcmp(m.names[i], wanted) == 0) *value = sign * m.values[i];
    cvr_metrics_clear(&m);
    if (status == CVR_OK && isnan(*value))
        status = cvr_fail(err, CVR_ERR_UNSUPPORTED, "the metric %s cannot be measured on the validation data", wanted);
    return status;
}

/* The programs that evaluation has are of one network; they are made anew for the other. */
static int32_t measure_rewritten(compressing *k, double *value, cvr_error *err) {
    run_network *net = &k->s->net;
    network_forget_programs(net);
    net->rewriting = (network_rewriting){.compressor = k->s->set.method, .plan = k->plan};
    int32_t status = session_plan_evaluation(k->s, err);
    if (status == CVR_OK) status = compress_write_tensors(k, &k->s->net, err);
    if (status == CVR_OK) status = measure_network(k->s, value, err);
    network_forget_programs(net);
    net->rewriting = (network_rewriting){0};
    return status;
}

static int32_t measure(const cvr_compression *c, double *before, double *after, cvr_error *err) {
    compressing *k = c->ctx;
    if (!k->plan) return cvr_fail(err, CVR_ERR_PLUGIN, "there is no plan to measure yet");
    if (isnan(k->before)) CVR_TRY(measure_network(k->s, &k->before, err));
    *before = k->before;
    return measure_rewritten(k, after, err);
}

/* ---- all of it ---- */

/* The plan comes first: it is that of the weights before but for scales, which a run that goes on makes anew. */
int32_t compress_write_files(const compressing *k, const char *folder, cvr_error *err) {
    char *weights = cvr_fs_join(folder, "weights/best.safetensors"), *plan = cvr_fs_join(folder, CVR_PLAN_FILE);
    int32_t status;
    CVR_TRY_OUT(weights && plan ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    CVR_TRY_OUT(cvr_fs_write(plan, k->plan, strlen(k->plan), err));
    status = cvr_session_save_weights(k->s, weights, err);
out:
    cvr_free(weights);
    cvr_free(plan);
    return status;
}

/* Weights and plan of the network that came of it; nothing that was replaced is among them. */
static int32_t write_result(const compressing *k, cvr_error *err) {
    run_network *net = &k->s->net;
    network_forget_programs(net);
    net->rewriting = (network_rewriting){.compressor = k->s->set.method, .plan = k->plan, .alone = true};
    CVR_TRY(session_plan_evaluation(k->s, err));
    CVR_TRY(compress_write_tensors(k, net, err));
    return compress_write_files(k, k->o->folder, err);
}

int32_t session_check_method(const cvr_session *s, cvr_error *err) {
    const bool prunes = s->purpose & CVR_FOR_PRUNING;
    const char *section = prunes ? "prune" : "quant", *name = prunes ? s->set.prune->method : s->set.quant->method;
    const cvr_compressor_desc *method = prunes ? s->set.prune_method : s->set.method;
    const void *desc;
    if (!method) {
        (void)cvr_plugins_find(s->plugins, CVR_KIND_COMPRESSOR, name, &desc, err);
        return cvr_config_blame(s->set.config, section, "method", cvr_fail_as(err, CVR_ERR_USAGE), err);
    }
    if (strcmp(method->section, section) == 0) return CVR_OK;
    return cvr_config_blame(
        s->set.config, section, "method",
        cvr_fail(err, CVR_ERR_USAGE, "%s.method = %s: that does not %s", section, name, prunes ? "prune" : "quantise"),
        err);
}

/* How many pictures there are, as far as quant.pictures goes. */
static int32_t count_pictures(compressing *k, cvr_error *err) {
    const split *train = &k->s->data.splits[CVR_SPLIT_TRAIN];
    const int64_t limit = k->s->set.data->limit;
    CVR_CALL_TO(k->of, train->desc, count, NULL, train->self);
    k->of = limit && limit < k->of ? limit : k->of;
    k->pictures = k->of < k->s->set.quant->pictures ? k->of : k->s->set.quant->pictures;
    return k->pictures > 0 ? CVR_OK : cvr_fail(err, CVR_ERR_USAGE, "there are no training pictures to calibrate on");
}

void compressing_begin(compressing *k, cvr_session *s, const cvr_compress_options *o) {
    *k = (compressing){.s = s, .o = o, .before = (double)NAN};
    k->api = session_compression(s, k, s->set.method_attrs);
    k->api.probe = run_probe;
    k->api.tensor = take_tensor;
    k->api.plan = take_plan;
    k->api.measure = measure;
    k->api.note = take_note;
}

void compressing_end(compressing *k) {
    for (size_t i = 0; i < k->n; i++) {
        cvr_free(k->tensors[i].name);
        cvr_free(k->tensors[i].logical);
    }
    cvr_free(k->tensors);
    cvr_free(k->plan);
}

/* What training is to have in the place of the run's settings. */
static int32_t describe_training(const cvr_session *s, cvr_compress_result *r, cvr_error *err) {
    const cvr_finetune *f = s->set.method->finetune;
    r->trains = f != NULL;
    if (!f) return CVR_OK;
    return CVR_CALL(s->set.method, finetune->settings, NULL, err, s->set.method_attrs, s->set.lr, r->settings,
                    sizeof r->settings);
}

int32_t cvr_session_compress(cvr_session *s, const cvr_compress_options *o, cvr_compress_result *result,
                             cvr_error *err) {
    compressing k;
    int32_t status;
    compressing_begin(&k, s, o);
    CVR_TRY_OUT(count_pictures(&k, err));
    CVR_TRY_OUT(CVR_CALL(s->set.method, compress, NULL, err, &k.api));
    if (!k.plan) CVR_TRY_OUT(cvr_call_blame(s->set.method, "compress", NULL, err, "gives no plan of what it has made"));
    CVR_TRY_OUT(write_result(&k, err));
    *result = (cvr_compress_result){.pictures = k.pictures, .of = k.of};
    (void)snprintf(result->by, sizeof result->by, "%s", s->set.method->name);
    status = describe_training(s, result, err);
out:
    compressing_end(&k);
    return settings_blame(&s->set, status, err);
}
