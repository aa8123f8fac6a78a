/* Which fields the descriptors have. A field that takes part in checks of its own is in registry_check.c as well. */
#include "registry_fields.h"

#define KERNEL_CASTS 0xffff0000u /* CVR_KERNEL_CASTS of any input */
#define MOST_LISTED 256          /* attributes of a schema, stages of a model: more is a count that was never set */

#define FIELD(kind_, type_, field_) kind_, #field_, (uint32_t)offsetof(type_, field_)
#define LIST(kind_, type_, field_, count_)                                                                             \
    { FIELD(kind_, type_, field_), (uint32_t)offsetof(type_, count_), 0, MOST_LISTED }
#define FIELD_OF(kind_, type_, field_)                                                                                 \
    { FIELD(kind_, type_, field_), 0, 0, 0 }
#define BOUNDED(kind_, type_, field_, least_, most_)                                                                   \
    { FIELD(kind_, type_, field_), 0, least_, most_ }
#define FIELDS_END                                                                                                     \
    { END, NULL, 0, 0, 0, 0 }

static const desc_field op_fields[] = {
    FIELD_OF(NAME, cvr_op_desc, name),
    FIELD_OF(DOC, cvr_op_desc, doc),
    BOUNDED(NUMBER, cvr_op_desc, version, 1, 1000000),
    BOUNDED(FLAGS, cvr_op_desc, flags, 0, CVR_OP_ORDER_FREE | CVR_OP_ORDER_AWARE | CVR_OP_ALIAS | CVR_OP_HOST),
    BOUNDED(NUMBER, cvr_op_desc, min_inputs, 0, CVR_MAX_IO),
    BOUNDED(NUMBER, cvr_op_desc, max_inputs, 0, CVR_MAX_IO),
    BOUNDED(NUMBER, cvr_op_desc, n_outputs, 0, CVR_MAX_IO),
    LIST(ATTRS, cvr_op_desc, attrs, n_attrs),
    FIELD_OF(FUNCTION, cvr_op_desc, infer),
    FIELDS_END,
};
static const desc_field kernel_fields[] = {
    FIELD_OF(NAME, cvr_kernel_desc, op),
    FIELD_OF(NAME, cvr_kernel_desc, backend),
    FIELD_OF(TEXT, cvr_kernel_desc, payload_kind),
    FIELD_OF(TEXT_OR_NULL, cvr_kernel_desc, isa),
    FIELD_OF(FUNCTION, cvr_kernel_desc, payload),
    BOUNDED(NUMBER, cvr_kernel_desc, op_version, 1, 1000000),
    BOUNDED(FLAGS, cvr_kernel_desc, flags, 0,
            CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE | CVR_KERNEL_STRIDED | CVR_KERNEL_BF16 | CVR_KERNEL_F16 |
                KERNEL_CASTS),
    BOUNDED(FLAGS, cvr_kernel_desc, reserved, 0, 0),
    FIELDS_END,
};
static const desc_field layer_fields[] = {
    FIELD_OF(NAME, cvr_layer_desc, name),
    FIELD_OF(DOC, cvr_layer_desc, doc),
    BOUNDED(NUMBER, cvr_layer_desc, min_inputs, 0, CVR_MAX_IO),
    BOUNDED(NUMBER, cvr_layer_desc, max_inputs, 0, CVR_MAX_IO),
    BOUNDED(NUMBER, cvr_layer_desc, n_outputs, 1, CVR_MAX_IO),
    LIST(ATTRS, cvr_layer_desc, attrs, n_attrs),
    FIELD_OF(FUNCTION, cvr_layer_desc, build),
    FIELDS_END,
};
static const desc_field model_fields[] = {
    FIELD_OF(NAME, cvr_model_desc, name),           FIELD_OF(DOC, cvr_model_desc, doc),
    LIST(ATTRS, cvr_model_desc, attrs, n_attrs),    FIELD_OF(FUNCTION, cvr_model_desc, build),
    LIST(STAGES, cvr_model_desc, stages, n_stages), LIST(TEXTS, cvr_model_desc, reads, n_reads),
    FIELD_OF(TEXT_OR_NULL, cvr_model_desc, file),   FIELDS_END,
};
static const desc_field task_fields[] = {
    FIELD_OF(NAME, cvr_task_desc, name),
    FIELD_OF(DOC, cvr_task_desc, doc),
    LIST(ATTRS, cvr_task_desc, attrs, n_attrs),
    LIST(WANTS, cvr_task_desc, wants, n_wants),
    FIELD_OF(FUNCTION, cvr_task_desc, pipeline),
    FIELD_OF(FUNCTION, cvr_task_desc, losses),
    FIELD_OF(TEXT, cvr_task_desc, best_metric),
    BOUNDED(NUMBER, cvr_task_desc, lower_is_better, 0, 1),
    BOUNDED(NUMBER, cvr_task_desc, pads, 0, 1),
    FIELD_OF(FUNCTION, cvr_task_desc, metrics_open),
    FIELD_OF(FUNCTION, cvr_task_desc, metrics_update),
    FIELD_OF(FUNCTION, cvr_task_desc, metrics_result),
    FIELD_OF(FUNCTION, cvr_task_desc, metrics_close),
    FIELD_OF(FUNCTION, cvr_task_desc, predict),
    FIELD_OF(TEXT, cvr_task_desc, csv_header),
    FIELD_OF(TEXT_OR_NULL, cvr_task_desc, dense),
    FIELD_OF(TEXT_OR_NULL, cvr_task_desc, score_name),
    LIST(ATTRS, cvr_task_desc, predict_attrs, n_predict_attrs),
    FIELD_OF(TEXT_OR_NULL, cvr_task_desc, matrix_extra),
    FIELD_OF(TEXT_OR_NULL, cvr_task_desc, save_list),
    FIELDS_END,
};
static const desc_field optimizer_fields[] = {
    FIELD_OF(NAME, cvr_optimizer_desc, name),           FIELD_OF(DOC, cvr_optimizer_desc, doc),
    BOUNDED(FLAGS, cvr_optimizer_desc, reserved, 0, 0), LIST(ATTRS, cvr_optimizer_desc, attrs, n_attrs),
    FIELD_OF(REAL, cvr_optimizer_desc, default_lr),     FIELD_OF(REAL, cvr_optimizer_desc, default_weight_decay),
    FIELD_OF(FUNCTION, cvr_optimizer_desc, emit),       FIELDS_END,
};
static const desc_field scheduler_fields[] = {
    FIELD_OF(NAME, cvr_scheduler_desc, name),           FIELD_OF(DOC, cvr_scheduler_desc, doc),
    BOUNDED(FLAGS, cvr_scheduler_desc, reserved, 0, 0), LIST(ATTRS, cvr_scheduler_desc, attrs, n_attrs),
    FIELD_OF(FUNCTION, cvr_scheduler_desc, factor),     FIELDS_END,
};
static const desc_field gradient_fields[] = {
    FIELD_OF(NAME, cvr_gradient_desc, name),
    FIELD_OF(DOC, cvr_gradient_desc, doc),
    LIST(ATTRS, cvr_gradient_desc, attrs, n_attrs),
    FIELD_OF(FUNCTION, cvr_gradient_desc, run),
    FIELDS_END,
};
static const desc_field pass_fields[] = {
    FIELD_OF(NAME, cvr_pass_desc, name),
    FIELD_OF(DOC, cvr_pass_desc, doc),
    BOUNDED(NUMBER, cvr_pass_desc, stage, CVR_PASS_NETWORK, CVR_PASS_STEP),
    BOUNDED(FLAGS, cvr_pass_desc, flags, 0, CVR_PASS_OPT_IN),
    LIST(ATTRS, cvr_pass_desc, attrs, n_attrs),
    FIELD_OF(FUNCTION, cvr_pass_desc, run),
    FIELDS_END,
};
static const desc_field augment_fields[] = {
    FIELD_OF(NAME, cvr_augment_desc, name),
    FIELD_OF(DOC, cvr_augment_desc, doc),
    BOUNDED(NUMBER, cvr_augment_desc, n_params, 0, CVR_AUGMENT_PARAMS),
    LIST(ATTRS, cvr_augment_desc, attrs, n_attrs),
    BOUNDED(NUMBER, cvr_augment_desc, stage, CVR_STAGE_SAMPLE, CVR_STAGE_BATCH),
    BOUNDED(NUMBER, cvr_augment_desc, n_samples, 0, 64),
    BOUNDED(NUMBER, cvr_augment_desc, multiplies, 0, 64),
    LIST(TEXTS, cvr_augment_desc, kinds, n_kinds),
    BOUNDED(NUMBER, cvr_augment_desc, moves, 0, 1),
    BOUNDED(NUMBER, cvr_augment_desc, softens, 0, 1),
    BOUNDED(NUMBER, cvr_augment_desc, closes, 0, 1),
    BOUNDED(NUMBER, cvr_augment_desc, fresh, 0, 1),
    FIELDS_END,
};
static const desc_field dataset_fields[] = {
    FIELD_OF(NAME, cvr_dataset_desc, name),           FIELD_OF(DOC, cvr_dataset_desc, doc),
    BOUNDED(FLAGS, cvr_dataset_desc, reserved, 0, 0), LIST(ATTRS, cvr_dataset_desc, attrs, n_attrs),
    FIELD_OF(FUNCTION, cvr_dataset_desc, open),       FIELD_OF(FUNCTION, cvr_dataset_desc, close),
    FIELD_OF(FUNCTION, cvr_dataset_desc, count),      FIELD_OF(FUNCTION, cvr_dataset_desc, n_classes),
    FIELD_OF(FUNCTION, cvr_dataset_desc, class_name), FIELD_OF(FUNCTION, cvr_dataset_desc, read),
    FIELD_OF(FUNCTION, cvr_dataset_desc, describe),   FIELD_OF(FUNCTION, cvr_dataset_desc, label),
    FIELD_OF(FUNCTION, cvr_dataset_desc, kind),       FIELDS_END,
};
static const desc_field field_fields[] = {
    FIELD_OF(NAME, cvr_field_kind, name),
    FIELD_OF(DOC, cvr_field_kind, doc),
    BOUNDED(NUMBER, cvr_field_kind, rank, 0, 4),
    FIELD_OF(TEXT_OR_NULL, cvr_field_kind, axis),
    BOUNDED(NUMBER, cvr_field_kind, places, 0, 1),
    FIELD_OF(REAL, cvr_field_kind, pad),
    FIELDS_END,
};
static const desc_field codec_fields[] = {
    FIELD_OF(NAME, cvr_codec_desc, name),       FIELD_OF(DOC, cvr_codec_desc, doc),
    FIELD_OF(TEXT, cvr_codec_desc, extensions), FIELD_OF(FUNCTION, cvr_codec_desc, probe),
    FIELD_OF(FUNCTION, cvr_codec_desc, decode), FIELDS_END,
};
static const desc_field weights_fields[] = {
    FIELD_OF(NAME, cvr_weights_desc, name),
    FIELD_OF(TEXT, cvr_weights_desc, extension),
    FIELD_OF(DOC, cvr_weights_desc, doc),
    FIELD_OF(FUNCTION, cvr_weights_desc, probe),
    FIELD_OF(FUNCTION, cvr_weights_desc, read),
    FIELD_OF(FUNCTION, cvr_weights_desc, write),
    FIELDS_END,
};
static const desc_field compressor_fields[] = {
    FIELD_OF(NAME, cvr_compressor_desc, name),
    FIELD_OF(NAME, cvr_compressor_desc, section),
    FIELD_OF(DOC, cvr_compressor_desc, doc),
    BOUNDED(FLAGS, cvr_compressor_desc, reserved, 0, 0),
    LIST(ATTRS, cvr_compressor_desc, attrs, n_attrs),
    FIELD_OF(FUNCTION, cvr_compressor_desc, compress),
    FIELDS_END,
};

static const desc_field distiller_fields[] = {
    FIELD_OF(NAME, cvr_distiller_desc, name),         FIELD_OF(DOC, cvr_distiller_desc, doc),
    BOUNDED(FLAGS, cvr_distiller_desc, layers, 0, 1), LIST(ATTRS, cvr_distiller_desc, attrs, n_attrs),
    FIELD_OF(FUNCTION, cvr_distiller_desc, losses),   FIELDS_END,
};
static const desc_field exporter_fields[] = {
    FIELD_OF(NAME, cvr_exporter_desc, name),
    FIELD_OF(TEXT, cvr_exporter_desc, extension),
    FIELD_OF(DOC, cvr_exporter_desc, doc),
    BOUNDED(FLAGS, cvr_exporter_desc, reserved, 0, 0),
    LIST(ATTRS, cvr_exporter_desc, attrs, n_attrs),
    FIELD_OF(FUNCTION, cvr_exporter_desc, takes),
    FIELD_OF(FUNCTION, cvr_exporter_desc, write),
    FIELD_OF(TEXT, cvr_exporter_desc, remedy),
    FIELDS_END,
};
static const desc_field reporter_fields[] = {
    FIELD_OF(NAME, cvr_reporter_desc, name),
    FIELD_OF(DOC, cvr_reporter_desc, doc),
    FIELD_OF(FUNCTION, cvr_reporter_desc, open),
    FIELD_OF(FUNCTION, cvr_reporter_desc, close),
    FIELDS_END,
};
static const desc_field backend_fields[] = {
    FIELD_OF(NAME, cvr_backend_desc, name),
    FIELD_OF(DOC, cvr_backend_desc, doc),
    BOUNDED(FLAGS, cvr_backend_desc, flags, 0, CVR_BACKEND_HOST_VISIBLE | CVR_BACKEND_TEST),
    BOUNDED(NUMBER, cvr_backend_desc, n_runs, 1, 16),
    LIST(TEXTS, cvr_backend_desc, runs, n_runs),
    BOUNDED(NUMBER, cvr_backend_desc, n_payloads, 1, 16),
    LIST(TEXTS, cvr_backend_desc, payloads, n_payloads),
    LIST(ATTRS, cvr_backend_desc, attrs, n_attrs),
    FIELD_OF(FUNCTION, cvr_backend_desc, device_count),
    FIELD_OF(FUNCTION, cvr_backend_desc, device_info),
    FIELD_OF(FUNCTION, cvr_backend_desc, open),
    FIELD_OF(FUNCTION, cvr_backend_desc, close),
    FIELD_OF(FUNCTION, cvr_backend_desc, describe),
    FIELD_OF(FUNCTION, cvr_backend_desc, info),
    FIELD_OF(FUNCTION, cvr_backend_desc, alloc),
    FIELD_OF(FUNCTION, cvr_backend_desc, free),
    FIELD_OF(FUNCTION, cvr_backend_desc, memory),
    FIELD_OF(FUNCTION, cvr_backend_desc, upload),
    FIELD_OF(FUNCTION, cvr_backend_desc, download),
    FIELD_OF(FUNCTION, cvr_backend_desc, copy),
    FIELD_OF(FUNCTION, cvr_backend_desc, record),
    FIELD_OF(FUNCTION, cvr_backend_desc, replay),
    FIELD_OF(FUNCTION, cvr_backend_desc, discard),
    FIELD_OF(FUNCTION, cvr_backend_desc, wait),
    FIELDS_END,
};

static const desc_kind kinds[] = {
    {CVR_KIND_OP, "op", sizeof(cvr_op_desc), op_fields},
    {CVR_KIND_KERNEL, "kernel", sizeof(cvr_kernel_desc), kernel_fields},
    {CVR_KIND_LAYER, "layer", sizeof(cvr_layer_desc), layer_fields},
    {CVR_KIND_MODEL, "model", sizeof(cvr_model_desc), model_fields},
    {CVR_KIND_TASK, "task", sizeof(cvr_task_desc), task_fields},
    {CVR_KIND_OPTIMIZER, "optimizer", sizeof(cvr_optimizer_desc), optimizer_fields},
    {CVR_KIND_SCHEDULER, "scheduler", sizeof(cvr_scheduler_desc), scheduler_fields},
    {CVR_KIND_GRADIENT, "gradient", sizeof(cvr_gradient_desc), gradient_fields},
    {CVR_KIND_PASS, "pass", sizeof(cvr_pass_desc), pass_fields},
    {CVR_KIND_AUGMENT, "augment", sizeof(cvr_augment_desc), augment_fields},
    {CVR_KIND_DATASET, "dataset", sizeof(cvr_dataset_desc), dataset_fields},
    {CVR_KIND_FIELD, "field", sizeof(cvr_field_kind), field_fields},
    {CVR_KIND_CODEC, "codec", sizeof(cvr_codec_desc), codec_fields},
    {CVR_KIND_WEIGHTS, "weights", sizeof(cvr_weights_desc), weights_fields},
    {CVR_KIND_EXPORTER, "exporter", sizeof(cvr_exporter_desc), exporter_fields},
    {CVR_KIND_COMPRESSOR, "compressor", sizeof(cvr_compressor_desc), compressor_fields},
    {CVR_KIND_DISTILLER, "distiller", sizeof(cvr_distiller_desc), distiller_fields},
    {CVR_KIND_REPORTER, "reporter", sizeof(cvr_reporter_desc), reporter_fields},
    {CVR_KIND_BACKEND, "backend", sizeof(cvr_backend_desc), backend_fields},
};
#define N_KINDS (sizeof kinds / sizeof *kinds)

const desc_kind *desc_kind_find(const char *kind) {
    for (size_t i = 0; i < N_KINDS; i++)
        if (strcmp(kinds[i].kind, kind) == 0) return &kinds[i];
    return NULL;
}

const char *kind_word(const char *kind) {
    const desc_kind *k = desc_kind_find(kind);
    return k ? k->word : NULL;
}

const char *kind_of_word(const char *word, size_t n) {
    for (size_t i = 0; i < N_KINDS; i++)
        if (strlen(kinds[i].word) == n && memcmp(kinds[i].word, word, n) == 0) return kinds[i].kind;
    return NULL;
}

#define AT(type, field) (uint32_t) offsetof(type, field)

const list_item *list_item_of(field_kind kind) {
    static const list_item items[] = {
        {ATTRS,
         sizeof(cvr_attr_desc),
         4,
         1,
         {AT(cvr_attr_desc, name), AT(cvr_attr_desc, default_text), AT(cvr_attr_desc, choices),
          AT(cvr_attr_desc, doc)}},
        {STAGES, sizeof(cvr_stage), 2, 2, {AT(cvr_stage, name), AT(cvr_stage, globs)}},
        {WANTS,
         sizeof(cvr_want),
         4,
         2,
         {AT(cvr_want, field), AT(cvr_want, kind), AT(cvr_want, remedy), AT(cvr_want, several)}},
    };
    const list_item *l = items;
    while (l->kind != kind) l++;
    return l;
}
