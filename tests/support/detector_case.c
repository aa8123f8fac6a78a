/* Detectors of golden files as programs; see the header. */
#include "detector_case.h"
#include <cvr/plugin/bf16.h>
#include <stdlib.h>

#define MOST_CAPTURED 64u

/* A captured call of a layer. */
typedef struct captured {
    char name[160]; /* NAME.i */
    cvr_value value;
} captured;

typedef struct running {
    const detector_case *c;
    cvr_store *store;
    cvr_graph *graph;
    cvr_device *device;
    cvr_program *program;
    cvr_arena *arena;
    cvr_builder recording;
    char capture[1024];
    captured captured[MOST_CAPTURED];
    size_t n_captured;
} running;

static running *current; /* the builder's callbacks have no place for it */

static const golden_tensor *field(const running *r, const char *name) {
    return golden_find(r->c->g, r->c->label, name);
}

static int32_t need(const running *r, const char *name, const golden_tensor **t, cvr_error *err) {
    *t = field(r, name);
    return *t ? CVR_OK : cvr_fail(err, CVR_ERR_NOTFOUND, "%s has no field %s", r->c->label, name);
}

static int32_t text_of(const running *r, const char *name, char *out, size_t size, cvr_error *err) {
    const golden_tensor *t;
    CVR_TRY(need(r, name, &t, err));
    (void)snprintf(out, size, "%.*s", (int)t->bytes, (const char *)t->data);
    return CVR_OK;
}

/* ---- captured layers ---- */

static bool is_captured(const running *r, const char *name) {
    const size_t n = strlen(name);
    for (const char *p = r->capture; (p = strstr(p, name)); p += n)
        if ((p == r->capture || p[-1] == ' ') && (p[n] == ' ' || !p[n])) return true;
    return false;
}

static int32_t record(const cvr_builder *b, const cvr_layer_call *call, cvr_error *err) {
    running *r = current;
    const cvr_builder *real = cvr_graph_builder(r->graph);
    int calls = 0;
    (void)b;
    CVR_TRY(real->layer(real, call, err));
    if (!is_captured(r, call->name) || r->n_captured == MOST_CAPTURED) return CVR_OK;
    for (size_t i = 0; i < r->n_captured; i++)
        calls += strncmp(r->captured[i].name, call->name, strlen(call->name)) == 0 &&
                 r->captured[i].name[strlen(call->name)] == '.';
    captured *c = &r->captured[r->n_captured++];
    (void)snprintf(c->name, sizeof c->name, "%s.%d", call->name, calls);
    c->value = call->outputs[0];
    return CVR_OK;
}

/* ---- the graph ---- */

static int32_t add_input(running *r, const char *name, uint32_t dtype, cvr_value *v, cvr_error *err) {
    const golden_tensor *t;
    cvr_type type;
    CVR_TRY(need(r, name, &t, err));
    cvr_type_set(&type, dtype, t->type.rank, t->type.shape);
    return cvr_graph_input(r->graph, name, &type, v, err);
}

/* The objects, each known to be as many as `counts` says. */
static int32_t add_targets(running *r, cvr_error *err) {
    static const struct {
        const char *name;
        uint32_t dtype;
    } ragged[] = {{"boxes", CVR_F32}, {"box_labels", CVR_I64}, {"masks", CVR_U8}};
    const cvr_builder *b = cvr_graph_builder(r->graph);
    cvr_value counts, v;
    CVR_TRY(add_input(r, "counts", CVR_I64, &counts, err));
    for (size_t i = 0; i < 3; i++) {
        if (i == 2 && !field(r, ragged[i].name)) continue;
        CVR_TRY(add_input(r, ragged[i].name, ragged[i].dtype, &v, err));
        CVR_TRY(b->set_counts(b, v, 1, counts, err));
    }
    return CVR_OK;
}

static int32_t build_model(running *r, cvr_error *err) {
    char name[64], settings[512];
    const void *desc;
    const golden_tensor *classes;
    void *attrs;
    CVR_TRY(text_of(r, "model", name, sizeof name, err));
    CVR_TRY(text_of(r, "settings", settings, sizeof settings, err));
    CVR_TRY(need(r, "classes", &classes, err));
    CVR_TRY(cvr_plugins_find(r->c->plugins, CVR_KIND_MODEL, name, &desc, err));
    const cvr_model_desc *model = desc;
    const cvr_schema schema = {model->attrs, model->n_attrs};
    CVR_TRY(cvr_attrs_parse(&schema, settings, NULL, name, &attrs, err));
    const cvr_model_args args = {sizeof args, attrs, *(const int64_t *)(const void *)classes->data, 3};
    current = r;
    r->recording = *cvr_graph_builder(r->graph);
    r->recording.layer = record;
    const int32_t status = model->build(&r->recording, &args, cvr_graph_io(r->graph), err);
    cvr_free(attrs);
    return status;
}

int32_t detector_add_step(cvr_plugins *plugins, cvr_graph *graph, cvr_error *err) {
    const cvr_builder *b = cvr_graph_builder(graph);
    const cvr_io *io = cvr_graph_io(graph);
    const cvr_io_output *o;
    const void *desc;
    void *attrs;
    cvr_value total = CVR_NONE;
    for (uint32_t i = 0; (o = io->output(io, i)); i++) {
        if (o->role != CVR_ROLE_LOSS) continue;
        const cvr_value both[2] = {total, o->value};
        if (total == CVR_NONE)
            total = o->value;
        else
            CVR_TRY(cvr_layer2(b, "total", "add", "", both, &total, err));
    }
    if (total == CVR_NONE) return cvr_fail(err, CVR_ERR_INVALID, "there is no loss");
    CVR_TRY(cvr_graph_backward(graph, total, err));
    CVR_TRY(cvr_plugins_find(plugins, CVR_KIND_OPTIMIZER, "sgd", &desc, err));
    const cvr_optimizer_desc *sgd = desc;
    const cvr_schema schema = {sgd->attrs, sgd->n_attrs};
    CVR_TRY(cvr_attrs_parse(&schema, "momentum=0", NULL, "sgd", &attrs, err));
    const cvr_update_policy policy = {sgd, attrs, 0, 0, 0};
    const int32_t status = cvr_graph_update(graph, &policy, err);
    cvr_free(attrs);
    return status;
}

/* What is captured is read after the run; in training its gradient, too. */
static int32_t keep_captured(running *r, cvr_error *err) {
    for (size_t i = 0; i < r->n_captured; i++) {
        char name[200];
        (void)snprintf(name, sizeof name, "layer.%s", r->captured[i].name);
        CVR_TRY(cvr_graph_output(r->graph, name, r->captured[i].value, err));
        const cvr_value grad = r->c->training ? cvr_graph_gradient(r->graph, r->captured[i].value) : CVR_NONE;
        (void)snprintf(name, sizeof name, "grad.%s", r->captured[i].name);
        if (grad != CVR_NONE) CVR_TRY(cvr_graph_output(r->graph, name, grad, err));
    }
    return CVR_OK;
}

static int32_t build(running *r, cvr_error *err) {
    cvr_value v;
    const bool targets = r->c->training || r->c->targets;
    CVR_TRY(cvr_store_create(&r->store, 0, err));
    CVR_TRY(cvr_graph_create(&r->graph, r->c->plugins, r->store, r->c->training, err));
    if (field(r, "capture")) CVR_TRY(text_of(r, "capture", r->capture, sizeof r->capture, err));
    CVR_TRY(add_input(r, "image", CVR_F32, &v, err));
    CVR_TRY(add_input(r, "image_size", CVR_F32, &v, err));
    if (targets) CVR_TRY(add_targets(r, err));
    CVR_TRY(build_model(r, err));
    if (r->c->training) CVR_TRY(detector_add_step(r->c->plugins, r->graph, err));
    return keep_captured(r, err);
}

/* ---- running ---- */

/* bf16 as f32, bytes of a picture as 0..1. Free it. */
static float *floats_of(const golden_tensor *t) {
    const int64_t n = cvr_numel(t->type.rank, t->type.shape);
    float *f = calloc((size_t)n + 1, sizeof *f);
    for (int64_t i = 0; f && i < n; i++)
        f[i] = t->type.dtype == CVR_BF16 ? cvr_f32_of_bf16(((const uint16_t *)(const void *)t->data)[i])
               : t->type.dtype == CVR_U8 ? (float)t->data[i] / 255.0f
                                         : ((const float *)(const void *)t->data)[i];
    return f;
}

/* Every parameter of the network has a field, and each such field a parameter. */
static int32_t load_params(const running *r, cvr_error *err) {
    size_t wanted = 0, taken = 0;
    for (size_t i = 0; i < cvr_store_count(r->store); i++) {
        const cvr_store_entry *e = cvr_store_get(r->store, i);
        const golden_tensor *t;
        char name[200];
        if (!cvr_store_in_weights(e)) continue;
        (void)snprintf(name, sizeof name, "param.%s", e->name);
        CVR_TRY(need(r, name, &t, err));
        if (t->type.rank != e->type.rank || memcmp(t->type.shape, e->type.shape, t->type.rank * sizeof(int64_t)) != 0)
            return cvr_fail(err, CVR_ERR_INVALID, "%s: %s has another shape", r->c->label, e->name);
        float *f = e->type.dtype == CVR_F32 ? floats_of(t) : NULL;
        const int32_t status = cvr_store_write(r->store, i, f ? (const void *)f : t->data, err);
        free(f);
        CVR_TRY(status);
        taken++;
    }
    for (size_t i = 0; i < r->c->g->n; i++)
        wanted +=
            strcmp(r->c->g->tensors[i].label, r->c->label) == 0 && strncmp(r->c->g->tensors[i].field, "param.", 6) == 0;
    return wanted == taken ? CVR_OK
                           : cvr_fail(err, CVR_ERR_INVALID, "%s: %zu parameters for a network that has %zu",
                                      r->c->label, wanted, taken);
}

static int32_t write_input(const running *r, const char *name, cvr_error *err) {
    const cvr_value input = cvr_graph_input_value(r->graph, name); /* a result may have the name of a target */
    const int32_t slot = input ? cvr_program_slot_of(r->program, input) : -1;
    const golden_tensor *t;
    if (slot < 0) return CVR_OK;
    CVR_TRY(need(r, name, &t, err));
    const cvr_type *type = cvr_program_slot_type(r->program, slot);
    float *f = type->dtype == CVR_F32 ? floats_of(t) : NULL;
    void *memory = malloc(t->bytes * 4 + 8);
    cvr_from_logical(type, f ? (const void *)f : t->data, memory);
    const int32_t status = cvr_program_write(r->program, slot, memory, err);
    free(memory);
    free(f);
    return status;
}

static int32_t run(running *r, cvr_error *err) {
    static const char *const inputs[] = {"image", "image_size", "boxes", "box_labels", "masks", "counts"};
    const float one = 1;
    const golden_tensor *number;
    CVR_TRY(
        cvr_device_open(&r->device, r->c->plugins, &(cvr_device_choice){.backend = r->c->backend}, r->c->pool, err));
    CVR_TRY(cvr_store_place(r->store, r->device, err));
    CVR_TRY(cvr_program_plan(&r->program, r->graph, r->device, r->c->pool, CVR_FALLBACK_ERROR, err));
    CVR_TRY(cvr_arena_create(&r->arena, r->device, &r->program, 1, 0, err));
    CVR_TRY(cvr_program_bind(r->program, r->arena, err));
    CVR_TRY(load_params(r, err));
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) CVR_TRY(write_input(r, inputs[i], err));
    const int32_t scale = cvr_program_slot(r->program, "loss_scale"), rate = cvr_program_slot(r->program, "lr"),
                  closing = cvr_program_slot(r->program, "closing");
    if (scale >= 0) CVR_TRY(cvr_program_write(r->program, scale, &one, err));
    if (rate >= 0) {
        CVR_TRY(need(r, "lr", &number, err));
        CVR_TRY(cvr_program_write(r->program, rate, number->data, err));
    }
    if (closing >= 0) {
        CVR_TRY(need(r, "closing", &number, err));
        CVR_TRY(cvr_program_write(r->program, closing, number->data, err));
    }
    return cvr_program_run(r->program, err);
}

/* ---- what came out ---- */

static int32_t add_result(detector_result *out, const char *name, const cvr_type *type, detector_tensor **t,
                          cvr_error *err) {
    if (out->n == DETECTOR_MOST_RESULTS) return cvr_fail(err, CVR_ERR_INVALID, "too many results");
    *t = &out->all[out->n++];
    (void)snprintf((*t)->name, sizeof(*t)->name, "%s", name);
    cvr_type_set(&(*t)->type, type->dtype, type->rank, type->shape);
    (*t)->data = calloc(1, (size_t)cvr_numel(type->rank, type->shape) * cvr_dtype_size(type->dtype) + 8);
    return (*t)->data ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

static int32_t read_slot(const running *r, int32_t slot, const char *name, detector_result *out, cvr_error *err) {
    const cvr_type *type = cvr_program_slot_type(r->program, slot);
    detector_tensor *t;
    CVR_TRY(add_result(out, name, type, &t, err));
    void *memory = calloc(1, (size_t)cvr_numel(type->rank, type->shape) * cvr_dtype_size(type->dtype) + 8);
    const int32_t status = cvr_program_read(r->program, slot, memory, err);
    if (status == CVR_OK) cvr_to_logical(type, memory, t->data);
    free(memory);
    return status;
}

static int32_t read_all(const running *r, detector_result *out, cvr_error *err) {
    static const char *const kinds[] = {"layer", "grad"};
    const cvr_io *io = cvr_graph_io(r->graph);
    const cvr_io_output *o;
    char name[240];
    for (uint32_t i = 0; (o = io->output(io, i)); i++) {
        const int32_t slot = cvr_program_slot_of(r->program, o->value);
        (void)snprintf(name, sizeof name, "%s%s", o->role == CVR_ROLE_LOSS ? "loss_" : "", o->name);
        if (slot >= 0) CVR_TRY(read_slot(r, slot, name, out, err));
    }
    for (size_t i = 0; i < 2 * r->n_captured; i++) {
        (void)snprintf(name, sizeof name, "%s.%s", kinds[i % 2], r->captured[i / 2].name);
        const int32_t slot = cvr_program_slot(r->program, name);
        if (slot >= 0) CVR_TRY(read_slot(r, slot, name, out, err));
    }
    for (size_t i = 0; i < cvr_store_count(r->store) && r->c->training; i++) {
        const cvr_store_entry *e = cvr_store_get(r->store, i);
        detector_tensor *t;
        if (!cvr_store_in_weights(e)) continue;
        (void)snprintf(name, sizeof name, "after.%s", e->name);
        CVR_TRY(add_result(out, name, &e->type, &t, err));
        CVR_TRY(cvr_store_read(r->store, i, t->data, err));
    }
    return CVR_OK;
}

int32_t detector_run(const detector_case *c, detector_result *out, cvr_error *err) {
    running r = {.c = c};
    int32_t status;
    memset(out, 0, sizeof *out);
    CVR_TRY_OUT(build(&r, err));
    CVR_TRY_OUT(run(&r, err));
    CVR_TRY_OUT(read_all(&r, out, err));
out:
    cvr_program_destroy(&r.program);
    cvr_arena_destroy(&r.arena);
    cvr_graph_destroy(&r.graph);
    cvr_store_destroy(&r.store);
    cvr_device_close(&r.device);
    return status;
}

const detector_tensor *detector_find(const detector_result *r, const char *name) {
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->all[i].name, name) == 0) return &r->all[i];
    return NULL;
}

void detector_clear(detector_result *r) {
    for (size_t i = 0; i < r->n; i++) free(r->all[i].data);
    r->n = 0;
}
