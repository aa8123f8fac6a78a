/*
 * Which transforms make the pictures of a split. Validation's, and the one that normalises, are the task's choice;
 * those of training are the lines of [augment] around it, or where there are none the same as validation's.
 */
#include "augment_presets.h"
#include "run_data.h"

static int32_t add_transform(split *to, cvr_plugins *p, const char *name, const char *text, cvr_error *err) {
    const void *desc;
    void *attrs = NULL;
    const int32_t found = cvr_plugins_find(p, CVR_KIND_AUGMENT, name, &desc, err);
    if (found != CVR_OK) return found == CVR_ERR_NOTFOUND ? cvr_fail_as(err, CVR_ERR_USAGE) : found;
    const cvr_augment_desc *augment = desc;
    const cvr_schema schema = {augment->attrs, augment->n_attrs};
    cvr_transform *more = cvr_grow(to->transforms, to->n_transforms, &to->capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    to->transforms = more;
    CVR_TRY(cvr_attrs_parse(&schema, text, NULL, name, &attrs, err));
    more[to->n_transforms++] = (cvr_transform){augment, attrs};
    return augment->check ? CVR_CALL(augment, check, NULL, err, attrs) : CVR_OK;
}

/* Stable: transforms of one stage stay in the order in which they were written. */
static void order_by_stage(split *s) {
    for (size_t i = 1; i < s->n_transforms; i++) {
        const cvr_transform t = s->transforms[i];
        size_t at = i;
        for (; at > 0 && s->transforms[at - 1].desc->stage > t.desc->stage; at--)
            s->transforms[at] = s->transforms[at - 1];
        s->transforms[at] = t;
    }
}

static size_t normalisers(const split *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_transforms; i++) n += s->transforms[i].desc->stage == CVR_STAGE_NORMALISE;
    return n;
}

/* ---- the task's pipeline ---- */

typedef struct filling {
    split *to;
    cvr_plugins *plugins;
    int64_t crop;
    bool normaliser_only; /* the rest is what [augment] stands for */
    bool normalised;      /* a line of [augment] has done that */
} filling;

static int32_t pipeline_add(const cvr_pipeline *p, const char *name, const char *text, cvr_error *err) {
    const filling *f = p->ctx;
    const void *desc;
    CVR_TRY(cvr_plugins_find(f->plugins, CVR_KIND_AUGMENT, name, &desc, err));
    const bool normalises = ((const cvr_augment_desc *)desc)->stage == CVR_STAGE_NORMALISE;
    if (normalises ? f->normalised : f->normaliser_only) return CVR_OK;
    return add_transform(f->to, f->plugins, name, text, err);
}

static int32_t take_pipeline(const cvr_task_info *info, const settings *s, filling *f, cvr_error *err) {
    static const char *const interpolations[] = {"nearest", "bilinear", "bicubic"}; /* as INTERPOLATION_NAMES */
    static const uint32_t fits[] = {[FIT_AUTO] = CVR_FIT_STRETCH,
                                    [FIT_STRETCH] = CVR_FIT_STRETCH,
                                    [FIT_LETTERBOX] = CVR_FIT_LETTERBOX,
                                    [FIT_LETTERBOX_CENTER] = CVR_FIT_LETTERBOX_CENTER,
                                    [FIT_LETTERBOX_ALIGNED] = CVR_FIT_LETTERBOX_ALIGNED};
    const cvr_pipeline p = {.struct_size = sizeof p,
                            .ctx = f,
                            .resize_size = s->protocol.resize,
                            .crop_size = f->crop,
                            .interpolation = interpolations[s->val->interpolation],
                            .mean = s->mean,
                            .std = s->std,
                            .add = pipeline_add,
                            .img_size = {s->data->img_size, s->data->img_size_long},
                            .fit = fits[s->data->fit]};
    CVR_TRY(CVR_CALL(s->task, pipeline, NULL, err, info, &p));
    order_by_stage(f->to);
    if (normalisers(f->to) == 1) return CVR_OK;
    return cvr_fail(err, CVR_ERR_PLUGIN, "task %s: its pipeline has %zu transforms that normalise; it must have one",
                    s->task->name, normalisers(f->to));
}

/* ---- [augment] ---- */

static const cvr_attr_desc *setting_named(const cvr_augment_desc *d, const char *name) {
    for (uint32_t i = 0; i < d->n_attrs; i++)
        if (strcmp(d->attrs[i]->name, name) == 0) return d->attrs[i];
    return NULL;
}

/* Whether a transform has a setting `size` without a default. */
static bool needs_size(const cvr_augment_desc *d) {
    const cvr_attr_desc *size = setting_named(d, "size");
    return size && !size->default_text;
}

/* Whether one of the transforms brings pictures to a size, in all epochs: it moves pixels, and has a setting for it. */
static bool makes_size(const split *s) {
    for (size_t i = 0; i < s->n_transforms; i++) {
        const cvr_augment_desc *d = s->transforms[i].desc;
        if (d->moves && !d->closes && (setting_named(d, "size") || setting_named(d, "min_size"))) return true;
    }
    return false;
}

/* Whether a line of such a transform gives it. */
static bool gives_size(const char *text) {
    bool given = false;
    for (const char *p = text + strspn(text, " \t"); *p; p += strspn(p, " \t")) {
        const size_t word = strcspn(p, " \t");
        given = given || !memchr(p, '=', word) || strncmp(p, "size=", 5) == 0; /* without a key it is the first */
        p += word;
    }
    return given;
}

bool data_size_is_given(const run_data *d, const settings *s) {
    const split *train = &d->splits[CVR_SPLIT_TRAIN];
    const cvr_setting *const *lines;
    const size_t n = cvr_config_lines(s->config, "augment", &lines);
    bool given = !n;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < train->n_transforms; k++) {
            const cvr_augment_desc *desc = train->transforms[k].desc;
            given =
                given || (strcmp(desc->name, lines[i]->key) == 0 && needs_size(desc) && gives_size(lines[i]->value));
        }
    return given;
}

/* The size of pictures is one setting: a transform that is told none makes them of data.img_size. */
static int32_t add_sized(split *to, const settings *s, cvr_plugins *p, const cvr_setting *line, cvr_error *err) {
    const void *desc;
    cvr_text text = {0};
    cvr_text_add(&text, "%s", line->value);
    if (s->data->img_size > 0 && s->data->img_size_long == 0 &&
        cvr_plugins_find(p, CVR_KIND_AUGMENT, line->key, &desc, err) == CVR_OK && needs_size(desc) &&
        !gives_size(line->value))
        cvr_text_add(&text, " size=%lld", (long long)s->data->img_size);
    const int32_t status =
        text.failed ? cvr_fail(err, CVR_ERR_NOMEM, "out of memory") : add_transform(to, p, line->key, text.s, err);
    cvr_text_clear(&text);
    return status;
}

static int32_t add_line(split *to, const settings *s, cvr_plugins *p, const cvr_setting *line, cvr_error *err) {
    const bool normalised = strcmp(s->data->mean, "0") != 0 || strcmp(s->data->std, "1") != 0;
    CVR_TRY(add_sized(to, s, p, line, err));
    if (normalisers(to) == 0 || (!normalised && normalisers(to) == 1)) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE, "pictures are normalised %s already; remove one of the two",
                    normalised ? "by data.mean and data.std" : "by a line above");
}

typedef struct preset_line {
    split *to;
    const settings *s;
    cvr_plugins *plugins;
    const cvr_setting *line; /* of the recipe */
    bool sized;              /* one of the list has a size of its own */
} preset_line;

static int32_t add_preset_line(void *ctx, const char *transform, const char *text, cvr_error *err) {
    preset_line *p = ctx;
    cvr_setting line = *p->line;
    line.key = transform;
    line.value = text;
    CVR_TRY(add_line(p->to, p->s, p->plugins, &line, err));
    const cvr_augment_desc *d = p->to->transforms[p->to->n_transforms - 1].desc;
    p->sized = p->sized || (d->moves && (setting_named(d, "min_size") || (needs_size(d) && gives_size(text))));
    return CVR_OK;
}

/* A transform, or the name of a list of them. */
static int32_t add_line_or_preset(split *to, const settings *s, cvr_plugins *p, const cvr_setting *line,
                                  cvr_error *err) {
    preset_line preset = {to, s, p, line, false};
    if (strcmp(line->key, AUGMENT_PRESET) != 0) return add_line(to, s, p, line, err);
    CVR_TRY(augment_preset_each(line->value, add_preset_line, &preset, err));
    if (s->data->img_size > 0 && settings_with_boxes(s) && preset.sized)
        cvr_log(CVR_LOG_INFO, "[augment] preset = %s has a size of its own for training; data.img_size is validation's",
                line->value);
    return CVR_OK;
}

void data_free_transforms(split *s) {
    for (size_t k = 0; k < s->n_transforms; k++) cvr_free((void *)(uintptr_t)s->transforms[k].attrs);
    cvr_free(s->transforms);
}

int32_t data_train_transforms(const cvr_task_info *info, split *to, const settings *s, cvr_plugins *p, cvr_error *err) {
    const cvr_setting *const *lines;
    const size_t n = cvr_config_lines(s->config, "augment", &lines);
    if (!lines) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const int32_t status = add_line_or_preset(to, s, p, lines[i], err);
        if (status != CVR_OK && err && strncmp(err->message, lines[i]->key, strlen(lines[i]->key)) != 0) {
            char why[sizeof err->message];
            (void)snprintf(why, sizeof why, "%.60s: %.900s", lines[i]->key, err->message);
            memcpy(err->message, why, sizeof why);
        }
        if (status != CVR_OK) return lines[i]->file ? cvr_fail_at(err, lines[i]->file, lines[i]->line, status) : status;
    }
    const size_t lines_do = to->n_transforms; /* `preset = none` adds nothing */
    order_by_stage(to);
    /* Lines for pictures with boxes seldom speak of sizes: the task's own comes after them. */
    const bool sized = !settings_with_boxes(s) || makes_size(to), normalised = normalisers(to) > 0;
    filling all = {.to = to,
                   .plugins = p,
                   .crop = s->val->crop_size < 0 ? s->data->img_size : s->val->crop_size,
                   .normaliser_only = lines_do > 0 && sized,
                   .normalised = normalised};
    return sized && normalised ? CVR_OK : take_pipeline(info, s, &all, err);
}

int32_t data_make_transforms(run_data *d, const settings *s, cvr_plugins *p, cvr_error *err) {
    filling val = {.to = &d->splits[CVR_SPLIT_VAL], .plugins = p, .crop = s->protocol.crop};
    d->task = (cvr_task_info){.struct_size = sizeof d->task,
                              .host = cvr_plugins_host(p),
                              .attrs = s->task_attrs,
                              .predict_attrs = s->predict_attrs};
    CVR_TRY(data_train_transforms(&d->task, &d->splits[CVR_SPLIT_TRAIN], s, p, err));
    return take_pipeline(&d->task, s, &val, err);
}
