/* Prediction of single pictures: a program for each size that comes, the last few of which are kept. */
#include "session_parts.h"

static void *picture_alloc(void *ctx, uint64_t bytes) {
    void **to = ctx;
    return *to = cvr_alloc_aligned(bytes, 64);
}

/* The results in logical order, for whoever wants them raw. */
static int32_t tell_raw(const net_program *p, const cvr_predict_options *o, cvr_error *err) {
    for (size_t i = 0; i < p->n_results && o->raw; i++) {
        const program_output *r = &p->results[i];
        void *logical = cvr_alloc_aligned(
            (uint64_t)cvr_numel(r->type->rank, r->type->shape) * cvr_dtype_size(r->type->dtype) + 8, 64);
        if (!logical) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        cvr_to_logical(r->type, r->host, logical);
        o->raw(o->ctx, r->tensor.name, r->type, logical);
        cvr_free(logical);
    }
    return CVR_OK;
}

static int32_t find_program(cvr_session *s, const cvr_batch *b, net_program **p, cvr_error *err) {
    const program_key key = {.purpose = PROGRAM_PREDICT, .batch = b->view.n, .canvas = b->canvas};
    if (!s->net.store) CVR_TRY(session_open_network(s, &key, 1, err));
    return network_program(&s->net, &key, p, err);
}

static int32_t predict_batch(cvr_session *s, const cvr_batch *b, const cvr_predict_options *o, cvr_error *err) {
    const net_scalars scalars = {.loss_scale = 1, .seed = s->set.run->seed};
    net_program *p;
    cvr_batch_view outputs;
    const int32_t status = find_program(s, b, &p, err);
    if (status == CVR_ERR_FORMAT || status == CVR_ERR_IO)
        return cvr_fail_as(err, CVR_ERR_INVALID); /* not the picture's fault */
    CVR_TRY(status);
    CVR_TRY(net_program_run(p, &b->view, &scalars, err));
    CVR_TRY(net_program_results(p, &b->view, &outputs, err));
    CVR_TRY(s->set.task->predict(&s->data.task, &outputs, 0, o->sink, err));
    return tell_raw(p, o, err);
}

int32_t cvr_predict_file(cvr_session *s, const char *path, const cvr_predict_options *o, cvr_error *err) {
    const cvr_image_service *images;
    cvr_mapping map = {0};
    cvr_image image = {.struct_size = sizeof image};
    cvr_batch b;
    void *pixels = NULL;
    int32_t status;
    CVR_TRY_OUT(cvr_plugins_image_service(s->plugins, &images, err));
    CVR_TRY_OUT(cvr_fs_map(path, &map, err));
    (void)cvr_log_about(path);
    status = images->decode(images, map.bytes, map.n, (uint32_t)s->data.channels, picture_alloc, &pixels, &image, err);
    (void)cvr_log_about(NULL);
    CVR_TRY_OUT(status);
    status = cvr_batches_show(s->data.pictures, &image, path, &b, err);
    CVR_TRY_OUT(status == CVR_OK ? status : cvr_fail_as(err, CVR_ERR_FORMAT)); /* the picture's fault */
    o->begin(o->ctx, path, image.width, image.height);
    CVR_TRY_OUT(predict_batch(s, &b, o, err));
out:
    if (status != CVR_OK) cvr_fail_at(err, path, 0, status);
    cvr_free(pixels);
    cvr_fs_unmap(&map);
    return status;
}
