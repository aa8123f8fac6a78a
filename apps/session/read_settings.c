/*
 * From a recipe to settings: the keys that every recipe has. What the command line says goes over the recipe, and under
 * both lies what suits the weights, what the model proposes, and how data looks that nobody has named.
 */
#include "presets.h"
#include "proposals.h"
#include "run_settings.h"
#include <cvr/session.h>

/* An error about one setting names where it stands; its status. */
static int32_t at(const settings *s, const char *section, const char *key, int32_t status, cvr_error *err) {
    return cvr_config_blame(s->config, section, key, status, err);
}

/* A precision that the run has settled on is kept where the command line says `auto` again. */
static int32_t note_precision(void *ctx, const char *section, const char *key, const char *value, uint32_t line,
                              cvr_error *err) {
    settings *s = ctx;
    (void)line, (void)err;
    if (strcmp(section, "backend") != 0 || strcmp(key, "precision") != 0) return CVR_OK;
    for (int64_t i = PRECISION_F32; i < PRECISION_AUTO; i++)
        if (strcmp(value, precision_name(i)) == 0) s->run_precision = i;
    return CVR_OK;
}

/* A run folder stands for its config.ini; without a path there is nothing but the command line. */
static int32_t open_config(settings *s, const char *path, cvr_error *err) {
    s->run_precision = PRECISION_AUTO;
    if (!path) return cvr_config_create(&s->config, err);
    if (cvr_fs_is_folder(path)) {
        s->run_folder = cvr_fs_absolute(".", path);
        s->recipe = s->run_folder ? cvr_fs_join(s->run_folder, "config.ini") : NULL;
        if (s->recipe && !cvr_fs_exists(s->recipe)) {
            cvr_fail(err, CVR_ERR_USAGE, "is not a run folder: it has no config.ini");
            return cvr_fail_at(err, path, 0, CVR_ERR_USAGE);
        }
    } else {
        s->recipe = cvr_strdup(path);
    }
    if (!s->recipe) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = cvr_config_load(&s->config, s->recipe, err);
    if (status != CVR_OK) return status == CVR_ERR_IO ? cvr_fail_as(err, CVR_ERR_USAGE) : status;
    return s->run_folder ? cvr_ini_read(s->recipe, note_precision, s, err) : CVR_OK;
}

typedef struct common_section {
    const char *section;
    const cvr_schema *schema;
    const void **to;
} common_section;

static int32_t bind_sections(settings *s, const common_section *all, size_t n, cvr_error *err) {
    for (size_t i = 0; i < n; i++) CVR_TRY(cvr_config_bind(s->config, all[i].section, all[i].schema, all[i].to, err));
    return CVR_OK;
}

/* What a model may propose something of. */
static int32_t bind_rest(settings *s, cvr_error *err) {
    const common_section all[] = {
        {"data", &data_schema, (const void **)&s->data},
        {"train", &train_schema, (const void **)&s->train},
        {"optim", &optim_schema, (const void **)&s->optim},
        {"sched", &sched_schema, (const void **)&s->sched},
        {"val", &val_schema, (const void **)&s->val},
        {"probe", &probe_schema, (const void **)&s->probe},
        {"export", &export_schema, (const void **)&s->export},
        {"quant", &quant_schema, (const void **)&s->quant},
        {"distill", &distill_schema, (const void **)&s->distill},
        {"prune", &prune_schema, (const void **)&s->prune},
        {"compressed", &compressed_schema, (const void **)&s->compressed},
    };
    return bind_sections(s, all, sizeof all / sizeof *all, err);
}

static int32_t check_std(const settings *s, cvr_error *err) {
    for (int i = 0; i < 4; i++)
        if (s->std[i] <= 0)
            return cvr_fail(err, CVR_ERR_USAGE, "data.std has %g; every channel must be divided by more than 0",
                            s->std[i]);
    return CVR_OK;
}

static int32_t check_parts(const settings *s, cvr_error *err) {
    if (s->train->batch % s->train->grad_accum == 0) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE, "train.grad_accum = %lld does not divide train.batch = %lld",
                    (long long)s->train->grad_accum, (long long)s->train->batch);
}

static int32_t check_read(const settings *s, cvr_error *err) {
    const bool validates = s->val->interval > 0, weights = *s->model->weights != '\0';
    if (s->run->patience && !validates)
        return settings_unread(s, "run", "patience", "val.interval = 0, so that nothing is validated", err);
    if (*s->val->metric && !validates)
        return settings_unread(s, "val", "metric", "val.interval = 0, so that nothing is validated", err);
    if (s->model->head != WEIGHTS_HEAD_AUTO && !weights)
        return settings_unread(s, "model", "head", "there are no model.weights to take it from", err);
    if (!s->model->strict && !weights) return settings_unread(s, "model", "strict", "there are no model.weights", err);
    return CVR_OK;
}

static int32_t parse_numbers(settings *s, cvr_error *err) {
    static const double imagenet_mean[3] = {0.485, 0.456, 0.406}, imagenet_std[3] = {0.229, 0.224, 0.225};
    CVR_TRY(at(s, "run", "save_every", parse_save_every(s->run->save_every, &s->save_every, err), err));
    CVR_TRY(at(s, "data", "cache_size", parse_bytes("data.cache_size", s->data->cache_size, &s->cache_size, err), err));
    if (s->data->cache == 1 && s->data->decode == 1)
        CVR_TRY(at(s, "data", "cache",
                   cvr_fail(err, CVR_ERR_USAGE,
                            "data.cache=ram keeps whole pictures, data.decode=reduced makes smaller ones; drop one"),
                   err));
    CVR_TRY(at(s, "train", "memory", parse_bytes("train.memory", s->train->memory, &s->memory, err), err));
    CVR_TRY(at(s, "data", "mean",
               parse_channels("mean", s->data->mean, imagenet_mean, s->model->in_channels, s->mean, err), err));
    CVR_TRY(at(s, "data", "std", parse_channels("std", s->data->std, imagenet_std, s->model->in_channels, s->std, err),
               err));
    CVR_TRY(at(s, "data", "std", check_std(s, err), err));
    if (*s->model->unfreeze && !*s->model->freeze)
        CVR_TRY(at(s, "model", "unfreeze",
                   cvr_fail(err, CVR_ERR_USAGE, "model.unfreeze is set, and nothing is frozen; set model.freeze too"),
                   err));
    CVR_TRY(at(s, "model", "unfreeze", phases_parse(&s->phases, s->model->unfreeze, err), err));
    return at(s, "train", "grad_accum", check_parts(s, err), err);
}

/* What a run folder records of its weights was settled when the run began. */
static bool weights_are_recorded(const settings *s) {
    const cvr_setting *given = cvr_config_given(s->config, "model", "weights");
    return s->run_folder && given && strcmp(given->file, s->recipe) == 0;
}

/* ---- which device ---- */

/* backend.name = NAME/DEVICE stands for backend.name and backend.device; who says that as well must say the same. */
static int32_t split_place(settings *s, cvr_error *err) {
    const cvr_setting *name = cvr_config_given(s->config, "backend", "name"),
                      *device = cvr_config_given(s->config, "backend", "device");
    cvr_place place;
    if (!name || !strchr(name->value, '/')) return CVR_OK;
    CVR_TRY(at(s, "backend", "name", cvr_place_parse(&place, name->value, err), err));
    if (device && strcmp(device->file, name->file) == 0 && strcmp(device->value, place.device) != 0)
        return at(s, "backend", "name",
                  cvr_fail(err, CVR_ERR_USAGE,
                           "backend.name=%.250s and backend.device=%.200s name two devices; leave one out", name->value,
                           device->value),
                  err);
    cvr_setting given = *name;
    given.value = place.backend;
    CVR_TRY(cvr_config_suggest(s->config, &given, true, err));
    given.key = "device";
    given.value = place.device;
    return cvr_config_suggest(s->config, &given, true, err);
}

static const char *named_backend(const settings *s) {
    const cvr_setting *name = cvr_config_given(s->config, "backend", "name");
    return name ? name->value : "auto";
}

/* A device belongs to the backend beside which it was chosen: where the command line names another backend than the
 * recipe, `before`, and no device, the recipe's is none of that backend's. It is the default again, by its origin too.
 */
static int32_t leave_device(settings *s, const char *before, cvr_error *err) {
    const cvr_setting *device = cvr_config_given(s->config, "backend", "device");
    if (!device || !device->line || strcmp(before, named_backend(s)) == 0) return CVR_OK;
    if (strcmp(device->value, "0") != 0)
        cvr_log(CVR_LOG_INFO, "backend.device=%s was chosen for backend %s and does not count for %s", device->value,
                before, named_backend(s));
    const cvr_setting first = {.section = "backend", .key = "device", .value = "0", .base = ".", .file = "default"};
    return cvr_config_suggest(s->config, &first, true, err);
}

int32_t settings_load(settings *s, const char *path, const char *const *overrides, size_t n, cvr_error *err) {
    const common_section backend = {"backend", &backend_schema, (const void **)&s->backend};
    CVR_TRY(open_config(s, path, err));
    CVR_TRY(split_place(s, err));
    char *const before = cvr_strdup(named_backend(s));
    int32_t status = before ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n && status == CVR_OK; i++) status = cvr_config_override(s->config, overrides[i], err);
    if (status == CVR_OK) status = split_place(s, err);
    if (status == CVR_OK) status = leave_device(s, before, err);
    cvr_free(before);
    return status == CVR_OK ? bind_sections(s, &backend, 1, err) : status;
}

int32_t settings_read(settings *s, cvr_plugins *p, bool needs_network, bool looks, cvr_error *err) {
    const common_section model = {"model", &model_schema, (const void **)&s->model},
                         run = {"run", &run_schema, (const void **)&s->run};
    CVR_TRY(propose_model_file(s, p, err));
    if (!weights_are_recorded(s)) CVR_TRY(preset_apply(s->config, &s->preset_classes, err));
    CVR_TRY(bind_sections(s, &model, 1, err));
    CVR_TRY(settings_choose_network(s, p, needs_network, err));
    CVR_TRY(propose_by_model(s, err));
    CVR_TRY(bind_sections(s, &run, 1, err));
    CVR_TRY(settings_choose_task(s, p, err));
    CVR_TRY(propose_by_data(s, p, looks, err));
    CVR_TRY(bind_rest(s, err));
    CVR_TRY(check_read(s, err));
    return parse_numbers(s, err);
}
