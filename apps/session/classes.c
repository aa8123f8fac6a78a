/* Names of the classes: the recipe's, else the data's or the run folder's, else numbers. */
#include "run_data.h"

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
    if (i == n) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE, "data.names has %lld names for %lld classes", (long long)i, (long long)n);
}

/* classes.txt of a run folder: a name a line. */
static int32_t read_classes(const char *path, char ***out, int64_t *n, cvr_error *err) {
    uint8_t *bytes;
    uint64_t size;
    CVR_TRY(cvr_fs_read(path, 1u << 24, &bytes, &size, err));
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

/* Names of n classes; those that the recipe or the data (`from`, may be NULL) gives. */
static int32_t name_classes(char **names, int64_t n, const settings *s, const void *from, cvr_error *err) {
    char number[24];
    if (*s->data->names)
        return cvr_config_blame(s->config, "data", "names", split_names(s->data->names, names, n, err), err);
    for (int64_t i = 0; i < n; i++) {
        (void)snprintf(number, sizeof number, "%lld", (long long)i);
        const char *name = number;
        if (from) CVR_CALL_TO(name, s->dataset, class_name, NULL, from, i);
        if (!name)
            return cvr_call_blame(s->dataset, "class_name", NULL, err, "has no name for class %lld of %lld",
                                  (long long)i, (long long)n);
        names[i] = cvr_strdup(name);
    }
    return CVR_OK;
}

#define MOST_CLASSES (1 << 24)

static int32_t check_splits(const run_data *d, const settings *s, int64_t n, cvr_error *err) {
    const split *train = &d->splits[CVR_SPLIT_TRAIN], *val = &d->splits[CVR_SPLIT_VAL];
    const int64_t others = train->present && val->present ? s->dataset->n_classes(val->self) : n;
    if (others == n) return CVR_OK;
    return cvr_fail(err, CVR_ERR_FORMAT,
                    "the training data has %lld classes, the validation data %lld; they must be the same", (long long)n,
                    (long long)others);
}

static void list_names(char *const *names, int64_t n, char *to, size_t size) {
    size_t at = 0;
    *to = '\0';
    for (int64_t i = 0; i < n && at < size; i++)
        at += (size_t)snprintf(to + at, size - at, "%s%.40s", i ? "," : "", names[i]);
    if (at >= size) memcpy(to + size - 4, "...", 4);
}

/* classes.txt has a name a line. */
static bool same_name(const char *written, const char *name) {
    const size_t n = strcspn(name, "\r\n");
    return strlen(written) == n && memcmp(written, name, n) == 0;
}

/* The outputs of a run's network mean its classes, in its order: other data must have the same. */
static int32_t check_run(const settings *s, const char *path, char *const *names, int64_t n, cvr_error *err) {
    char **run, was[200], is[200];
    int64_t n_run, i = 0;
    CVR_TRY(read_classes(path, &run, &n_run, err));
    while (i < n && i < n_run && run[i] && same_name(run[i], names[i])) i++;
    list_names(run, n_run, was, sizeof was);
    list_names(names, n, is, sizeof is);
    for (int64_t k = 0; k < n_run; k++) cvr_free(run[k]);
    cvr_free(run);
    if (i == n && i == n_run) return CVR_OK;
    cvr_fail(
        err, CVR_ERR_USAGE,
        "data.root: the run's classes are %s (classes.txt), the data's %s: class %lld is another; give it data with "
        "the same classes, or train anew with model.weights",
        was, is, (long long)i);
    return settings_blame(
        s, cvr_config_blame(s->config, "data", *s->data->names ? "names" : "root", CVR_ERR_USAGE, err), err);
}

/* model.num_classes says what the network has; data that says otherwise is not what it is for. */
static int32_t check_count(const settings *s, int64_t n, cvr_error *err) {
    if (!s->model->num_classes || s->model->num_classes == n) return CVR_OK;
    cvr_fail(err, CVR_ERR_USAGE, "model.num_classes = %lld, but the data has %lld classes; leave it out",
             (long long)s->model->num_classes, (long long)n);
    return settings_blame(s, cvr_config_blame(s->config, "model", "num_classes", CVR_ERR_USAGE, err), err);
}

int32_t data_open_classes(run_data *d, const settings *s, cvr_plugins *p, cvr_error *err) {
    const split *of = d->splits[0].present ? &d->splits[0] : d->splits[1].present ? &d->splits[1] : NULL;
    const void *from = of ? of->self : NULL;
    int64_t n = s->model->num_classes;
    if (of) CVR_CALL_TO(n, s->dataset, n_classes, NULL, from);
    if (of && (n < 1 || n > MOST_CLASSES))
        return cvr_call_blame(s->dataset, "n_classes", NULL, err, "gives %lld; there are 1 to %d", (long long)n,
                              MOST_CLASSES);
    char *path = NULL;
    int32_t status = CVR_OK;
    if (!of && is_file_in(s->run_folder, "classes.txt", &path))
        status = read_classes(path, &d->class_names, &n, err);
    else if (n > 0 && (d->class_names = cvr_calloc((size_t)n, sizeof *d->class_names)))
        status = name_classes(d->class_names, n, s, from, err);
    d->task = (cvr_task_info){.struct_size = sizeof d->task,
                              .host = cvr_plugins_host(p),
                              .attrs = s->task_attrs,
                              .n_classes = d->class_names ? n : 0,
                              .class_names = (const char *const *)d->class_names};
    CVR_TRY_OUT(status);
    if (!d->class_names && n > 0) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    if (!d->class_names)
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_USAGE,
                             "how many classes are there? Set model.num_classes, or predict with a run folder"));
    for (int64_t i = 0; i < n; i++)
        if (!d->class_names[i]) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    if (of && is_file_in(s->run_folder, "classes.txt", &path)) CVR_TRY_OUT(check_run(s, path, d->class_names, n, err));
    if (of) CVR_TRY_OUT(check_count(s, n, err));
    CVR_TRY_OUT(check_splits(d, s, n, err));
out:
    cvr_free(path);
    return status;
}

void data_close_classes(run_data *d) {
    for (int64_t i = 0; d->class_names && i < d->task.n_classes; i++) cvr_free(d->class_names[i]);
    cvr_free(d->class_names);
    d->class_names = NULL;
}
