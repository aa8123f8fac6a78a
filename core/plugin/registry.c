/*
 * The registry. One table says, for every kind, where its descriptor has names, attribute lists and callbacks; checking
 * and deep copying are the same code for all of them.
 */
#include "registry.h"
#include <ctype.h>
#include <cvr/config.h>

typedef enum field_kind {
    END,
    TEXT,
    TEXT_OR_NULL,
    FUNCTION,
    ATTRS,
    TEXTS,
    STAGES,
    WANTS,
    PAYLOAD,
    PAYLOAD_OR_NULL
} field_kind;

typedef struct desc_field {
    field_kind kind;
    uint32_t offset;
    uint32_t count_offset; /* of lists: ATTRS, TEXTS, STAGES and WANTS */
} desc_field;

#define AT(type, field) (uint32_t) offsetof(type, field)

static const desc_field op_fields[] = {{TEXT, AT(cvr_op_desc, name), 0},
                                       {TEXT_OR_NULL, AT(cvr_op_desc, doc), 0},
                                       {ATTRS, AT(cvr_op_desc, attrs), AT(cvr_op_desc, n_attrs)},
                                       {FUNCTION, AT(cvr_op_desc, infer), 0},
                                       {END, 0, 0}};
static const desc_field kernel_fields[] = {{TEXT, AT(cvr_kernel_desc, op), 0},
                                           {TEXT, AT(cvr_kernel_desc, backend), 0},
                                           {TEXT, AT(cvr_kernel_desc, payload_kind), 0},
                                           {TEXT_OR_NULL, AT(cvr_kernel_desc, isa), 0},
                                           {PAYLOAD, AT(cvr_kernel_desc, payload), 0},
                                           {PAYLOAD_OR_NULL, AT(cvr_kernel_desc, prepare), 0},
                                           {END, 0, 0}};
static const desc_field layer_fields[] = {{TEXT, AT(cvr_layer_desc, name), 0},
                                          {TEXT_OR_NULL, AT(cvr_layer_desc, doc), 0},
                                          {ATTRS, AT(cvr_layer_desc, attrs), AT(cvr_layer_desc, n_attrs)},
                                          {FUNCTION, AT(cvr_layer_desc, build), 0},
                                          {END, 0, 0}};
static const desc_field model_fields[] = {{TEXT, AT(cvr_model_desc, name), 0},
                                          {TEXT_OR_NULL, AT(cvr_model_desc, doc), 0},
                                          {ATTRS, AT(cvr_model_desc, attrs), AT(cvr_model_desc, n_attrs)},
                                          {FUNCTION, AT(cvr_model_desc, build), 0},
                                          {STAGES, AT(cvr_model_desc, stages), AT(cvr_model_desc, n_stages)},
                                          {END, 0, 0}};
static const desc_field task_fields[] = {{TEXT, AT(cvr_task_desc, name), 0},
                                         {TEXT_OR_NULL, AT(cvr_task_desc, doc), 0},
                                         {ATTRS, AT(cvr_task_desc, attrs), AT(cvr_task_desc, n_attrs)},
                                         {WANTS, AT(cvr_task_desc, wants), AT(cvr_task_desc, n_wants)},
                                         {FUNCTION, AT(cvr_task_desc, pipeline), 0},
                                         {FUNCTION, AT(cvr_task_desc, losses), 0},
                                         {TEXT, AT(cvr_task_desc, best_metric), 0},
                                         {FUNCTION, AT(cvr_task_desc, metrics_open), 0},
                                         {FUNCTION, AT(cvr_task_desc, metrics_update), 0},
                                         {FUNCTION, AT(cvr_task_desc, metrics_result), 0},
                                         {FUNCTION, AT(cvr_task_desc, metrics_close), 0},
                                         {FUNCTION, AT(cvr_task_desc, predict), 0},
                                         {TEXT, AT(cvr_task_desc, csv_header), 0},
                                         {END, 0, 0}};
static const desc_field optimizer_fields[] = {{TEXT, AT(cvr_optimizer_desc, name), 0},
                                              {TEXT_OR_NULL, AT(cvr_optimizer_desc, doc), 0},
                                              {ATTRS, AT(cvr_optimizer_desc, attrs), AT(cvr_optimizer_desc, n_attrs)},
                                              {FUNCTION, AT(cvr_optimizer_desc, emit), 0},
                                              {END, 0, 0}};
static const desc_field scheduler_fields[] = {{TEXT, AT(cvr_scheduler_desc, name), 0},
                                              {TEXT_OR_NULL, AT(cvr_scheduler_desc, doc), 0},
                                              {ATTRS, AT(cvr_scheduler_desc, attrs), AT(cvr_scheduler_desc, n_attrs)},
                                              {FUNCTION, AT(cvr_scheduler_desc, factor), 0},
                                              {END, 0, 0}};
static const desc_field gradient_fields[] = {{TEXT, AT(cvr_gradient_desc, name), 0},
                                             {TEXT_OR_NULL, AT(cvr_gradient_desc, doc), 0},
                                             {ATTRS, AT(cvr_gradient_desc, attrs), AT(cvr_gradient_desc, n_attrs)},
                                             {FUNCTION, AT(cvr_gradient_desc, run), 0},
                                             {END, 0, 0}};
static const desc_field pass_fields[] = {{TEXT, AT(cvr_pass_desc, name), 0},
                                         {TEXT_OR_NULL, AT(cvr_pass_desc, doc), 0},
                                         {ATTRS, AT(cvr_pass_desc, attrs), AT(cvr_pass_desc, n_attrs)},
                                         {FUNCTION, AT(cvr_pass_desc, run), 0},
                                         {END, 0, 0}};
static const desc_field augment_fields[] = {{TEXT, AT(cvr_augment_desc, name), 0},
                                            {TEXT_OR_NULL, AT(cvr_augment_desc, doc), 0},
                                            {ATTRS, AT(cvr_augment_desc, attrs), AT(cvr_augment_desc, n_attrs)},
                                            {TEXTS, AT(cvr_augment_desc, kinds), AT(cvr_augment_desc, n_kinds)},
                                            {END, 0, 0}};
static const desc_field dataset_fields[] = {{TEXT, AT(cvr_dataset_desc, name), 0},
                                            {TEXT_OR_NULL, AT(cvr_dataset_desc, doc), 0},
                                            {ATTRS, AT(cvr_dataset_desc, attrs), AT(cvr_dataset_desc, n_attrs)},
                                            {FUNCTION, AT(cvr_dataset_desc, open), 0},
                                            {FUNCTION, AT(cvr_dataset_desc, close), 0},
                                            {FUNCTION, AT(cvr_dataset_desc, count), 0},
                                            {FUNCTION, AT(cvr_dataset_desc, n_classes), 0},
                                            {FUNCTION, AT(cvr_dataset_desc, class_name), 0},
                                            {FUNCTION, AT(cvr_dataset_desc, read), 0},
                                            {FUNCTION, AT(cvr_dataset_desc, describe), 0},
                                            {FUNCTION, AT(cvr_dataset_desc, label), 0},
                                            {FUNCTION, AT(cvr_dataset_desc, kind), 0},
                                            {END, 0, 0}};
static const desc_field field_fields[] = {{TEXT, AT(cvr_field_kind, name), 0},
                                          {TEXT_OR_NULL, AT(cvr_field_kind, doc), 0},
                                          {TEXT_OR_NULL, AT(cvr_field_kind, axis), 0},
                                          {END, 0, 0}};
static const desc_field codec_fields[] = {
    {TEXT, AT(cvr_codec_desc, name), 0},       {TEXT_OR_NULL, AT(cvr_codec_desc, doc), 0},
    {TEXT, AT(cvr_codec_desc, extensions), 0}, {FUNCTION, AT(cvr_codec_desc, probe), 0},
    {FUNCTION, AT(cvr_codec_desc, decode), 0}, {END, 0, 0}};
static const desc_field weights_fields[] = {{TEXT, AT(cvr_weights_desc, name), 0},
                                            {TEXT, AT(cvr_weights_desc, extension), 0},
                                            {TEXT_OR_NULL, AT(cvr_weights_desc, doc), 0},
                                            {FUNCTION, AT(cvr_weights_desc, probe), 0},
                                            {FUNCTION, AT(cvr_weights_desc, read), 0},
                                            {FUNCTION, AT(cvr_weights_desc, write), 0},
                                            {END, 0, 0}};
static const desc_field reporter_fields[] = {{TEXT, AT(cvr_reporter_desc, name), 0},
                                             {TEXT_OR_NULL, AT(cvr_reporter_desc, doc), 0},
                                             {FUNCTION, AT(cvr_reporter_desc, open), 0},
                                             {FUNCTION, AT(cvr_reporter_desc, close), 0},
                                             {END, 0, 0}};
static const desc_field backend_fields[] = {{TEXT, AT(cvr_backend_desc, name), 0},
                                            {TEXT_OR_NULL, AT(cvr_backend_desc, doc), 0},
                                            {TEXTS, AT(cvr_backend_desc, runs), AT(cvr_backend_desc, n_runs)},
                                            {FUNCTION, AT(cvr_backend_desc, device_count), 0},
                                            {FUNCTION, AT(cvr_backend_desc, open), 0},
                                            {FUNCTION, AT(cvr_backend_desc, close), 0},
                                            {FUNCTION, AT(cvr_backend_desc, describe), 0},
                                            {FUNCTION, AT(cvr_backend_desc, alloc), 0},
                                            {FUNCTION, AT(cvr_backend_desc, free), 0},
                                            {FUNCTION, AT(cvr_backend_desc, upload), 0},
                                            {FUNCTION, AT(cvr_backend_desc, download), 0},
                                            {FUNCTION, AT(cvr_backend_desc, record), 0},
                                            {FUNCTION, AT(cvr_backend_desc, replay), 0},
                                            {FUNCTION, AT(cvr_backend_desc, discard), 0},
                                            {FUNCTION, AT(cvr_backend_desc, sync), 0},
                                            {END, 0, 0}};

static const struct {
    const char *kind, *word;
    uint64_t size;
    const desc_field *fields;
} kinds[] = {
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
    {CVR_KIND_REPORTER, "reporter", sizeof(cvr_reporter_desc), reporter_fields},
    {CVR_KIND_BACKEND, "backend", sizeof(cvr_backend_desc), backend_fields},
};
#define N_KINDS (sizeof kinds / sizeof *kinds)

static size_t kind_index(const char *kind) {
    size_t i = 0;
    while (i < N_KINDS && strcmp(kinds[i].kind, kind) != 0) i++;
    return i;
}

const char *kind_word(const char *kind) {
    const size_t i = kind_index(kind);
    return i < N_KINDS ? kinds[i].word : NULL;
}

const char *kind_of_word(const char *word, size_t n) {
    for (size_t i = 0; i < N_KINDS; i++) {
        if (strlen(kinds[i].word) == n && memcmp(kinds[i].word, word, n) == 0) return kinds[i].kind;
    }
    return NULL;
}

static bool is_list(field_kind kind) {
    return kind == ATTRS || kind == TEXTS || kind == STAGES || kind == WANTS;
}

/* ---- checking ---- */

static bool valid_name(const char *s) {
    if (!*s || strlen(s) > 96) return false;
    for (; *s; s++) {
        if (!isalnum((unsigned char)*s) && !strchr("._-/ +!", *s)) return false;
    }
    return true;
}

static int32_t check_field(const desc_field *f, const char *desc, const char *kind, cvr_error *err) {
    void *pointer;
    uint32_t n = 0;
    memcpy(&pointer, desc + f->offset, sizeof pointer);
    if (is_list(f->kind)) memcpy(&n, desc + f->count_offset, sizeof n);
    const bool needed = f->kind == TEXT || f->kind == FUNCTION || f->kind == PAYLOAD || n > 0;
    if (needed && !pointer)
        return cvr_fail(err, CVR_ERR_PLUGIN, "%s: the pointer at byte %u is missing", kind, f->offset);
    for (uint32_t i = 0; (f->kind == STAGES || f->kind == WANTS) && i < n; i++) {
        const char *texts[2] = {NULL, NULL}, *item = ((const char *const *)pointer)[i]; /* both begin with two texts */
        if (item) memcpy(texts, item + offsetof(cvr_stage, name), sizeof texts);
        if (!texts[0] || !texts[1])
            return cvr_fail(err, CVR_ERR_PLUGIN, "%s: element %u of its list at byte %u lacks a text", kind, i,
                            f->offset);
    }
    if (f->kind != ATTRS) return CVR_OK;
    const cvr_schema schema = {(const cvr_attr_desc *const *)pointer, n};
    return n == 0 || cvr_schema_size(&schema, err) ? CVR_OK : CVR_ERR_PLUGIN;
}

/* ---- copying ---- */

static void *copy_bytes(const void *p, uint64_t n) {
    void *copy = cvr_calloc(1, n);
    if (copy) memcpy(copy, p, n);
    return copy;
}

/* Elements of a list: structs with texts in them, any of which may be NULL; a TEXTS list has the texts themselves. */
typedef struct list_item {
    field_kind kind;
    uint32_t size, n_texts;
    uint32_t texts[4];
} list_item;
static const list_item list_items[] = {
    {ATTRS,
     sizeof(cvr_attr_desc),
     4,
     {AT(cvr_attr_desc, name), AT(cvr_attr_desc, default_text), AT(cvr_attr_desc, choices), AT(cvr_attr_desc, doc)}},
    {STAGES, sizeof(cvr_stage), 2, {AT(cvr_stage, name), AT(cvr_stage, globs)}},
    {WANTS, sizeof(cvr_want), 3, {AT(cvr_want, field), AT(cvr_want, kind), AT(cvr_want, remedy)}},
};

static const list_item *item_of(field_kind kind) {
    const list_item *l = list_items;
    while (l->kind != kind) l++;
    return l;
}

static void free_item(field_kind kind, char *item) {
    for (uint32_t i = 0; kind != TEXTS && item && i < item_of(kind)->n_texts; i++) {
        char *text;
        memcpy(&text, item + item_of(kind)->texts[i], sizeof text);
        cvr_free(text);
    }
    cvr_free(item);
}

static void *copy_item(field_kind kind, const void *item) {
    if (kind == TEXTS) return cvr_strdup(item);
    const list_item *l = item_of(kind);
    char *copy = copy_bytes(item, l->size);
    bool whole = copy != NULL;
    for (uint32_t i = 0; copy && i < l->n_texts; i++) {
        const char *text;
        memcpy(&text, copy + l->texts[i], sizeof text);
        const char *own = text ? cvr_strdup(text) : NULL;
        whole = whole && !own == !text;
        memcpy(copy + l->texts[i], &own, sizeof own);
    }
    if (whole) return copy;
    free_item(kind, copy);
    return NULL;
}

/* A copy of the pointer field, or NULL when memory is out. */
static void *copy_field(const desc_field *f, const void *pointer, uint32_t n) {
    if (f->kind == PAYLOAD || f->kind == PAYLOAD_OR_NULL) return copy_bytes(pointer, payload_size(pointer));
    if (f->kind == TEXT || f->kind == TEXT_OR_NULL) return cvr_strdup(pointer);
    void **copy = cvr_calloc((size_t)n + 1, sizeof(void *));
    const void *const *from = pointer;
    for (uint32_t i = 0; copy && i < n; i++) copy[i] = copy_item(f->kind, from[i]);
    return copy;
}

static void free_field(const desc_field *f, char *desc) {
    void *pointer;
    uint32_t n = 0;
    memcpy(&pointer, desc + f->offset, sizeof pointer);
    if (!pointer || f->kind == FUNCTION) return;
    if (is_list(f->kind)) {
        memcpy(&n, desc + f->count_offset, sizeof n);
        void **list = pointer;
        for (uint32_t i = 0; i < n; i++) free_item(f->kind, list[i]);
    }
    cvr_free(pointer);
}

static void free_desc(const char *kind, void *desc) {
    for (const desc_field *f = kinds[kind_index(kind)].fields; f->kind != END; f++) free_field(f, desc);
    cvr_free(desc);
}

/* Replaces every pointer of a shallow copy by a deep one. */
static bool deepen(const desc_field *fields, char *desc) {
    bool good = true;
    for (const desc_field *f = fields; f->kind != END; f++) {
        void *pointer;
        uint32_t n = 0;
        if (f->kind == FUNCTION) continue;
        memcpy(&pointer, desc + f->offset, sizeof pointer);
        if (is_list(f->kind)) memcpy(&n, desc + f->count_offset, sizeof n);
        if (!pointer) continue;
        void *copy = copy_field(f, pointer, n);
        good = good && copy;
        for (uint32_t i = 0; i < n && good; i++) good = ((void **)copy)[i] != NULL;
        memcpy(desc + f->offset, &copy, sizeof copy);
    }
    return good;
}

/* Name under which an entry is found; for kernels made from two. Free with cvr_free. */
static char *entry_name(const char *kind, const void *desc) {
    if (strcmp(kind, CVR_KIND_KERNEL) == 0) {
        const cvr_kernel_desc *k = desc;
        cvr_text t = {0};
        cvr_text_add(&t, "%s/%s", k->backend, k->op);
        return t.s;
    }
    const char *name;
    memcpy(&name, (const char *)desc + offsetof(cvr_op_desc, name),
           sizeof name); /* every other kind has its name there */
    return cvr_strdup(name);
}

int32_t registry_add(registry *r, const char *owner, const char *kind, const void *desc, cvr_error *err) {
    const size_t k = kind ? kind_index(kind) : N_KINDS;
    if (k == N_KINDS)
        return cvr_fail(err, CVR_ERR_PLUGIN, "registers the kind `%s`, which this core does not have",
                        kind ? kind : "?");
    uint64_t size;
    memcpy(&size, desc, sizeof size);
    if (size != kinds[k].size) {
        return cvr_fail(err, CVR_ERR_PLUGIN,
                        "%s: its descriptor has %llu bytes, this core's has %llu; rebuild the plugin", kind,
                        (unsigned long long)size, (unsigned long long)kinds[k].size);
    }
    for (const desc_field *f = kinds[k].fields; f->kind != END; f++) CVR_TRY(check_field(f, desc, kind, err));
    CVR_TRY(registry_check(kind, desc, err));
    char *name = entry_name(kind, desc);
    registry_entry *more = cvr_grow(r->entries, r->n, &r->capacity, sizeof *more);
    if (more) r->entries = more;
    void *copy = copy_bytes(desc, size);
    const bool good = copy && deepen(kinds[k].fields, copy) && name && more;
    if (good && valid_name(name)) {
        more[r->n++] = (registry_entry){kinds[k].kind, name, owner, copy, 0};
        return CVR_OK;
    }
    const int32_t status =
        good ? cvr_fail(err, CVR_ERR_PLUGIN, "%s: `%s` is not a name; use letters, digits, _ . -", kind, name)
             : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (copy) free_desc(kinds[k].kind, copy);
    cvr_free(name);
    return status;
}

void registry_clear(registry *r) {
    for (size_t i = 0; i < r->n; i++) {
        free_desc(r->entries[i].kind, r->entries[i].desc);
        cvr_free((void *)(uintptr_t)r->entries[i].name);
    }
    cvr_free(r->entries);
    cvr_free(r->buckets);
    memset(r, 0, sizeof *r);
}
