/*
 * Classes of numbers and colours, and what a mask's values tell where they are no classes.
 */
#include "mask_values.h"

#define SHOWN_VALUES 8
#define VOC_CLASSES 21
#define VOC_BORDER 220 /* grey of the colour 224 224 192, that palettes of VOC have at 255 */

void mask_values_count(mask_values *v, int64_t n_classes) {
    v->n_classes = n_classes;
    for (int64_t i = 0; i < 256; i++) v->class_of[i] = i < n_classes ? (int16_t)i : MASK_UNKNOWN;
}

/* ---- colours ---- */

static uint32_t rgb_at(const cvr_image *image, int64_t i) {
    const uint8_t *const p = image->data + 3 * i;
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static int32_t fail_colour(const mask_values *v, const cvr_image *image, int64_t i, cvr_error *err) {
    const uint32_t rgb = rgb_at(image, i);
    return cvr_fail(
        err, CVR_ERR_FORMAT,
        "the colour %u %u %u, at x = %lld, y = %lld, is not in %.300s; add it, or make the mask anew without "
        "smoothing",
        rgb >> 16, rgb >> 8 & 255, rgb & 255, (long long)(i % image->width), (long long)(i / image->width), v->table);
}

/* In place: class i is written before colour i + 1 is read, and behind no colour that is still to come. */
static int32_t apply_colours(const mask_values *v, cvr_image *image, cvr_error *err) {
    const colour_row *row = NULL; /* neighbours mostly have one colour */
    for (int64_t i = 0; i < image->height * image->width; i++) {
        const uint32_t rgb = rgb_at(image, i);
        if (!row || row->rgb != rgb) row = colour_table_find(v->colours, rgb);
        if (!row) return fail_colour(v, image, i, err);
        image->data[i] = (uint8_t)row->klass;
    }
    return CVR_OK;
}

/* ---- numbers ---- */

/* A mask in RGB is one of numbers where the three are the same, as some tools save them. */
static int32_t drop_colours(const mask_values *v, cvr_image *image, cvr_error *err) {
    for (int64_t i = 0; i < image->height * image->width; i++) {
        const uint32_t rgb = rgb_at(image, i);
        if ((rgb >> 16) != (rgb & 255) || (rgb >> 8 & 255) != (rgb & 255))
            return cvr_fail(err, CVR_ERR_FORMAT, "a mask in colours (%u %u %u at x = %lld, y = %lld); %s", rgb >> 16,
                            rgb >> 8 & 255, rgb & 255, (long long)(i % image->width), (long long)(i / image->width),
                            v->colour_remedy);
        image->data[i] = (uint8_t)rgb;
    }
    return CVR_OK;
}

/* Grey (ITU-R 601-2 luma) of class c's colour in VOC's palette, whose bits are spread over the channels from the
 * highest on. */
static uint32_t voc_grey(uint32_t c) {
    uint32_t rgb[3] = {0, 0, 0};
    for (uint32_t bit = 7; c; bit--, c >>= 3)
        for (uint32_t i = 0; i < 3; i++) rgb[i] |= (c >> i & 1) << bit;
    return (19595 * rgb[0] + 38470 * rgb[1] + 7471 * rgb[2] + 0x8000) >> 16;
}

static int32_t is_voc_grey(uint32_t value) {
    for (uint32_t c = 0; c < VOC_CLASSES; c++)
        if (voc_grey(c) == value) return 1;
    return value == VOC_BORDER || value == 255;
}

/* The numbers that a mask has, and some of those that stand for nothing as text. */
typedef struct found_values {
    uint64_t count[256];
    uint32_t n_unknown;
    char unknown[96];
} found_values;

static void find_values(const mask_values *v, const cvr_image *image, found_values *f) {
    size_t at = 0;
    memset(f, 0, sizeof *f);
    for (int64_t i = 0; i < image->height * image->width; i++) f->count[image->data[i]]++;
    for (uint32_t k = 0; k < 256; k++) {
        if (!f->count[k] || v->class_of[k] != MASK_UNKNOWN || f->n_unknown++ >= SHOWN_VALUES) continue;
        at += (size_t)snprintf(f->unknown + at, sizeof f->unknown - at, "%s%u", at ? ", " : "", k);
    }
    if (f->n_unknown > SHOWN_VALUES)
        (void)snprintf(f->unknown + at, sizeof f->unknown - at, " and %u more", f->n_unknown - SHOWN_VALUES);
}

static int32_t all_voc_greys(const found_values *f) {
    for (uint32_t k = 0; k < 256; k++)
        if (f->count[k] && !is_voc_grey(k)) return 0;
    return 1;
}

static int32_t only_black_and_white(const found_values *f) {
    for (uint32_t k = 1; k < 255; k++)
        if (f->count[k]) return 0;
    return f->count[255] != 0;
}

static int32_t fail_values(const mask_values *v, const found_values *f, cvr_error *err) {
    const char *const s = f->n_unknown == 1 ? "" : "s";
    if (only_black_and_white(f))
        return cvr_fail(err, CVR_ERR_FORMAT, "a mask of 0 and 255; set data.mask_values = 0,255");
    if (all_voc_greys(f))
        return cvr_fail(err, CVR_ERR_FORMAT,
                        "the value%s %s: a VOC palette read as grey; save the palette's indices, as the mask had them "
                        "before it was converted",
                        s, f->unknown);
    return cvr_fail(err, CVR_ERR_FORMAT, "the value%s %s in a mask of %lld classes; %s", s, f->unknown,
                    (long long)v->n_classes, v->remedy);
}

static int32_t apply_numbers(const mask_values *v, cvr_image *image, cvr_error *err) {
    found_values f;
    int32_t unknown = 0;
    for (int64_t i = 0; i < image->height * image->width; i++) unknown |= v->class_of[image->data[i]] < 0;
    if (unknown) {
        find_values(v, image, &f);
        return fail_values(v, &f, err);
    }
    for (int64_t i = 0; i < image->height * image->width; i++) image->data[i] = (uint8_t)v->class_of[image->data[i]];
    return CVR_OK;
}

int32_t mask_values_apply(const mask_values *v, cvr_image *image, cvr_error *err) {
    if (v->colours) return apply_colours(v, image, err);
    if (image->channels == 3) CVR_TRY(drop_colours(v, image, err));
    return apply_numbers(v, image, err);
}
