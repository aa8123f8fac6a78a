/* The plugins that a recipe names: each is found, and its keys join those of the section that names it. */
#include "run_settings.h"
#include <cvr/session.h>

static bool in_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

/* The setting that an error is about: the line of [augment] whose transform its message begins with, else the first
 * `section.key` in it that was given; NULL where there is none. */
static const cvr_setting *setting_of(const settings *s, const char *message) {
    const cvr_setting *found = NULL;
    char section[32], key[64];
    if (sscanf(message, "%63[a-z0-9_.]", key) == 1) found = cvr_config_given(s->config, "augment", key);
    for (const char *p = message; !found && *p; p++)
        if ((p == message || !in_name(p[-1])) && sscanf(p, "%31[a-z].%63[a-z0-9_]", section, key) == 2)
            found = cvr_config_given(s->config, section, key);
    return found;
}

int32_t settings_blame(const settings *s, int32_t status, cvr_error *err) {
    const cvr_setting *given = err && s->config && !err->file[0] ? setting_of(s, err->message) : NULL;
    if (status != CVR_ERR_INVALID && status != CVR_ERR_NOTFOUND && status != CVR_ERR_USAGE) return status;
    if (given && given->file) cvr_fail_at(err, given->file, given->line, status);
    return s->config ? cvr_fail_at(err, cvr_config_path(s->config), 0, cvr_fail_as(err, CVR_ERR_USAGE)) : status;
}

/* An error about one setting names where it stands; its status. */
static int32_t at(const settings *s, const char *section, const char *key, int32_t status, cvr_error *err) {
    return cvr_config_blame(s->config, section, key, status, err);
}

int32_t settings_unread(const settings *s, const char *section, const char *key, const char *why, cvr_error *err) {
    return at(s, section, key, cvr_fail(err, CVR_ERR_USAGE, "%s.%s is set, but %s; leave it out", section, key, why),
              err);
}

/* What a run has recorded of the plugin in whose place the command line names another. */
static void leave_replaced(settings *s, const char *section, const char *key) {
    const cvr_setting *given = s->of_run ? cvr_config_given(s->config, section, key) : NULL;
    if (given && strcmp(given->file, s->recipe) != 0) cvr_config_leave(s->config, section, s->recipe);
}

void settings_leave_replaced(settings *s) {
    static const char *const named[][2] = {{"data", "format"},   {"optim", "name"},   {"sched", "name"},
                                           {"export", "format"}, {"quant", "method"}, {"prune", "method"}};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) leave_replaced(s, named[i][0], named[i][1]);
}

/* ---- plugins that the recipe names ---- */

/* A plugin, and the setting that names it. */
typedef struct named_plugin {
    const char *kind, *name, *section, *key;
} named_plugin;

static int32_t find_plugin(const settings *s, cvr_plugins *p, const named_plugin *n, const void **desc,
                           cvr_error *err) {
    const int32_t status = cvr_plugins_find(p, n->kind, n->name, desc, err);
    if (status != CVR_ERR_NOTFOUND) return status;
    return settings_blame(s, at(s, strcmp(n->kind, CVR_KIND_TASK) == 0 ? "run" : n->section, n->key, status, err), err);
}

/* Its keys join the section's. */
static int32_t bind_keys(settings *s, const named_plugin *n, const cvr_attr_desc *const *attrs, uint32_t n_attrs,
                         const void **packed, cvr_error *err) {
    const cvr_schema schema = {attrs, n_attrs};
    return cvr_config_bind(s->config, n->section, &schema, packed, err);
}

/* A number of [optim] that an optimizer has a default for. */
static int32_t parse_rate(const settings *s, const char *key, const char *text, double otherwise, double *out,
                          cvr_error *err) {
    char full[64];
    (void)snprintf(full, sizeof full, "optim.%s", key);
    return at(s, "optim", key, parse_optional(full, text, otherwise, out, err), err);
}

static int32_t bind_optimizer(settings *s, cvr_plugins *p, cvr_error *err) {
    const named_plugin optimizer = {CVR_KIND_OPTIMIZER, s->optim->name, "optim", "name"},
                       scheduler = {CVR_KIND_SCHEDULER, s->sched->name, "sched", "name"};
    cvr_update_policy *to = &s->policy;
    const void *desc;
    CVR_TRY(find_plugin(s, p, &optimizer, &desc, err));
    const cvr_optimizer_desc *o = to->optimizer = desc;
    CVR_TRY(bind_keys(s, &optimizer, o->attrs, o->n_attrs, &to->attrs, err));
    CVR_TRY(parse_rate(s, "lr", s->optim->lr, o->default_lr, &s->lr, err));
    CVR_TRY(parse_rate(s, "weight_decay", s->optim->weight_decay, o->default_weight_decay, &to->weight_decay, err));
    CVR_TRY(
        parse_rate(s, "norm_weight_decay", s->optim->norm_weight_decay, to->weight_decay, &to->norm_weight_decay, err));
    CVR_TRY(
        parse_rate(s, "bias_weight_decay", s->optim->bias_weight_decay, to->weight_decay, &to->bias_weight_decay, err));
    if (s->lr < 0)
        return at(
            s, "optim", "name",
            cvr_fail(err, CVR_ERR_USAGE, "optimizer %s has no default learning rate; set optim.lr", s->optim->name),
            err);
    CVR_TRY(find_plugin(s, p, &scheduler, &desc, err));
    s->scheduler = desc;
    CVR_TRY(bind_keys(s, &scheduler, s->scheduler->attrs, s->scheduler->n_attrs, &s->sched_attrs, err));
    return cvr_gradient_plugins(p, s->config, &s->gradient_plugins, &s->n_gradient_plugins, err);
}

/* What only some commands need; NULL: there is none of the name. */
static const void *find_if_here(cvr_plugins *p, const char *kind, const char *name) {
    cvr_error why = CVR_ERROR_INIT;
    const void *desc;
    return cvr_plugins_find(p, kind, name, &desc, &why) == CVR_OK ? desc : NULL;
}

/* The keys of a section that nobody here can read are no mistakes. */
static void leave_keys(const settings *s, const char *section) {
    const cvr_setting *const *lines;
    (void)cvr_config_lines(s->config, section, &lines);
}

/* Evaluation and prediction do without. */
static int32_t bind_optimizer_if_here(settings *s, cvr_plugins *p, cvr_error *err) {
    if (find_if_here(p, CVR_KIND_OPTIMIZER, s->optim->name) && find_if_here(p, CVR_KIND_SCHEDULER, s->sched->name))
        return bind_optimizer(s, p, err);
    leave_keys(s, "optim");
    leave_keys(s, "sched");
    return cvr_gradient_plugins(p, s->config, &s->gradient_plugins, &s->n_gradient_plugins, err);
}

int32_t settings_choose_network(settings *s, cvr_plugins *p, bool needed, cvr_error *err) {
    const named_plugin model = {CVR_KIND_MODEL, s->model->name, "model", "name"};
    const cvr_setting *const *lines;
    const void *desc;
    (void)cvr_config_lines(s->config, "layers", &lines); /* claims them; graphs look at them */
    (void)cvr_config_lines(s->config, "widths", &lines);
    s->n_net = cvr_config_lines(s->config, "net", &lines);
    if (!lines) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (*s->model->name && s->n_net)
        return at(s, "model", "name",
                  cvr_fail(err, CVR_ERR_USAGE, "model.name = %s and a [net] section: a recipe has one or the other",
                           s->model->name),
                  err);
    if (*s->model->name) {
        CVR_TRY(find_plugin(s, p, &model, &desc, err));
        s->model_desc = desc;
        return bind_keys(s, &model, s->model_desc->attrs, s->model_desc->n_attrs, &s->model_attrs, err);
    }
    if (!s->n_net && !needed) return CVR_OK;
    if (!s->n_net) return cvr_fail(err, CVR_ERR_USAGE, "no network: set model.name, or write one in [net]");
    s->net = cvr_calloc(s->n_net, sizeof *s->net);
    if (!s->net) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memcpy(s->net, lines, s->n_net * sizeof *s->net);
    return CVR_OK;
}

/* What a probe cannot be combined with would be read by nobody. */
static int32_t check_probe(const settings *s, cvr_error *err) {
    const cvr_setting *const *lines;
    bool head = false;
    for (uint32_t i = 0; s->model_desc && i < s->model_desc->n_stages; i++)
        head = head || strcmp(s->model_desc->stages[i]->name, "head") == 0;
    const char *why = !head ? "needs a model by name that has a stage `head`"
                      : *s->model->freeze || *s->model->unfreeze
                          ? "trains the head alone; leave out model.freeze and model.unfreeze"
                      : cvr_config_lines(s->config, "augment", &lines)
                          ? "makes features once, as validation makes its pictures; leave out [augment]"
                          : NULL;
    if (!s->probe->enabled || !why) return CVR_OK;
    return at(s, "probe", "enabled", cvr_fail(err, CVR_ERR_USAGE, "probe.enabled %s", why), err);
}

/* Without data.format there is no data set, which is fine for who reads none. */
static int32_t bind_dataset(settings *s, cvr_plugins *p, bool reads, cvr_error *err) {
    const named_plugin dataset = {CVR_KIND_DATASET, s->data->format, "data", "format"};
    const void *desc;
    if (!*s->data->format && !reads) return CVR_OK;
    if (!*s->data->format) return cvr_fail(err, CVR_ERR_USAGE, CVR_NEEDS_FORMAT);
    CVR_TRY(find_plugin(s, p, &dataset, &desc, err));
    s->dataset = desc;
    return bind_keys(s, &dataset, s->dataset->attrs, s->dataset->n_attrs, &s->dataset_attrs, err);
}

bool settings_with_boxes(const settings *s) {
    for (uint32_t i = 0; i < s->task->n_wants; i++)
        if (strcmp(s->task->wants[i]->kind, CVR_FIELD_BOXES) == 0) return true;
    return false;
}

/* data.img_size is one number, or of a task with boxes two. */
static int32_t check_img_size(const settings *s, cvr_error *err) {
    const data_settings *d = s->data;
    if (d->n_img_size < 2) return CVR_OK;
    if (!settings_with_boxes(s))
        cvr_fail(err, CVR_ERR_USAGE, "data.img_size = %lld,%lld: two numbers are for tasks with boxes, and %s has none",
                 (long long)d->img_size, (long long)d->img_size_long, s->task->name);
    else if (s->model_desc && s->model_desc->square)
        cvr_fail(err, CVR_ERR_USAGE,
                 "data.img_size = %lld,%lld: %s looks at squares; give one number, the side of all pictures",
                 (long long)d->img_size, (long long)d->img_size_long, s->model_desc->name);
    else if (d->img_size < 1 || d->img_size_long < d->img_size)
        cvr_fail(err, CVR_ERR_USAGE,
                 "data.img_size = %lld,%lld: give the shorter side and then the most that the longer one may become",
                 (long long)d->img_size, (long long)d->img_size_long);
    else
        return CVR_OK;
    return at(s, "data", "img_size", CVR_ERR_USAGE, err);
}

/* A mistake only where somebody has said it: what a model proposes, and a run has recorded, may find no use. */
static int32_t check_fit(const settings *s, cvr_error *err) {
    const data_settings *d = s->data;
    const cvr_setting *given = cvr_config_given(s->config, "data", "fit");
    if (d->fit <= FIT_STRETCH || !given || given->file == s->proposed_by || s->run_folder) return CVR_OK;
    if (!settings_with_boxes(s)) return settings_unread(s, "data", "fit", "this task has no pictures with boxes", err);
    if (d->img_size == 0 || d->n_img_size > 1)
        return settings_unread(s, "data", "fit", "data.img_size is not one number, a square's side", err);
    return CVR_OK;
}

/* cvr_pipeline_boxes knows data.img_size alone. */
static int32_t check_box_sizes(const settings *s, cvr_error *err) {
    static const char why[] = "pictures with boxes have the size that data.img_size says";
    if (!settings_with_boxes(s)) return CVR_OK;
    if (s->val->resize_size >= 0) return settings_unread(s, "val", "resize_size", why, err);
    if (s->val->crop_size >= 0) return settings_unread(s, "val", "crop_size", why, err);
    return CVR_OK;
}

static bool model_reads(const settings *s, const char *field) {
    for (uint32_t i = 0; s->model_desc && i < s->model_desc->n_reads; i++)
        if (strcmp(s->model_desc->reads[i], field) == 0) return true;
    return false;
}

/* Masks of objects are large: only a network that learns from them has them in its batches. */
static int32_t choose_wants(settings *s, cvr_error *err) {
    s->wants = cvr_calloc(s->task->n_wants + 1, sizeof *s->wants);
    if (!s->wants) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; i < s->task->n_wants; i++) {
        const cvr_want *want = s->task->wants[i];
        if (!want->optional || model_reads(s, want->field)) s->wants[s->n_wants++] = want;
    }
    return CVR_OK;
}

int32_t settings_choose_task(settings *s, cvr_plugins *p, cvr_error *err) {
    const named_plugin task = {CVR_KIND_TASK, s->run->task, "train", "task"};
    const void *desc;
    CVR_TRY(find_plugin(s, p, &task, &desc, err));
    s->task = desc;
    return choose_wants(s, err);
}

/* The task's keys are of two sections. */
static int32_t bind_task(settings *s, cvr_error *err) {
    const named_plugin task = {CVR_KIND_TASK, s->run->task, "train", "task"},
                       shown = {CVR_KIND_TASK, s->run->task, "predict", "task"};
    CVR_TRY(bind_keys(s, &task, s->task->attrs, s->task->n_attrs, &s->task_attrs, err));
    return bind_keys(s, &shown, s->task->predict_attrs, s->task->n_predict_attrs, &s->predict_attrs, err);
}

/* Only who exports needs it. export.format may also be a format of weights, which has no keys. */
static int32_t bind_exporter_if_here(settings *s, cvr_plugins *p, cvr_error *err) {
    const named_plugin exporter = {CVR_KIND_EXPORTER, s->export->format, "export", "format"};
    s->exporter = find_if_here(p, exporter.kind, exporter.name);
    if (s->exporter) return bind_keys(s, &exporter, s->exporter->attrs, s->exporter->n_attrs, &s->exporter_attrs, err);
    if (!find_if_here(p, CVR_KIND_WEIGHTS, exporter.name)) leave_keys(s, "export");
    return CVR_OK;
}

/* Only `cvrun quantize` and `cvrun prune` need one. */
static int32_t bind_method_if_here(settings *s, cvr_plugins *p, const named_plugin *method,
                                   const cvr_compressor_desc **desc, const void **attrs, cvr_error *err) {
    *desc = find_if_here(p, method->kind, method->name);
    if (*desc && strcmp((*desc)->section, method->section) == 0)
        return bind_keys(s, method, (*desc)->attrs, (*desc)->n_attrs, attrs, err);
    leave_keys(s, method->section);
    return CVR_OK;
}

static int32_t bind_methods(settings *s, cvr_plugins *p, cvr_error *err) {
    const named_plugin quant = {CVR_KIND_COMPRESSOR, s->quant->method, "quant", "method"},
                       prune = {CVR_KIND_COMPRESSOR, s->prune->method, "prune", "method"};
    CVR_TRY(bind_method_if_here(s, p, &quant, &s->method, &s->method_attrs, err));
    return bind_method_if_here(s, p, &prune, &s->prune_method, &s->prune_attrs, err);
}

/* Only who trains under a teacher needs it. */
static int32_t bind_distiller(settings *s, cvr_plugins *p, bool trains, cvr_error *err) {
    const named_plugin method = {CVR_KIND_DISTILLER, s->distill->method, "distill", "method"};
    const void *desc;
    leave_replaced(s, "distill", "method"); /* before they are read: an alpha of another method is another number */
    if (trains && *s->distill->teacher)
        CVR_TRY(find_plugin(s, p, &method, &desc, err));
    else
        desc = find_if_here(p, method.kind, method.name);
    s->distiller = desc;
    if (s->distiller)
        return bind_keys(s, &method, s->distiller->attrs, s->distiller->n_attrs, &s->distiller_attrs, err);
    leave_keys(s, "distill");
    return CVR_OK;
}

/* What nobody would read, and what cannot go together. */
static int32_t check_distill(const settings *s, cvr_error *err) {
    const distill_settings *d = s->distill;
    const char *unread = strcmp(d->method, "hinton") != 0 ? "method"
                         : *d->layers                     ? "layers"
                         : *d->model                      ? "model"
                         : *d->mean                       ? "mean"
                         : *d->std                        ? "std"
                         : d->img_size                    ? "img_size"
                         : d->precision != DISTILL_AUTO   ? "precision"
                                                          : NULL;
    if (!*d->teacher)
        return unread ? settings_unread(s, "distill", unread, "there is no distill.teacher", err) : CVR_OK;
    if (s->probe->enabled)
        return at(s, "probe", "enabled",
                  cvr_fail(err, CVR_ERR_USAGE,
                           "probe.enabled trains the head on features that are made once, and a teacher looks at "
                           "pictures; leave out one of probe.enabled and distill.teacher"),
                  err);
    if (!s->distiller) return CVR_OK;
    if (s->distiller->layers && !*d->layers)
        return at(s, "distill", "method",
                  cvr_fail(err, CVR_ERR_USAGE,
                           "distill.method = %s compares what layers give; name some in distill.layers, such as "
                           "layer2,layer3 (`cvrun info` lists them)",
                           d->method),
                  err);
    if (!s->distiller->layers && *d->layers)
        return settings_unread(s, "distill", "layers", "the method looks at results alone", err);
    return CVR_OK;
}

int32_t settings_choose(settings *s, cvr_plugins *p, bool trains, bool reads, cvr_error *err) {
    CVR_TRY(bind_task(s, err));
    CVR_TRY(bind_exporter_if_here(s, p, err));
    CVR_TRY(bind_methods(s, p, err));
    CVR_TRY(bind_distiller(s, p, trains, err));
    if (trains) CVR_TRY(check_distill(s, err));
    CVR_TRY((trains ? bind_optimizer : bind_optimizer_if_here)(s, p, err));
    if (s->optim->layer_decay != 1 && !(s->model_desc && s->model_desc->n_stages))
        CVR_TRY(at(s, "optim", "layer_decay",
                   cvr_fail(err, CVR_ERR_USAGE, "optim.layer_decay needs a model by name that tells its layers"), err));
    CVR_TRY(check_probe(s, err));
    if (s->val->save && !s->task->save)
        return settings_unread(s, "val", "save", "this task has nothing to save of a picture", err);
    if (s->data->shapes > 1 && !s->task->pads)
        return settings_unread(s, "data", "shapes", "this task takes pictures of one size", err);
    CVR_TRY(check_img_size(s, err));
    CVR_TRY(check_fit(s, err));
    CVR_TRY(check_box_sizes(s, err));
    CVR_TRY(protocol_settle(s, !trains && !reads, &s->protocol, err));
    return bind_dataset(s, p, reads, err);
}

const char *settings_start_weights(const settings *s, bool trains) {
    const cvr_setting *given = cvr_config_given(s->config, "model", "weights");
    const bool own = given && given->file && strcmp(given->file, cvr_config_path(s->config)) == 0;
    if (!*s->model->weights) return NULL;
    if (s->run_folder && (trains ? run_has_checkpoint(s->run_folder) : own)) return NULL;
    return s->model->weights;
}

void settings_close(settings *s) {
    phases_clear(&s->phases);
    cvr_free(s->net);
    cvr_free(s->wants);
    cvr_free(s->gradient_plugins);
    cvr_free(s->backends);
    cvr_config_destroy(&s->config);
    cvr_free(s->preset_classes);
    cvr_free(s->recipe);
    cvr_free(s->run_folder);
}
