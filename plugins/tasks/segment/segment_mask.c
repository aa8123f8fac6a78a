/*
 * From the network's logits to a mask of the picture's own size: the way back through resizing and cropping is the
 * sample's geometry.
 */
#include "segment_mask.h"
#include "../../drawing/class_colours.h"
#include <math.h>

/* Class of each pixel of the network's picture. logits: (N, classes, H, W) f32, in memory (N, H, W, classes) */
static int32_t classify_pixels(const cvr_tensor *logits, int64_t row, uint8_t *classes, cvr_error *err) {
    const int64_t n = logits->shape[1], pixels = logits->shape[2] * logits->shape[3];
    const float *x = (const float *)logits->data + row * pixels * logits->pixel_stride;
    for (int64_t i = 0; i < pixels; i++, x += logits->pixel_stride) {
        for (int64_t k = 0; k < n; k++) {
            if (!isfinite(x[k]))
                return cvr_fail(err, CVR_ERR_NUMERIC, "the network's output is not finite; its weights are broken");
        }
        classes[i] = (uint8_t)cvr_argmax(x, n);
    }
    return CVR_OK;
}

/* The network's picture, and what it said of it. */
typedef struct seen_picture {
    const float *logits; /* (height, width), `stride` numbers apart, n_classes of them */
    const uint8_t *classes;
    int64_t height, width, pitch; /* of what is the picture's; the rest of a row is padding */
    int64_t stride, n_classes;
} seen_picture;

/* Where a place lies between two pixels of a side; pixels have their values in their middles, and the border's hold
 * beyond them. */
typedef struct between {
    int64_t first, second;
    float share; /* of the second */
} between;

static between between_pixels(double at, int64_t side) {
    const double x = at - 0.5 > 0 ? at - 0.5 : 0;
    const int64_t first = (int64_t)x < side - 1 ? (int64_t)x : side - 1, second = first + 1 < side ? first + 1 : first;
    return (between){first, second, second > first ? (float)(x - (double)first) : 0};
}

/* The class with the largest logit, bilinear between the four pixels around a place. Where all four agree, so does what
 * lies between them. */
static uint8_t class_at(const seen_picture *p, between v, between u) {
    const int64_t at[4] = {v.first * p->pitch + u.first, v.first * p->pitch + u.second, v.second * p->pitch + u.first,
                           v.second * p->pitch + u.second};
    const float *x[4];
    float best = 0;
    int64_t best_class = 0;
    for (int i = 0; i < 4; i++) x[i] = p->logits + at[i] * p->stride;
    if (p->classes[at[0]] == p->classes[at[1]] && p->classes[at[0]] == p->classes[at[2]] &&
        p->classes[at[0]] == p->classes[at[3]])
        return p->classes[at[0]];
    for (int64_t k = 0; k < p->n_classes; k++) {
        const float above = (1 - u.share) * x[0][k] + u.share * x[1][k],
                    below = (1 - u.share) * x[2][k] + u.share * x[3][k],
                    value = (1 - v.share) * above + v.share * below;
        if (k && value <= best) continue;
        best = value;
        best_class = k;
    }
    return (uint8_t)best_class;
}

static void map_back(segment_mask *m, const seen_picture *p, const double *g) {
    for (int64_t i = 0; i < m->height * m->width; i++) {
        const double x = (double)(i % m->width) + 0.5, y = (double)(i / m->width) + 0.5;
        const double w = g[6] * x + g[7] * y + g[8];
        const double u = (g[0] * x + g[1] * y + g[2]) / w, v = (g[3] * x + g[4] * y + g[5]) / w;
        const int32_t inside = u >= 0 && v >= 0 && u < (double)p->width && v < (double)p->height;
        m->classes[i] = SEGMENT_IGNORED;
        if (!inside) continue;
        m->classes[i] = class_at(p, between_pixels(v, p->height), between_pixels(u, p->width));
        m->count[m->classes[i]]++;
        m->seen++;
    }
}

/* How much of a side is the picture's, and no padding: up to where its far corner comes to lie. */
static int64_t used_side(double corner, int64_t side) {
    const double end = floor(corner + 0.5);
    return end >= 1 && end < (double)side ? (int64_t)end : side;
}

int32_t segment_mask_make(segment_mask *m, const cvr_host *host, const cvr_tensor *logits, int64_t row,
                          const cvr_origin *origin, cvr_error *err) {
    const int64_t height = logits->shape[2], width = logits->shape[3];
    *m = (segment_mask){.host = host, .height = origin->height, .width = origin->width};
    uint8_t *const seen = host->alloc(host, (uint64_t)(height * width), 16);
    m->classes = host->alloc(host, (uint64_t)(m->height * m->width), 16);
    int32_t status;
    CVR_TRY_OUT(seen && m->classes ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a mask"));
    CVR_TRY_OUT(classify_pixels(logits, row, seen, err));
    const double *const g = origin->geometry, right = (double)m->width, bottom = (double)m->height;
    const double w = g[6] * right + g[7] * bottom + g[8];
    const seen_picture p = {.logits = (const float *)logits->data + row * height * width * logits->pixel_stride,
                            .classes = seen,
                            .height = used_side((g[3] * right + g[4] * bottom + g[5]) / w, height),
                            .width = used_side((g[0] * right + g[1] * bottom + g[2]) / w, width),
                            .pitch = width,
                            .stride = logits->pixel_stride,
                            .n_classes = logits->shape[1]};
    map_back(m, &p, g);
out:
    if (seen) host->free(host, seen);
    if (status != CVR_OK) segment_mask_free(m);
    return status;
}

void segment_mask_free(segment_mask *m) {
    if (m->classes) m->host->free(m->host, m->classes);
    m->classes = NULL;
}

/* The bytes of a PNG while they are written. */
typedef struct bytes {
    const cvr_host *host;
    uint8_t *data;
    uint64_t n, room;
} bytes;

static int32_t add_bytes(void *ctx, const void *more, uint64_t n, cvr_error *err) {
    bytes *const b = ctx;
    if (b->n + n > b->room) {
        const uint64_t room = 2 * (b->n + n) + 4096;
        uint8_t *const data = b->host->alloc(b->host, room, 16);
        if (!data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a mask");
        if (b->n) memcpy(data, b->data, b->n);
        if (b->data) b->host->free(b->host, b->data);
        b->data = data;
        b->room = room;
    }
    memcpy(b->data + b->n, more, n);
    b->n += n;
    return CVR_OK;
}

int32_t segment_write_png(const cvr_host *host, const cvr_image *image, const char *suffix,
                          const cvr_prediction_sink *sink, const char **name, cvr_error *err) {
    const cvr_image_service *const images = host->get(host, CVR_SERVICE_IMAGE);
    bytes png = {.host = host};
    int32_t status;
    if (!images) return cvr_fail(err, CVR_ERR_NOTFOUND, "this host writes no pictures (%s)", CVR_SERVICE_IMAGE);
    CVR_TRY_OUT(images->encode(images, "png", image, add_bytes, &png, err));
    CVR_TRY_OUT(sink->file(sink, suffix, png.data, png.n, name, err));
out:
    if (png.data) host->free(host, png.data);
    return status;
}

int32_t segment_mask_write(const segment_mask *m, const char *suffix, const cvr_prediction_sink *sink,
                           const char **name, cvr_error *err) {
    uint8_t palette[768];
    const cvr_image image = {.struct_size = sizeof image,
                             .width = m->width,
                             .height = m->height,
                             .channels = 1,
                             .data = m->classes,
                             .palette = palette};
    class_palette(palette);
    return segment_write_png(m->host, &image, suffix, sink, name, err);
}
