/* Where a run goes on that was interrupted: the checkpoint, and what may be another since. */
#include "trainer.h"
#include <errno.h>

#define MOST_NAMES 512

bool run_has_checkpoint(const char *folder) {
    static const char *const names[] = {"weights/last.state", "weights/last.state.1"};
    bool found = false;
    for (size_t i = 0; i < 2 && !found; i++) {
        char *path = cvr_fs_join(folder, names[i]);
        found = !path || cvr_fs_exists(path); /* out of memory: reading it says so */
        cvr_free(path);
    }
    return found;
}

static int32_t cannot_go_on(const trainer *t, const char *section, const char *key, const char *why, cvr_error *err) {
    cvr_fail(err, CVR_ERR_USAGE, "%s.%s: the run stopped within epoch %lld, %s; put it back, or resume from its end",
             section, key, (long long)t->state.epoch + 1, why);
    return settings_blame(&t->s->set, cvr_config_blame(t->s->set.config, section, key, CVR_ERR_USAGE, err), err);
}

static bool on_command_line(const trainer *t, const char *section, const char *key) {
    const cvr_setting *given = cvr_config_given(t->s->set.config, section, key);
    return given && !given->line;
}

/* The setting by which the data has become another. */
static const char *data_key(const trainer *t) {
    static const char *const keys[] = {"limit", "train", "val_split", "format"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (on_command_line(t, "data", keys[i])) return keys[i];
    }
    return "root";
}

/* A number that depends on the names of the pictures, some hundred of them, wherever their folder is. */
int64_t resume_pictures(const trainer *t) {
    const split *sp = &t->s->data.splits[CVR_SPLIT_TRAIN];
    const int64_t n = sp->desc->count(sp->self), step = n / MOST_NAMES + 1;
    uint64_t hash = (uint64_t)n;
    for (int64_t i = 0; i < n; i += step) {
        char name[512] = "";
        sp->desc->describe(sp->self, i, name, sizeof name);
        const char *slash = strrchr(name, '/');
        hash = cvr_rng_mix(hash, cvr_hash(slash ? slash + 1 : name));
    }
    return (int64_t)(hash >> 2 | 1); /* not 0: that is not to know */
}

/*
 * The place in an epoch, in batches of today's size. Between epochs anything may change; within one the order of its
 * pictures must be the same, and those that were seen must be whole batches, or pictures would be seen twice or never.
 */
int32_t resume_fit(trainer *t, cvr_error *err) {
    train_state *st = &t->state;
    const settings *set = &t->s->set;
    const int64_t samples = split_samples(&t->s->data.splits[CVR_SPLIT_TRAIN]), batch = set->train->batch;
    char why[120];
    if (!st->batch_size || !st->batch) return CVR_OK;
    if (st->samples != samples) {
        (void)snprintf(why, sizeof why, "which had %lld pictures and would now have %lld", (long long)st->samples,
                       (long long)samples);
        return cannot_go_on(t, "data", data_key(t), why, err);
    }
    if (st->pictures && st->pictures != resume_pictures(t))
        return cannot_go_on(t, "data", data_key(t), "whose pictures were others", err);
    if (st->seed != set->run->seed) return cannot_go_on(t, "run", "seed", "whose order it decides", err);
    if (st->shuffle != set->data->shuffle) return cannot_go_on(t, "data", "shuffle", "whose order it decides", err);
    if (st->sampler != set->train->sampler) return cannot_go_on(t, "train", "sampler", "whose order it decides", err);
    if (st->repeat != set->train->repeat) return cannot_go_on(t, "train", "repeat", "whose order it decides", err);
    if (st->groups != t->s->data.sampler.n_groups)
        return cannot_go_on(t, "data", "aspect_groups", "whose order it decides", err);
    if (st->groups && st->batch_size != batch)
        return cannot_go_on(t, "train", "batch", "whose order it decides, with data.aspect_groups", err);
    const bool whole = st->batch > samples / st->batch_size; /* its last, smaller batch is done */
    const int64_t seen = whole ? samples : st->batch * st->batch_size;
    if (batch == st->batch_size) {
        if (st->batch > t->steps_per_epoch) st->batch = t->steps_per_epoch; /* data.drop_last is new */
        return CVR_OK;
    }
    if (seen % batch != 0 && seen != samples) {
        (void)snprintf(why, sizeof why, "after %lld pictures, which are no whole batches of %lld", (long long)seen,
                       (long long)batch);
        return cannot_go_on(t, "train", "batch", why, err);
    }
    st->batch = seen == samples ? t->steps_per_epoch : seen / batch;
    return CVR_OK;
}

/* A checkpoint that does not fit the network: which setting of the command line may have changed it. */
static int32_t blame_change(const trainer *t, int32_t status, cvr_error *err) {
    static const char *const sections[] = {"model", "optim", "train"};
    static const char *const keys[] = {"name", "momentum", "ema", "num_classes", "amsgrad", "centered", "in_channels"};
    if (status != CVR_ERR_FORMAT || !err || !strstr(err->message, "the recipe was changed")) return status;
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            if (!on_command_line(t, sections[i], keys[k])) continue;
            const size_t n = strlen(err->message);
            (void)snprintf(err->message + n, sizeof err->message - n, "; put back %s.%s", sections[i], keys[k]);
            return status;
        }
    }
    return status;
}

/* Renames a file of weights to the first of NAME.1, NAME.2 and so on that is free. */
static int32_t set_aside(const char *folder, const char *name, cvr_error *err) {
    cvr_text from = {0}, to = {0};
    int32_t status = CVR_OK;
    cvr_text_add(&from, "%s/weights/%s", folder, name);
    for (int i = 1; !from.failed && cvr_fs_exists(from.s); i++) {
        cvr_text_clear(&to);
        cvr_text_add(&to, "%s.%d", from.s, i);
        if (to.failed || cvr_fs_exists(to.s)) {
            if (!to.failed && i < 1000) continue;
            break;
        }
        if (rename(from.s, to.s) != 0) break;
        cvr_log(CVR_LOG_INFO, "weights/%s is kept as weights/%s.%d", name, name, i);
    }
    if (from.failed || to.failed) {
        status = cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    } else if (cvr_fs_exists(from.s)) {
        cvr_fail(err, CVR_ERR_IO, "cannot be renamed: %s; move it away and resume again", strerror(errno));
        status = cvr_fail_at(err, from.s, 0, CVR_ERR_IO);
    }
    cvr_text_clear(&from);
    cvr_text_clear(&to);
    return status;
}

/* What the run was told while it went on holds on, unless today's command line says otherwise. */
static void take_up(trainer *t) {
    train_state *st = &t->state;
    run_network *net = &t->s->net, before;
    char where[NETWORK_WHERE];
    cvr_error err = CVR_ERROR_INIT;
    if (st->lr > 0 && on_command_line(t, "optim", "lr")) st->lr = 0;
    if (st->lr > 0) {
        t->s->set.lr = st->lr;
        cvr_log(CVR_LOG_INFO, "optim.lr = %g, as the run was told by `cvrun ctl`", st->lr);
    }
    if (!*st->place.backend || network_is_at(net, &st->place)) return;
    if (on_command_line(t, "backend", "name") || on_command_line(t, "backend", "device")) return;
    if (network_move(net, &st->place, &before, &err) == CVR_OK) {
        network_keep(net, &before);
        cvr_log(CVR_LOG_INFO, "the run goes on on backend %s, where it was", network_where(net, where));
    } else {
        cvr_log(CVR_LOG_WARNING, "the run was on backend %s: %s; it goes on on %s", st->place.backend, err.message,
                net->backend);
    }
}

/* Without a checkpoint the run starts over; weights that are there may be all that is left of one. */
int32_t resume_load(trainer *t, cvr_error *err) {
    const char *folder = t->o->folder;
    if (!run_has_checkpoint(folder)) {
        cvr_log(CVR_LOG_INFO, "there is no checkpoint: the run starts over");
        CVR_TRY(set_aside(folder, "best.safetensors", err));
        return set_aside(folder, "last.safetensors", err);
    }
    CVR_TRY(blame_change(t, checkpoint_load(t->s, folder, &t->state, err), err));
    take_up(t);
    return CVR_OK;
}
