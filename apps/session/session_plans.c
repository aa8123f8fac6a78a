/* The programs that a session opens its network with: one for every size of batch and picture that is known by then. */
#include "session_parts.h"

/* Pictures that come one by one, the largest: what others need is found when they come, and takes no more memory. */
static void single_keys(const cvr_session *s, cvr_canvas largest, program_key *keys, size_t *n) {
    cvr_canvas c;
    if (!s->set.protocol.views) {
        keys[(*n)++] = (program_key){.purpose = PROGRAM_EVAL, .batch = 1, .canvas = largest};
        return;
    }
    for (size_t i = 0; views_canvas(&s->set, largest, i, &c); i++)
        keys[(*n)++] = (program_key){.purpose = PROGRAM_PREDICT, .batch = 1, .canvas = c};
}

/* Programs for every size of batch that the data gives: whole ones, and the last of an epoch, on every canvas. */
static int32_t split_keys(const cvr_session *s, uint32_t which, program_key **keys, size_t *n, cvr_error *err) {
    const cvr_batches *b = s->data.splits[which].batches;
    const cvr_canvas *canvases;
    const size_t n_canvases = b ? cvr_batches_canvases(b, &canvases) : 0;
    const bool one_by_one = which == CVR_SPLIT_VAL && s->set.protocol.single;
    const int64_t batch = one_by_one ? 1 : s->set.train->batch;
    const int64_t sizes[2] = {b && cvr_batches_samples(b) >= batch ? batch : 0, b ? cvr_batches_remainder(b) : 0};
    program_key *more = cvr_calloc(*n + 8 * n_canvases + MOST_SCALES, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (*n) memcpy(more, *keys, *n * sizeof *more);
    cvr_free(*keys);
    *keys = more;
    if (one_by_one && b) single_keys(s, canvases[0], more, n);
    for (int k = 0; k < 2 && !one_by_one; k++) {
        for (size_t i = 0; i < n_canvases && sizes[k]; i++) {
            if (s->data.probes && !(s->purpose & CVR_FOR_COMPRESSION))
                more[(*n)++] = (program_key){.purpose = PROGRAM_FEATURES, .batch = sizes[k], .canvas = canvases[i]};
            if (which == CVR_SPLIT_VAL)
                more[(*n)++] = (program_key){.purpose = PROGRAM_EVAL, .batch = sizes[k], .canvas = canvases[i]};
            else
                *n += step_keys(&s->set, sizes[k], canvases[i], more + *n);
        }
    }
    return CVR_OK;
}

int32_t session_plan_for_data(cvr_session *s, cvr_error *err) {
    program_key *keys = NULL;
    size_t n = 0;
    int32_t status;
    if (!(s->purpose & CVR_FOR_COMPRESSION)) CVR_TRY_OUT(split_keys(s, CVR_SPLIT_TRAIN, &keys, &n, err));
    CVR_TRY_OUT(split_keys(s, CVR_SPLIT_VAL, &keys, &n, err));
    CVR_TRY_OUT(session_open_network(s, keys, n, err));
out:
    cvr_free(keys);
    return status;
}

int32_t session_plan_evaluation(cvr_session *s, cvr_error *err) {
    program_key *keys = NULL;
    net_program *p;
    size_t n = 0;
    int32_t status;
    CVR_TRY_OUT(split_keys(s, CVR_SPLIT_VAL, &keys, &n, err));
    for (size_t i = 0; i < n; i++) CVR_TRY_OUT(network_program(&s->net, &keys[i], &p, err));
out:
    cvr_free(keys);
    return status;
}

int32_t session_open_evaluation(cvr_session *s, cvr_error *err) {
    program_key *keys = NULL;
    size_t n = 0;
    int32_t status;
    CVR_TRY_OUT(split_keys(s, CVR_SPLIT_VAL, &keys, &n, err));
    CVR_TRY_OUT(network_open(&s->net, keys, n, err));
out:
    cvr_free(keys);
    return status;
}

/* A black picture goes the way of any other, so that what it becomes is what the network gets. */
int32_t session_plan_for_picture(cvr_session *s, cvr_error *err) {
    const data_settings *d = s->set.data;
    cvr_image image = {.struct_size = sizeof image, .height = d->img_size, .channels = s->data.channels};
    cvr_batch b;
    if (d->img_size < 1)
        return cvr_fail(err, CVR_ERR_USAGE, "how large are the pictures? Set data.img_size (imgsz=224), or name data");
    image.width = d->n_img_size > 1 ? d->img_size_long : d->img_size;
    image.data = cvr_calloc((size_t)(image.height * image.width), (size_t)image.channels);
    if (!image.data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    int32_t status = cvr_batches_show(s->data.pictures, &image, "a picture of data.img_size", &b, err);
    if (status == CVR_OK) {
        program_key key = {.purpose = PROGRAM_PREDICT, .batch = 1, .canvas = b.canvas};
        if (s->set.protocol.views) (void)views_canvas(&s->set, b.canvas, 0, &key.canvas);
        status = session_open_network(s, &key, 1, err);
    }
    cvr_free(image.data);
    return status;
}

void session_tell_padding(const cvr_session *s) {
    const int64_t stride = data_stride(&s->set), side = s->set.data->img_size;
    const int64_t padded = (side + stride - 1) / stride * stride;
    if (stride <= 1 || side < 1 || s->set.data->n_img_size > 1 || padded == side || !s->set.model_desc) return;
    cvr_log(CVR_LOG_INFO,
            "data.img_size = %lld: %s takes sides that are multiples of %lld, so that pictures are padded to "
            "%lld x %lld",
            (long long)side, s->set.model_desc->name, (long long)stride, (long long)padded, (long long)padded);
}
