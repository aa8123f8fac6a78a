/* Evaluation of pictures in tiles (tiles.c): the samples are as the data has them, and so are the places of what is
 * found. */
#include "session_parts.h"

int32_t evaluate_tiles_open(cvr_session *s, int64_t tile, double overlap, cvr_error *err) {
    CVR_TRY(cvr_session_check_tiles(s, tile, overlap, err));
    CVR_TRY(data_open_for_tiles(&s->data, &s->set, s->plugins, err));
    s->tiles.side = tile;
    s->tiles.overlap = overlap;
    return cvr_batches_begin(s->data.untouched, 0, 0, err);
}

/* The picture without what its canvas has more; free its data with cvr_free. */
static int32_t picture_of(const cvr_batch *b, cvr_image *out, cvr_error *err) {
    const cvr_tensor *t = &b->view.fields[0]->tensor;
    const cvr_origin *o = b->view.origins[0];
    if (t->dtype != CVR_U8 || t->rank != 4 || t->shape[2] < o->height || t->shape[3] < o->width)
        return cvr_fail(
            err, CVR_ERR_UNSUPPORTED,
            "predict.tile: this recipe's pictures are normalised on the host, so that there are no tiles of "
            "them to validate; predict takes tiles");
    const size_t pixel = (size_t)t->shape[1], line = (size_t)o->width * pixel;
    *out = (cvr_image){.struct_size = sizeof *out, .width = o->width, .height = o->height, .channels = t->shape[1]};
    out->data = cvr_alloc_aligned(line * (size_t)o->height, 64);
    if (!out->data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a picture");
    for (int64_t y = 0; y < o->height; y++)
        memcpy(out->data + (size_t)y * line, (const uint8_t *)t->data + (size_t)(y * t->shape[3]) * pixel, line);
    return CVR_OK;
}

int32_t evaluate_tiles(cvr_session *s, const cvr_batch *b, cvr_batch_view *outputs, cvr_error *err) {
    cvr_image picture = {.struct_size = sizeof picture};
    CVR_TRY(picture_of(b, &picture, err));
    const int32_t status = session_run_tiles(s, &picture, b->view.origins[0], false, outputs, err);
    cvr_free(picture.data);
    return status;
}
