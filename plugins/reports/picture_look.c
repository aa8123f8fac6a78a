/* Pictures and masks of a batch on a sheet. */
#include "picture_look.h"

#define MOST_LISTED 256 /* classes in a legend: there are no more colours */
#define LISTED_LETTERS 40

/* `n` numbers; `otherwise` where none are given. */
static double *copy_numbers(const cvr_host *host, const double *from, int64_t n, double otherwise) {
    double *const copy = host->alloc(host, (uint64_t)(n + 1) * sizeof *copy, 16);
    for (int64_t i = 0; copy && i < n; i++) copy[i] = from ? from[i] : otherwise;
    return copy;
}

int32_t picture_look_open(picture_look *p, const cvr_run_info *info, cvr_error *err) {
    *p = (picture_look){.host = info->host, .n_channels = info->n_channels > 0 ? info->n_channels : 0};
    p->mean = copy_numbers(p->host, info->mean, p->n_channels, 0);
    p->std = copy_numbers(p->host, info->std, p->n_channels, 1);
    return p->mean && p->std ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a report");
}

void picture_look_close(picture_look *p) {
    if (p->mean) p->host->free(p->host, p->mean);
    if (p->std) p->host->free(p->host, p->std);
}

/* ---- what a batch has ---- */

const cvr_tensor *batch_kind(const cvr_batch_view *b, const char *kind) {
    for (uint32_t i = 0; b && i < b->n_fields; i++) {
        if (strcmp(b->fields[i]->kind, kind) == 0) return &b->fields[i]->tensor;
    }
    return NULL;
}

const cvr_tensor *batch_image(const cvr_batch_view *b) {
    const cvr_tensor *const x = batch_kind(b, CVR_FIELD_IMAGE);
    const int32_t usable =
        x && x->rank == 4 && (x->dtype == CVR_U8 || x->dtype == CVR_F32) && cvr_numel(4, x->shape) > 0;
    return usable ? x : NULL;
}

const cvr_tensor *batch_mask(const cvr_batch_view *b) {
    const cvr_tensor *const mask = batch_kind(b, CVR_FIELD_MASK), *const x = batch_image(b);
    const int32_t usable = mask && x && mask->rank == 3 && mask->dtype == CVR_I64 && mask->shape[0] == x->shape[0] &&
                           mask->shape[1] == x->shape[2] && mask->shape[2] == x->shape[3];
    return usable ? mask : NULL;
}

const cvr_tensor *batch_pixel_scores(const cvr_batch_view *outputs, int64_t n_classes, const cvr_tensor *mask) {
    for (uint32_t i = 0; outputs && mask && i < outputs->n_fields; i++) {
        const cvr_tensor *const x = &outputs->fields[i]->tensor;
        if (x->dtype == CVR_F32 && x->rank == 4 && x->shape[0] == mask->shape[0] && x->shape[1] == n_classes &&
            x->shape[2] == mask->shape[1] && x->shape[3] == mask->shape[2])
            return x;
    }
    return NULL;
}

/* ---- the picture ---- */

static double value_at(const cvr_tensor *x, int64_t i) {
    return x->dtype == CVR_U8 ? (double)((const uint8_t *)x->data)[i] : (double)((const float *)x->data)[i];
}

static int64_t side_of(float v, int64_t most) {
    return v >= 1 && v < (float)most ? (int64_t)v : most;
}

/* Batches that pad their pictures tell how large each is. */
batch_picture batch_picture_at(const cvr_batch_view *b, int64_t i) {
    batch_picture p = {.image = batch_image(b), .i = i};
    const cvr_named_tensor *const sizes = cvr_batch_find(b, "image_size");
    if (!p.image) return p;
    p.height = p.image->shape[2];
    p.width = p.image->shape[3];
    if (!sizes || sizes->tensor.dtype != CVR_F32 || sizes->tensor.rank != 2 || sizes->tensor.shape[1] != 2 ||
        i >= sizes->tensor.shape[0])
        return p;
    p.height = side_of(((const float *)sizes->tensor.data)[2 * i], p.height);
    p.width = side_of(((const float *)sizes->tensor.data)[2 * i + 1], p.width);
    return p;
}

/* Mean of a channel over the part of the picture that pixel (x, y) of the sheet shows. */
static double area_mean(const batch_picture *from, int64_t channel, view_size at, int64_t x, int64_t y) {
    const cvr_tensor *const image = from->image;
    const int64_t channels = image->shape[1], height = from->height, width = from->width;
    const int64_t rows = image->shape[2], pitch = image->shape[3];
    const double left = (double)x * (double)width / (double)at.width;
    const double right = (double)(x + 1) * (double)width / (double)at.width;
    const double top = (double)y * (double)height / (double)at.height;
    const double bottom = (double)(y + 1) * (double)height / (double)at.height;
    double sum = 0, weight = 0;
    for (int64_t v = (int64_t)top; v < height && (double)v < bottom; v++) {
        const double tall = ((double)(v + 1) < bottom ? (double)(v + 1) : bottom) - ((double)v > top ? (double)v : top);
        for (int64_t u = (int64_t)left; u < width && (double)u < right; u++) {
            const double wide =
                ((double)(u + 1) < right ? (double)(u + 1) : right) - ((double)u > left ? (double)u : left);
            sum += tall * wide * value_at(image, ((from->i * rows + v) * pitch + u) * channels + channel);
            weight += tall * wide;
        }
    }
    return weight > 0 ? sum / weight : 0;
}

/* A level of 0..255: u8 has it, f32 is normalised. */
static uint8_t to_byte(const picture_look *p, const cvr_tensor *image, int64_t channel, double v) {
    if (image->dtype == CVR_F32) v = 255 * (channel < p->n_channels ? v * p->std[channel] + p->mean[channel] : v);
    if (!(v + 0.5 > 0)) return 0; /* also what is not a number */
    return v + 0.5 < 255 ? (uint8_t)(v + 0.5) : 255;
}

colour picture_pixel(const picture_look *p, const batch_picture *from, view_size size, int64_t x, int64_t y) {
    const cvr_tensor *const image = from->image;
    const uint8_t red = to_byte(p, image, 0, area_mean(from, 0, size, x, y));
    colour ink = {red, red, red};
    if (image->shape[1] != 3) return ink;
    ink.g = to_byte(p, image, 1, area_mean(from, 1, size, x, y));
    ink.b = to_byte(p, image, 2, area_mean(from, 2, size, x, y));
    return ink;
}

void picture_draw(canvas *c, const picture_look *p, const batch_picture *from, box at) {
    const view_size size = {at.height, at.width};
    for (int64_t y = 0; y < at.height; y++) {
        for (int64_t x = 0; x < at.width; x++) {
            canvas_blend(c, at.x + x, at.y + y, picture_pixel(p, from, size, x, y), 1);
        }
    }
    canvas_frame(c, (box){at.x - 1, at.y - 1, at.width + 2, at.height + 2}, CANVAS_GRID);
}

int64_t picture_legend_draw(canvas *c, const picture_legend *l, box area) {
    legend_entry entries[MOST_LISTED];
    char words[MOST_LISTED][4 * LISTED_LETTERS], name[REPORT_NAME];
    int64_t n = 0;
    for (int64_t k = 0; k < l->classes->n && k < MOST_LISTED; k++) {
        if (!l->seen[k]) continue;
        report_class_label(l->classes, k, name);
        canvas_cut(words[n], sizeof words[n], name, LISTED_LETTERS);
        entries[n] = (legend_entry){l->colour_of(k), words[n]};
        n++;
    }
    /* Where classes take all numbers, the last of them has this colour. */
    if (l->seen[PICTURE_IGNORED] && l->classes->n <= PICTURE_IGNORED)
        entries[n++] = (legend_entry){l->colour_of(PICTURE_IGNORED), "(ignored)"};
    return n ? class_legend(c, area, 1, entries, n) : 0;
}
