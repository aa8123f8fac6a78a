/* A network by itself, from a file that a model takes: for who reads weights without a recipe. */
#include "session_parts.h"
#include <limits.h>
#include <stdlib.h>

#define CELLS 13 /* a picture's side, in strides: where a model has no size of its own, any will do */

/* The key of a model that such files are given to: a path with the name of the file's ending. */
static const cvr_attr_desc *key_of(const cvr_model_desc *m, const char *ending) {
    for (uint32_t i = 0; i < m->n_attrs; i++)
        if (m->attrs[i]->kind == CVR_ATTR_PATH && strcmp(m->attrs[i]->name, ending) == 0) return m->attrs[i];
    return NULL;
}

static int32_t find_model(cvr_plugins *p, const char *path, const cvr_model_desc **out, const char **key,
                          cvr_error *err) {
    const char *name, *dot = strrchr(path, '.');
    for (size_t i = 0; dot && (name = cvr_plugins_name(p, CVR_KIND_MODEL, i)); i++) {
        const void *desc;
        const int32_t status = cvr_plugins_find(p, CVR_KIND_MODEL, name, &desc, err);
        if (status == CVR_ERR_NOMEM) return status;
        if (status != CVR_OK) continue;
        *out = desc;
        const cvr_attr_desc *found = key_of(*out, dot + 1);
        if (!found) continue;
        *key = found->name;
        return CVR_OK;
    }
    return cvr_fail_at(err, path, 0,
                       cvr_fail(err, CVR_ERR_USAGE, "no model is built from files with such a name; give a .cfg file"));
}

static int32_t build(cvr_plugins *plugins, const cvr_model_desc *model, const void *attrs, cvr_store *store,
                     cvr_error *err) {
    cvr_graph *graph;
    cvr_type type;
    cvr_value image;
    int64_t stride = 1;
    if (model->stride) CVR_CALL_TO(stride, model, stride, NULL, attrs);
    CVR_TRY(cvr_graph_create(&graph, plugins, store, false, err));
    const int64_t side = (stride > 0 && stride <= 65536 ? stride : 1) * CELLS;
    cvr_type_set(&type, CVR_F32, 4, (const int64_t[]){1, 3, side, side});
    int32_t status = cvr_graph_input(graph, CVR_FIELD_IMAGE, &type, &image, err);
    const cvr_model_args args = {sizeof args, attrs, 0, 3};
    if (status == CVR_OK)
        status = CVR_CALL(model, build, NULL, err, cvr_graph_builder(graph), &args, cvr_graph_io(graph));
    cvr_graph_destroy(&graph);
    return status;
}

int32_t cvr_network_file_store(cvr_plugins *plugins, const char *path, cvr_store **out, cvr_error *err) {
    const cvr_model_desc *model = NULL;
    const char *key = NULL;
    char full[PATH_MAX];
    void *attrs = NULL;
    int32_t status;
    *out = NULL;
    if (!realpath(path, full))
        return cvr_fail_at(err, path, 0, cvr_fail(err, CVR_ERR_IO, "is not there, or cannot be opened"));
    CVR_TRY_OUT(find_model(plugins, full, &model, &key, err));
    const cvr_schema schema = {model->attrs, model->n_attrs};
    const cvr_setting setting = {.key = key, .value = full};
    CVR_TRY_OUT(cvr_attrs_pack(&schema, &setting, 1, model->name, &attrs, err));
    CVR_TRY_OUT(cvr_store_create(out, 0, err));
    CVR_TRY_OUT(build(plugins, model, attrs, *out, err));
out:
    cvr_free(attrs);
    return status;
}
