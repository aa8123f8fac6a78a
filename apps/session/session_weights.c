/* The weights of a session: its rules for loading them, and what becomes of the classes. */
#include "session_parts.h"

/* Classes of the file that are other ones to the network: without a stage `head` nobody knows which rows are theirs. */
static void tell_classes(const cvr_session *s, const char *path, const class_names *file, const weights_rules *r) {
    char has[200], are[200];
    int64_t shared = 0;
    bool head = false;
    for (int64_t i = 0; i < r->n_rows; i++) shared += r->rows[i] >= 0;
    for (size_t i = 0; i < cvr_store_count(s->net.store); i++)
        head = head || strcmp(cvr_store_get(s->net.store, i)->stage, "head") == 0;
    (void)class_names_list(file, has, sizeof has);
    (void)class_names_list(&s->data.classes, are, sizeof are);
    if (head)
        cvr_log(CVR_LOG_INFO,
                "%s: %lld of %lld classes are among the file's by name; the head's rows of the others are new", path,
                (long long)shared, (long long)r->n_rows);
    else
        cvr_log(CVR_LOG_WARNING,
                "%s: its classes are %s, the data's %s, and the network does not say which layer is its head; where it "
                "was loaded it means other classes until it is trained; model.head=keep takes the file's",
                path, has, are);
}

/* Which rows of a trained head mean classes of this network, where they differ; NULL where they do not. */
static int32_t match_rows(const cvr_session *s, const class_names *file, int64_t **rows, cvr_error *err) {
    const class_names *net = &s->data.classes;
    *rows = NULL;
    if (file->n == 0 || class_names_are_numbers(file) || class_names_same(file, net)) return CVR_OK;
    *rows = cvr_calloc((size_t)net->n + 1, sizeof **rows);
    if (!*rows) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (int64_t i = 0; i < net->n; i++) (*rows)[i] = class_names_find(file, net->names[i], i);
    return CVR_OK;
}

/* model.head speaks of model.weights. The weights that a run left have the head that it trained; and where nothing is
 * trained, a new head would only give wrong numbers. */
static uint32_t head_rule(const cvr_session *s, const char *path) {
    const uint32_t head = (uint32_t)s->set.model->head;
    const bool trains = (s->purpose & CVR_FOR_TRAINING) != 0, own = strcmp(path, s->set.model->weights) != 0;
    return !trains && (own || head == WEIGHTS_HEAD_AUTO) ? WEIGHTS_HEAD_KEEP : head;
}

/* Names of another implementation, or of a classifier in a network that stands on it: weights from elsewhere. */
static void warn_of_colours(const cvr_session *s, const char *path) {
    const data_settings *d = s->set.data;
    if (strcmp(d->mean, "0") == 0 && strcmp(d->std, "1") == 0)
        cvr_log(CVR_LOG_WARNING,
                "%s: published weights want normalised pictures, and data.mean and data.std are 0 and 1; set data.mean "
                "= imagenet and data.std = imagenet, or what the file's source says",
                path);
}

int32_t cvr_session_load_weights(cvr_session *s, const char *path, cvr_error *err) {
    bool foreign = false;
    weights_rules rules = {.network = "",
                           .head = head_rule(s, path),
                           .alias = s->set.model_desc ? s->set.model_desc->alias : NULL,
                           .subset = !s->set.model->strict,
                           .foreign = &foreign};
    class_names file = {0};
    int64_t *rows = NULL;
    int32_t status;
    if (rules.head == WEIGHTS_HEAD_AUTO) CVR_TRY_OUT(data_weights_classes(&s->set, path, &file, err));
    CVR_TRY_OUT(match_rows(s, &file, &rows, err));
    rules.rows = rows;
    rules.n_rows = s->data.classes.n;
    rules.file_rows = file.n;
    CVR_TRY_OUT(weights_load(s->plugins, s->net.store, &rules, path, err));
    if (foreign) warn_of_colours(s, path);
    if (rows) tell_classes(s, path, &file, &rules);
out:
    cvr_free(rows);
    class_names_clear(&file);
    return status;
}
