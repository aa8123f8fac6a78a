/* Samples outside the ring: one to see whether it is good, and pictures that belong to no data set. */
#include "ring.h"

int32_t cvr_batches_try(const cvr_batches_options *o, const cvr_batches *like, int64_t index, cvr_error *err) {
    cvr_batches *b;
    arena_sample *s;
    cvr_batches_options all = *o;
    int32_t status;
    all.whole = true;
    all.skip_bad = false;
    CVR_TRY(batches_new(&b, err));
    CVR_TRY_OUT(pipeline_open(&b->pipeline, &all, err));
    b->pipeline.warned = like ? like->pipeline.warned : NULL;
    CVR_TRY_OUT(workbench_take(&b->benches[0], &s, err));
    CVR_TRY_OUT(sample_make(&b->benches[0], s, (sample_place){.index = index},
                            like ? like->layout.end : b->pipeline.batch_first, err));
    if (like) {
        CVR_TRY_OUT(slot_allocate(&b->slots[0], &like->layout, 1, err));
        CVR_TRY_OUT(slot_put(&b->slots[0], &like->layout, &b->benches[0], s, 0, 0, err));
    }
out:
    b->pipeline.warned = NULL; /* it was the other's */
    cvr_batches_destroy(&b);
    return status;
}

int32_t cvr_batches_open_pictures(cvr_batches **out, const cvr_batches_options *o, int64_t channels, cvr_error *err) {
    cvr_batches_options one = *o;
    int32_t status;
    one.dataset = NULL;
    one.n_wants = 0;
    one.batch = 1;
    one.limit = 0;
    CVR_TRY(batches_new(out, err));
    cvr_batches *b = *out;
    CVR_TRY_OUT(pipeline_open(&b->pipeline, &one, err));
    b->layout.channels = channels;
out:
    if (status != CVR_OK) cvr_batches_destroy(out);
    return status;
}

int32_t cvr_batches_show(cvr_batches *b, const cvr_image *image, const char *path, cvr_batch *out, cvr_error *err) {
    workbench *w = &b->benches[0];
    layout *l = &b->layout;
    slot *s = &b->slots[0];
    arena_sample *from;
    w->used = 0;
    b->pipeline.path = path;
    CVR_TRY(workbench_take(w, &from, err));
    CVR_TRY(sample_show(w, from, image, b->pipeline.normalises, err));
    if (l->n == 0)
        CVR_TRY(layout_learn(l, w, from, err));
    else
        CVR_TRY(sample_transform(w, from, (sample_place){0}, b->pipeline.normalises, l->end, err));
    const cvr_field *f = cvr_sample_find(&from->sample, CVR_FIELD_IMAGE);
    l->canvases[0] = canvas_of(&b->pipeline.o, f->shape[0], f->shape[1]);
    l->n_canvases = 1;
    CVR_TRY(layout_measure(l, l->canvases[0], err));
    CVR_TRY(slot_allocate(s, l, 1, err));
    s->n = 1;
    CVR_TRY(slot_put(s, l, w, from, 0, 0, err));
    CVR_TRY(slot_finish(s, l, w, 0, 0, err));
    *out = (cvr_batch){.wait_seconds = 0};
    slot_view(s, l, out);
    return CVR_OK;
}
