/* A network by itself, from a file that a model takes: for who reads weights without a recipe. */
#include "proposals.h"
#include "session_parts.h"
#include <limits.h>
#include <stdlib.h>

#define CELLS 13 /* a picture's side, in strides, where the model proposes none */

/* cvr_propose_fn: the size of pictures. */
static int32_t note_side(void *ctx, const char *key, const char *value, cvr_error *err) {
    int64_t *side = ctx;
    (void)err;
    if (strcmp(key, "data.img_size") == 0) *side = strtoll(value, NULL, 10);
    return CVR_OK;
}

/* The side that the model proposes, brought to its stride. */
static int32_t side_of(const cvr_model_desc *model, const void *attrs, int64_t *side, cvr_error *err) {
    int64_t stride = 1;
    *side = 0;
    if (model->stride) CVR_CALL_TO(stride, model, stride, NULL, attrs);
    if (model->proposes) CVR_TRY(CVR_CALL(model, proposes, NULL, err, attrs, note_side, side));
    if (stride < 1 || stride > 65536) stride = 1;
    if (*side < 1 || *side > 65536) *side = CELLS * stride;
    *side = (*side + stride - 1) / stride * stride;
    return CVR_OK;
}

static int32_t build(cvr_plugins *plugins, const cvr_model_desc *model, const cvr_model_args *args, cvr_store *store,
                     cvr_error *err) {
    cvr_graph *graph;
    cvr_type type;
    cvr_value image;
    int64_t side;
    CVR_TRY(side_of(model, args->attrs, &side, err));
    CVR_TRY(cvr_graph_create(&graph, plugins, store, false, err));
    cvr_type_set(&type, CVR_F32, 4, (const int64_t[]){1, args->in_channels, side, side});
    int32_t status = cvr_graph_input(graph, CVR_FIELD_IMAGE, &type, &image, err);
    if (status == CVR_OK)
        status = CVR_CALL(model, build, NULL, err, cvr_graph_builder(graph), args, cvr_graph_io(graph));
    cvr_graph_destroy(&graph);
    return status;
}

int32_t cvr_network_file_store(cvr_plugins *plugins, const char *path, int64_t in_channels, cvr_store **out,
                               cvr_error *err) {
    char full[PATH_MAX];
    void *attrs = NULL;
    int32_t status;
    *out = NULL;
    if (!realpath(path, full))
        return cvr_fail_at(err, path, 0, cvr_fail(err, CVR_ERR_IO, "is not there, or cannot be opened"));
    const cvr_model_desc *const model = model_of_file(plugins, full);
    if (!model)
        return cvr_fail_at(
            err, path, 0,
            cvr_fail(err, CVR_ERR_USAGE, "no model is built from files with such a name; give a .cfg file"));
    const cvr_schema schema = {model->attrs, model->n_attrs};
    const cvr_setting setting = {.key = model->file, .value = full};
    CVR_TRY_OUT(cvr_attrs_pack(&schema, &setting, 1, model->name, &attrs, err));
    CVR_TRY_OUT(cvr_store_create(out, 0, err));
    CVR_TRY_OUT(build(plugins, model, &(cvr_model_args){sizeof(cvr_model_args), attrs, 0, in_channels}, *out, err));
out:
    cvr_free(attrs);
    return status;
}
