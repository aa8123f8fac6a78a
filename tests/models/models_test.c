/*
 * Narrow versions of every model against PyTorch (tests/parity/models.py --write): logits in evaluation, then what one
 * plain SGD step changes in every parameter and running statistic, on the cpu backend and on the reference.
 *
 * Tolerances: logits to 1e-4 of the largest; a change to 2e-3 in L2, relative, since sums of few terms after
 * normalisation are ill-conditioned; a change below 1e-4 of the largest is not told apart from rounding.
 */
#include "support/golden.h"
#include <criterion/criterion.h>
#include <cvr/plugin/bf16.h>
#include <cvr/plugin/ops/arith.h>
#include <cvr/session.h>
#include <math.h>
#include <stdlib.h>

static cvr_error err;

static void good(int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s", err.message);
}

/* A model of the golden file on a backend. */
typedef struct subject {
    golden *g;
    const char *label;
    cvr_plugins *plugins;
    cvr_threadpool *pool;
    cvr_device *device;
    cvr_store *store;
} subject;

static const golden_tensor *field(const subject *s, const char *name) {
    const golden_tensor *t = golden_find(s->g, s->label, name);
    cr_assert_not_null(t, "%s has no %s", s->label, name);
    return t;
}

static void text_field(const subject *s, const char *name, char *out, size_t size) {
    const golden_tensor *t = field(s, name);
    cr_assert_lt(t->bytes, size);
    memcpy(out, t->data, t->bytes);
    out[t->bytes] = '\0';
}

/* Adds the losses of auxiliary classifiers, with the weights that the model gave them. */
static void add_auxiliary(const cvr_graph *g, cvr_value target, cvr_value *loss) {
    const cvr_builder *b = cvr_graph_builder(g);
    const cvr_io *io = cvr_graph_io(g);
    const cvr_io_output *o;
    for (uint32_t i = 0; (o = io->output(io, i)); i++) {
        if (o->role != CVR_ROLE_AUXILIARY) continue;
        const cvr_value in[2] = {o->value, target};
        const cvr_expand_attrs weight = {.scale = o->weight, .shape = {1, 1, 1, 1, 1, 1}};
        cvr_value sum[2] = {*loss, CVR_NONE};
        good(cvr_layer2(b, o->name, "cross_entropy", "ignore_index=255", in, &sum[1], &err));
        good(cvr_emit(b, "expand", &weight, sizeof weight, &sum[1], 1, &sum[1], &err));
        good(cvr_layer2(b, "sum", "add", "", sum, loss, &err));
    }
}

/* The graph of the model, with loss, gradients and plain SGD where it trains. */
static cvr_graph *graph_of(const subject *s, bool training) {
    char name[64], settings[256];
    const void *desc;
    void *attrs;
    cvr_graph *g;
    cvr_value image, in[2], loss;
    text_field(s, "model", name, sizeof name);
    text_field(s, "settings", settings, sizeof settings);
    good(cvr_plugins_find(s->plugins, CVR_KIND_MODEL, name, &desc, &err));
    const cvr_model_desc *model = desc;
    const cvr_schema schema = {model->attrs, model->n_attrs};
    good(cvr_attrs_parse(&schema, settings, NULL, name, &attrs, &err));
    good(cvr_graph_create(&g, s->plugins, s->store, training, &err));
    const cvr_builder *b = cvr_graph_builder(g);
    cvr_type picture;
    cvr_type_set(&picture, CVR_F32, 4, field(s, "image")->type.shape);
    const cvr_model_args args = {sizeof args, attrs, field(s, "logits")->type.shape[1], picture.shape[1]};
    good(cvr_graph_input(g, "image", &picture, &image, &err));
    good(model->build(b, &args, cvr_graph_io(g), &err));
    cvr_free(attrs);
    in[0] = cvr_graph_output_value(g, "output");
    if (!training) return g;
    good(cvr_graph_input(g, "target", &field(s, "target")->type, &in[1], &err));
    good(cvr_layer2(b, "loss", "cross_entropy", "ignore_index=255", in, &loss, &err));
    add_auxiliary(g, in[1], &loss);
    good(cvr_graph_backward(g, loss, &err));
    good(cvr_plugins_find(s->plugins, CVR_KIND_OPTIMIZER, "sgd", &desc, &err));
    const cvr_optimizer_desc *sgd = desc;
    const cvr_schema sgd_schema = {sgd->attrs, sgd->n_attrs};
    good(cvr_attrs_parse(&sgd_schema, "momentum=0", NULL, "sgd", &attrs, &err));
    const cvr_update_policy policy = {sgd, attrs, 0, 0, 0};
    good(cvr_graph_update(g, &policy, &err));
    cvr_free(attrs);
    return g;
}

/* Element i of a tensor of the file. */
static double number_at(uint32_t dtype, const void *data, int64_t i) {
    if (dtype == CVR_I64) return (double)((const int64_t *)data)[i];
    if (dtype == CVR_U8) return (double)((const uint8_t *)data)[i];
    return dtype == CVR_BF16 ? (double)cvr_f32_of_bf16(((const uint16_t *)data)[i]) : (double)((const float *)data)[i];
}

/* bf16 and pixels as floats, pixels in 0..1; NULL where the tensor can be taken as it is. */
static float *widened(const golden_tensor *t) {
    const int64_t n = cvr_numel(t->type.rank, t->type.shape);
    if (t->type.dtype != CVR_BF16 && t->type.dtype != CVR_U8) return NULL;
    float *f = malloc((size_t)n * sizeof *f + 1);
    for (int64_t i = 0; i < n; i++)
        f[i] = (float)number_at(t->type.dtype, t->data, i) / (t->type.dtype == CVR_U8 ? 255.0f : 1.0f);
    return f;
}

/* Positions and the like are the model's own, and already what the file says; one number is a count of batches. */
static void check_numbers(const subject *s, size_t i, const golden_tensor *t) {
    const cvr_store_entry *e = cvr_store_get(s->store, i);
    if (e->type.dtype != CVR_I64 || e->type.rank == 0) return;
    void *own = malloc(e->bytes);
    good(cvr_store_read(s->store, i, own, &err));
    cr_assert_arr_eq(own, t->data, e->bytes, "%s: %s", s->label, e->name);
    free(own);
}

/* Every parameter gets the file's value, constants stay; the file has no others. */
static void load_params(const subject *s) {
    size_t wanted = 0, taken = 0;
    for (size_t i = 0; i < cvr_store_count(s->store); i++) {
        const cvr_store_entry *e = cvr_store_get(s->store, i);
        if (!cvr_store_in_weights(e)) continue;
        char name[160];
        taken++;
        (void)snprintf(name, sizeof name, "param.%s", e->name);
        const golden_tensor *t = field(s, name);
        cr_assert(t->type.rank == e->type.rank &&
                      memcmp(t->type.shape, e->type.shape, t->type.rank * sizeof *t->type.shape) == 0,
                  "%s: %s has another shape", s->label, e->name);
        check_numbers(s, i, t);
        void *values = widened(t);
        good(cvr_store_write(s->store, i, values ? values : t->data, &err));
        free(values);
    }
    for (size_t i = 0; i < s->g->n; i++)
        wanted += strcmp(s->g->tensors[i].label, s->label) == 0 && strncmp(s->g->tensors[i].field, "param.", 6) == 0;
    cr_assert_eq(wanted, taken, "%s: parameters that the model lacks", s->label);
}

static void write_input(const subject *s, cvr_program *p, const char *name) {
    const golden_tensor *t = field(s, name);
    float *values = widened(t);
    cvr_type type = t->type;
    if (values) type.dtype = CVR_F32;
    void *memory = malloc((size_t)cvr_numel(type.rank, type.shape) * cvr_dtype_size(type.dtype));
    cvr_from_logical(&type, values ? (const void *)values : t->data, memory);
    good(cvr_program_write(p, cvr_program_slot(p, name), memory, &err));
    free(memory);
    free(values);
}

/* Plans the graph, loads the weights, runs once. `output` (may be NULL) gets the logits in logical order. */
static void run_graph(const subject *s, cvr_graph *g, bool training, float *output) {
    cvr_program *p;
    cvr_arena *arena;
    const float one = 1.0f;
    const int64_t zero = 0;
    good(cvr_store_place(s->store, s->device, &err));
    good(cvr_program_plan(&p, g, s->device, s->pool, CVR_FALLBACK_ERROR, &err));
    good(cvr_arena_create(&arena, s->device, &p, 1, 0, &err));
    good(cvr_program_bind(p, arena, &err));
    load_params(s);
    write_input(s, p, "image");
    if (training) {
        write_input(s, p, "target");
        good(cvr_program_write(p, cvr_program_slot(p, "lr"), field(s, "lr")->data, &err));
        good(cvr_program_write(p, cvr_program_slot(p, "loss_scale"), &one, &err));
        if (cvr_program_slot(p, "step") >= 0) good(cvr_program_write(p, cvr_program_slot(p, "step"), &zero, &err));
    }
    good(cvr_program_run(p, &err));
    if (output) {
        const int32_t slot = cvr_program_slot(p, "output");
        const cvr_type *t = cvr_program_slot_type(p, slot);
        float *memory = malloc((size_t)cvr_numel(t->rank, t->shape) * sizeof *memory);
        good(cvr_program_read(p, slot, memory, &err));
        cvr_to_logical(t, memory, output);
        free(memory);
    }
    cvr_program_destroy(&p);
    cvr_arena_destroy(&arena);
}

static void check_logits(const subject *s, const char *backend) {
    const golden_tensor *t = field(s, "logits");
    const float *expected = (const float *)(const void *)t->data;
    const int64_t n = cvr_numel(t->type.rank, t->type.shape);
    float *logits = malloc((size_t)n * sizeof *logits);
    double largest = 0, worst = 0;
    cvr_graph *g = graph_of(s, false);
    run_graph(s, g, false, logits);
    for (int64_t i = 0; i < n; i++) {
        const double d = fabs((double)logits[i] - (double)expected[i]);
        largest = fmax(largest, fabs((double)expected[i]));
        worst = d > worst || isnan(d) ? d : worst;
    }
    cr_assert(worst <= 1e-4 * largest, "%s on %s: logits differ by %g of %g", s->label, backend, worst, largest);
    cvr_graph_destroy(&g);
    free(logits);
}

/* Root of the mean square of the change that has the largest one, of parameters with more than one axis. */
static double largest_change(const subject *s) {
    double largest = 0;
    for (size_t i = 0; i < s->g->n; i++) {
        const golden_tensor *t = &s->g->tensors[i];
        if (strcmp(t->label, s->label) != 0 || strncmp(t->field, "change.", 7) != 0 || t->type.rank < 2) continue;
        const int64_t n = cvr_numel(t->type.rank, t->type.shape);
        double sum = 0;
        for (int64_t k = 0; k < n; k++) sum += pow(number_at(CVR_F32, t->data, k), 2);
        largest = fmax(largest, sqrt(sum / (double)n));
    }
    return largest;
}

static void check_change(const subject *s, size_t i, double floor_, const char *backend) {
    const cvr_store_entry *e = cvr_store_get(s->store, i);
    const int64_t n = cvr_numel(e->type.rank, e->type.shape);
    char before[160], change[160];
    double distance = 0, size = 0;
    void *after = malloc(e->bytes);
    (void)snprintf(before, sizeof before, "param.%s", e->name);
    (void)snprintf(change, sizeof change, "change.%s", e->name);
    const golden_tensor *start = field(s, before), *expected = field(s, change);
    good(cvr_store_read(s->store, i, after, &err));
    for (int64_t k = 0; k < n; k++) {
        const double d = number_at(e->type.dtype, after, k) - number_at(start->type.dtype, start->data, k);
        const double want = number_at(CVR_F32, expected->data, k);
        distance += (d - want) * (d - want);
        size += want * want;
    }
    const double error = sqrt(distance) / fmax(sqrt(size), floor_ * sqrt((double)n));
    cr_assert(error <= 2e-3, "%s on %s: %s changes by something else, to %g", s->label, backend, e->name, error);
    free(after);
}

static void check_step(const subject *s, const char *backend) {
    cvr_graph *g = graph_of(s, true);
    run_graph(s, g, true, NULL);
    const double floor_ = 1e-4 * largest_change(s);
    cr_assert_gt(floor_, 0);
    for (size_t i = 0; i < cvr_store_count(s->store); i++) {
        if (cvr_store_in_weights(cvr_store_get(s->store, i))) check_change(s, i, floor_, backend);
    }
    cvr_graph_destroy(&g);
}

static void check_models(const char *backend) {
    golden g;
    subject s = {.g = &g};
    cvr_error_init(&err);
    good(cvr_plugins_open(&s.plugins, NULL, 0, &err));
    good(golden_open(&g, s.plugins, CVR_GOLDEN_DIR "/models.safetensors", &err));
    good(cvr_pool_create(&s.pool, 2, &err));
    cr_assert_geq(g.n_cases, 18);
    for (size_t i = 0; i < g.n_cases; i++) {
        s.label = g.cases[i];
        good(cvr_device_open(&s.device, s.plugins, &(cvr_device_choice){.backend = backend}, s.pool, &err));
        good(cvr_store_create(&s.store, 0, &err));
        check_logits(&s, backend);
        check_step(&s, backend);
        cvr_store_destroy(&s.store);
        cvr_device_close(&s.device);
    }
    golden_close(&g);
    cvr_plugins_close(&s.plugins);
    cvr_pool_destroy(&s.pool);
}

Test(models, agree_with_pytorch_on_cpu) {
    check_models("cpu");
}
Test(models, agree_with_pytorch_on_reference) {
    check_models("reference");
}
