/* Rows that an R-CNN learns from, and small sentences that its parts are written in; see rcnn.h. */
#include "rcnn.h"
#include <cvr/plugin/rng.h>

cvr_value rcnn_match(const rcnn *r, cvr_value boxes, cvr_value count, const rcnn_matching *m) {
    const cvr_match_attrs attrs = {.high = m->high, .low = m->low, .low_quality = m->low_quality};
    const cvr_value in[4] = {boxes, r->e.boxes, r->e.counts, count};
    return net_emit1(r->n, NET_OP("match_boxes", &attrs), in, count == CVR_NONE ? 3 : 4);
}

static cvr_value sample(const rcnn *r, const cvr_sample_rows_attrs *attrs, cvr_value match, cvr_value *count) {
    const cvr_value in[3] = {match, r->seed, r->step};
    cvr_value out[2];
    net_emit(r->n, NET_OP("sample_rows", attrs), in, 3, out, 2);
    *count = out[1];
    return out[0];
}

cvr_value rcnn_sample(const rcnn *r, const char *name, cvr_value match, int64_t rows, double positive_fraction,
                      cvr_value *count) {
    const cvr_sample_rows_attrs attrs = {rows, positive_fraction, r->a->draw, (int64_t)cvr_hash(name)};
    return sample(r, &attrs, match, count);
}

cvr_value rcnn_first(const rcnn *r, cvr_value match, int64_t rows, cvr_value *count) {
    const cvr_sample_rows_attrs attrs = {rows, 1, CVR_DRAW_FIRST, 0};
    return sample(r, &attrs, match, count);
}

void rcnn_expect(const rcnn *r, cvr_value x, int axis, int64_t width, const char *layer) {
    if (r->n->status != CVR_OK || net_shape(r->n, x)[axis] == width) return;
    r->n->status = cvr_fail(r->n->err, CVR_ERR_INVALID,
                            "layer %s: it has %lld outputs; the anchors and classes need %lld, so [layers] cannot "
                            "change it",
                            layer, (long long)net_shape(r->n, x)[axis], (long long)width);
}
