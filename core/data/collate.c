/* Samples into the memory of a batch: stacked, padded, in the element type that is wanted. */
#include "layout.h"
#include <math.h>

/* ---- one row ---- */

/* Numbers of a field may be kept as they are, or become f32 or i64. */
static bool converts(uint32_t from, uint32_t to) {
    return from == to || ((from == CVR_U8 || from == CVR_I64 || from == CVR_F32) && (to == CVR_I64 || to == CVR_F32));
}

static void put(uint32_t dtype, void *to, int64_t i, double x) {
    if (dtype == CVR_U8) ((uint8_t *)to)[i] = (uint8_t)x;
    if (dtype == CVR_I64) ((int64_t *)to)[i] = fabs(x) < 0x1p63 ? (int64_t)x : INT64_MIN; /* what C leaves open */
    if (dtype == CVR_F32) ((float *)to)[i] = (float)x;
}

static void convert(uint32_t to_type, void *to, uint32_t from_type, const void *from, int64_t n) {
    if (to_type == from_type) {
        if (n) memcpy(to, from, (size_t)n * cvr_dtype_size(to_type));
    } else if (from_type == CVR_U8 && to_type == CVR_I64) { /* masks of classes */
        for (int64_t i = 0; i < n; i++) ((int64_t *)to)[i] = ((const uint8_t *)from)[i];
    } else if (from_type == CVR_U8) {
        for (int64_t i = 0; i < n; i++) put(to_type, to, i, ((const uint8_t *)from)[i]);
    } else if (from_type == CVR_I64) {
        for (int64_t i = 0; i < n; i++) put(to_type, to, i, (double)((const int64_t *)from)[i]);
    } else {
        for (int64_t i = 0; i < n; i++) put(to_type, to, i, ((const float *)from)[i]);
    }
}

/* ---- one field ---- */

/* A field as rows of pixels: (outer, H, W, inner). What has no place in the picture is one pixel. */
typedef struct extent {
    int64_t outer, height, width, inner;
} extent;

static extent extent_of(const column *c, const int64_t shape[4]) {
    extent e = {1, 1, 1, 1};
    const uint32_t at = c->kind->height_axis < c->rank ? c->kind->height_axis : 0;
    const uint32_t after = c->kind->height_axis < c->rank ? at + 2 : 1;
    for (uint32_t i = 0; i < at; i++) e.outer *= shape[i];
    if (after == at + 2) {
        e.height = shape[at];
        e.width = shape[at + 1];
    } else if (c->rank) {
        e.outer = shape[0];
    }
    for (uint32_t i = after; i < c->rank; i++) e.inner *= shape[i];
    return e;
}

/* (rows, H, W) of the sample to (H, W, most rows): axis 1 of a rank-4 value lies innermost. */
static void copy_inner(const column *c, const cvr_field *f, char *to) {
    const uint64_t size = cvr_dtype_size(c->dtype), from_size = cvr_dtype_size(f->dtype);
    for (int64_t k = 0, i = 0; k < f->shape[0]; k++) {
        for (int64_t y = 0; y < f->shape[1]; y++) {
            char *row = to + (uint64_t)(y * c->shape[2] * c->shape[0] + k) * size;
            for (int64_t x = 0; x < f->shape[2]; x++, i++, row += (uint64_t)c->shape[0] * size)
                convert(c->dtype, row, f->dtype, (const char *)f->data + (uint64_t)i * from_size, 1);
        }
    }
}

static void copy_rows(const column *c, const cvr_field *f, char *to) {
    const extent in = extent_of(c, f->shape), out = extent_of(c, c->shape);
    const uint64_t size = cvr_dtype_size(c->dtype), from_size = cvr_dtype_size(f->dtype);
    const char *from = f->data;
    if (in.height == out.height && in.width == out.width) { /* one stretch */
        convert(c->dtype, to, f->dtype, from, in.outer * in.height * in.width * in.inner);
        return;
    }
    for (int64_t a = 0; a < in.outer; a++) {
        for (int64_t y = 0; y < in.height; y++, from += (uint64_t)(in.width * in.inner) * from_size)
            convert(c->dtype, to + (uint64_t)((a * out.height + y) * out.width * out.inner) * size, f->dtype, from,
                    in.width * in.inner);
    }
}

/* All of one sample's part: its first row by numbers, the others as copies. */
static void fill(const layout *l, const column *c, char *to) {
    const extent e = extent_of(c, c->shape);
    const bool picture = c == l->columns && c->dtype == CVR_U8, flat = e.height * e.width == 1;
    const int64_t n = flat ? (int64_t)(c->bytes / cvr_dtype_size(c->dtype)) : e.width * e.inner;
    const uint64_t row = (uint64_t)n * cvr_dtype_size(c->dtype);
    for (int64_t i = 0; i < n; i++) put(c->dtype, to, i, picture ? l->pad[i % l->channels] : c->kind->pad);
    for (uint64_t at = row; at < c->bytes; at += row) memcpy(to + at, to, row);
}

static int32_t soften(const column *c, const cvr_field *f, float *to, cvr_error *err) {
    const int64_t label = f->dtype == CVR_I64 && f->rank == 0 ? *(const int64_t *)f->data : -1;
    if (label < 0 || label >= c->shape[0])
        return cvr_fail(err, CVR_ERR_INVALID, "%s %lld; there are %lld classes", f->name, (long long)label,
                        (long long)c->shape[0]);
    memset(to, 0, c->bytes);
    to[label] = 1;
    return CVR_OK;
}

/* Whether the field is what the column was laid out for. */
static int32_t check_field(const column *c, const cvr_field *f, cvr_canvas size, cvr_error *err) {
    const uint32_t high = c->kind->height_axis;
    if (f->rank != c->rank || !converts(f->dtype, c->dtype) || (c->kind->dtype && f->dtype != c->kind->dtype))
        return cvr_fail(err, CVR_ERR_PLUGIN, "field `%s` is %s of rank %u, unlike the first sample's", c->name,
                        cvr_dtype_name(f->dtype), f->rank);
    if (high < c->rank && (f->shape[high] != size.height || f->shape[high + 1] != size.width))
        return cvr_fail(err, CVR_ERR_INVALID, "the %s has not the size of its picture, %lldx%lld", c->name,
                        (long long)size.width, (long long)size.height);
    for (uint32_t i = 0; i < c->rank; i++) {
        if (i == high || i == high + 1 || (c->ragged && i == 0) || f->shape[i] == c->shape[i]) continue;
        return cvr_fail(err, CVR_ERR_INVALID, "axis %u of `%s` has %lld elements, the first sample's had %lld", i,
                        c->name, (long long)f->shape[i], (long long)c->shape[i]);
    }
    if (c->ragged && (f->shape[0] < 0 || f->shape[0] > c->shape[0]))
        return cvr_fail(err, CVR_ERR_INVALID,
                        "the sample has %lld rows of `%s`, and batches have room for %lld; raise data.max_boxes",
                        (long long)f->shape[0], c->kind->axis, (long long)c->shape[0]);
    return CVR_OK;
}

static int32_t check_picture_size(const layout *l, const pipeline *p, const cvr_field *f, cvr_error *err) {
    const cvr_canvas *c = &l->canvases[0], *own = layout_canvas(l, f->shape[0], f->shape[1]);
    const bool exact = own && f->shape[0] == own->height && f->shape[1] == own->width;
    if (f->shape[2] != l->channels || (!p->o.pads && !exact))
        return cvr_fail(err, CVR_ERR_INVALID,
                        "the picture is %lldx%lld with %lld channels, the first was %lldx%lld with %lld; %s",
                        (long long)f->shape[1], (long long)f->shape[0], (long long)f->shape[2], (long long)c->width,
                        (long long)c->height, (long long)l->channels,
                        f->shape[2] != l->channels ? "set model.in_channels=3" : p->o.size_hint);
    if (!own)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "the picture became %lldx%lld, larger than any that was seen before (%lldx%lld); bound its "
                        "size by a resize with max_size, or a crop",
                        (long long)f->shape[1], (long long)f->shape[0], (long long)c->width, (long long)c->height);
    return CVR_OK;
}

static int32_t collate_field(const layout *l, const column *c, const cvr_field *f, int64_t i, void *const *memory,
                             cvr_canvas size, cvr_error *err) {
    char *to = (char *)memory[c - l->columns] + (uint64_t)i * c->bytes;
    if (!f) return cvr_fail(err, CVR_ERR_INVALID, "it has no `%s`, which the first sample has", c->name);
    if (c->softened && f->rank == 0) return soften(c, f, (float *)(void *)to, err);
    CVR_TRY(check_field(c, f, size, err));
    if (memcmp(f->shape, c->shape, sizeof f->shape) != 0) fill(l, c, to);
    if (c->inner)
        copy_inner(c, f, to);
    else
        copy_rows(c, f, to);
    if (c->count < 0) return CVR_OK;
    int64_t *rows = (int64_t *)memory[c->count] + i;
    if (*rows >= 0 && *rows != f->shape[0])
        return cvr_fail(err, CVR_ERR_PLUGIN, "`%s` has %lld rows of `%s`, another field %lld", c->name,
                        (long long)f->shape[0], c->kind->axis, (long long)*rows);
    *rows = f->shape[0];
    return CVR_OK;
}

int32_t collate(const layout *l, const pipeline *p, const arena_sample *s, int64_t i, void *const *memory,
                cvr_canvas *size, cvr_error *err) {
    const cvr_field *image = cvr_sample_find(&s->sample, CVR_FIELD_IMAGE);
    CVR_TRY(check_picture_size(l, p, image, err));
    *size = (cvr_canvas){image->shape[0], image->shape[1]};
    for (size_t k = l->n_fields; k < l->n; k++) {
        if (l->columns[k].is == COLUMN_COUNT) ((int64_t *)memory[k])[i] = -1;
        if (l->columns[k].is != COLUMN_SIZE) continue;
        ((float *)memory[k])[2 * i] = (float)size->height;
        ((float *)memory[k])[2 * i + 1] = (float)size->width;
    }
    for (size_t k = 0; k < l->n_fields; k++) {
        const cvr_field *f = k ? sample_field(s, l->columns[k].name) : image;
        CVR_TRY(collate_field(l, &l->columns[k], f, i, memory, *size, err));
    }
    return CVR_OK;
}

/* Every row moves towards the front, or stays: in order, none is overwritten before it has moved. */
void collate_canvas(const layout *l, int64_t n, cvr_canvas canvas, void *const *memory) {
    for (size_t k = 0; k < l->n_fields; k++) {
        const column *c = &l->columns[k];
        if (c->kind->height_axis >= c->rank) continue;
        extent e = extent_of(c, c->shape);
        if (c->inner) e = (extent){1, e.height, e.width, c->shape[0]};
        if (e.height == canvas.height && e.width == canvas.width) continue;
        const uint64_t pixel = (uint64_t)e.inner * cvr_dtype_size(c->dtype), row = (uint64_t)canvas.width * pixel;
        char *to = memory[k];
        for (int64_t a = 0; a < n * e.outer; a++) {
            const char *from = (const char *)memory[k] + (uint64_t)(a * e.height * e.width) * pixel;
            for (int64_t y = 0; y < canvas.height; y++, to += row, from += (uint64_t)e.width * pixel)
                memmove(to, from, row);
        }
    }
}
