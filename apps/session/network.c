/* Device, store, arena and the table of programs. */
#include "network.h"
#include <cvr/check.h>

static bool same_key(const program_key *a, const program_key *b) {
    return a->purpose == b->purpose && a->batch == b->batch && a->canvas.height == b->canvas.height &&
           a->canvas.width == b->canvas.width && a->phase == b->phase;
}

static net_program *find_program(const run_network *n, const program_key *key) {
    for (size_t i = 0; i < n->n; i++)
        if (same_key(&n->programs[i]->key, key)) return n->programs[i];
    return NULL;
}

static int32_t add_program(run_network *n, net_program *p, cvr_error *err) {
    net_program **more = cvr_grow(n->programs, n->n, &n->capacity, sizeof *more);
    if (!more) {
        net_program_destroy(&p);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    n->programs = more;
    more[n->n++] = p;
    return CVR_OK;
}

static void remove_program(run_network *n, size_t i) {
    net_program_destroy(&n->programs[i]);
    memmove(&n->programs[i], &n->programs[i + 1], (--n->n - i) * sizeof *n->programs);
}

/* Room for one more of the kind that is not known in advance: the one that was not used for longest goes. */
static void make_room(run_network *n) {
    size_t count = 0, oldest = 0;
    for (size_t i = 0; i < n->n; i++) {
        if (n->programs[i]->key.purpose != PROGRAM_PREDICT) continue;
        if (count++ == 0 || n->programs[i]->used < n->programs[oldest]->used) oldest = i;
    }
    if (count >= (n->settings->task->dense ? MOST_VIEWS : MOST_PREDICTING)) remove_program(n, oldest);
}

/* ---- memory ---- */

/* The arena is as large as the largest program needs. What lies in it lasts no longer than a run. */
static int32_t grow_arena(run_network *n, cvr_error *err) {
    bool fits = n->arena != NULL;
    for (size_t i = 0; i < n->n && fits; i++) fits = cvr_arena_fits(n->arena, n->programs[i]->program);
    if (fits) return CVR_OK;
    cvr_program **programs = cvr_calloc(n->n + 1, sizeof *programs);
    if (!programs) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n->n; i++) {
        programs[i] = n->programs[i]->program;
        n->programs[i]->bound = false;
    }
    const int32_t status = n->arena ? cvr_arena_grow(n->arena, programs, n->n, err)
                                    : cvr_arena_create(&n->arena, n->device, programs, n->n, 0, err);
    cvr_free(programs);
    return status;
}

static int32_t bind_programs(run_network *n, cvr_error *err) {
    for (size_t i = 0; i < n->n; i++) {
        net_program *p = n->programs[i];
        if (!p->bound) CVR_TRY(cvr_program_bind(p->program, n->arena, err));
        p->bound = true;
    }
    return CVR_OK;
}

void network_unbind(run_network *n) {
    for (size_t i = 0; i < n->n; i++) {
        cvr_program_unbind(n->programs[i]->program);
        n->programs[i]->bound = false;
    }
}

int32_t network_bind_again(run_network *n, cvr_error *err) {
    network_unbind(n);
    return bind_programs(n, err);
}

/* Where whole batches could be planned and a smaller one cannot, it is the epoch's last that is in the way. */
static int32_t blame_last(const program_key *whole, const program_key *last, int32_t status, cvr_error *err) {
    char why[sizeof err->message];
    if (status == CVR_OK || status == CVR_ERR_NOMEM || last->purpose > PROGRAM_ACCUMULATE ||
        last->batch >= whole->batch)
        return status;
    (void)snprintf(why, sizeof why, "%s", err->message);
    (void)snprintf(
        err->message, sizeof err->message,
        "the last batch of an epoch has %lld picture%s: %.800s; set data.drop_last=yes, or another train.batch",
        (long long)last->batch, last->batch == 1 ? "" : "s", why);
    return status;
}

static int32_t plan_programs(run_network *n, const program_key *keys, size_t n_keys, cvr_error *err) {
    for (size_t i = 0; i < n_keys; i++) {
        net_program *p = find_program(n, &keys[i]);
        if (p) continue;
        CVR_TRY(net_program_plan(n, &keys[i], &p, err));
        CVR_TRY(add_program(n, p, err));
    }
    return CVR_OK;
}

/* Everything that a program without memory still needs. */
static int32_t settle(run_network *n, cvr_error *err) {
    CVR_TRY(grow_arena(n, err));
    CVR_TRY(cvr_store_place(n->store, n->device, err));
    return bind_programs(n, err);
}

/* ---- opening and closing ---- */

static int32_t open_device(run_network *n, cvr_error *err) {
    cvr_device_choice which = {.backend = n->backend, .device = network_device(n)};
    const void *desc;
    CVR_TRY(cvr_plugins_find(n->plugins, CVR_KIND_BACKEND, n->backend, &desc, err));
    CVR_TRY(backend_keys_of(n->settings, desc, &which.attrs, err));
    CVR_TRY(cvr_device_open(&n->device, n->plugins, &which, n->pool, err));
    if (!n->settings->backend->check) return CVR_OK;
    return cvr_check_device(n->device, n->plugins, CVR_CHECK_MEMORY | CVR_CHECK_NAN, err);
}

/* Programs, arena and device; the store is no part of them. */
static void leave_device(run_network *n) {
    network_unpin_batches(n);
    while (n->n) remove_program(n, n->n - 1);
    cvr_free(n->programs);
    cvr_arena_destroy(&n->arena);
    cvr_device_close(&n->device);
    n->programs = NULL;
    n->capacity = 0;
}

void network_forget_programs(run_network *n) {
    while (n->n) remove_program(n, n->n - 1);
}

/* What the recipe says of parameters, by the model's stages and their names. */
static int32_t set_param_rules(const run_network *n, const program_key *key, cvr_error *err) {
    const settings *s = n->settings;
    const cvr_model_desc *model = s->model_desc;
    cvr_text lr = {0}, body = {0};
    cvr_param_rules rules = {.stages = model ? model->stages : NULL, .n_stages = model ? model->n_stages : 0};
    int32_t status = CVR_OK;
    if (s->optim->backbone_lr_mult != 1) cvr_text_add(&lr, "backbone:%.17g,", s->optim->backbone_lr_mult);
    if (s->optim->head_lr_mult != 1) cvr_text_add(&lr, "head:%.17g,", s->optim->head_lr_mult);
    if (s->optim->layer_decay != 1 && n->trains) CVR_TRY_OUT(layer_decay_rules(n, key, &rules, &lr, err));
    cvr_text_add(&lr, "%s", s->optim->param_lr_mult);
    for (uint32_t i = 0; n->probes && i < model->n_stages; i++)
        if (strcmp(model->stages[i]->name, "head") != 0) cvr_text_add(&body, "%s,", model->stages[i]->name);
    if (lr.failed || body.failed) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    rules.freeze = n->probes ? body.s : s->model->freeze;
    rules.train_frozen = !s->model->freeze_bn;
    rules.thaw = (const char *const *)s->phases.patterns;
    rules.n_thaw = s->phases.n;
    rules.lr_factors = lr.s;
    rules.weight_decays = s->optim->param_weight_decay;
    CVR_TRY_OUT(cvr_store_rules(n->store, &rules, err));
out:
    cvr_text_clear(&body);
    cvr_text_clear(&lr);
    return status;
}

/* The last phase trains the most, so that it decides about memory. */
static int32_t plan_phases(run_network *n, const program_key *keys, size_t n_keys, cvr_error *err) {
    const size_t last = n->trains ? n->settings->phases.n : 0;
    program_key key = n_keys ? keys[0] : (program_key){0};
    key.phase = last;
    if (n_keys && key.purpose <= PROGRAM_ACCUMULATE) CVR_TRY(network_fit_memory(n, &key, err));
    for (size_t phase = 0; phase <= last; phase++)
        for (size_t i = 0; i < n_keys; i++) {
            key = keys[i];
            key.phase = phase;
            CVR_TRY(blame_last(&keys[0], &key, plan_programs(n, &key, 1, err), err));
        }
    return CVR_OK;
}

/* Of the settings that name parameters, the first that has the `word` which an error is about. */
static int32_t blame_rules(const settings *s, int32_t status, cvr_error *err) {
    static const char *const keys[][2] = {{"model", "freeze"},           {"model", "unfreeze"},
                                          {"optim", "param_lr_mult"},    {"optim", "param_weight_decay"},
                                          {"optim", "backbone_lr_mult"}, {"optim", "head_lr_mult"}};
    char word[64] = "";
    const char *quoted = status != CVR_OK && err ? strchr(err->message, '`') : NULL;
    if (!quoted || sscanf(quoted, "`%63[^`]", word) != 1) return status;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const cvr_setting *given = cvr_config_given(s->config, keys[i][0], keys[i][1]);
        if (given && (strstr(given->value, word) || strstr(given->key, word)))
            return cvr_config_blame(s->config, keys[i][0], keys[i][1], status, err);
    }
    return status;
}

/* A backend that settings name and that has no device here: what to do. */
static int32_t help_without_device(const run_network *n, int32_t status, cvr_error *err) {
    const void *desc;
    if (status == CVR_OK || !err || cvr_plugins_find(n->plugins, CVR_KIND_BACKEND, n->backend, &desc, NULL) != CVR_OK ||
        cvr_backend_devices(n->plugins, desc) > 0)
        return status;
    const size_t length = strlen(err->message);
    (void)snprintf(err->message + length, sizeof err->message - length,
                   "; backend=auto computes on what there is here");
    return status;
}

int32_t network_begin(run_network *n, const program_key *key, cvr_error *err) {
    CVR_TRY(cvr_store_create(&n->store, (uint64_t)n->settings->run->seed, err));
    CVR_TRY(help_without_device(n, open_device(n, err), err));
    CVR_TRY(blame_rules(n->settings, set_param_rules(n, key, err), err));
    return network_settle_precision(n, err);
}

int32_t network_open(run_network *n, const program_key *keys, size_t n_keys, cvr_error *err) {
    CVR_TRY(network_begin(n, keys, err));
    CVR_TRY(plan_phases(n, keys, n_keys, err));
    CVR_TRY(blame_rules(n->settings, cvr_store_check_rules(n->store, err), err));
    if (n->n && math_of_precision(n->precision) != CVR_MATH_F32) CVR_TRY(network_explain_math(n, n->programs[0], err));
    CVR_TRY(settle(n, err));
    network_pin_batches(n);
    return CVR_OK;
}

void network_close(run_network *n) {
    cvr_store_destroy(&n->store);
    leave_device(n);
}

int32_t network_program(run_network *n, const program_key *asked, net_program **out, cvr_error *err) {
    program_key key = *asked;
    key.phase = n->phase;
    net_program *p = *out = find_program(n, &key);
    if (p) p->used = ++n->uses;
    if (p && p->bound) return CVR_OK;
    if (!p) {
        if (key.purpose == PROGRAM_PREDICT) make_room(n);
        CVR_TRY(plan_programs(n, &key, 1, err));
        *out = p = n->programs[n->n - 1];
        p->used = ++n->uses;
    }
    const int32_t status = settle(n, err);
    if (status != CVR_OK) remove_program(n, n->n - 1);
    return status;
}

int32_t network_begin_batch(run_network *n, const program_key *asked, const cvr_batch_view *batch, cvr_error *err) {
    program_key key = *asked;
    key.phase = n->phase;
    net_program *p = find_program(n, &key);
    if (!p || !p->bound || (cvr_device_backend(n->device)->flags & CVR_BACKEND_HOST_VISIBLE)) return CVR_OK;
    return net_program_begin(p, batch, err);
}

const net_program *network_first(const run_network *n, int64_t purpose) {
    for (size_t i = 0; i < n->n; i++)
        if (n->programs[i]->key.purpose == purpose) return n->programs[i];
    return NULL;
}

const char *network_precision(const run_network *n) {
    return precision_name(n->precision);
}

/* ---- moving ---- */

static int32_t settle_there(run_network *n, const run_network *before, cvr_error *err) {
    CVR_TRY(open_device(n, err));
    for (size_t i = 0; i < before->n; i++) CVR_TRY(plan_programs(n, &before->programs[i]->key, 1, err));
    CVR_TRY(grow_arena(n, err));
    CVR_TRY(cvr_store_prepare(n->store, n->device, err));
    CVR_TRY(bind_programs(n, err));
    network_pin_batches(n);
    return CVR_OK;
}

int32_t network_try(const run_network *n, const cvr_place *to, cvr_error *err) {
    run_network there = *n;
    there.device = NULL;
    there.arena = NULL;
    there.programs = NULL;
    there.pins = NULL;
    there.n_pins = there.pins_capacity = 0;
    there.n = there.capacity = 0;
    there.told = true;
    network_go(&there, to);
    int32_t status = open_device(&there, err);
    for (size_t i = 0; i < n->n && status == CVR_OK; i++) status = plan_programs(&there, &n->programs[i]->key, 1, err);
    leave_device(&there);
    return status;
}

int32_t network_move(run_network *n, const cvr_place *to, run_network *before, cvr_error *err) {
    *before = *n;
    n->device = NULL;
    n->arena = NULL;
    n->programs = NULL;
    n->n = n->capacity = 0;
    n->pins = NULL;
    n->n_pins = n->pins_capacity = 0;
    n->told = false;
    network_go(n, to);
    const int32_t status = settle_there(n, before, err);
    if (status != CVR_OK) network_return(n, before);
    return status;
}

void network_keep(run_network *n, run_network *before) {
    cvr_store_commit(n->store);
    leave_device(before);
}

void network_return(run_network *n, run_network *before) {
    cvr_store_rollback(n->store);
    leave_device(n);
    *n = *before;
}
