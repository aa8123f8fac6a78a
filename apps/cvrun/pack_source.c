/* The data of a recipe, opened without a network: what a session does for training, from the same settings. */
#include "pack.h"
#include <stdlib.h>

/* A copy of one effective setting, "" where there is none. Free with cvr_free. */
static char *setting(const pack_source *d, const char *section, const char *key) {
    const char *text = cvr_config_get(cvr_session_config(d->session), section, key, NULL);
    return cvr_strdup(text ? text : "");
}

int64_t pack_number(const pack_source *d, const char *section, const char *key) {
    const char *text = cvr_config_get(cvr_session_config(d->session), section, key, NULL);
    return text ? strtoll(text, NULL, 10) : 0;
}

bool pack_skips(const pack_source *d) {
    char *text = setting(d, "data", "on_error");
    const bool skips = text && strcmp(text, "skip") == 0;
    cvr_free(text);
    return skips;
}

static int32_t find_kinds(pack_source *d, cvr_error *err) {
    const char *name;
    d->n_kinds = 0;
    for (uint32_t i = 0; (name = d->desc->kind(d->self, i)); i++) {
        const void *kind;
        if (i == PACK_MOST_FIELDS) return cvr_fail(err, CVR_ERR_PLUGIN, "more than %u fields", PACK_MOST_FIELDS);
        CVR_TRY(cvr_plugins_find(cvr_session_plugins(d->session), CVR_KIND_FIELD, name, &kind, err));
        d->kinds[d->n_kinds++] = kind;
    }
    return CVR_OK;
}

/* The data set's names of classes, or data.names. */
static int32_t name_classes(pack_source *d, cvr_error *err) {
    char *given = setting(d, "data", "names"), *rest = given;
    d->n_classes = d->desc->n_classes(d->self);
    d->class_names = cvr_calloc((size_t)d->n_classes + 1, sizeof *d->class_names);
    bool good = given && d->class_names;
    int64_t n = 1;
    for (const char *c = given; c && *c; c++) n += *c == ',';
    if (good && *given && n != d->n_classes) {
        cvr_free(given);
        return cvr_fail(err, CVR_ERR_USAGE, "data.names has %lld names for %lld classes", (long long)n,
                        (long long)d->n_classes);
    }
    for (int64_t i = 0; i < d->n_classes && good; i++) {
        const size_t length = strcspn(rest, ",");
        const char *first = rest + strspn(rest, " ");
        d->class_names[i] = *given ? cvr_strndup(first, first < rest + length ? (size_t)(rest + length - first) : 0)
                                   : cvr_strdup(d->desc->class_name(d->self, i));
        good = d->class_names[i];
        rest += rest[length] ? length + 1 : length;
    }
    cvr_free(given);
    return good ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

void pack_source_close(pack_source *d) {
    for (int64_t i = 0; d->class_names && i < d->n_classes; i++) cvr_free(d->class_names[i]);
    cvr_free(d->class_names);
    d->class_names = NULL;
    if (d->self) CVR_CALL_VOID(d->desc, close, NULL, d->self);
    d->self = NULL;
}

int32_t pack_source_open(pack_source *d, uint32_t split, cvr_error *err) {
    cvr_plugins *plugins = cvr_session_plugins(d->session);
    char *format = setting(d, "data", "format"), *root = setting(d, "data", "root"),
         *train = setting(d, "data", "train"), *val = setting(d, "data", "val");
    const void *desc, *attrs;
    int32_t status = CVR_ERR_NOMEM;
    if (!format || !root || !train || !val) goto out;
    if (!*format) {
        cvr_fail(err, CVR_ERR_USAGE, CVR_NEEDS_FORMAT);
        CVR_TRY_OUT(cvr_fail_at(err, cvr_config_path(cvr_session_config(d->session)), 0, CVR_ERR_USAGE));
    }
    CVR_TRY_OUT(cvr_plugins_find(plugins, CVR_KIND_DATASET, format, &desc, err));
    d->desc = desc;
    const cvr_schema schema = {d->desc->attrs, d->desc->n_attrs};
    CVR_TRY_OUT(cvr_config_bind(cvr_session_config(d->session), "data", &schema, &attrs, err));
    const cvr_dataset_args args = {.struct_size = sizeof args,
                                   .host = cvr_plugins_host(plugins),
                                   .attrs = attrs,
                                   .root = root,
                                   .train = train,
                                   .val = val,
                                   .split = split,
                                   .channels = (uint32_t)pack_number(d, "model", "in_channels"),
                                   .img_size = pack_number(d, "data", "img_size"),
                                   .seed = (uint64_t)pack_number(d, "run", "seed")};
    CVR_TRY_OUT(CVR_CALL(d->desc, open, NULL, err, &args, &d->self));
    d->split = split == CVR_SPLIT_TRAIN ? "train" : "val";
    CVR_TRY_OUT(find_kinds(d, err));
    status = name_classes(d, err);
out:
    if (status == CVR_ERR_NOMEM) cvr_fail(err, status, "out of memory");
    cvr_free(format);
    cvr_free(root);
    cvr_free(train);
    cvr_free(val);
    return status;
}
