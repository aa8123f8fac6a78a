/*
 * The classes of the network, and the data's among them. Classes are the same where their names are, whatever their
 * numbers. A network that was trained keeps its own: those in classes.txt of the run's folder, or of the folder that
 * its weights lie in. A new network has those of the training data.
 */
#include "run_data.h"

/* ---- names ---- */

/* Names of the data's classes, as it says them itself; numbers where it has none. */
static int32_t own_names(const split *sp, class_names *c, cvr_error *err) {
    int64_t n;
    CVR_CALL_TO(n, sp->desc, n_classes, NULL, sp->self);
    *c = (class_names){0};
    if (n > MOST_CLASSES)
        return cvr_fail(err, CVR_ERR_FORMAT, "the data has %lld classes, and there may be %d; merge some of them",
                        (long long)n, MOST_CLASSES);
    if (n < 1) return cvr_call_blame(sp->desc, "n_classes", NULL, err, "gives %lld; there is at least 1", (long long)n);
    c->names = cvr_calloc((size_t)n + 1, sizeof *c->names);
    if (!c->names) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (; c->n < n; c->n++) {
        const char *name;
        CVR_CALL_TO(name, sp->desc, class_name, NULL, sp->self, c->n);
        if (!name)
            return cvr_call_blame(sp->desc, "class_name", NULL, err, "has no name for class %lld of %lld",
                                  (long long)c->n, (long long)n);
        if (!(c->names[c->n] = cvr_strdup(name))) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    return CVR_OK;
}

static int32_t numbers(class_names *c, int64_t n, cvr_error *err) {
    char number[24];
    *c = (class_names){.names = cvr_calloc((size_t)n + 1, sizeof *c->names)};
    for (; c->names && c->n < n; c->n++) {
        (void)snprintf(number, sizeof number, "%lld", (long long)c->n);
        if (!(c->names[c->n] = cvr_strdup(number))) break;
    }
    return c->names && c->n == n ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

static void shorten(class_names *c, int64_t n) {
    while (c->n > n) cvr_free(c->names[--c->n]);
}

/* What data.names makes of them. Data whose classes are only numbers may have the first of a run's classes. */
static int32_t rename_classes(class_names *own, const settings *s, cvr_error *err) {
    class_names given = {0};
    int32_t status = CVR_OK;
    if (!*s->data->names) return CVR_OK;
    CVR_TRY_OUT(class_names_split(&given, s->data->names, err));
    if (s->run_folder && class_names_are_numbers(own) && own->n < given.n) shorten(&given, own->n);
    if (given.n != own->n)
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_USAGE, "data.names has %lld names for %lld classes", (long long)given.n,
                             (long long)own->n));
    class_names_clear(own);
    *own = given;
    return CVR_OK;
out:
    class_names_clear(&given);
    return cvr_config_blame(s->config, "data", "names", status, err);
}

/* ---- whose classes count ---- */

/* classes.txt of the folder that a file of weights lies in, or of the run folder whose `weights` that is. */
static int32_t beside_weights(const char *weights, char **path, cvr_error *err) {
    char *folder = cvr_fs_dirname(weights), *up = folder ? cvr_fs_dirname(folder) : NULL;
    const char *slash = folder ? strrchr(folder, '/') : NULL, *name = slash ? slash + 1 : folder;
    *path = folder ? cvr_fs_join(folder, "classes.txt") : NULL;
    if (*path && up && !cvr_fs_exists(*path) && strcmp(name, "weights") == 0) {
        cvr_free(*path);
        *path = cvr_fs_join(up, "classes.txt");
    }
    const bool good = folder && up && *path;
    cvr_free(folder);
    cvr_free(up);
    return good ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

int32_t data_weights_classes(const settings *s, const char *weights, class_names *c, cvr_error *err) {
    char *path;
    *c = (class_names){0};
    if (s->preset_classes && weights == s->model->weights) return class_names_read(c, s->preset_classes, err);
    CVR_TRY(beside_weights(weights, &path, err));
    const int32_t status = cvr_fs_exists(path) ? class_names_read(c, path, err) : CVR_OK;
    cvr_free(path);
    return status;
}

/* The classes that a trained network has already; none where it is a new one, or nobody knows. */
static int32_t trained_classes(const settings *s, bool trains, class_names *c, cvr_error *err) {
    const char *weights = settings_start_weights(s, trains);
    *c = (class_names){0};
    if (weights && (!trains || s->model->head == WEIGHTS_HEAD_KEEP)) CVR_TRY(data_weights_classes(s, weights, c, err));
    if (c->n || !s->run_folder) return CVR_OK;
    char *path = cvr_fs_join(s->run_folder, "classes.txt");
    if (!path) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = cvr_fs_exists(path) ? class_names_read(c, path, err) : CVR_OK;
    cvr_free(path);
    return status;
}

/* ---- the data's among the network's ---- */

static int32_t blame_data(const settings *s, cvr_error *err) {
    const char *key = *s->data->names ? "names" : "root";
    return settings_blame(s, cvr_config_blame(s->config, "data", key, CVR_ERR_USAGE, err), err);
}

/* Each of the data's classes must be one of the network's: a sample of another could only count as a wrong answer. */
static int32_t find_classes(const settings *s, const class_names *data, const class_names *net, int64_t *to,
                            cvr_error *err) {
    char has[300];
    for (int64_t i = 0; i < data->n; i++) {
        to[i] = class_names_find(net, data->names[i], i);
        if (to[i] >= 0) continue;
        cvr_fail(err, CVR_ERR_USAGE,
                 "the data has the class `%.200s`, which is none of the network's classes (%s); take it out of the "
                 "data, or train anew with model.weights",
                 data->names[i], class_names_list(net, has, sizeof has));
        return blame_data(s, err);
    }
    return CVR_OK;
}

/* A run that goes on without one of its classes would forget it. */
static int32_t check_resumed(const settings *s, const class_names *data, const class_names *net, cvr_error *err) {
    for (int64_t i = 0; i < net->n; i++) {
        if (class_names_find(data, net->names[i], i) >= 0) continue;
        cvr_fail(err, CVR_ERR_USAGE,
                 "the run has the class `%.200s`, which the data has not any more; put it back, or train anew with "
                 "model.weights",
                 net->names[i]);
        return blame_data(s, err);
    }
    return CVR_OK;
}

/* model.num_classes says what the network has; data that says otherwise is not what it is for. */
static int32_t check_count(const settings *s, int64_t n, bool known, cvr_error *err) {
    const bool keep = s->model->head == WEIGHTS_HEAD_KEEP && *s->model->weights;
    if (!s->model->num_classes || s->model->num_classes == n) return CVR_OK;
    cvr_fail(err, CVR_ERR_USAGE, "model.num_classes = %lld, but the %s %lld classes; %s",
             (long long)s->model->num_classes, known ? "trained network has" : "data has", (long long)n,
             keep && !known ? "put a classes.txt beside the weights, a name a line, so that model.head=keep can find "
                              "the data's classes among theirs"
                            : "leave it out");
    return settings_blame(s, cvr_config_blame(s->config, "model", "num_classes", CVR_ERR_USAGE, err), err);
}

/* The setting by which data sets take a list of classes, where this one has it. */
static const char *list_of_classes(const cvr_dataset_desc *d) {
    for (uint32_t i = 0; i < d->n_attrs; i++)
        if (strcmp(d->attrs[i]->name, "class_names") == 0) return " by data.class_names";
    return "";
}

/* The validation data's classes are the training data's by name, and those are the network's by `to`. */
static int32_t map_other(run_data *d, const class_names *first, const int64_t *to, cvr_error *err) {
    split *sp = &d->splits[CVR_SPLIT_VAL];
    class_names own = {0};
    int64_t *both = NULL;
    int32_t status;
    CVR_TRY_OUT(own_names(sp, &own, err));
    both = cvr_calloc((size_t)own.n + 1, sizeof *both);
    if (!both) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    for (int64_t i = 0; i < own.n; i++) {
        const int64_t at = class_names_find(first, own.names[i], i);
        if (at < 0)
            CVR_TRY_OUT(cvr_fail(err, CVR_ERR_FORMAT,
                                 "the validation data has the class `%.200s`, which the training data has not; remove "
                                 "or rename it, or give both the same list of classes%s",
                                 own.names[i], list_of_classes(sp->desc)));
        both[i] = to[at];
    }
    CVR_TRY_OUT(split_map_classes(sp, both, own.n, &d->task, err));
out:
    cvr_free(both);
    class_names_clear(&own);
    return status;
}

/* Takes the names. */
static void set_names(run_data *d, class_names *names) {
    class_names_clear(&d->classes);
    d->classes = *names;
    d->task.n_classes = names->n;
    d->task.class_names = (const char *const *)names->names;
    *names = (class_names){0};
}

/* The first split that there is decides; d->classes are the trained network's, if it is known. */
static int32_t settle_splits(run_data *d, const settings *s, bool trains, cvr_error *err) {
    split *of = d->splits[0].present ? &d->splits[0] : &d->splits[1];
    class_names own = {0}, names = {0};
    int64_t *to = NULL;
    const bool known = d->classes.n > 0;
    int32_t status;
    CVR_TRY_OUT(own_names(of, &own, err));
    CVR_TRY_OUT(own_names(of, &names, err));
    CVR_TRY_OUT(rename_classes(&names, s, err));
    to = cvr_calloc((size_t)names.n + 1, sizeof *to);
    if (!to) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    for (int64_t i = 0; i < names.n; i++) to[i] = i;
    if (known) CVR_TRY_OUT(find_classes(s, &names, &d->classes, to, err));
    if (known && trains && s->run_folder) CVR_TRY_OUT(check_resumed(s, &names, &d->classes, err));
    if (!known) set_names(d, &names);
    CVR_TRY_OUT(check_count(s, d->task.n_classes, known, err));
    const int64_t n = own.n;
    if (of == &d->splits[0] && d->splits[1].present) CVR_TRY_OUT(map_other(d, &own, to, err));
    CVR_TRY_OUT(split_map_classes(of, to, n, &d->task, err));
out:
    cvr_free(to);
    class_names_clear(&names);
    class_names_clear(&own);
    return status;
}

/* Without data: the trained network's, else as many as the recipe says or names, else as many as the model's own file.
 */
static int32_t settle_alone(run_data *d, const settings *s, cvr_error *err) {
    class_names names = {0};
    int32_t status = CVR_OK;
    if (d->classes.n) return check_count(s, d->classes.n, true, err);
    const int64_t n = s->model->num_classes || *s->data->names ? s->model->num_classes : s->proposed_classes;
    if (!n && !*s->data->names)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "how many classes are there? Set model.num_classes, or data.names, or predict with a run "
                        "folder");
    if (n) {
        CVR_TRY_OUT(numbers(&names, n, err));
        CVR_TRY_OUT(rename_classes(&names, s, err));
    } else {
        CVR_TRY_OUT(cvr_config_blame(s->config, "data", "names", class_names_split(&names, s->data->names, err), err));
    }
    set_names(d, &names);
out:
    class_names_clear(&names);
    return status;
}

/* ---- what the task may ask of validation's annotations ---- */

static int32_t tell_objects(void *data, int64_t index, cvr_object_fn each, void *ctx, cvr_error *err) {
    const split *sp = &((const run_data *)data)->splits[CVR_SPLIT_VAL];
    if (!sp->present || !sp->desc->objects)
        return cvr_fail(err, CVR_ERR_NOTFOUND, "the data has no annotations of objects beside its fields");
    return CVR_CALL(sp->desc, objects, NULL, err, sp->self, index, each, ctx);
}

static int64_t tell_class_id(void *data, int64_t klass) {
    const split *sp = &((const run_data *)data)->splits[CVR_SPLIT_VAL];
    int64_t id = klass + 1;
    if (sp->present && sp->desc->class_id) CVR_CALL_TO(id, sp->desc, class_id, NULL, sp->self, klass);
    return id;
}

int32_t data_open_classes(run_data *d, const settings *s, cvr_plugins *p, bool trains, cvr_error *err) {
    class_names trained;
    const bool any = d->splits[0].present || d->splits[1].present;
    d->task = (cvr_task_info){.struct_size = sizeof d->task,
                              .host = cvr_plugins_host(p),
                              .attrs = s->task_attrs,
                              .predict_attrs = s->predict_attrs,
                              .reads = s->model_desc ? s->model_desc->reads : NULL,
                              .n_reads = s->model_desc ? s->model_desc->n_reads : 0,
                              .data = d,
                              .objects = tell_objects,
                              .class_id = tell_class_id};
    CVR_TRY(trained_classes(s, trains, &trained, err));
    set_names(d, &trained);
    return any ? settle_splits(d, s, trains, err) : settle_alone(d, s, err);
}

void data_close_classes(run_data *d) {
    class_names_clear(&d->classes);
}
