/*
 * acme.spots: a problem of one's own, from file to metric. A kind of field (places of bright spots, a different number
 * in each picture), a data set that has it beside a class, a loss that counts only the rows that are there, a network
 * with two results, and a task with two targets: which class, and where.
 */
#include <cvr/plugin/plugin.h>
#include <math.h>

#define SIDE 16
#define MOST 3
#define SPOTS "acme.spots"
#define AXIS "acme.spot"

/* ---- the kind, and the data: class k has k + 1 spots of 2 x 2 pixels ---- */

static const cvr_field_kind spots_kind = {.struct_size = sizeof spots_kind,
                                          .name = SPOTS,
                                          .doc = "x and y of each spot, in pixels: (spot, 2), f32",
                                          .dtype = CVR_F32,
                                          .rank = 2,
                                          .axis = AXIS,
                                          .height_axis = CVR_NO_AXIS,
                                          .places = 1};

typedef struct scenes {
    const cvr_host *host;
    int64_t size;
    uint64_t key;
} scenes;

static int32_t scenes_open(const cvr_dataset_args *args, void **self, cvr_error *err) {
    scenes *s = args->host->alloc(args->host, sizeof *s, 16);
    if (!s) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *s = (scenes){args->host, *(const int64_t *)args->attrs, cvr_rng_mix(args->seed, args->split)};
    *self = s;
    return CVR_OK;
}

static void scenes_close(void *self) {
    scenes *s = self;
    s->host->free(s->host, s);
}

static int64_t scenes_count(const void *self) {
    return ((const scenes *)self)->size;
}

static int64_t scenes_classes(const void *self) {
    (void)self;
    return MOST;
}

static const char *scenes_class(const void *self, int64_t i) {
    static const char *const names[MOST] = {"one", "two", "three"};
    (void)self;
    return names[i];
}

static int64_t scenes_label(const void *self, int64_t i) {
    return (int64_t)(cvr_rng_mix(((const scenes *)self)->key, (uint64_t)i) % MOST);
}

static int32_t scenes_read(const void *self, int64_t index, cvr_sample *out, cvr_error *err) {
    const int64_t label = scenes_label(self, index), n = label + 1;
    const cvr_field image_like = {
        .name = "image", .kind = CVR_FIELD_IMAGE, .dtype = CVR_U8, .rank = 3, .shape = {SIDE, SIDE, 3}};
    const cvr_field label_like = {.name = "label", .kind = CVR_FIELD_LABEL, .dtype = CVR_I64};
    const cvr_field spots_like = {.name = "spots", .kind = SPOTS, .dtype = CVR_F32, .rank = 2, .shape = {n, 2}};
    cvr_field *image, *class_, *spots;
    cvr_rng rng;
    CVR_TRY(out->add(out, &image_like, &image, err));
    CVR_TRY(out->add(out, &label_like, &class_, err));
    CVR_TRY(out->add(out, &spots_like, &spots, err));
    memset(image->data, 30, SIDE * SIDE * 3);
    *(int64_t *)class_->data = label;
    cvr_rng_start(&rng, ((const scenes *)self)->key, (uint64_t)index);
    for (int64_t i = 0; i < n; i++) { /* from left to right, each in a third of its own */
        const int64_t x = 5 * i + (int64_t)cvr_rng_below(&rng, 4), y = (int64_t)cvr_rng_below(&rng, SIDE - 1);
        ((float *)spots->data)[2 * i] = (float)(x + 1);
        ((float *)spots->data)[2 * i + 1] = (float)(y + 1);
        for (int64_t k = 0; k < 4; k++) memset((uint8_t *)image->data + ((y + k / 2) * SIDE + x + k % 2) * 3, 250, 3);
    }
    out->origin->height = out->origin->width = SIDE;
    return CVR_OK;
}

static void scenes_describe(const void *self, int64_t i, char *buf, uint64_t size) {
    (void)self;
    (void)snprintf(buf, size, "scene-%lld", (long long)i);
}

static const char *scenes_kind(const void *self, uint32_t i) {
    static const char *const kinds[] = {CVR_FIELD_IMAGE, CVR_FIELD_LABEL, SPOTS};
    (void)self;
    return i < 3 ? kinds[i] : NULL;
}

static int64_t scenes_rows(const void *self, int64_t i, const char *axis) {
    return strcmp(axis, AXIS) == 0 ? scenes_label(self, i) + 1 : -1;
}

static const cvr_attr_desc *const scenes_attrs[] = {CVR_ATTR(INT, "size", "64", "pictures", CVR_ATTR_AT_LEAST(1))};
static const cvr_dataset_desc scenes_data = {.struct_size = sizeof scenes_data,
                                             .name = "acme.scenes",
                                             .doc = "bright spots on a dark ground",
                                             .n_attrs = 1,
                                             .attrs = scenes_attrs,
                                             .open = scenes_open,
                                             .close = scenes_close,
                                             .count = scenes_count,
                                             .n_classes = scenes_classes,
                                             .class_name = scenes_class,
                                             .read = scenes_read,
                                             .describe = scenes_describe,
                                             .label = scenes_label,
                                             .kind = scenes_kind,
                                             .rows = scenes_rows};

/* ---- the loss: sum of (p - t)^2 over the rows that count, divided by the number of pictures ---- */

/* p (N, 2 * K), t (N, K, 2), counts (N) i64 -> (); and with the gradient of that, () -> like p */
static int32_t loss_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *p = a->inputs[0], *t = a->inputs[1], *counts = a->inputs[2];
    if (p->dtype != CVR_F32 || p->rank != 2 || t->dtype != CVR_F32 || t->rank != 3 || t->shape[2] != 2 ||
        p->shape[0] != t->shape[0] || p->shape[1] != 2 * t->shape[1] || counts->dtype != CVR_I64 || counts->rank != 1)
        return cvr_fail(err, CVR_ERR_INVALID, "acme.spot_loss: places and targets do not go together");
    if (a->n_inputs > 3)
        *a->outputs[0] = *p;
    else
        cvr_type_set(a->outputs[0], CVR_F32, 0, NULL);
    return CVR_OK;
}

static int32_t loss_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_value in[4] = {a->inputs[0], a->inputs[1], a->inputs[2], a->grad_outputs[0]};
    return cvr_emit(b, "acme.spot_loss_backward", NULL, 0, in, 4, &a->grad_inputs[0], err);
}

static int32_t loss_run(const cvr_kernel_args *a, cvr_error *err) {
    const float *p = a->inputs[0]->data, *t = a->inputs[1]->data, *g = a->n_inputs > 3 ? a->inputs[3]->data : NULL;
    const int64_t n = a->inputs[0]->shape[0], row = a->inputs[0]->shape[1], *counts = a->inputs[2]->data;
    float *out = a->outputs[0]->data;
    double sum = 0;
    (void)err;
    for (int64_t i = 0; i < n * row; i++) {
        const float d = i % row < 2 * counts[i / row] ? p[i] - t[i] : 0;
        sum += (double)d * (double)d / (double)n;
        if (g) out[i] = 2 * *g * d / (float)n;
    }
    if (!g) *out = (float)sum;
    return CVR_OK;
}

static const cvr_op_desc loss_ops[] = {{.struct_size = sizeof(cvr_op_desc),
                                        .name = "acme.spot_loss",
                                        .version = 1,
                                        .min_inputs = 3,
                                        .max_inputs = 3,
                                        .n_outputs = 1,
                                        .infer = loss_infer,
                                        .grad = loss_grad},
                                       {.struct_size = sizeof(cvr_op_desc),
                                        .name = "acme.spot_loss_backward",
                                        .version = 1,
                                        .min_inputs = 4,
                                        .max_inputs = 4,
                                        .n_outputs = 1,
                                        .infer = loss_infer}};

/* ---- the network: two results from one trunk ---- */

static int32_t build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    cvr_value x = io->input(io, "image"), output, spots;
    char classes[32];
    (void)snprintf(classes, sizeof classes, "%lld", (long long)args->num_classes);
    CVR_TRY(cvr_layer(b, "conv", "conv2d", "8 kernel_size=3 padding=1", x, &x, err));
    CVR_TRY(cvr_layer(b, "relu", "relu", "", x, &x, err));
    CVR_TRY(cvr_layer(b, "pool", "max_pool2d", "2", x, &x, err));
    CVR_TRY(cvr_layer(b, "flat", "flatten", "", x, &x, err));
    CVR_TRY(cvr_layer(b, "which", "linear", classes, x, &output, err));
    CVR_TRY(cvr_layer(b, "where", "linear", "6", x, &spots, err));
    CVR_TRY(io->put(io, "output", CVR_ROLE_RESULT, output, err));
    return io->put(io, "spots", CVR_ROLE_RESULT, spots, err);
}

static const cvr_model_desc model = {
    .struct_size = sizeof model, .name = "acme.two_heads", .doc = "which and where", .build = build};

/* ---- the task ---- */

static int32_t pipeline(const cvr_task_info *info, const cvr_pipeline *p, cvr_error *err) {
    (void)info;
    return cvr_pipeline_normalise(p, err);
}

static int32_t losses(const cvr_builder *b, const cvr_task_info *info, const cvr_io *io, cvr_error *err) {
    const cvr_io_output *output = cvr_io_find(io, "output", CVR_ROLE_RESULT),
                        *spots = cvr_io_find(io, "spots", CVR_ROLE_RESULT);
    cvr_value which, where;
    (void)info;
    if (!output || !spots) return cvr_fail(err, CVR_ERR_INVALID, "acme.locate needs the results `output` and `spots`");
    const cvr_value in[2] = {output->value, io->input(io, "label")};
    const cvr_value places[3] = {spots->value, io->input(io, "spots"), io->input(io, AXIS "_count")};
    const cvr_layer_call call = {.struct_size = sizeof call,
                                 .layer = "cross_entropy",
                                 .name = "which",
                                 .settings = "",
                                 .inputs = in,
                                 .outputs = &which,
                                 .n_inputs = 2,
                                 .n_outputs = 1};
    CVR_TRY(b->layer(b, &call, err));
    CVR_TRY(cvr_emit(b, "acme.spot_loss", NULL, 0, places, 3, &where, err));
    CVR_TRY(io->put(io, "output", CVR_ROLE_LOSS, which, err));
    return io->put(io, "spots", CVR_ROLE_LOSS, where, err);
}

typedef struct tally {
    const cvr_host *host;
    double distance;
    int64_t spots, right[MOST], all[MOST];
} tally;

static int32_t metrics_open(const cvr_task_info *info, void **self, cvr_error *err) {
    tally *m = info->host->alloc(info->host, sizeof *m, 16);
    if (!m) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memset(m, 0, sizeof *m);
    m->host = info->host;
    *self = m;
    return CVR_OK;
}

static int32_t metrics_update(void *self, const cvr_task_batch *batch, cvr_error *err) {
    tally *m = self;
    const cvr_named_tensor *output = cvr_batch_find(batch->outputs, "output"),
                           *said = cvr_batch_find(batch->outputs, "spots"),
                           *label = cvr_batch_find(batch->targets, "label"),
                           *spots = cvr_batch_find(batch->targets, "spots");
    if (!label || !spots) return CVR_OK;
    if (!spots->counts) return cvr_fail(err, CVR_ERR_INVALID, "the spots are not counted");
    for (int64_t i = 0; i < batch->outputs->n; i++) {
        const int64_t truth = ((const int64_t *)label->tensor.data)[i];
        const float *p = (const float *)said->tensor.data + i * 2 * MOST,
                    *t = (const float *)spots->tensor.data + i * 2 * MOST;
        m->all[truth]++;
        m->right[truth] += cvr_argmax((const float *)output->tensor.data + i * MOST, MOST) == truth;
        for (int64_t k = 0; k < ((const int64_t *)spots->counts->data)[i]; k++, m->spots++)
            m->distance += hypot((double)(p[2 * k] - t[2 * k]), (double)(p[2 * k + 1] - t[2 * k + 1]));
    }
    return CVR_OK;
}

static void metrics_result(const void *self, cvr_metric_fn each, void *ctx) {
    const tally *m = self;
    each(ctx, "distance", m->spots ? m->distance / (double)m->spots : 0);
}

static void metrics_per_class(const void *self, cvr_class_metric_fn each, void *ctx) {
    const tally *m = self;
    for (int64_t k = 0; k < MOST; k++)
        each(ctx, k, "accuracy", m->all[k] ? (double)m->right[k] / (double)m->all[k] : NAN);
}

static void metrics_close(void *self) {
    tally *m = self;
    m->host->free(m->host, m);
}

static int32_t predict(const cvr_task_info *info, const cvr_batch_view *outputs, int64_t row,
                       const cvr_prediction_sink *sink, cvr_error *err) {
    const cvr_named_tensor *output = cvr_batch_find(outputs, "output");
    char name[64], text[128];
    (void)err;
    const int64_t k = cvr_argmax((const float *)output->tensor.data + row * MOST, MOST);
    (void)cvr_json_string(name, sizeof name, info->class_names[k]);
    (void)snprintf(text, sizeof text, "\"spots\": %s", name);
    sink->json(sink, text);
    sink->csv(sink, info->class_names[k]);
    sink->line(sink, info->class_names[k]);
    return CVR_OK;
}

static const cvr_want label_want = {.struct_size = sizeof label_want, .field = "label", .kind = CVR_FIELD_LABEL};
static const cvr_want spots_want = {.struct_size = sizeof spots_want, .field = "spots", .kind = SPOTS};
static const cvr_want *const wants[] = {&label_want, &spots_want};
static const cvr_task_desc task = {.struct_size = sizeof task,
                                   .name = "acme.locate",
                                   .doc = "which class, and where",
                                   .n_wants = 2,
                                   .wants = wants,
                                   .pipeline = pipeline,
                                   .losses = losses,
                                   .best_metric = "distance",
                                   .lower_is_better = 1,
                                   .metrics_open = metrics_open,
                                   .metrics_update = metrics_update,
                                   .metrics_result = metrics_result,
                                   .metrics_per_class = metrics_per_class,
                                   .metrics_close = metrics_close,
                                   .predict = predict,
                                   .csv_header = "name"};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    static const cvr_cpu_fn run = {sizeof run, loss_run};
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_FIELD, &spots_kind, err));
    CVR_TRY(r->add(r, CVR_KIND_DATASET, &scenes_data, err));
    for (int i = 0; i < 2; i++) {
        const cvr_kernel_desc kernel = {.struct_size = sizeof kernel,
                                        .op = loss_ops[i].name,
                                        .backend = "reference",
                                        .payload_kind = CVR_PAYLOAD_CPU_FN,
                                        .payload = &run,
                                        .op_version = 1,
                                        .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE};
        CVR_TRY(r->add(r, CVR_KIND_OP, &loss_ops[i], err));
        CVR_TRY(r->add(r, CVR_KIND_KERNEL, &kernel, err));
    }
    CVR_TRY(r->add(r, CVR_KIND_MODEL, &model, err));
    return r->add(r, CVR_KIND_TASK, &task, err);
}

CVR_DEFINE_PLUGIN("com.acme.spots", "1.0.0", "layer:conv2d layer:linear layer:cross_entropy", load)
