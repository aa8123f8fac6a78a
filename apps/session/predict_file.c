/* Prediction of single pictures: a program for each size that comes, the last few of which are kept. */
#include "session_parts.h"

static void *picture_alloc(void *ctx, uint64_t bytes) {
    void **to = ctx;
    return *to = cvr_alloc_aligned(bytes, 64);
}

/* A result in logical order, for whoever wants it raw. */
static int32_t tell_raw(const cvr_predict_options *o, const char *name, const cvr_type *type, const void *memory,
                        cvr_error *err) {
    void *logical =
        cvr_alloc_aligned((uint64_t)cvr_numel(type->rank, type->shape) * cvr_dtype_size(type->dtype) + 8, 64);
    if (!logical) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    cvr_to_logical(type, memory, logical);
    o->raw(o->ctx, name, type, logical);
    cvr_free(logical);
    return CVR_OK;
}

/* An answer that was made of several. */
static int32_t tell_answer(const cvr_predict_options *o, const cvr_named_tensor *answer, cvr_error *err) {
    const cvr_tensor *t = &answer->tensor;
    cvr_type type = {.struct_size = sizeof type, .dtype = t->dtype, .rank = t->rank};
    memcpy(type.shape, t->shape, sizeof type.shape);
    return tell_raw(o, answer->name, &type, t->data, err);
}

/* Of several views it is the first's. */
static int32_t find_program(cvr_session *s, const cvr_batch *b, net_program **p, cvr_error *err) {
    program_key key = {.purpose = PROGRAM_PREDICT, .batch = b->view.n, .canvas = b->canvas};
    if (s->set.protocol.views) (void)views_canvas(&s->set, b->canvas, 0, &key.canvas);
    if (!s->net.store) CVR_TRY(session_open_network(s, &key, 1, err));
    return network_program(&s->net, &key, p, err);
}

/* What the program has said. */
static int32_t tell_results(const net_program *p, const cvr_predict_options *o, cvr_error *err) {
    for (size_t i = 0; i < p->n_results && o->raw; i++)
        CVR_TRY(tell_raw(o, p->results[i].tensor.name, p->results[i].type, p->results[i].host, err));
    return CVR_OK;
}

/* The answer that was merged of several views; of one it is the program's that is told, as it was before it was brought
 * to the picture's size. */
static int32_t tell_merged(cvr_session *s, const net_program *p, const cvr_named_tensor *answer,
                           const cvr_predict_options *o, cvr_error *err) {
    const protocol *how = &s->set.protocol;
    if (!o->raw) return CVR_OK;
    if (!how->window && !how->flip && how->n_scales == 1 && how->scales[0] == 1) return tell_results(p, o, err);
    return tell_answer(o, answer, err);
}

/* What the task says of a picture. Results that it has no use for are not the picture's fault. */
static int32_t ask_task(cvr_session *s, const cvr_batch_view *outputs, const cvr_predict_options *o, cvr_error *err) {
    const settings *set = &s->set;
    const cvr_setting *task = cvr_config_given(set->config, "run", "task");
    char why[400];
    const int32_t status = CVR_CALL(set->task, predict, NULL, err, &s->data.task, outputs, 0, o->sink);
    if (status != CVR_ERR_INVALID || err->file[0]) return status;
    (void)snprintf(why, sizeof why, "%.399s", err->message);
    cvr_fail(err, CVR_ERR_USAGE, "run.task = %s, and the network `%s` is for another task: %s", set->task->name,
             *set->model->name ? set->model->name : "[net]", why);
    return cvr_config_blame(set->config, task ? "run" : "model", task ? "task" : "name", CVR_ERR_USAGE, err);
}

/* The picture's own size, to which the answer is brought. */
static int32_t predict_views(cvr_session *s, const cvr_batch *b, const net_program *p, const cvr_predict_options *o,
                             cvr_error *err) {
    cvr_origin origin = *b->view.origins[0];
    const double same[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    const view_target to = {origin.height, origin.width, {origin.height, origin.width}, &origin};
    cvr_batch_view outputs;
    memcpy(origin.geometry, same, sizeof same);
    CVR_TRY(views_run(&s->views, &s->net, b, &to, &outputs, err));
    CVR_TRY(ask_task(s, &outputs, o, err));
    return tell_merged(s, p, outputs.fields[0], o, err);
}

static int32_t predict_batch(cvr_session *s, const cvr_batch *b, const cvr_predict_options *o, cvr_error *err) {
    const net_scalars scalars = {.loss_scale = 1, .seed = s->set.run->seed};
    net_program *p;
    cvr_batch_view outputs;
    const int32_t status = find_program(s, b, &p, err);
    if (status == CVR_ERR_FORMAT || status == CVR_ERR_IO)
        return cvr_fail_as(err, CVR_ERR_INVALID); /* not the picture's fault */
    CVR_TRY(status);
    if (s->set.protocol.views) return predict_views(s, b, p, o, err);
    CVR_TRY(net_program_run(p, &b->view, &scalars, err));
    CVR_TRY(net_program_results(p, &b->view, &outputs, err));
    CVR_TRY(ask_task(s, &outputs, o, err));
    return tell_results(p, o, err);
}

static int32_t predict_tiles(cvr_session *s, const cvr_image *picture, const char *path, const cvr_predict_options *o,
                             cvr_error *err) {
    const cvr_origin origin = {
        .struct_size = sizeof origin, .path = path, .height = picture->height, .width = picture->width};
    cvr_batch_view merged;
    s->tiles.side = o->tile;
    s->tiles.overlap = o->overlap;
    CVR_TRY(session_run_tiles(s, picture, &origin, true, &merged, err));
    CVR_TRY(ask_task(s, &merged, o, err));
    for (uint32_t i = 0; i < merged.n_fields && o->raw; i++) CVR_TRY(tell_answer(o, merged.fields[i], err));
    return CVR_OK;
}

static int32_t predict_whole(cvr_session *s, const cvr_image *picture, const char *path, const cvr_predict_options *o,
                             cvr_error *err) {
    cvr_batch b;
    const int32_t status = cvr_batches_show(s->data.pictures, picture, path, &b, err);
    if (status != CVR_OK) return cvr_fail_as(err, CVR_ERR_FORMAT); /* the picture's fault */
    return predict_batch(s, &b, o, err);
}

int32_t cvr_predict_file(cvr_session *s, const char *path, const cvr_predict_options *o, cvr_error *err) {
    const cvr_image_service *images;
    cvr_mapping map = {0};
    cvr_image image = {.struct_size = sizeof image};
    void *pixels = NULL;
    int32_t status;
    CVR_TRY_OUT(cvr_plugins_image_service(s->plugins, &images, err));
    CVR_TRY_OUT(cvr_fs_map(path, &map, err));
    (void)cvr_log_about(path);
    status = images->decode(images, map.bytes, map.n, (uint32_t)s->data.channels, picture_alloc, &pixels, &image, err);
    (void)cvr_log_about(NULL);
    CVR_TRY_OUT(status);
    o->begin(o->ctx, path, image.width, image.height);
    cvr_prediction_sink sink = *o->sink;
    cvr_predict_options told = *o;
    sink.picture = o->pictures ? &image : NULL;
    told.sink = &sink;
    const bool tiled = o->tile > 0 && (image.width > o->tile || image.height > o->tile);
    CVR_TRY_OUT((tiled ? predict_tiles : predict_whole)(s, &image, path, &told, err));
out:
    if (status != CVR_OK) cvr_fail_at(err, path, 0, status);
    cvr_free(pixels);
    cvr_fs_unmap(&map);
    return status;
}
