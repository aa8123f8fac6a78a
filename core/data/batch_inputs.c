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
    while (next < l->n && l->columns[next].is < COLUMN_PARAMS) next++;
    for (size_t i = b->pipeline.normalises; i < o->n_transforms; i++) {
        const cvr_transform *t = &o->transforms[i];
        cvr_value params = CVR_NONE;
        if (next < l->n && l->columns[next].place == i) CVR_TRY(add_input(&l->columns[next++], g, what, &params, err));
        const int32_t status = CVR_CALL(t->desc, emit, NULL, err, builder, t->attrs, params, *image, image);
        if (status != CVR_OK) return transform_failed(t, status, err);
    }
    return CVR_OK;
}

/* Padded fields know the tensor that says how many of their rows count. */
static int32_t name_counts(const layout *l, cvr_graph *g, cvr_error *err) {
    const cvr_builder *builder = cvr_graph_builder(g);
    for (size_t i = 1; i < l->n_fields; i++) {
        const column *c = &l->columns[i];
        if (c->count < 0) continue;
        const cvr_value counts = cvr_graph_input_value(g, l->columns[c->count].name);
        CVR_TRY(builder->set_counts(builder, cvr_graph_input_value(g, c->name), 1, counts, err));
    }
    return CVR_OK;
}

int32_t cvr_batches_inputs(const cvr_batches *b, cvr_graph *g, const cvr_batch_inputs *what, cvr_value *image,
                           cvr_error *err) {
    const layout *l = &b->layout;
    cvr_value v;
    CVR_TRY(add_input(&l->columns[0], g, what, image, err));
    for (size_t i = 1; i < l->n && l->columns[i].is <= COLUMN_SIZE; i++)
        if (what->with_targets || l->columns[i].is == COLUMN_SIZE) CVR_TRY(add_input(&l->columns[i], g, what, &v, err));
    if (what->with_targets) CVR_TRY(name_counts(l, g, err));
    return l->on_device ? emit_transforms(b, g, what, image, err) : CVR_OK;
}
