/* A session is opened in the order in which things depend on each other: settings, plugins, data, network. */
#include "session_parts.h"
#include <unistd.h>

/* "cvr.host.config/1" */
static const char *service_get(const cvr_config_service *service, const char *section, const char *key,
                               const char **origin) {
    return cvr_config_get(service->ctx, section, key, origin);
}

/* A word of backend.isa that no plugin asks for changes nothing; it is most likely misspelt. */
static void doubt_isa(const cvr_session *s) {
    const char *words[256], *isa = s->set.backend->isa;
    char *all[256], word[64], hint[400];
    size_t n = 0;
    if (strcmp(isa, "auto") == 0 || strcmp(isa, "base") == 0) return;
    for (size_t i = 0; i < cvr_plugins_count(s->plugins); i++) {
        const char *p = cvr_plugins_info(s->plugins, i)->isa;
        for (p += strspn(p, " !"); *p && n < 256; p += strspn(p, " !")) {
            const size_t length = strcspn(p, " ");
            size_t known = 0;
            while (known < n && (strlen(all[known]) != length || memcmp(all[known], p, length) != 0)) known++;
            if (known == n && length && (all[n] = cvr_strndup(p, length))) n++;
            p += length;
        }
    }
    for (size_t i = 0; i < n; i++) words[i] = all[i];
    for (const char *p = isa; *p; p += strcspn(p, " "), p += strspn(p, " ")) {
        bool known = false;
        (void)snprintf(word, sizeof word, "%.*s", (int)strcspn(p, " "), p);
        for (size_t i = 0; i < n; i++) known = known || strcmp(words[i], word) == 0;
        if (!known)
            cvr_log(CVR_LOG_WARNING, "backend.isa: no plugin asks for the CPU feature `%s`; %s", word,
                    cvr_hint(word, words, n, hint));
    }
    for (size_t i = 0; i < n; i++) cvr_free(all[i]);
}

void cvr_session_limit_isa(cvr_session *s) {
    const char *isa = s->set.backend->isa;
    cvr_plugins_limit_isa(s->plugins, strcmp(isa, "auto") == 0 ? NULL : strcmp(isa, "base") == 0 ? "" : isa);
}

static int32_t keep_choices(void *ctx, const void *lines, uint64_t n, cvr_error *err) {
    return plugin_state_put(ctx, TUNING_STATE, lines, n, err);
}

static void open_tuning(cvr_session *s) {
    uint64_t n;
    const char *lines = plugin_state_get(&s->plugin_state, TUNING_STATE, &n);
    tuning_open(&s->tuning, lines, n);
    s->tuning.keep = keep_choices;
    s->tuning.ctx = &s->plugin_state;
    cvr_plugins_offer(s->plugins, CVR_SERVICE_TUNING, &s->tuning.service);
    cvr_plugins_offer(s->plugins, CVR_SERVICE_CACHE, &cache_service);
}

static int32_t open_plugins(cvr_session *s, cvr_error *err) {
    const backend_settings *b = s->set.backend;
    CVR_TRY(cvr_plugins_open(&s->plugins, NULL, 0, err));
    s->config_service = (cvr_config_service){sizeof s->config_service, s->set.config, service_get};
    cvr_plugins_offer(s->plugins, CVR_SERVICE_CONFIG, &s->config_service);
    plugin_state_open(&s->plugin_state);
    if (s->set.run_folder && (s->purpose & CVR_FOR_TRAINING)) checkpoint_load_plugin_state(s, s->set.run_folder);
    cvr_plugins_offer(s->plugins, CVR_SERVICE_STATE, &s->plugin_state.service);
    open_tuning(s);
    cvr_session_limit_isa(s);
    doubt_isa(s);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (cores < 1) cores = 1;
    return cvr_pool_create(&s->pool, b->threads ? (uint32_t)b->threads : (uint32_t)cores, err);
}

static int32_t choose_backend(cvr_session *s, cvr_error *err) {
    const char *name = s->set.backend->name;
    const void *named;
    if (strcmp(name, "auto") == 0) {
        CVR_TRY(backend_auto(s, s->net.backend, sizeof s->net.backend, err));
    } else {
        CVR_TRY(cvr_config_blame(s->set.config, "backend", "name",
                                 cvr_plugins_find(s->plugins, CVR_KIND_BACKEND, name, &named, err), err));
        (void)snprintf(s->net.backend, sizeof s->net.backend, "%s", name);
    }
    memcpy(s->net.home, s->net.backend, sizeof s->net.home);
    return CVR_OK;
}

int32_t session_folder_weights(const char *folder, char **path, cvr_error *err) {
    static const char *const names[] = {"weights/best.safetensors", "weights/last.safetensors"};
    for (size_t i = 0; i < 2; i++) {
        *path = cvr_fs_join(folder, names[i]);
        if (*path && cvr_fs_exists(*path)) return CVR_OK;
        cvr_free(*path);
    }
    *path = NULL;
    cvr_fail(err, CVR_ERR_NOTFOUND, "has no weights yet; train it with cvrun train --resume %s", folder);
    return cvr_fail_at(err, folder, 0, CVR_ERR_NOTFOUND);
}

/* The weights that a session starts from: the recipe's, or for evaluation and prediction a run folder's own. */
static int32_t load_start_weights(cvr_session *s, cvr_error *err) {
    char *path = NULL;
    const char *weights = settings_start_weights(&s->set, (s->purpose & CVR_FOR_TRAINING) != 0);
    if (weights) return cvr_session_load_weights(s, weights, err);
    if (s->purpose & CVR_FOR_TRAINING) return CVR_OK;
    if (!s->set.run_folder && s->only_looks) return CVR_OK;
    if (!s->set.run_folder) {
        cvr_log(CVR_LOG_WARNING, "no weights were given: they are random, as a network is initialised; give a run "
                                 "folder, or set model.weights");
        return CVR_OK;
    }
    CVR_TRY(session_folder_weights(s->set.run_folder, &path, err));
    const int32_t status = cvr_session_load_weights(s, path, err);
    cvr_free(path);
    return status;
}

static void use_parts(cvr_session *s) {
    s->net.settings = &s->set;
    s->net.data = &s->data;
    s->net.plugins = s->plugins;
    s->net.pool = s->pool;
    s->net.teacher = s->teacher;
    s->net.trains = (s->purpose & CVR_FOR_TRAINING) != 0;
    s->net.probes = s->data.probes && s->net.trains;
}

int32_t session_open_network(cvr_session *s, const program_key *keys, size_t n, cvr_error *err) {
    int32_t status;
    use_parts(s);
    CVR_TRY_OUT(choose_backend(s, err));
    CVR_TRY_OUT(network_open(&s->net, keys, n, err));
    if (!s->has_weights) CVR_TRY_OUT(load_start_weights(s, err));
    CVR_TRY_OUT(teacher_load(s, err));
out:
    if (status != CVR_OK) network_close(&s->net);
    return settings_blame(&s->set, status, err);
}

/* Whether the recipe or the command line says which data. */
static bool names_data(const cvr_config *c) {
    static const char *const keys[] = {"format", "root", "train", "val"};
    bool named = false;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const cvr_setting *given = cvr_config_given(c, "data", keys[i]);
        named = named || (given && *given->value);
    }
    return named;
}

/* Last, so that the threads that data and plugins have started by now keep all CPUs. */
static void pin_threads(const cvr_session *s) {
    cvr_error why = CVR_ERROR_INIT;
    if (s->set.backend->pin && cvr_pool_pin(s->pool, &why) != CVR_OK)
        cvr_log(CVR_LOG_WARNING, "backend.pin: not done: %s", why.message);
}

/* A run that goes on has its own weights. */
static int32_t check_resumed(const cvr_session *s, cvr_error *err) {
    const cvr_setting *given = cvr_config_given(s->set.config, "model", "weights");
    if (!given || !*given->value || !s->set.run_folder || !(s->purpose & CVR_FOR_TRAINING) ||
        strcmp(given->file, s->set.recipe) == 0)
        return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE,
                    "model.weights: a run that goes on has weights of its own; leave it out, or "
                    "train anew from these");
}

static int32_t open_settings(cvr_session *s, const cvr_session_options *o, cvr_error *err) {
    CVR_TRY(settings_load(&s->set, o->path, o->overrides, o->n_overrides, err));
    s->only_looks = (o->purpose & CVR_DATA_IF_GIVEN) && !names_data(s->set.config);
    s->purpose = s->only_looks ? CVR_FOR_PREDICTION : o->purpose & ~CVR_DATA_IF_GIVEN;
    const bool only_settings = s->purpose == CVR_FOR_SETTINGS,
               trains = only_settings || (s->purpose & CVR_FOR_TRAINING),
               reads = !(s->purpose & (CVR_FOR_SETTINGS | CVR_FOR_PREDICTION));
    s->set.of_run = s->set.run_folder || (s->purpose & CVR_FROM_RUN);
    CVR_TRY(session_check_record(s, err));
    CVR_TRY(check_resumed(s, err));
    CVR_TRY(open_plugins(s, err));
    s->set.trains = trains;
    CVR_TRY(settings_read(&s->set, s->plugins, !only_settings, reads || only_settings, err));
    cvr_plugins_limit_pixels(s->plugins, (uint64_t)s->set.data->max_pixels);
    for (size_t i = 0; i < o->n_sections; i++) {
        const cvr_app_section *own = &o->sections[i];
        CVR_TRY(cvr_config_bind(s->set.config, own->section, own->schema, own->packed, err));
    }
    if (s->set.run_folder && trains) session_warn_missing(s);
    CVR_TRY(settings_choose(&s->set, s->plugins, trains, reads, err));
    CVR_TRY(data_make_transforms(&s->data, &s->set, s->plugins, err));
    if (trains) CVR_TRY(multi_scale_open(&s->data, &s->set, s->plugins, err));
    settings_leave_replaced(&s->set);
    if (s->purpose & CVR_FOR_COMPRESSION) CVR_TRY(session_check_method(s, err));
    if ((s->purpose & CVR_FOR_COMPRESSION) && !(s->purpose & CVR_FOR_PRUNING))
        s->set.backend->precision = PRECISION_F32; /* what stays real is f32 */
    if (*s->set.compressed->by && !only_settings) CVR_TRY(session_open_compressed(s, err));
    CVR_TRY(backend_keys_bind(&s->set, s->plugins, err));
    return cvr_config_finish(s->set.config, err);
}

/* With train.batch = auto: batches of one show what pictures are like, and the programs of larger ones what they need.
 */
static int32_t open_data(cvr_session *s, bool trains, bool evaluates, cvr_error *err) {
    const bool automatic = s->set.train->batch == 0;
    if (automatic) s->set.train->batch = 1;
    CVR_TRY(data_open(&s->data, &s->set, s->plugins, trains, evaluates, err));
    if (s->purpose & CVR_FOR_TRAINING) CVR_TRY(teacher_open(s, err));
    if (!automatic) return CVR_OK;
    if (trains) {
        use_parts(s);
        CVR_TRY(choose_backend(s, err));
        CVR_TRY(auto_batch(s, err));
    } else {
        s->set.train->batch = 32;
    }
    return data_open_batches(&s->data, &s->set, s->plugins, trains, evaluates, err);
}

static int32_t open_parts(cvr_session *s, const cvr_session_options *o, cvr_error *err) {
    CVR_TRY(open_settings(s, o, err));
    const bool trains = s->purpose & CVR_FOR_TRAINING, compresses = s->purpose & CVR_FOR_COMPRESSION,
               evaluates = compresses || (s->purpose & CVR_FOR_EVALUATION);
    if (s->purpose == CVR_FOR_SETTINGS) return CVR_OK;
    s->data.probes = compresses || (trains && s->set.probe->enabled);
    if (s->purpose & CVR_FOR_DATA) return data_open_splits(&s->data, &s->set, s->plugins, true, false, err);
    if (trains || evaluates)
        CVR_TRY(open_data(s, trains || compresses, evaluates, err));
    else
        CVR_TRY(data_open_pictures(&s->data, &s->set, s->plugins, err));
    s->set.model->num_classes = s->data.task.n_classes; /* so that config.ini says what `0` stood for */
    s->set.model->in_channels = s->data.channels;
    data_settle_size(&s->data, &s->set);
    if (trains && s->set.val->interval > 0)
        CVR_TRY(evaluation_check_metric(s, *s->set.val->metric ? s->set.val->metric : s->set.task->best_metric, err));
    if (!s->only_looks) session_tell_padding(s);
    if (s->only_looks) CVR_TRY(session_plan_for_picture(s, err));
    if (trains || evaluates) CVR_TRY(session_plan_for_data(s, err));
    if (trains && s->set.val->interval > 0) CVR_TRY(evaluation_check_loss(s, s->set.val->metric, err));
    pin_threads(s);
    return CVR_OK;
}

int32_t cvr_session_open(cvr_session **out, const cvr_session_options *o, cvr_error *err) {
    cvr_session *s = *out = cvr_calloc(1, sizeof *s);
    if (!s) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    int32_t status = open_parts(s, o, err);
    if (status == CVR_ERR_USAGE) status = settings_blame(&s->set, status, err);
    if (status != CVR_OK) session_blame_missing(s, err);
    if (status != CVR_OK) cvr_session_close(out);
    return status;
}

void cvr_session_close(cvr_session **session) {
    cvr_session *s = *session;
    if (!s) return;
    network_close(&s->net); /* before the data, whose memory it may have page-locked */
    data_close(&s->data);
    teacher_close(&s->teacher);
    views_free(&s->views);
    tiles_free(&s->tiles);
    cvr_free(s->losses.each);
    cvr_free(s->part);
    cvr_free(s->part_fields);
    cvr_plugins_close(&s->plugins);
    tuning_close(&s->tuning);
    plugin_state_clear(&s->plugin_state);
    cvr_free(s->plugins_used);
    cvr_free(s->plan);
    cvr_free(s->held);
    cvr_pool_destroy(&s->pool);
    settings_close(&s->set);
    cvr_free(s);
    *session = NULL;
}

/* ---- what others may see ---- */

cvr_config *cvr_session_config(cvr_session *s) {
    return s->set.config;
}

cvr_plugins *cvr_session_plugins(cvr_session *s) {
    return s->plugins;
}

const cvr_threadpool *cvr_session_pool(const cvr_session *s) {
    return s->pool;
}

const cvr_task_desc *cvr_session_task(const cvr_session *s) {
    return s->set.task;
}

const char *cvr_session_network_key(const cvr_session *s) {
    const char *key = s->set.model_desc ? s->set.model_desc->file : NULL;
    const char *path = key ? cvr_config_get(s->set.config, "model", key, NULL) : NULL;
    return path && *path ? key : NULL;
}

cvr_device *cvr_session_device(cvr_session *s) {
    return s->net.device;
}

int64_t session_count_params(const cvr_store *store) {
    int64_t n = 0;
    for (size_t i = 0; i < cvr_store_count(store); i++) {
        const cvr_store_entry *e = cvr_store_get(store, i);
        const bool counts = e->role == CVR_STORE_TRAINED || e->role == CVR_STORE_FROZEN || e->type.dtype == CVR_I8 ||
                            e->type.dtype == CVR_I32;
        if (counts && !*e->network) n += cvr_numel(e->type.rank, e->type.shape);
    }
    return n;
}

void cvr_session_describe(cvr_session *s, cvr_session_info *info) {
    const cvr_batches *train = s->data.splits[CVR_SPLIT_TRAIN].batches, *val = s->data.splits[CVR_SPLIT_VAL].batches;
    const run_network *n = &s->net;
    const net_program *step = network_first(n, PROGRAM_TRAIN), *eval = network_first(n, PROGRAM_EVAL);
    const cvr_canvas none = {0, 0}, *canvas = &none;
    if (!step) step = network_first(n, PROGRAM_ACCUMULATE);
    if (!eval) eval = network_first(n, PROGRAM_PREDICT);
    if (train || val) (void)cvr_batches_canvases(train ? train : val, &canvas);
    *info = (cvr_session_info){.task = s->set.task->name,
                               .saves_results = s->set.val->save != 0,
                               .model = s->set.model_desc ? s->set.model_desc->name : "net",
                               .backend = n->backend,
                               .precision = network_precision(n),
                               .params = session_count_params(n->store),
                               .n_classes = s->data.task.n_classes,
                               .class_names = s->data.task.class_names,
                               .batch = s->set.train->batch,
                               .channels = s->data.channels,
                               .height = canvas->height,
                               .width = canvas->width,
                               .epochs = s->set.train->epochs,
                               .steps_per_epoch = train ? cvr_batches_per_epoch(train) : 0,
                               .train_samples = train ? cvr_batches_samples(train) : 0,
                               .val_samples = val ? cvr_batches_samples(val) : 0,
                               .store_bytes = cvr_store_bytes(n->store),
                               .arena_bytes = n->arena ? cvr_arena_bytes(n->arena) : 0,
                               .planned_bytes = cvr_store_bytes(n->store) + (n->arena ? cvr_arena_bytes(n->arena) : 0),
                               .threads = s->pool->n_workers,
                               .workers = (uint32_t)s->set.data->workers,
                               .data_seconds = s->data.seconds,
                               .train_program = step ? step->program : NULL,
                               .eval_program = eval ? eval->program : NULL,
                               .store = n->store,
                               .protocol = s->set.protocol.kind ? s->set.protocol.words : NULL};
    cvr_device_describe(n->device, info->device, sizeof info->device);
}

const cvr_program *cvr_session_program(const cvr_session *s, uint64_t id) {
    for (size_t i = 0; i < s->net.n; i++)
        if (cvr_program_id(s->net.programs[i]->program) == id) return s->net.programs[i]->program;
    return NULL;
}

int32_t cvr_session_record(cvr_session *s, cvr_error *err) {
    return network_bind_again(&s->net, err);
}

bool cvr_session_batch_options(cvr_session *s, uint32_t which, cvr_batches_options *o) {
    data_batch_options(&s->data, &s->set, s->plugins, which, o);
    return s->data.splits[which].present;
}

int32_t cvr_session_try_sample(cvr_session *s, uint32_t which, int64_t index, cvr_error *err) {
    cvr_batches_options o;
    data_batch_options(&s->data, &s->set, s->plugins, which, &o);
    return cvr_batches_try(&o, s->data.splits[which].batches, index, err);
}

int32_t cvr_session_try_backend(cvr_session *s, const char *backend, cvr_error *err) {
    cvr_place to;
    CVR_TRY(cvr_place_parse(&to, backend, err));
    return network_try(&s->net, &to, err);
}

int32_t cvr_session_swap(cvr_session *s, const char *backend, cvr_error *err) {
    run_network before;
    cvr_place to;
    CVR_TRY(cvr_place_parse(&to, backend, err));
    CVR_TRY(network_move(&s->net, &to, &before, err));
    network_keep(&s->net, &before);
    return CVR_OK;
}
