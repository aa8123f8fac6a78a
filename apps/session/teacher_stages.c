/*
 * The teacher in a graph: the student's pixels as the teacher was trained to see them, the network, frozen, and what of
 * it the distiller compares. It stands in front of the student, so that its activations are gone before the student's
 * first: of the teacher only its results, and the layers that are looked at, live until the losses.
 */
#include "teacher.h"
#include <cvr/plugin/ops/arith.h>
#include <math.h>

static const settings *settings_of(const distilling *d) {
    return d->net->settings;
}

/* ---- pixels ---- */

/* A constant of one number a channel, (C,1,1). */
static int32_t per_channel(const cvr_builder *b, const char *name, int64_t channels, const float *values,
                           cvr_value *out, cvr_error *err) {
    const cvr_param_decl decl = {.struct_size = sizeof decl,
                                 .name = name,
                                 .dtype = CVR_F32,
                                 .rank = 3,
                                 .shape = {channels, 1, 1, 1, 1, 1},
                                 .flags = CVR_PARAM_CONSTANT,
                                 .values = values};
    return b->param(b, &decl, out, err);
}

/* (x * std_student + mean_student - mean_teacher) / std_teacher */
static int32_t renormalise(const distilling *d, const cvr_builder *b, cvr_value *x, cvr_error *err) {
    const teacher *t = d->net->teacher;
    const int64_t channels = b->type(b, *x)->shape[1];
    cvr_value in[2] = {*x};
    CVR_TRY(per_channel(b, "pixel_scale", channels, t->scale, &in[1], err));
    CVR_TRY(cvr_emit(b, "mul_broadcast", NULL, 0, in, 2, &in[0], err));
    CVR_TRY(per_channel(b, "pixel_shift", channels, t->shift, &in[1], err));
    return cvr_emit(b, "add_broadcast", NULL, 0, in, 2, x, err);
}

static int32_t make_picture(distilling *d, const cvr_builder *b, cvr_error *err) {
    const teacher *t = d->net->teacher;
    const int64_t asked = settings_of(d)->distill->precision;
    const cvr_cast_attrs low = {CVR_BF16};
    const bool bf16 = asked == DISTILL_BF16 || (asked == DISTILL_AUTO && d->net->precision == PRECISION_BF16);
    cvr_value x = d->pixels;
    const cvr_type *type = b->type(b, x);
    if (t->side > 0 && (type->shape[2] != t->side || type->shape[3] != t->side)) {
        char size[64];
        (void)snprintf(size, sizeof size, "size=%lld mode=bilinear", (long long)t->side);
        CVR_TRY(cvr_layer(b, "resize", "upsample", size, x, &x, err));
    }
    if (t->renormalises) CVR_TRY(renormalise(d, b, &x, err));
    if (bf16 && !t->rewriting.compressor) CVR_TRY(cvr_emit(b, "cast", &low, sizeof low, &x, 1, &x, err));
    d->picture = x;
    return CVR_OK;
}

/* ---- its ends ---- */

static cvr_value teacher_input(const cvr_io *io, const char *name) {
    const distilling *d = io->ctx;
    if (strcmp(name, "image") == 0) return d->picture;
    const cvr_io *student = cvr_graph_io(d->graph);
    return student->input(student, name);
}

static int32_t teacher_put(const cvr_io *io, const char *name, uint32_t role, cvr_value v, cvr_error *err) {
    distilling *d = io->ctx;
    const cvr_builder *b = cvr_graph_builder(d->graph);
    const cvr_cast_attrs wide = {CVR_F32};
    if (role != CVR_ROLE_RESULT) return CVR_OK; /* what only training looks at */
    if (d->n_results == MOST_RESULTS || strlen(name) >= sizeof d->names[0])
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "the teacher has too many results, or one with too long a name");
    const cvr_type *t = b->type(b, v);
    if (!t || t->rank < 1 || t->shape[0] != d->batch)
        return cvr_fail(err, CVR_ERR_USAGE, "the teacher's `%s` has not a row for each picture", name);
    if (t->dtype == CVR_BF16) CVR_TRY(cvr_emit(b, "cast", &wide, sizeof wide, &v, 1, &v, err));
    char *copy = d->names[d->n_results];
    (void)snprintf(copy, sizeof d->names[0], "%s", name);
    d->results[d->n_results++] =
        (cvr_io_output){.struct_size = sizeof d->results[0], .name = copy, .role = role, .value = v};
    return CVR_OK;
}

static const cvr_io_output *teacher_output(const cvr_io *io, uint32_t i) {
    const distilling *d = io->ctx;
    return i < d->n_results ? &d->results[i] : NULL;
}

static void teacher_weigh(const cvr_io *io, const char *name, double weight) {
    (void)io, (void)name, (void)weight;
}

static int32_t refuse_put(const cvr_io *io, const char *name, uint32_t role, cvr_value v, cvr_error *err) {
    (void)io, (void)role, (void)v;
    return cvr_fail(err, CVR_ERR_PLUGIN, "puts `%s` to the teacher, which stays as it is", name ? name : "");
}

/* ---- the network ---- */

/* Outputs of the graph keep hold of the teacher's results while passes or narrowing put others in their place. */
static const char *held_name(const distilling *d, uint32_t i, char name[80]) {
    (void)snprintf(name, 80, TEACHER " %s", d->names[i]);
    return name;
}

static int32_t hold_results(const distilling *d, cvr_graph *g, cvr_error *err) {
    char name[80];
    for (uint32_t i = 0; i < d->n_results; i++)
        if (cvr_graph_output_value(g, held_name(d, i, name)) == CVR_NONE)
            CVR_TRY(cvr_graph_output(g, name, d->results[i].value, err));
    return CVR_OK;
}

static void take_held(distilling *d) {
    char name[80];
    for (uint32_t i = 0; i < d->n_results; i++)
        d->results[i].value = cvr_graph_output_value(d->graph, held_name(d, i, name));
}

static int32_t build_model(distilling *d, cvr_error *err) {
    const teacher *t = d->net->teacher;
    return model_build(&t->set, t->n_classes, t->set.model->in_channels, d->graph, &d->io, err);
}

/* A teacher that was pruned: as its model builds it on a trace, and then without the channels that [widths] leaves out,
 * as narrow_network.c has it for the student. */
static int32_t build_narrow(distilling *d, cvr_error *err) {
    cvr_graph *whole = d->graph;
    traced_network t = {0};
    int32_t status;
    CVR_TRY_OUT(cvr_graph_trace(&t.graph, whole, err));
    d->graph = t.graph;
    status = build_model(d, err);
    d->graph = whole;
    CVR_TRY_OUT(status);
    CVR_TRY_OUT(hold_results(d, t.graph, err));
    CVR_TRY_OUT(cvr_channels_create(&t.channels, t.graph, err));
    CVR_TRY_OUT(network_read_widths(d->net->teacher->set.config, t.channels, err));
    CVR_TRY_OUT(cvr_graph_narrow(whole, t.graph, t.channels, err));
    take_held(d);
out:
    network_trace_free(&t);
    return status;
}

static int32_t build_network(distilling *d, cvr_error *err) {
    const cvr_setting *const *widths;
    const bool pruned = cvr_config_lines(d->net->teacher->set.config, "widths", &widths) > 0;
    CVR_TRY(pruned ? build_narrow(d, err) : build_model(d, err));
    return d->n_results ? CVR_OK : cvr_fail(err, CVR_ERR_PLUGIN, "the teacher gives no result");
}

/* A quantised teacher: the network of its plan takes the model's place. Its passes look at the network by itself, with
 * the picture as its input. */
static int32_t rewrite(distilling *d, cvr_error *err) {
    const teacher *t = d->net->teacher;
    const cvr_value before = cvr_graph_input_value(d->graph, "image");
    CVR_TRY(cvr_graph_stand_in(d->graph, "image", d->picture, err));
    CVR_TRY(hold_results(d, d->graph, err));
    CVR_TRY(graph_rewrite(&t->rewriting, &t->set, d->graph, err));
    take_held(d);
    return cvr_graph_stand_in(d->graph, "image", before, err);
}

/* Columns of x (N, classes) in the order of the student's classes. */
static int32_t order_classes(const distilling *d, const cvr_builder *b, const char *result, cvr_value *x,
                             cvr_error *err) {
    const cvr_param_decl decl = {.struct_size = sizeof decl,
                                 .name = "classes",
                                 .dtype = CVR_I64,
                                 .rank = 1,
                                 .shape = {d->net->teacher->n_classes, 1, 1, 1, 1, 1},
                                 .flags = CVR_PARAM_CONSTANT,
                                 .values = d->net->teacher->columns};
    cvr_value in[2];
    if (b->type(b, *x)->rank != 2)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                        "the teacher's classes are in another order than the student's, and its `%s` is not of one "
                        "class a picture; train it on data with the same order of classes",
                        result);
    CVR_TRY(cvr_layer(b, "by_class", "permute", "1,0", *x, &in[0], err));
    CVR_TRY(b->param(b, &decl, &in[1], err));
    CVR_TRY(cvr_emit(b, "take_rows", NULL, 0, in, 2, &in[0], err));
    return cvr_layer(b, "by_picture", "permute", "1,0", in[0], x, err);
}

/* ---- distill.layers ---- */

static int32_t read_pairs(distilling *d, cvr_error *err) {
    for (const char *p = settings_of(d)->distill->layers; *p;) {
        const size_t n = strcspn(p, ","), first = strcspn(p, ":,"), second = first < n ? n - first - 1 : n;
        const char *other = first < n ? p + first + 1 : p;
        if (d->n_pairs == MOST_PAIRS || first == 0 || second == 0 || first > 127 || second > 127)
            return cvr_fail(err, CVR_ERR_USAGE,
                            "distill.layers = %.100s: write at most %d layers, such as layer2,layer3:stage3",
                            settings_of(d)->distill->layers, MOST_PAIRS);
        char(*names)[128] = d->layers[d->n_pairs];
        (void)snprintf(names[0], 128, "%.*s", (int)first, p);
        (void)snprintf(names[1], 128, "%.*s", (int)second, other);
        d->pair_list[d->n_pairs] = &d->pairs[d->n_pairs];
        d->pairs[d->n_pairs++] =
            (cvr_distill_pair){.struct_size = sizeof d->pairs[0], .student_layer = names[0], .teacher_layer = names[1]};
        p += n + (p[n] == ',');
    }
    return CVR_OK;
}

static int32_t find_value(const distilling *d, const char *whose, const char *layer, cvr_value *out, cvr_error *err) {
    const cvr_builder *b = cvr_graph_builder(d->graph);
    char why[sizeof err->message];
    const int32_t status = cvr_graph_layer_value(d->graph, layer, out, err);
    if (status != CVR_OK) {
        (void)snprintf(why, sizeof why, "%s", err->message);
        (void)snprintf(err->message, sizeof err->message, "distill.layers: of the %s %.700s", whose, why);
        return status;
    }
    const uint32_t dtype = b->type(b, *out)->dtype;
    if (dtype == CVR_F32 || dtype == CVR_BF16) return CVR_OK;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                    "distill.layers: `%s` of the %s gives integers; take the run that it was quantised from", layer,
                    whose);
}

/* ---- stages ---- */

static int32_t build_within(distilling *d, bool looks, cvr_error *err) {
    const cvr_builder *b = cvr_graph_builder(d->graph);
    CVR_TRY(make_picture(d, b, err));
    CVR_TRY(build_network(d, err));
    if (d->net->teacher->rewriting.compressor) CVR_TRY(rewrite(d, err));
    for (uint32_t i = 0; i < d->n_results && d->net->teacher->columns; i++)
        CVR_TRY(order_classes(d, b, d->names[i], &d->results[i].value, err));
    if (looks) CVR_TRY(read_pairs(d, err));
    for (uint32_t i = 0; i < d->n_pairs; i++)
        CVR_TRY(find_value(d, "teacher", d->pairs[i].teacher_layer, &d->pairs[i].teacher, err));
    return CVR_OK;
}

int32_t teacher_build(distilling *d, bool looks, cvr_error *err) {
    d->io = (cvr_io){sizeof d->io, d, teacher_input, teacher_put, teacher_output, teacher_weigh};
    d->task_weight = 1;
    CVR_TRY(cvr_graph_enter(d->graph, TEACHER, CVR_NETWORK_FROZEN, err));
    const int32_t status = build_within(d, looks, err);
    cvr_graph_leave(d->graph);
    d->io.put = refuse_put;
    return status;
}

int32_t teacher_say(const distilling *d, cvr_error *err) {
    const cvr_io *io = cvr_graph_io(d->graph);
    for (uint32_t i = 0; i < d->n_results; i++)
        CVR_TRY(io->put(io, d->results[i].name, CVR_ROLE_RESULT, d->results[i].value, err));
    return CVR_OK;
}

static uint32_t count_outputs(const distilling *d) {
    const cvr_io *io = cvr_graph_io(d->graph);
    uint32_t n = 0;
    while (io->output(io, n)) n++;
    return n;
}

/* What a distiller refuses, it refuses as the user's choice. */
static int32_t blame_method(const settings *s, int32_t status, cvr_error *err) {
    char why[sizeof err->message];
    if ((status != CVR_ERR_USAGE && status != CVR_ERR_UNSUPPORTED) || strncmp(err->message, "distill.", 8) == 0)
        return status;
    (void)snprintf(why, sizeof why, "%s", err->message);
    (void)snprintf(err->message, sizeof err->message, "distill.method = %s: %.800s", s->distill->method, why);
    return cvr_config_blame(s->config, "distill", "method", status, err);
}

static int32_t add_losses(distilling *d, cvr_error *err) {
    const settings *s = settings_of(d);
    const cvr_distillation what = {.struct_size = sizeof what,
                                   .builder = cvr_graph_builder(d->graph),
                                   .attrs = s->distiller_attrs,
                                   .student = cvr_graph_io(d->graph),
                                   .teacher = &d->io,
                                   .pairs = d->pair_list,
                                   .n_pairs = d->n_pairs,
                                   .n_classes = d->net->data->task.n_classes};
    CVR_TRY(blame_method(s, CVR_CALL(s->distiller, losses, NULL, err, &what, &d->task_weight), err));
    if (isfinite(d->task_weight) && d->task_weight >= 0) return CVR_OK;
    return cvr_call_blame(s->distiller, "losses", NULL, err, "weighs the task's losses with %g; at least 0",
                          d->task_weight);
}

int32_t teacher_losses(distilling *d, cvr_error *err) {
    for (uint32_t i = 0; i < d->n_pairs; i++)
        CVR_TRY(find_value(d, "student", d->pairs[i].student_layer, &d->pairs[i].student, err));
    d->first_loss = count_outputs(d);
    CVR_TRY(cvr_graph_enter(d->graph, "distill", CVR_NETWORK_TRAINED, err));
    const int32_t status = add_losses(d, err);
    cvr_graph_leave(d->graph);
    d->n_losses = count_outputs(d) - d->first_loss;
    return status;
}

double teacher_loss_weight(const distilling *d, uint32_t i) {
    const bool own = i >= d->first_loss && i < d->first_loss + d->n_losses;
    return d->net->teacher && !own ? d->task_weight : 1;
}
