/*
 * From the network's logits to a mask of the picture's own size: the way back through resizing and cropping is the
 * sample's geometry.
 */
#include "segment_mask.h"
#include "../../reports/class_colours.h"
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

/* A side's pixel at a place, or -1 outside. */
static int64_t pixel_at(double at, int64_t side) {
    return at >= 0 && at < (double)side ? (int64_t)at : -1;
}

static void map_back(segment_mask *m, const uint8_t *from, int64_t height, int64_t width, const double *g) {
    for (int64_t i = 0; i < m->height * m->width; i++) {
        const double x = (double)(i % m->width) + 0.5, y = (double)(i / m->width) + 0.5;
        const double w = g[6] * x + g[7] * y + g[8];
        const int64_t u = pixel_at((g[0] * x + g[1] * y + g[2]) / w, width);
        const int64_t v = pixel_at((g[3] * x + g[4] * y + g[5]) / w, height);
        m->classes[i] = u < 0 || v < 0 ? SEGMENT_IGNORED : from[v * width + u];
        if (m->classes[i] == SEGMENT_IGNORED) continue;
        m->count[m->classes[i]]++;
        m->seen++;
    }
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
    map_back(m, seen, height, width, origin->geometry);
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

int32_t segment_mask_write(const segment_mask *m, const cvr_prediction_sink *sink, const char **name, cvr_error *err) {
    uint8_t palette[768];
    const cvr_image image = {.struct_size = sizeof image,
                             .width = m->width,
                             .height = m->height,
                             .channels = 1,
                             .data = m->classes,
                             .palette = palette};
    class_palette(palette);
    return segment_write_png(m->host, &image, "_mask.png", sink, name, err);
}
