/*
 * acme.scene: what is in a scene, and how large is it on average? A network with two results and a task with two
 * targets, the boxes and their classes of any data that has them. Two ops of the task's own make dense targets of the
 * padded ones; the losses are layers that exist.
 */
#include <cvr/plugin/plugin.h>
#include <math.h>

/* ---- from padded rows to dense targets ---- */

/* labels (N, M) i64, counts (N) i64, like (N, K) f32 -> (N, K) f32: 1 where a row that counts has class k */
static int32_t presence_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *labels = a->inputs[0], *counts = a->inputs[1], *like = a->inputs[2];
    if (labels->dtype != CVR_I64 || labels->rank != 2 || counts->dtype != CVR_I64 || counts->rank != 1 ||
        like->dtype != CVR_F32 || like->rank != 2 || like->shape[0] != labels->shape[0])
        return cvr_fail(err, CVR_ERR_INVALID, "acme.presence: it takes (N, M) labels, (N) counts and (N, K) logits");
    *a->outputs[0] = *like;
    return CVR_OK;
}

static int32_t presence_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t n = a->inputs[0]->shape[0], m = a->inputs[0]->shape[1], classes = a->outputs[0]->shape[1];
    const int64_t *labels = a->inputs[0]->data, *counts = a->inputs[1]->data;
    float *out = a->outputs[0]->data;
    memset(out, 0, (size_t)(n * classes) * sizeof *out);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < counts[i]; k++) {
            const int64_t label = labels[i * m + k];
            if (label < 0 || label >= classes)
                return cvr_fail(err, CVR_ERR_INVALID, "acme.presence: label %lld of %lld classes", (long long)label,
                                (long long)classes);
            out[i * classes + label] = 1;
        }
    }
    return CVR_OK;
}

/* boxes (N, M, 4) f32, counts (N) i64 -> (N, 2) f32: width and height in tens of pixels, means of the rows that count
 */
static int32_t extent_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *boxes = a->inputs[0], *counts = a->inputs[1];
    const int64_t shape[2] = {boxes->shape[0], 2};
    if (boxes->dtype != CVR_F32 || boxes->rank != 3 || boxes->shape[2] != 4 || counts->dtype != CVR_I64)
        return cvr_fail(err, CVR_ERR_INVALID, "acme.extent: it takes (N, M, 4) boxes and (N) counts");
    cvr_type_set(a->outputs[0], CVR_F32, 2, shape);
    return CVR_OK;
}

static int32_t extent_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t n = a->inputs[0]->shape[0], m = a->inputs[0]->shape[1], *counts = a->inputs[1]->data;
    const float *box = a->inputs[0]->data;
    float *out = a->outputs[0]->data;
    (void)err;
    for (int64_t i = 0; i < n; i++) {
        float width = 0, height = 0;
        for (int64_t k = 0; k < counts[i]; k++) {
            const float *b = box + (i * m + k) * 4;
            width += b[2] - b[0];
            height += b[3] - b[1];
        }
        const float scale = counts[i] ? 0.1f / (float)counts[i] : 0;
        out[2 * i] = width * scale;
        out[2 * i + 1] = height * scale;
    }
    return CVR_OK;
}

/* Rows past the counts of input 0 are not looked at, and the output has none. */
static const cvr_counts_trait honours_counts = {sizeof(cvr_counts_trait), 1u << 0, 0};
CVR_DEFINE_TRAITS(target_traits, {CVR_TRAIT_COUNTS, &honours_counts})

static const cvr_op_desc presence = {.struct_size = sizeof presence,
                                     .name = "acme.presence",
                                     .version = 1,
                                     .min_inputs = 3,
                                     .max_inputs = 3,
                                     .n_outputs = 1,
                                     .infer = presence_infer,
                                     .trait = target_traits};
static const cvr_op_desc extent = {.struct_size = sizeof extent,
                                   .name = "acme.extent",
                                   .version = 1,
                                   .min_inputs = 2,
                                   .max_inputs = 2,
                                   .n_outputs = 1,
                                   .infer = extent_infer,
                                   .trait = target_traits};

/* ---- the network ---- */

static int32_t build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    cvr_value x = io->input(io, "image"), what, size;
    char classes[32];
    (void)snprintf(classes, sizeof classes, "%lld", (long long)args->num_classes);
    CVR_TRY(cvr_layer(b, "conv1", "conv2d", "8 kernel_size=3 padding=1 stride=2", x, &x, err));
    CVR_TRY(cvr_layer(b, "relu1", "relu", "", x, &x, err));
    CVR_TRY(cvr_layer(b, "conv2", "conv2d", "16 kernel_size=3 padding=1 stride=2", x, &x, err));
    CVR_TRY(cvr_layer(b, "relu2", "relu", "", x, &x, err));
    CVR_TRY(cvr_layer(b, "flat", "flatten", "", x, &x, err));
    CVR_TRY(cvr_layer(b, "what", "linear", classes, x, &what, err));
    CVR_TRY(cvr_layer(b, "size", "linear", "2", x, &size, err));
    CVR_TRY(io->put(io, "what", CVR_ROLE_RESULT, what, err));
    return io->put(io, "size", CVR_ROLE_RESULT, size, err);
}

static const cvr_model_desc model = {
    .struct_size = sizeof model, .name = "acme.scene_net", .doc = "what is there, and how large", .build = build};

/* ---- the task ---- */

static int32_t pipeline(const cvr_task_info *info, const cvr_pipeline *p, cvr_error *err) {
    (void)info;
    return cvr_pipeline_normalise(p, err);
}

static int32_t losses(const cvr_builder *b, const cvr_task_info *info, const cvr_io *io, cvr_error *err) {
    const cvr_io_output *what = cvr_io_find(io, "what", CVR_ROLE_RESULT),
                        *size = cvr_io_find(io, "size", CVR_ROLE_RESULT);
    (void)info;
    if (!what || !size) return cvr_fail(err, CVR_ERR_INVALID, "acme.scene needs the results `what` and `size`");
    const cvr_value counts = io->input(io, "object_count"),
                    labels[3] = {io->input(io, "box_labels"), counts, what->value},
                    boxes[2] = {io->input(io, "boxes"), counts};
    cvr_value classes[2] = {what->value, CVR_NONE}, extents[2] = {size->value, CVR_NONE}, loss;
    CVR_TRY(cvr_emit(b, "acme.presence", NULL, 0, labels, 3, &classes[1], err));
    CVR_TRY(cvr_layer2(b, "what", "bce_with_logits", "", classes, &loss, err));
    CVR_TRY(io->put(io, "what", CVR_ROLE_LOSS, loss, err));
    CVR_TRY(cvr_emit(b, "acme.extent", NULL, 0, boxes, 2, &extents[1], err));
    CVR_TRY(cvr_layer2(b, "size", "mse", "", extents, &loss, err));
    return io->put(io, "size", CVR_ROLE_LOSS, loss, err);
}

typedef struct tally {
    const cvr_host *host;
    int64_t classes, objects, found;
} tally;

static int32_t metrics_open(const cvr_task_info *info, void **self, cvr_error *err) {
    tally *m = info->host->alloc(info->host, sizeof *m, 16);
    if (!m) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *m = (tally){.host = info->host, .classes = info->n_classes};
    *self = m;
    return CVR_OK;
}

static int32_t metrics_update(void *self, const cvr_task_batch *batch, cvr_error *err) {
    tally *m = self;
    const cvr_named_tensor *what = cvr_batch_find(batch->outputs, "what"),
                           *labels = cvr_batch_find(batch->targets, "box_labels");
    if (!labels) return CVR_OK;
    if (!labels->counts) return cvr_fail(err, CVR_ERR_INVALID, "the boxes are not counted");
    for (int64_t i = 0; i < batch->outputs->n; i++) {
        const float *logits = (const float *)what->tensor.data + i * m->classes;
        const int64_t *label = (const int64_t *)labels->tensor.data + i * labels->tensor.shape[1];
        for (int64_t k = 0; k < ((const int64_t *)labels->counts->data)[i]; k++, m->objects++)
            m->found += logits[label[k]] > 0;
    }
    return CVR_OK;
}

static void metrics_result(const void *self, cvr_metric_fn each, void *ctx) {
    const tally *m = self;
    each(ctx, "recall", m->objects ? (double)m->found / (double)m->objects : 0);
}

static void metrics_close(void *self) {
    tally *m = self;
    m->host->free(m->host, m);
}

static int32_t predict(const cvr_task_info *info, const cvr_batch_view *outputs, int64_t row,
                       const cvr_prediction_sink *sink, cvr_error *err) {
    const float *size = (const float *)cvr_batch_find(outputs, "size")->tensor.data + 2 * row;
    char text[96];
    (void)info, (void)err;
    (void)snprintf(text, sizeof text, "\"size\": [%.9g, %.9g]", 10.0 * (double)size[0], 10.0 * (double)size[1]);
    sink->json(sink, text);
    (void)snprintf(text, sizeof text, "%.9g,%.9g", 10.0 * (double)size[0], 10.0 * (double)size[1]);
    sink->csv(sink, text);
    sink->line(sink, text);
    return CVR_OK;
}

static const cvr_want boxes_want = {.struct_size = sizeof boxes_want, .field = "boxes", .kind = CVR_FIELD_BOXES};
static const cvr_want labels_want = {
    .struct_size = sizeof labels_want, .field = "box_labels", .kind = CVR_FIELD_BOX_LABELS};
static const cvr_want *const wants[] = {&boxes_want, &labels_want};
static const cvr_task_desc task = {.struct_size = sizeof task,
                                   .name = "acme.scene",
                                   .doc = "what is in a picture, and how large it is on average",
                                   .n_wants = 2,
                                   .wants = wants,
                                   .pipeline = pipeline,
                                   .losses = losses,
                                   .best_metric = "recall",
                                   .metrics_open = metrics_open,
                                   .metrics_update = metrics_update,
                                   .metrics_result = metrics_result,
                                   .metrics_close = metrics_close,
                                   .predict = predict,
                                   .csv_header = "mean_width,mean_height"};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    static const cvr_op_desc *const ops[] = {&presence, &extent};
    static const cvr_cpu_fn runs[] = {{sizeof *runs, presence_run}, {sizeof *runs, extent_run}};
    (void)host;
    for (int i = 0; i < 2; i++) {
        const cvr_kernel_desc kernel = {.struct_size = sizeof kernel,
                                        .op = ops[i]->name,
                                        .backend = "reference",
                                        .payload_kind = CVR_PAYLOAD_CPU_FN,
                                        .payload = &runs[i],
                                        .op_version = 1,
                                        .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE};
        CVR_TRY(r->add(r, CVR_KIND_OP, ops[i], err));
        CVR_TRY(r->add(r, CVR_KIND_KERNEL, &kernel, err));
    }
    CVR_TRY(r->add(r, CVR_KIND_MODEL, &model, err));
    return r->add(r, CVR_KIND_TASK, &task, err);
}

CVR_DEFINE_PLUGIN("com.acme.scene", "1.0.0", "layer:conv2d layer:linear layer:bce_with_logits layer:mse", load)
