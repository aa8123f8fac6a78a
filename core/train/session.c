/* A session is opened in the order in which things depend on each other: settings, plugins, data, classes, network,
 * backend. */
#include "session.h"
#include <unistd.h>

static int32_t bind_common(cvr_session *s, cvr_error *err) {
    const void *model = NULL;
    const struct {
        const char *section;
        const cvr_schema *schema;
        const void **to;
    } common[] = {
        {"run", &run_schema, (const void **)&s->run},       {"backend", &backend_schema, (const void **)&s->backend},
        {"data", &data_schema, (const void **)&s->data},    {"train", &train_schema, (const void **)&s->train},
        {"optim", &optim_schema, (const void **)&s->optim}, {"sched", &sched_schema, (const void **)&s->sched},
        {"val", &val_schema, (const void **)&s->val},       {"predict", &predict_schema, (const void **)&s->predict},
        {"model", &model_schema, (const void **)&model},    {"log", &log_schema, (const void **)&s->log},
    };
    int32_t status = CVR_OK;
    for (size_t i = 0; i < sizeof common / sizeof *common && status == CVR_OK; i++) {
        status = cvr_config_bind(s->config, common[i].section, common[i].schema, common[i].to, err);
    }
    s->model = (model_settings *)(uintptr_t)model; /* the block is the config's, and its text is printed from it */
    return status;
}

/* A plugin that the recipe names: its keys join the section's. */
static int32_t bind_plugin(cvr_session *s, const char *kind, const char *name, const char *section, const void **desc,
                           const void **attrs, cvr_error *err) {
    int32_t status = cvr_plugins_find(s->plugins, kind, name, desc, err);
    if (status == CVR_ERR_NOTFOUND) return cvr_fail_at(err, s->recipe, 0, cvr_fail_as(err, CVR_ERR_USAGE));
    if (status != CVR_OK) return status;
    cvr_schema schema = {NULL, 0};
    if (strcmp(kind, CVR_KIND_TASK) == 0) {
        const cvr_task_desc *d = *desc;
        schema = (cvr_schema){d->attrs, d->n_attrs};
    } else if (strcmp(kind, CVR_KIND_OPTIMIZER) == 0) {
        const cvr_optimizer_desc *d = *desc;
        schema = (cvr_schema){d->attrs, d->n_attrs};
    } else if (strcmp(kind, CVR_KIND_SCHEDULER) == 0) {
        const cvr_scheduler_desc *d = *desc;
        schema = (cvr_schema){d->attrs, d->n_attrs};
    } else {
        const cvr_model_desc *d = *desc;
        schema = (cvr_schema){d->attrs, d->n_attrs};
    }
    return cvr_config_bind(s->config, section, &schema, attrs, err);
}

static int32_t bind_optimizer(cvr_session *s, cvr_error *err) {
    const void *desc;
    double decay;
    cvr_update_policy *p = &s->policy;
    int32_t status = bind_plugin(s, CVR_KIND_OPTIMIZER, s->optim->name, "optim", &desc, &p->attrs, err);
    if (status != CVR_OK) return status;
    p->optimizer = desc;
    status = parse_optional("optim.lr", s->optim->lr, p->optimizer->default_lr, &s->lr, err);
    if (status == CVR_OK)
        status = parse_optional("optim.weight_decay", s->optim->weight_decay, p->optimizer->default_weight_decay,
                                &decay, err);
    if (status == CVR_OK)
        status =
            parse_optional("optim.norm_weight_decay", s->optim->norm_weight_decay, decay, &p->norm_weight_decay, err);
    if (status == CVR_OK)
        status =
            parse_optional("optim.bias_weight_decay", s->optim->bias_weight_decay, decay, &p->bias_weight_decay, err);
    if (status != CVR_OK) return status;
    p->weight_decay = decay;
    if (s->lr < 0)
        return cvr_fail(err, CVR_ERR_USAGE, "optimizer %s has no default learning rate; set optim.lr", s->optim->name);
    status = bind_plugin(s, CVR_KIND_SCHEDULER, s->sched->name, "sched", &desc, &s->sched_attrs, err);
    s->scheduler = desc;
    if (status != CVR_OK) return status;
    return cvr_gradient_plugins(s->plugins, s->config, &s->gradient_plugins, &s->n_gradient_plugins, err);
}

/* The network: a model plugin, or the lines of [net]. */
static int32_t bind_network(cvr_session *s, cvr_error *err) {
    const void *desc;
    const cvr_setting *const *lines;
    (void)cvr_config_lines(s->config, "layers", &lines); /* claims them; graphs look at them */
    s->n_net = cvr_config_lines(s->config, "net", &lines);
    if (*s->model->name && s->n_net) {
        return cvr_fail(err, CVR_ERR_USAGE, "model.name = %s and a [net] section: a recipe has one or the other",
                        s->model->name);
    }
    if (*s->model->name) {
        const int32_t status = bind_plugin(s, CVR_KIND_MODEL, s->model->name, "model", &desc, &s->model_attrs, err);
        s->model_desc = desc;
        return status;
    }
    if (!s->n_net) return cvr_fail(err, CVR_ERR_USAGE, "no network: set model.name, or write one in [net]");
    const cvr_setting **copy = cvr_calloc(s->n_net, sizeof *copy);
    if (!copy) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memcpy(copy, lines, s->n_net * sizeof *copy);
    s->net = copy;
    return CVR_OK;
}

static int32_t parse_numbers(cvr_session *s, cvr_error *err) {
    static const double imagenet_mean[3] = {0.485, 0.456, 0.406}, imagenet_std[3] = {0.229, 0.224, 0.225};
    save_interval every;
    int32_t status = parse_save_every(s->run->save_every, &every, err);
    if (status == CVR_OK) status = parse_channels("mean", s->data->mean, imagenet_mean, s->mean, err);
    if (status == CVR_OK) status = parse_channels("std", s->data->std, imagenet_std, s->std, err);
    for (int i = 0; i < 4 && status == CVR_OK; i++) {
        if (s->std[i] <= 0)
            status = cvr_fail(err, CVR_ERR_USAGE, "data.std has %g; every channel must be divided by more than 0",
                              s->std[i]);
    }
    if (s->model->in_channels > 4)
        status = cvr_fail(err, CVR_ERR_USAGE, "model.in_channels = %lld; pictures have 1 to 4",
                          (long long)s->model->in_channels);
    s->in_channels = s->model->in_channels;
    return status;
}

/* "cvr.host.config/1" */
static const char *service_get(const cvr_config_service *service, const char *section, const char *key,
                               const char **origin) {
    return cvr_config_get(service->ctx, section, key, origin);
}

static int32_t open_plugins(cvr_session *s, cvr_error *err) {
    int32_t status = cvr_plugins_open(&s->plugins, NULL, 0, err);
    if (status != CVR_OK) return status;
    s->config_service = (cvr_config_service){sizeof s->config_service, s->config, service_get};
    cvr_plugins_offer(s->plugins, CVR_SERVICE_CONFIG, &s->config_service);
    plugin_state_open(&s->plugin_state);
    if (s->run_folder && (s->purpose & CVR_FOR_TRAINING)) checkpoint_load_plugin_state(s, s->run_folder);
    cvr_plugins_offer(s->plugins, CVR_SERVICE_STATE, &s->plugin_state.service);
    const char *isa = s->backend->isa;
    if (strcmp(isa, "auto") != 0) cvr_plugins_limit_isa(s->plugins, strcmp(isa, "base") == 0 ? "" : isa);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (cores < 1) cores = 1;
    return cvr_pool_create(&s->pool, s->backend->threads ? (uint32_t)s->backend->threads : (uint32_t)cores, err);
}

/* `auto`: the first backend, in byte order of names, that is the host's own and not there for tests. */
static int32_t choose_backend(cvr_session *s, cvr_error *err) {
    const char *name;
    if (strcmp(s->backend->name, "auto") != 0) {
        (void)snprintf(s->backend_name, sizeof s->backend_name, "%s", s->backend->name);
        return CVR_OK;
    }
    for (size_t i = 0; (name = cvr_plugins_name(s->plugins, CVR_KIND_BACKEND, i)); i++) {
        const void *desc;
        (void)snprintf(s->backend_name, sizeof s->backend_name, "%s", name);
        if (cvr_plugins_find(s->plugins, CVR_KIND_BACKEND, s->backend_name, &desc, NULL) != CVR_OK) continue;
        const cvr_backend_desc *b = desc;
        if ((b->flags & CVR_BACKEND_HOST_VISIBLE) && !(b->flags & CVR_BACKEND_TEST)) return CVR_OK;
    }
    return cvr_fail(err, CVR_ERR_NOTFOUND,
                    "no backend for this machine's own processor is installed; set backend.name");
}

/* A run folder stands for its config.ini and its weights. */
static int32_t open_config(cvr_session *s, const cvr_session_options *o, cvr_error *err) {
    int32_t status = CVR_OK;
    if (cvr_fs_is_folder(o->path)) {
        s->run_folder = cvr_fs_absolute(".", o->path);
        s->recipe = s->run_folder ? cvr_fs_join(s->run_folder, "config.ini") : NULL;
        if (s->recipe && !cvr_fs_exists(s->recipe)) {
            cvr_fail(err, CVR_ERR_USAGE, "is not a run folder: it has no config.ini");
            return cvr_fail_at(err, o->path, 0, CVR_ERR_USAGE);
        }
    } else {
        s->recipe = cvr_strdup(o->path);
    }
    if (!s->recipe) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    status = cvr_config_load(&s->config, s->recipe, err);
    if (status == CVR_ERR_IO) status = cvr_fail_as(err, CVR_ERR_USAGE);
    for (size_t i = 0; i < o->n_overrides && status == CVR_OK; i++)
        status = cvr_config_override(s->config, o->overrides[i], err);
    return status;
}

/* The weights that a session starts from: the recipe's, or for evaluation and prediction a run folder's own. */
static int32_t load_start_weights(cvr_session *s, cvr_error *err) {
    char *path = NULL;
    int32_t status = CVR_OK;
    const char *origin;
    const bool given = strcmp(cvr_config_get(s->config, "model", "weights", &origin), "") != 0 &&
                       (strcmp(origin, "command line") == 0 || !s->run_folder);
    if (given)
        status = cvr_session_load_weights(s, s->model->weights, err);
    else if (s->run_folder && !(s->purpose & CVR_FOR_TRAINING)) {
        status = run_folder_weights(s->run_folder, &path, err);
        if (status == CVR_OK) status = cvr_session_load_weights(s, path, err);
    }
    cvr_free(path);
    return status;
}

/* What the recipe says of parameters, by the model's stages and their names. */
static int32_t set_param_rules(cvr_session *s, cvr_error *err) {
    cvr_text lr = {0};
    if (s->optim->backbone_lr_mult != 1) cvr_text_add(&lr, "backbone:%.17g,", s->optim->backbone_lr_mult);
    if (s->optim->head_lr_mult != 1) cvr_text_add(&lr, "head:%.17g,", s->optim->head_lr_mult);
    cvr_text_add(&lr, "%s", s->optim->param_lr_mult);
    const cvr_param_rules rules = {.stages = s->model_desc ? s->model_desc->stages : NULL,
                                   .n_stages = s->model_desc ? s->model_desc->n_stages : 0,
                                   .freeze = s->model->freeze,
                                   .train_frozen = !s->model->freeze_bn,
                                   .lr_factors = lr.s,
                                   .weight_decays = s->optim->param_weight_decay};
    const int32_t status =
        lr.failed ? cvr_fail(err, CVR_ERR_NOMEM, "out of memory") : cvr_store_rules(s->store, &rules, err);
    cvr_text_clear(&lr);
    return status;
}

int32_t session_open_network(cvr_session *s, cvr_error *err) {
    int32_t status = cvr_store_create(&s->store, (uint64_t)s->run->seed, err);
    if (status == CVR_OK) status = set_param_rules(s, err);
    if (status == CVR_OK) status = choose_backend(s, err);
    if (status == CVR_OK) status = machine_build(s, s->backend_name, &s->machine, err);
    if (status == CVR_OK) status = load_start_weights(s, err);
    if (status != CVR_OK) {
        cvr_store_destroy(&s->store);
        machine_clear(&s->machine);
    }
    if (status == CVR_ERR_INVALID || status == CVR_ERR_NOTFOUND || status == CVR_ERR_USAGE)
        status = cvr_fail_at(err, s->recipe, 0, cvr_fail_as(err, CVR_ERR_USAGE));
    return status;
}

/* Last, so that the threads that data and plugins have started by now keep all CPUs. */
static void pin_threads(const cvr_session *s) {
    cvr_error why;
    cvr_error_init(&why);
    if (s->backend->pin && cvr_pool_pin(s->pool, &why) != CVR_OK)
        cvr_log(CVR_LOG_WARNING, "backend.pin: not done: %s", why.message);
}

int32_t cvr_session_open(cvr_session **out, const cvr_session_options *o, cvr_error *err) {
    const void *task;
    cvr_session *s = cvr_calloc(1, sizeof *s);
    *out = s;
    if (!s) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    s->purpose = o->purpose;
    int32_t status = open_config(s, o, err);
    if (status == CVR_OK) status = bind_common(s, err);
    if (status == CVR_OK) status = parse_numbers(s, err);
    if (status == CVR_OK) status = open_plugins(s, err);
    if (status == CVR_OK)
        status = bind_plugin(s, CVR_KIND_TASK, s->run->task, "train", &task, &s->task_info.attrs, err);
    if (status == CVR_OK) s->task = task;
    if (status == CVR_OK) status = bind_optimizer(s, err);
    if (status == CVR_OK) status = bind_network(s, err);
    if (status == CVR_OK) status = session_open_data(s, err);
    if (status == CVR_OK && s->purpose != CVR_FOR_SETTINGS) status = session_open_classes(s, err);
    if (status == CVR_OK && s->purpose == CVR_FOR_PREDICTION && !s->in_channels) s->in_channels = 3;
    if (status == CVR_OK && s->purpose != CVR_FOR_SETTINGS) { /* so that config.ini says what `0` stood for */
        s->model->num_classes = s->task_info.n_classes;
        s->model->in_channels = s->in_channels;
    }
    if (status == CVR_OK && (s->purpose & (CVR_FOR_TRAINING | CVR_FOR_EVALUATION)))
        status = session_open_network(s, err);
    if (status != CVR_OK)
        cvr_session_close(out);
    else
        pin_threads(s);
    return status;
}

void cvr_session_close(cvr_session **session) {
    cvr_session *s = *session;
    if (!s) return;
    session_close_data(s);
    cvr_store_destroy(&s->store);
    machine_clear(&s->machine);
    cvr_plugins_close(&s->plugins);
    plugin_state_clear(&s->plugin_state);
    cvr_pool_destroy(&s->pool);
    for (size_t i = 0; i < s->n_blocks; i++) cvr_free(s->blocks[i]);
    cvr_free((void *)(uintptr_t)s->net);
    cvr_free(s->gradient_plugins);
    cvr_config_destroy(&s->config);
    cvr_free(s->recipe);
    cvr_free(s->run_folder);
    cvr_free(s);
    *session = NULL;
}

cvr_config *cvr_session_config(cvr_session *s) {
    return s->config;
}
cvr_plugins *cvr_session_plugins(cvr_session *s) {
    return s->plugins;
}
const cvr_predict_settings *cvr_session_predict_settings(const cvr_session *s) {
    return s->predict;
}

void cvr_session_describe(cvr_session *s, cvr_session_info *info) {
    *info = (cvr_session_info){.task = s->task->name,
                               .model = *s->model->name ? s->model->name : "net",
                               .backend = s->backend_name,
                               .precision = machine_precision(&s->machine),
                               .n_classes = s->task_info.n_classes,
                               .class_names = s->task_info.class_names,
                               .batch = s->train->batch,
                               .channels = s->in_channels,
                               .height = s->height,
                               .width = s->width,
                               .epochs = s->train->epochs,
                               .threads = s->pool->n_workers,
                               .data_seconds = s->data_seconds,
                               .store = s->store};
    cvr_device_describe(s->machine.device, info->device, sizeof info->device);
    for (size_t i = 0; i < cvr_store_count(s->store); i++) {
        const cvr_store_entry *e = cvr_store_get(s->store, i);
        if ((e->role == CVR_STORE_TRAINED || e->role == CVR_STORE_FROZEN) && !*e->network)
            info->params += cvr_numel(e->type.rank, e->type.shape);
    }
    info->store_bytes = cvr_store_bytes(s->store);
    info->arena_bytes = s->machine.arena_bytes;
    info->planned_bytes = info->store_bytes + info->arena_bytes;
    const cvr_batches *train = s->splits[CVR_SPLIT_TRAIN].batches, *val = s->splits[CVR_SPLIT_VAL].batches;
    if (train) info->steps_per_epoch = cvr_batches_per_epoch(train);
    if (train) info->train_samples = cvr_batches_samples(train);
    if (val) info->val_samples = cvr_batches_samples(val);
    const machine *m = &s->machine;
    info->train_program = m->train[0].program ? m->train[0].program : m->train[1].program;
    info->eval_program = m->eval[0].program ? m->eval[0].program : m->eval[1].program;
}

int32_t cvr_session_swap(cvr_session *s, const char *backend, cvr_error *err) {
    machine target;
    const int32_t status = machine_build(s, backend, &target, err);
    if (status != CVR_OK) return status;
    machine_clear(&s->machine);
    s->machine = target;
    (void)snprintf(s->backend_name, sizeof s->backend_name, "%s", backend);
    return CVR_OK;
}

double session_lr(const cvr_session *s, const train_state *state, int64_t step, int64_t steps_per_epoch,
                  int64_t total_steps) {
    const int64_t warmup = (int64_t)(s->sched->warmup_epochs * (double)steps_per_epoch + 0.5);
    const char *metric = *s->val->metric ? s->val->metric : s->task->best_metric;
    if (step < warmup) return s->lr * (double)(step + 1) / (double)warmup;
    const cvr_sched_args args = {.struct_size = sizeof args,
                                 .attrs = s->sched_attrs,
                                 .step = step - warmup,
                                 .total_steps = total_steps - warmup,
                                 .steps_per_epoch = steps_per_epoch,
                                 .lr_min_factor = s->lr > 0 ? s->sched->lr_min / s->lr : 0,
                                 .lr = s->lr,
                                 .history = state->history,
                                 .n_history = state->n_history,
                                 .lower_is_better = strcmp(metric, "loss") == 0};
    return s->lr * s->scheduler->factor(&args);
}
