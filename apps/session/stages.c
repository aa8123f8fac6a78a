/*
 * The graph of a program, stage by stage: the batch comes in, the network reads it, the task adds losses, gradients and
 * updates follow, and passes rewrite the whole. Which stages a program has depends on what it is for.
 */
#include "session_parts.h"
#include "teacher.h"
#include <cvr/plugin/ops/arith.h>

typedef struct building {
    const run_network *net;
    net_program *program;
    cvr_graph *graph;
    const cvr_builder *b;
    bool trains; /* the graph is a training step's */
    bool learns; /* there are targets, so there are losses */
    cvr_value loss;
    distilling taught; /* under a teacher */
} building;

typedef int32_t (*stage_fn)(building *w, cvr_error *err);

static const cvr_batches *batches_of(const building *w) {
    const run_data *d = w->net->data;
    const bool single = w->program->key.purpose == PROGRAM_PREDICT || w->program->key.purpose == PROGRAM_EXPORT;
    if (single && d->pictures) return d->pictures;
    const split *train = &d->splits[CVR_SPLIT_TRAIN];
    const bool probed = w->program->key.purpose >= PROGRAM_FEATURES && !single; /* made as the training split's are */
    return (w->trains || probed ? train : &d->splits[CVR_SPLIT_VAL])->batches;
}

/* The batch's fields become inputs; the picture has the element type of activations from here on. */
static int32_t stage_inputs(building *w, cvr_error *err) {
    const program_key *key = &w->program->key;
    const cvr_batch_inputs what = {key->batch, key->canvas, w->learns};
    const bool f16 = w->net->precision == PRECISION_F16, low = f16 || w->net->precision == PRECISION_BF16;
    const cvr_cast_attrs cast = {f16 ? CVR_F16 : CVR_BF16};
    cvr_value image;
    if ((key->purpose == PROGRAM_EVAL || key->purpose == PROGRAM_PREDICT) && w->net->trains &&
        w->net->settings->train->ema)
        cvr_graph_use_averages(w->graph);
    CVR_TRY(cvr_batches_inputs(batches_of(w), w->graph, &what, &image, err));
    if (!w->net->settings->run->deterministic) cvr_graph_nondeterministic(w->graph);
    cvr_graph_math(w->graph, math_of_precision(w->net->precision));
    w->program->picture = cvr_graph_input_value(w->graph, "image");
    w->taught = (distilling){.net = w->net, .graph = w->graph, .batch = key->batch, .pixels = image};
    if (key->purpose == PROGRAM_SHOWN) return cvr_graph_output(w->graph, SHOWN, image, err);
    if (low && key->purpose != PROGRAM_EXPORT)
        CVR_TRY(cvr_emit(w->b, "cast", &cast, sizeof cast, &image, 1, &image, err));
    return cvr_graph_stand_in(w->graph, "image", image, err);
}

/* All pictures of a file that is exported have the canvas's size. Detectors read it; who does not loses nothing. */
static int32_t stage_image_size(building *w, cvr_error *err) {
    const program_key *key = &w->program->key;
    const float size[2] = {(float)key->canvas.height, (float)key->canvas.width};
    const cvr_param_decl decl = {.struct_size = sizeof decl,
                                 .name = "image_size",
                                 .dtype = CVR_F32,
                                 .rank = 2,
                                 .shape = {1, 2, 1, 1, 1, 1},
                                 .flags = CVR_PARAM_CONSTANT,
                                 .values = size};
    const cvr_expand_attrs expand = {.rank = 2, .shape = {key->batch, 2}, .scale = 1};
    cvr_value v = cvr_graph_input_value(w->graph, "image_size");
    cvr_type type;
    cvr_type_set(&type, CVR_F32, 2, expand.shape);
    if (v == CVR_NONE) CVR_TRY(cvr_graph_input(w->graph, "image_size", &type, &v, err));
    CVR_TRY(w->b->param(w->b, &decl, &v, err));
    CVR_TRY(cvr_emit(w->b, "expand", &expand, sizeof expand, &v, 1, &v, err));
    return cvr_graph_stand_in(w->graph, "image_size", v, err);
}

/* There must be a result, and each has a row for each picture: with others, answers would be those of other pictures.
 */
static int32_t check_results(const building *w, cvr_error *err) {
    const cvr_io *io = cvr_graph_io(w->graph);
    const int64_t batch = w->program->key.batch;
    const cvr_io_output *o;
    size_t n = 0;
    for (uint32_t i = 0; (o = io->output(io, i)); i++) {
        const cvr_type *t = w->b->type(w->b, o->value);
        if (o->role != CVR_ROLE_RESULT) continue;
        if (t->rank < 1 || t->shape[0] != batch)
            return cvr_fail(err, CVR_ERR_USAGE,
                            "the network's `%s` has %lld rows for a batch of %lld pictures; a layer mixes pictures, or "
                            "takes the first axis for another: look at the shapes in cvrun info",
                            o->name, t->rank ? (long long)t->shape[0] : 0, (long long)batch);
        n++;
    }
    return n ? CVR_OK : cvr_fail(err, CVR_ERR_PLUGIN, "the network gives no result");
}

int32_t model_build(const settings *s, int64_t n_classes, int64_t channels, cvr_graph *g, const cvr_io *io,
                    cvr_error *err) {
    const cvr_setting *const *layers;
    const size_t n_layers = cvr_config_lines(s->config, "layers", &layers);
    CVR_TRY(cvr_graph_override_layers(g, layers, n_layers, err));
    if (s->model_desc) {
        const cvr_model_args args = {sizeof args, s->model_attrs, n_classes, channels};
        CVR_TRY(CVR_CALL(s->model_desc, build, NULL, err, cvr_graph_builder(g), &args, io));
    } else {
        const cvr_net net = {(const cvr_setting *const *)s->net, s->n_net, n_classes};
        cvr_value output;
        CVR_TRY(cvr_graph_net(g, &net, io->input(io, "image"), &output, err));
        CVR_TRY(io->put(io, "output", CVR_ROLE_RESULT, output, err));
    }
    return cvr_graph_overrides_used(g, err);
}

int32_t network_build(const run_network *n, cvr_graph *g, cvr_error *err) {
    return model_build(n->settings, n->data->task.n_classes, n->data->channels, g, cvr_graph_io(g), err);
}

/* The model, with the widths that it has by itself or those of a run that was pruned; there must be a result. */
static int32_t stage_network(building *w, cvr_error *err) {
    CVR_TRY((network_has_widths(w->net) ? network_build_narrow : network_build)(w->net, w->graph, err));
    return check_results(w, err);
}

/* ---- [distill] ---- */

static int32_t stage_teacher(building *w, cvr_error *err) {
    return w->net->teacher ? teacher_build(&w->taught, w->trains, err) : CVR_OK;
}

static int32_t stage_teacher_says(building *w, cvr_error *err) {
    return teacher_say(&w->taught, err);
}

static int32_t stage_distill(building *w, cvr_error *err) {
    return w->net->teacher ? teacher_losses(&w->taught, err) : CVR_OK;
}

/* [probe]: what the head reads ends one program, and begins the others. */
static int32_t stage_cut(building *w, cvr_error *err) {
    const bool ends = w->program->key.purpose == PROGRAM_FEATURES;
    cvr_value v;
    if (!w->net->probes) return CVR_OK;
    CVR_TRY(cvr_graph_before(w->graph, "head", &v, err));
    return ends ? cvr_graph_output(w->graph, FEATURES, v, err) : cvr_graph_cut(w->graph, v, FEATURES, err);
}

static int32_t stage_losses(building *w, cvr_error *err) {
    return CVR_CALL(w->net->settings->task, losses, NULL, err, w->b, &w->net->data->task, cvr_graph_io(w->graph));
}

/* Adds a loss to the sum. */
static int32_t add_loss(building *w, cvr_value loss, double weight, cvr_error *err) {
    const cvr_expand_attrs scalar = {.shape = {1, 1, 1, 1, 1, 1}, .scale = weight};
    cvr_value both[2] = {w->loss, loss};
    if (weight != 1) CVR_TRY(cvr_emit(w->b, "expand", &scalar, sizeof scalar, &loss, 1, &both[1], err));
    if (w->loss != CVR_NONE) return cvr_emit(w->b, "add", NULL, 0, both, 2, &w->loss, err);
    w->loss = both[1];
    return CVR_OK;
}

/* What is trained is the sum of all losses; where there is one, it is the sum. Under a teacher those of the task have
 * the weight that the distiller says. */
static int32_t stage_total(building *w, cvr_error *err) {
    const cvr_io *io = cvr_graph_io(w->graph);
    const cvr_io_output *o;
    size_t n = 0;
    for (uint32_t i = 0; (o = io->output(io, i)); i++) {
        const double weight = w->trains ? teacher_loss_weight(&w->taught, i) : 1;
        if (o->role != CVR_ROLE_LOSS || weight == 0) continue;
        CVR_TRY(add_loss(w, o->value, weight, err));
        n++;
    }
    if (n == 0 && !w->trains) return CVR_OK; /* a network that only predicts is measured by the task's metrics alone */
    if (n == 0) return cvr_fail(err, CVR_ERR_PLUGIN, "neither the network nor the task gives a loss");
    return cvr_graph_output(w->graph, "total loss", w->loss, err);
}

static int32_t stage_rewrite(building *w, cvr_error *err) {
    CVR_TRY(network_mask(w->net, w->graph, w->trains, err));
    return w->trains ? network_rewrite_step(w->net, w->graph, w->program->key.phase, err)
                     : network_rewrite(w->net, w->graph, err);
}

static int32_t run_passes(const building *w, uint32_t stage, cvr_error *err) {
    const settings *s = w->net->settings;
    const int32_t status = cvr_graph_passes(w->graph, stage, s->backend->passes, err);
    return status == CVR_ERR_USAGE ? cvr_config_blame(s->config, "backend", "passes", status, err) : status;
}

static int32_t stage_network_passes(building *w, cvr_error *err) {
    return run_passes(w, CVR_PASS_NETWORK, err);
}

/* Weights stay as they were where the loss is not finite. */
static int32_t stage_guard(building *w, cvr_error *err) {
    return cvr_graph_guard(w->graph, "total loss", err);
}

static int32_t stage_gradients(building *w, cvr_error *err) {
    return cvr_graph_backward(w->graph, cvr_graph_output_value(w->graph, "total loss"), err);
}

static int32_t stage_accumulate(building *w, cvr_error *err) {
    return cvr_graph_accumulate(w->graph, err);
}

static int32_t stage_take_gradients(building *w, cvr_error *err) {
    return cvr_graph_take_gradients(w->graph, err);
}

/* Gradient plugins, updates, and the running means of what they leave. */
static int32_t stage_updates(building *w, cvr_error *err) {
    const settings *s = w->net->settings;
    if (w->net->precision == PRECISION_F16) CVR_TRY(loss_scale_build(w->graph, err));
    CVR_TRY(cvr_graph_gradients(w->graph, s->gradient_plugins, s->n_gradient_plugins, err));
    CVR_TRY(cvr_graph_update(w->graph, &s->policy, err));
    return s->train->ema ? cvr_graph_average(w->graph, err) : CVR_OK;
}

static int32_t stage_step_passes(building *w, cvr_error *err) {
    return run_passes(w, CVR_PASS_STEP, err);
}

static int32_t stage_recompute(building *w, cvr_error *err) {
    return cvr_graph_recompute(w->graph, w->net->recompute, &w->program->recompute, err);
}

static int32_t stage_schedule(building *w, cvr_error *err) {
    (void)w;
    return cvr_graph_schedule(w->graph, err);
}

/* In the order in which they run, and the purposes that have them. */
#define FOR(purpose_) (1u << PROGRAM_##purpose_)
#define FORWARD (FOR(TRAIN) | FOR(ACCUMULATE) | FOR(EVAL) | FOR(PREDICT) | FOR(FEATURES))
static const struct {
    stage_fn run;
    uint32_t purposes;
    bool learns; /* only where there are targets */
} stages[] = {
    {stage_inputs, FORWARD | FOR(TEACHER) | FOR(SHOWN) | FOR(EXPORT), false},
    {stage_image_size, FOR(EXPORT), false},
    {stage_teacher, FOR(TRAIN) | FOR(ACCUMULATE) | FOR(TEACHER), false},
    {stage_teacher_says, FOR(TEACHER), false},
    {stage_network, FORWARD | FOR(EXPORT), false},
    {stage_cut, FOR(TRAIN) | FOR(ACCUMULATE) | FOR(EVAL) | FOR(FEATURES), false},
    {stage_distill, FOR(TRAIN) | FOR(ACCUMULATE), true},
    {stage_losses, FOR(TRAIN) | FOR(ACCUMULATE) | FOR(EVAL), true},
    {stage_total, FOR(TRAIN) | FOR(ACCUMULATE) | FOR(EVAL), true},
    {stage_rewrite, FORWARD | FOR(EXPORT), false},
    {stage_network_passes, FORWARD | FOR(TEACHER), false},
    {stage_guard, FOR(TRAIN), true},
    {stage_gradients, FOR(TRAIN) | FOR(ACCUMULATE), true},
    {stage_accumulate, FOR(ACCUMULATE), true},
    {stage_take_gradients, FOR(APPLY), false},
    {stage_updates, FOR(TRAIN) | FOR(APPLY), false},
    {stage_step_passes, FORWARD | FOR(TEACHER) | FOR(APPLY), false},
    {stage_recompute, FOR(TRAIN) | FOR(ACCUMULATE), false},
    {stage_schedule, FOR(TRAIN) | FOR(ACCUMULATE) | FOR(APPLY), false},
};

static int32_t begin(building *w, const run_network *n, net_program *p, cvr_error *err) {
    const int64_t purpose = p->key.purpose;
    *w = (building){.net = n, .program = p, .trains = purpose <= PROGRAM_APPLY};
    w->learns = purpose == PROGRAM_TRAIN || purpose == PROGRAM_ACCUMULATE ||
                (purpose == PROGRAM_EVAL && cvr_batches_have_targets(batches_of(w)));
    cvr_store_phase(n->store, p->key.phase);
    CVR_TRY(cvr_graph_create(&p->graph, n->plugins, n->store, w->trains, err));
    w->graph = p->graph;
    w->b = cvr_graph_builder(p->graph);
    return CVR_OK;
}

int32_t net_program_inputs(const run_network *n, net_program *p, cvr_error *err) {
    building w;
    CVR_TRY(begin(&w, n, p, err));
    return stage_inputs(&w, err);
}

int32_t net_program_build(const run_network *n, net_program *p, cvr_error *err) {
    const int64_t purpose = p->key.purpose;
    building w;
    CVR_TRY(begin(&w, n, p, err));
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
        if ((stages[i].purposes >> purpose & 1) && (w.learns || !stages[i].learns)) CVR_TRY(stages[i].run(&w, err));
    return CVR_OK;
}
