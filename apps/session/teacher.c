/* Opens the teacher of [distill]: a run folder, or a file of weights with a model's name. */
#include "teacher.h"
#include "session_parts.h"
#include "sha256.h"

/* An error about the teacher names the setting that names it. */
static int32_t blame(const cvr_session *s, const char *key, int32_t status, cvr_error *err) {
    return status == CVR_OK ? CVR_OK : cvr_config_blame(s->set.config, "distill", key, status, err);
}

/* ---- its settings ---- */

/* A file of weights has the model that distill.model names, and the student's classes, channels and normalisation. */
static int32_t stand_for_run(teacher *t, const cvr_session *s, cvr_error *err) {
    const distill_settings *d = s->set.distill;
    char texts[6][512];
    const char *overrides[6];
    if (!*d->model)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "distill.teacher is a file, which does not say of which network; set distill.model=NAME, or "
                        "give a run folder");
    (void)snprintf(texts[0], sizeof texts[0], "model.name=%.400s", d->model);
    (void)snprintf(texts[1], sizeof texts[1], "model.num_classes=%lld", (long long)s->data.task.n_classes);
    (void)snprintf(texts[2], sizeof texts[2], "model.in_channels=%lld", (long long)s->data.channels);
    (void)snprintf(texts[3], sizeof texts[3], "run.task=%.400s", s->set.task->name);
    (void)snprintf(texts[4], sizeof texts[4], "data.mean=%.400s", s->set.data->mean);
    (void)snprintf(texts[5], sizeof texts[5], "data.std=%.400s", s->set.data->std);
    for (size_t i = 0; i < 6; i++) overrides[i] = texts[i];
    return settings_load(&t->set, NULL, overrides, 6, err);
}

static int32_t read_settings(teacher *t, const cvr_session *s, bool folder, cvr_error *err) {
    const distill_settings *d = s->set.distill;
    if (folder && *d->model)
        return settings_unread(&s->set, "distill", "model", "the run folder says which network the teacher is", err);
    CVR_TRY(folder ? settings_load(&t->set, d->teacher, NULL, 0, err) : stand_for_run(t, s, err));
    CVR_TRY(settings_read(&t->set, s->plugins, true, false, err));
    if (strcmp(t->set.task->name, s->set.task->name) != 0)
        return cvr_fail(err, CVR_ERR_USAGE, "distill.teacher was trained for `%s`, and this run is for `%s`",
                        t->set.task->name, s->set.task->name);
    if (t->set.model->in_channels == s->data.channels) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE, "distill.teacher looks at pictures of %lld channels, and these have %lld",
                    (long long)t->set.model->in_channels, (long long)s->data.channels);
}

/* ---- its pixels ---- */

static int32_t settle_pixels(teacher *t, const cvr_session *s, cvr_error *err) {
    static const double imagenet_mean[3] = {0.485, 0.456, 0.406}, imagenet_std[3] = {0.229, 0.224, 0.225};
    const distill_settings *d = s->set.distill;
    double mean[4], std[4];
    memcpy(mean, t->set.mean, sizeof mean);
    memcpy(std, t->set.std, sizeof std);
    if (cvr_config_given(s->set.config, "augment", "normalize"))
        return cvr_fail(
            err, CVR_ERR_USAGE,
            "[augment] has a line `normalize`, so that data.mean and data.std do not say what the teacher's "
            "pixels have to be made of; leave it out and set these");
    if (*d->mean)
        CVR_TRY(blame(s, "mean", parse_channels("mean", d->mean, imagenet_mean, s->data.channels, mean, err), err));
    if (*d->std) CVR_TRY(blame(s, "std", parse_channels("std", d->std, imagenet_std, s->data.channels, std, err), err));
    for (int i = 0; i < 4; i++) {
        if (!(std[i] > 0)) return cvr_fail(err, CVR_ERR_USAGE, "distill.std: every channel is divided by more than 0");
        t->scale[i] = (float)(s->set.std[i] / std[i]);
        t->shift[i] = (float)((s->set.mean[i] - mean[i]) / std[i]);
        if (i < s->data.channels && (mean[i] != s->set.mean[i] || std[i] != s->set.std[i])) t->renormalises = true;
    }
    t->side = t->set.val->crop_size > 0 ? t->set.val->crop_size : t->set.data->img_size;
    if (d->img_size > 0) t->side = d->img_size;
    return CVR_OK;
}

/* ---- its classes ---- */

static int32_t read_classes(teacher *t, bool folder, cvr_error *err) {
    char *path = folder ? cvr_fs_join(t->set.run_folder, "classes.txt") : NULL;
    if (!folder) return data_weights_classes(&t->set, t->weights, &t->classes, err);
    if (!path) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = cvr_fs_exists(path) ? class_names_read(&t->classes, path, err) : CVR_OK;
    cvr_free(path);
    return status;
}

static int32_t other_classes(const teacher *t, const cvr_session *s, cvr_error *err) {
    char has[300], are[300];
    return cvr_fail(
        err, CVR_ERR_USAGE, "distill.teacher knows the classes %s, and the data has %s: they must be the same",
        class_names_list(&t->classes, has, sizeof has), class_names_list(&s->data.classes, are, sizeof are));
}

/* By name; where either has only numbers, class i is class i. */
static int32_t match_classes(teacher *t, const cvr_session *s, cvr_error *err) {
    const class_names *own = &s->data.classes;
    bool moved = false;
    t->n_classes = t->classes.n ? t->classes.n : s->data.task.n_classes;
    if (t->n_classes != s->data.task.n_classes)
        return t->classes.n && own->n
                   ? other_classes(t, s, err)
                   : cvr_fail(err, CVR_ERR_USAGE, "distill.teacher has %lld classes, and the data %lld",
                              (long long)t->n_classes, (long long)s->data.task.n_classes);
    if (!t->classes.n || class_names_are_numbers(&t->classes) || class_names_are_numbers(own)) return CVR_OK;
    t->columns = cvr_calloc((size_t)own->n + 1, sizeof *t->columns);
    if (!t->columns) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (int64_t i = 0; i < own->n; i++) {
        t->columns[i] = class_names_find(&t->classes, own->names[i], i);
        if (t->columns[i] < 0) return other_classes(t, s, err);
        moved = moved || t->columns[i] != i;
    }
    if (moved) return CVR_OK;
    cvr_free(t->columns);
    t->columns = NULL;
    return CVR_OK;
}

/* ---- its weights ---- */

/* A run that goes on has the teacher that it began with. */
static int32_t check_file(teacher *t, const cvr_session *s, cvr_error *err) {
    distill_settings *d = s->set.distill;
    cvr_mapping m;
    CVR_TRY(cvr_fs_map(t->weights, &m, err));
    sha256_hex(m.bytes, m.n, t->sha256);
    cvr_fs_unmap(&m);
    if (*d->sha256 && strcmp(d->sha256, t->sha256) != 0)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "%s is not the teacher that this run began with: its sha256 is %.12s..., and was %.12s...; put "
                        "it back, or go on with this one by distill.sha256=",
                        t->weights, t->sha256, d->sha256);
    d->sha256 = t->sha256;
    return CVR_OK;
}

/* Scales of activations come from pictures of a run's data, which quantising it looks at. */
static int32_t check_precision(const teacher *t, const cvr_session *s, cvr_error *err) {
    const int64_t asked = s->set.distill->precision;
    const char *by = t->set.compressed->by;
    if (!*by && asked == DISTILL_INT8)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "distill.precision = int8: this teacher has no scales for integers; make it some by cvrun "
                        "quantize %.300s, and say distill.teacher=%.300s-quantized",
                        t->set.run_folder ? t->set.run_folder : "RUN_DIR",
                        t->set.run_folder ? t->set.run_folder : "RUN_DIR");
    if (*by && (asked == DISTILL_BF16 || asked == DISTILL_F32))
        return cvr_fail(err, CVR_ERR_USAGE,
                        "distill.precision: `%s` has made integers of this teacher, and what it left as it was is in "
                        "f32; leave it out, or take the run that it was made of",
                        by);
    return CVR_OK;
}

static int32_t open_compressed(teacher *t, const cvr_session *s, cvr_error *err) {
    CVR_TRY(blame(s, "precision", check_precision(t, s, err), err));
    return *t->set.compressed->by ? compressed_open(&t->set, s->plugins, &t->rewriting, &t->plan, err) : CVR_OK;
}

static int32_t open_teacher(teacher *t, const cvr_session *s, cvr_error *err) {
    const char *path = s->set.distill->teacher;
    const bool folder = cvr_fs_is_folder(path);
    if (!cvr_fs_exists(path)) return cvr_fail(err, CVR_ERR_USAGE, "distill.teacher = %s: is not there", path);
    CVR_TRY(read_settings(t, s, folder, err));
    if (folder) {
        CVR_TRY(session_folder_weights(t->set.run_folder, &t->weights, err));
    } else if (!(t->weights = cvr_strdup(path))) {
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    CVR_TRY(settle_pixels(t, s, err));
    CVR_TRY(read_classes(t, folder, err));
    CVR_TRY(match_classes(t, s, err));
    CVR_TRY(open_compressed(t, s, err));
    return check_file(t, s, err);
}

int32_t teacher_open(cvr_session *s, cvr_error *err) {
    if (!*s->set.distill->teacher || (s->purpose & CVR_TO_FINETUNE)) return CVR_OK;
    s->teacher = cvr_calloc(1, sizeof *s->teacher);
    if (!s->teacher) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = open_teacher(s->teacher, s, err);
    return blame(s, "teacher", status, err);
}

int32_t teacher_load(cvr_session *s, cvr_error *err) {
    const teacher *t = s->teacher;
    if (!t) return CVR_OK;
    const weights_rules rules = {
        .network = TEACHER, .head = WEIGHTS_HEAD_KEEP, .alias = t->set.model_desc ? t->set.model_desc->alias : NULL};
    return blame(s, "teacher", weights_load(s->plugins, s->net.store, &rules, t->weights, err), err);
}

void teacher_close(teacher **at) {
    teacher *t = *at;
    if (!t) return;
    settings_close(&t->set);
    class_names_clear(&t->classes);
    cvr_free(t->columns);
    cvr_free(t->weights);
    cvr_free(t->plan);
    cvr_free(t);
    *at = NULL;
}
