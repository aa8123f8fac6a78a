/* The data side of a session: data sets, transforms, classes. */
#include "session.h"
#include <stdlib.h>

/* ---- transforms ---- */

static int32_t add_transform(cvr_session *s, split *to, const char *name, const cvr_setting *settings, size_t n,
                             cvr_error *err) {
    const void *desc;
    void *attrs = NULL;
    if (to->n_transforms == MOST_TRANSFORMS || s->n_blocks == sizeof s->blocks / sizeof *s->blocks) {
        return cvr_fail(err, CVR_ERR_USAGE, "more than %u transforms", MOST_TRANSFORMS);
    }
    int32_t status = cvr_plugins_find(s->plugins, CVR_KIND_AUGMENT, name, &desc, err);
    if (status != CVR_OK) return status == CVR_ERR_NOTFOUND ? cvr_fail_as(err, CVR_ERR_USAGE) : status;
    const cvr_augment_desc *augment = desc;
    const cvr_schema schema = {augment->attrs, augment->n_attrs};
    status = n == 1 && !settings->key ? cvr_attrs_parse(&schema, settings->value, NULL, name, &attrs, err)
                                      : cvr_attrs_pack(&schema, settings, n, name, &attrs, err);
    if (status != CVR_OK) return status;
    s->blocks[s->n_blocks++] = attrs;
    if (augment->check && (status = augment->check(attrs, err)) != CVR_OK) return status;
    to->transforms[to->n_transforms++] = (cvr_transform){augment, attrs};
    return CVR_OK;
}

/* Shorter side to resize_size, centre crop to crop_size: what validation sees, and training without [augment]. */
int32_t session_val_transforms(cvr_session *s, split *to, cvr_error *err) {
    const int64_t resize = s->val->resize_size < 0 ? s->data->img_size : s->val->resize_size;
    const int64_t crop = s->val->crop_size < 0 ? s->data->img_size : s->val->crop_size;
    char text[32];
    int32_t status = CVR_OK;
    if (resize > 0) {
        (void)snprintf(text, sizeof text, "%lld", (long long)resize);
        const cvr_setting settings[] = {
            {.key = "size", .value = text},
            {.key = "interpolation", .value = s->val->interpolation ? "bilinear" : "nearest"}};
        status = add_transform(s, to, "resize", settings, 2, err);
    }
    if (status == CVR_OK && crop > 0) {
        (void)snprintf(text, sizeof text, "%lld", (long long)crop);
        const cvr_setting size = {.key = "size", .value = text};
        status = add_transform(s, to, "center_crop", &size, 1, err);
    }
    return status;
}

static int32_t train_transforms(cvr_session *s, split *to, cvr_error *err) {
    const cvr_setting *const *lines;
    const size_t n = cvr_config_lines(s->config, "augment", &lines);
    if (n == 0) return session_val_transforms(s, to, err);
    const bool normalises = strcmp(s->data->mean, "0") != 0 || strcmp(s->data->std, "1") != 0;
    for (size_t i = 0; i < n; i++) {
        const cvr_setting one = {.key = NULL, .value = lines[i]->value};
        int32_t status = add_transform(s, to, lines[i]->key, &one, 1, err);
        if (status == CVR_OK && normalises && strcmp(lines[i]->key, "normalize") == 0) {
            status = cvr_fail(err, CVR_ERR_USAGE,
                              "pictures are normalised by data.mean and data.std already; remove one of the two");
        }
        if (status != CVR_OK) return lines[i]->file ? cvr_fail_at(err, lines[i]->file, lines[i]->line, status) : status;
    }
    return CVR_OK;
}

/* ---- data sets ---- */

static int32_t open_split(cvr_session *s, uint32_t which, const void *attrs, cvr_error *err) {
    split *sp = &s->splits[which];
    const cvr_dataset_args args = {.struct_size = sizeof args,
                                   .host = cvr_plugins_host(s->plugins),
                                   .attrs = attrs,
                                   .root = s->data->root,
                                   .train = s->data->train,
                                   .val = s->data->val,
                                   .split = which,
                                   .channels = (uint32_t)s->in_channels,
                                   .img_size = s->data->img_size,
                                   .seed = (uint64_t)s->run->seed};
    const int32_t status = sp->desc->open(&args, &sp->self, err);
    sp->present = status == CVR_OK;
    return status;
}

void session_batch_options(const cvr_session *s, uint32_t which, cvr_batches_options *o) {
    const split *sp = &s->splits[which];
    *o = (cvr_batches_options){.dataset = sp->desc,
                               .self = sp->self,
                               .transforms = sp->transforms,
                               .n_transforms = sp->n_transforms,
                               .batch = s->train->batch,
                               .limit = s->data->limit,
                               .shuffle = which == CVR_SPLIT_TRAIN && s->data->shuffle,
                               .drop_last = which == CVR_SPLIT_TRAIN && s->data->drop_last,
                               .skip_bad = s->data->on_error == 1,
                               .run_ahead = which == CVR_SPLIT_TRAIN,
                               .reduced = s->data->decode == 1,
                               .workers = (uint32_t)s->data->workers,
                               .target_kind = s->task->target_kind,
                               .seed = (uint64_t)s->run->seed,
                               .size_hint = s->data->img_size ? "add a resize or crop to [augment]"
                                                              : "set data.img_size, so that all are made alike"};
    memcpy(o->mean, s->mean, sizeof o->mean);
    memcpy(o->std, s->std, sizeof o->std);
}

static int32_t open_batches(cvr_session *s, uint32_t which, cvr_error *err) {
    cvr_batches_options o;
    session_batch_options(s, which, &o);
    return cvr_batches_create(&s->splits[which].batches, &o, err);
}

/* ---- classes ---- */

static int32_t set_classes(cvr_session *s, char **names, int64_t n, cvr_error *err) {
    s->class_names = names;
    s->task_info = (cvr_task_info){.struct_size = sizeof s->task_info,
                                   .host = cvr_plugins_host(s->plugins),
                                   .attrs = s->task_info.attrs,
                                   .n_classes = n,
                                   .class_names = (const char *const *)names};
    for (int64_t i = 0; i < n; i++) {
        if (!names[i]) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    return CVR_OK;
}

/* data.names, "a,b,c". */
static int32_t split_names(const char *text, char **names, int64_t n, cvr_error *err) {
    int64_t i = 0;
    for (const char *p = text;; p++) {
        const size_t length = strcspn(p, ",");
        const char *word = p + strspn(p, " ");
        if (i < n) names[i] = cvr_strndup(word, (size_t)(p + length - word));
        i++;
        p += length;
        if (!*p) break;
    }
    return i == n
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_USAGE, "data.names has %lld names for %lld classes", (long long)i, (long long)n);
}

/* classes.txt of a run folder: a name a line. */
static int32_t read_classes(const char *path, char ***out, int64_t *n, cvr_error *err) {
    uint8_t *bytes;
    uint64_t size;
    const int32_t status = cvr_fs_read(path, 1u << 24, &bytes, &size, err);
    if (status != CVR_OK) return status;
    *n = 0;
    for (uint64_t i = 0; i < size; i++) *n += bytes[i] == '\n';
    *out = cvr_calloc((size_t)*n + 1, sizeof **out);
    const char *p = (const char *)bytes;
    for (int64_t i = 0; *out && i < *n; i++) {
        const size_t length = strcspn(p, "\n");
        (*out)[i] = cvr_strndup(p, length);
        p += length + 1;
    }
    cvr_free(bytes);
    return *out ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

static bool is_file_in(const char *folder, const char *name, char **path) {
    *path = folder ? cvr_fs_join(folder, name) : NULL;
    return *path && cvr_fs_exists(*path);
}

/* Names of the classes: the recipe's, else the data's or the run folder's, else numbers. */
int32_t session_open_classes(cvr_session *s, cvr_error *err) {
    const split *from = s->splits[0].present ? &s->splits[0] : s->splits[1].present ? &s->splits[1] : NULL;
    char **names = NULL, *path = NULL;
    int64_t n = from ? from->desc->n_classes(from->self) : s->model->num_classes;
    int32_t status = CVR_OK;
    if (!from && is_file_in(s->run_folder, "classes.txt", &path)) {
        status = read_classes(path, &names, &n, err);
    } else if (n > 0 && (names = cvr_calloc((size_t)n, sizeof *names))) {
        char number[24];
        for (int64_t i = 0; i < n && !*s->data->names; i++) {
            (void)snprintf(number, sizeof number, "%lld", (long long)i);
            names[i] = cvr_strdup(from ? from->desc->class_name(from->self, i) : number);
        }
        if (*s->data->names) status = split_names(s->data->names, names, n, err);
    }
    cvr_free(path);
    if (status == CVR_OK && !names)
        status = cvr_fail(err, CVR_ERR_USAGE,
                          "how many classes are there? Set model.num_classes, or predict with a run folder");
    const int32_t set = set_classes(s, names, names ? n : 0, err);
    if (status == CVR_OK) status = set;
    if (status == CVR_OK && from && s->splits[1].present && from != &s->splits[1] &&
        s->splits[1].desc->n_classes(s->splits[1].self) != n) {
        status = cvr_fail(err, CVR_ERR_FORMAT,
                          "the training data has %lld classes, the validation data %lld; they must be the same",
                          (long long)n, (long long)s->splits[1].desc->n_classes(s->splits[1].self));
    }
    return status;
}

int32_t session_open_data(cvr_session *s, cvr_error *err) {
    const cvr_image_service *images;
    const void *desc, *attrs;
    const bool trains = s->purpose & CVR_FOR_TRAINING,
               validates = (s->purpose & CVR_FOR_EVALUATION) || (trains && s->val->interval > 0);
    int32_t status = cvr_plugins_find(s->plugins, CVR_KIND_DATASET, s->data->format, &desc, err);
    if (status == CVR_ERR_NOTFOUND) status = cvr_fail_at(err, s->recipe, 0, cvr_fail_as(err, CVR_ERR_USAGE));
    if (status != CVR_OK) return status;
    const cvr_dataset_desc *dataset = desc;
    const cvr_schema schema = {dataset->attrs, dataset->n_attrs};
    status = cvr_config_bind(s->config, "data", &schema, &attrs, err);
    s->splits[0].desc = s->splits[1].desc = dataset;
    if (status == CVR_OK) status = train_transforms(s, &s->splits[CVR_SPLIT_TRAIN], err);
    if (status == CVR_OK) status = session_val_transforms(s, &s->splits[CVR_SPLIT_VAL], err);
    if (status == CVR_OK) status = cvr_config_finish(s->config, err);
    if (status != CVR_OK || !(s->purpose & (CVR_FOR_TRAINING | CVR_FOR_EVALUATION))) return status;
    const double start = cvr_now();
    status = cvr_plugins_image_service(s->plugins, &images, err);
    if (status == CVR_OK && trains) status = open_split(s, CVR_SPLIT_TRAIN, attrs, err);
    if (status == CVR_OK && validates) status = open_split(s, CVR_SPLIT_VAL, attrs, err);
    if (status == CVR_OK && trains) status = open_batches(s, CVR_SPLIT_TRAIN, err);
    if (status == CVR_OK && validates) status = open_batches(s, CVR_SPLIT_VAL, err);
    if (status == CVR_OK) {
        int64_t shape[4], other[4];
        cvr_batches_shape(s->splits[trains ? 0 : 1].batches, shape);
        s->in_channels = shape[1];
        s->height = shape[2];
        s->width = shape[3];
        if (trains && validates) {
            cvr_batches_shape(s->splits[1].batches, other);
            if (other[1] != shape[1])
                status = cvr_fail(err, CVR_ERR_INVALID,
                                  "training pictures have %lld channels, validation's %lld; set model.in_channels",
                                  (long long)shape[1], (long long)other[1]);
        }
    }
    s->data_seconds = cvr_now() - start;
    return status;
}

void session_close_data(cvr_session *s) {
    for (int i = 0; i < 2; i++) {
        cvr_batches_destroy(&s->splits[i].batches);
        if (s->splits[i].present) s->splits[i].desc->close(s->splits[i].self);
        s->splits[i].present = false;
    }
    for (int64_t i = 0; s->class_names && i < s->task_info.n_classes; i++) cvr_free(s->class_names[i]);
    cvr_free(s->class_names);
    s->class_names = NULL;
}
