/* What a program reads of batches: its inputs, and what the device does of the transforms. */
#include "ring.h"

static int32_t add_input(const column *c, cvr_graph *g, const cvr_batch_inputs *what, cvr_value *out, cvr_error *err) {
    cvr_type type;
    column_type(c, what->n, what->canvas, &type);
    return cvr_graph_input(g, c->name, &type, out, err);
}

/* What the device does of the transforms, each with the numbers that were drawn for it. */
static int32_t emit_transforms(const cvr_batches *b, cvr_graph *g, const cvr_batch_inputs *what, cvr_value *image,
                               cvr_error *err) {
    const layout *l = &b->layout;
    const cvr_builder *builder = cvr_graph_builder(g);
    const cvr_batches_options *o = &b->pipeline.o;
    size_t next = l->n_fields;
    while (next < l->n && l->columns[next].is == COLUMN_COUNT) next++;
    for (size_t i = b->pipeline.normalises; i < o->n_transforms; i++) {
        const cvr_transform *t = &o->transforms[i];
        cvr_value params = CVR_NONE;
        if (next < l->n && l->columns[next].place == i) CVR_TRY(add_input(&l->columns[next++], g, what, &params, err));
        const int32_t status = t->desc->emit(builder, t->attrs, params, *image, image, err);
        if (status != CVR_OK) return transform_failed(t, status, err);
    }
    return CVR_OK;
}

int32_t cvr_batches_inputs(const cvr_batches *b, cvr_graph *g, const cvr_batch_inputs *what, cvr_value *image,
                           cvr_error *err) {
    const layout *l = &b->layout;
    cvr_value ignored;
    CVR_TRY(add_input(&l->columns[0], g, what, image, err));
    for (size_t i = 1; what->with_targets && i < l->n && l->columns[i].is <= COLUMN_COUNT; i++)
        CVR_TRY(add_input(&l->columns[i], g, what, &ignored, err));
    return l->on_device ? emit_transforms(b, g, what, image, err) : CVR_OK;
}
