/* What the tasks share: losses for results, and confusion matrices. */
#include "task_losses.h"
#include <cvr/plugin/ops/arith.h>
#include <math.h>

int32_t task_scale(const cvr_builder *b, double scale, cvr_value x, cvr_value *out, cvr_error *err) {
    const cvr_type *t = b->type(b, x);
    cvr_expand_attrs attrs;
    memset(&attrs, 0, sizeof attrs);
    for (uint32_t i = 0; i < CVR_MAX_RANK; i++) attrs.shape[i] = i < t->rank ? t->shape[i] : 1;
    attrs.rank = t->rank;
    attrs.scale = scale;
    return cvr_emit(b, "expand", &attrs, sizeof attrs, &x, 1, out, err);
}

/* A constant (classes), in training only: validation's loss is plain, as it is without label smoothing. */
int32_t task_class_weights(const cvr_builder *b, const cvr_task_info *info, cvr_value in[3], cvr_error *err) {
    const cvr_init init = {.struct_size = sizeof init, .kind = CVR_INIT_CONSTANT};
    const cvr_param_decl decl = {.struct_size = sizeof decl,
                                 .name = "class_weights",
                                 .dtype = CVR_F32,
                                 .rank = 1,
                                 .shape = {info->n_classes},
                                 .flags = CVR_PARAM_CONSTANT,
                                 .init = &init,
                                 .values = info->class_weights};
    return info->class_weights && b->training ? b->param(b, &decl, &in[2], err) : CVR_OK;
}

static double aux_weight(const task_loss *how, const cvr_io_output *result) {
    if (how->aux_weight >= 0) return how->aux_weight;
    return result->weight > 0 ? result->weight : how->aux_usual;
}

/* The loss's own name, and where its layer stands. */
typedef struct loss_name {
    char name[160], scope[176];
} loss_name;

static loss_name name_of(const task_loss *how, const char *result) {
    const int is_output = strcmp(result, "output") == 0;
    loss_name n = {"", "loss"};
    if (!how->name)
        (void)snprintf(n.name, sizeof n.name, "%.150s", result);
    else
        (void)snprintf(n.name, sizeof n.name, "%.90s%s%.60s", is_output ? "" : result, is_output ? "" : "_", how->name);
    if (how->name || !is_output) (void)snprintf(n.scope, sizeof n.scope, "loss.%s", n.name);
    return n;
}

static int32_t add_loss(const cvr_builder *b, const cvr_task_info *info, const cvr_io *io, const task_loss *how,
                        const cvr_io_output *result, cvr_error *err) {
    const loss_name name = name_of(how, result->name);
    const double scale = how->weight * (result->role == CVR_ROLE_AUXILIARY ? aux_weight(how, result) : 1);
    const cvr_value target = io->input(io, how->field);
    if (target == CVR_NONE) return cvr_fail(err, CVR_ERR_INVALID, "the batches have no field `%s`", how->field);
    CVR_TRY(how->check(info, b->type(b, result->value), b->type(b, target), err));
    cvr_value in[3] = {result->value, target, CVR_NONE}, loss;
    CVR_TRY(how->prepare(b, info, in, err));
    const cvr_layer_call call = {.struct_size = sizeof call,
                                 .layer = how->layer,
                                 .name = name.scope,
                                 .settings = how->settings,
                                 .inputs = in,
                                 .outputs = &loss,
                                 .n_inputs = in[2] == CVR_NONE ? 2 : 3,
                                 .n_outputs = 1};
    CVR_TRY(b->layer(b, &call, err));
    if (scale != 1 || result->role == CVR_ROLE_AUXILIARY) CVR_TRY(task_scale(b, scale, loss, &loss, err));
    return io->put(io, name.name, CVR_ROLE_LOSS, loss, err);
}

int32_t task_add_losses(const cvr_builder *b, const cvr_task_info *info, const cvr_io *io, const task_loss *how,
                        cvr_error *err) {
    const cvr_io_output *o;
    for (uint32_t i = 0; (o = io->output(io, i)); i++) {
        const int32_t wants = o->role == CVR_ROLE_RESULT || (o->role == CVR_ROLE_AUXILIARY && b->training);
        if (wants && !cvr_io_find(io, o->name, CVR_ROLE_LOSS)) CVR_TRY(add_loss(b, info, io, how, o, err));
    }
    return CVR_OK;
}

task_matrix *task_matrix_new(const cvr_host *host, int64_t n, cvr_error *err) {
    const uint64_t bytes = sizeof(task_matrix) + (uint64_t)(n * n) * sizeof(uint64_t);
    task_matrix *const m = host->alloc(host, bytes, 64);
    if (!m) {
        (void)cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the confusion matrix of %lld classes", (long long)n);
        return NULL;
    }
    memset(m, 0, bytes);
    m->host = host;
    m->n = n;
    return m;
}

task_class task_matrix_class(const task_matrix *m, int64_t k) {
    task_class c = {0, 0, m->count[k * m->n + k]};
    for (int64_t i = 0; i < m->n; i++) {
        c.truth += m->count[k * m->n + i];
        c.predicted += m->count[i * m->n + k];
    }
    return c;
}

double task_share(uint64_t a, uint64_t b) {
    return b ? (double)a / (double)b : NAN;
}
