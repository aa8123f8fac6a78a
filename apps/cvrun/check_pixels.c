/*
 * Pixels by class. What a single mask cannot tell is seen here: that a class never occurs, that of masks of black and
 * white the white is ignored, that a mask has nothing that counts.
 */
#include "check_pixels.h"

#define IGNORED 255
#define MOST_LINES 10

static const char *const split_names[2] = {"training", "validation"};

int32_t pixel_counts_init(pixel_counts *c, int64_t n_classes, cvr_error *err) {
    *c = (pixel_counts){.n_classes = n_classes};
    for (int i = 0; i < 2; i++) {
        c->pixels[i] = cvr_calloc((size_t)n_classes + 1, sizeof *c->pixels[i]);
        c->pictures[i] = cvr_calloc((size_t)n_classes + 1, sizeof *c->pictures[i]);
        if (!c->pixels[i] || !c->pictures[i]) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    return CVR_OK;
}

void pixel_counts_free(pixel_counts *c) {
    for (int i = 0; i < 2; i++) {
        cvr_free(c->pixels[i]);
        cvr_free(c->pictures[i]);
    }
}

void pixel_counts_add(pixel_counts *c, uint32_t split, const cvr_sample *s, const char *name) {
    const cvr_field *f = cvr_sample_find(s, CVR_FIELD_MASK); /* (H,W) */
    int64_t count[256] = {0}, counted = 0;
    if (!f || f->dtype != CVR_U8 || f->rank != 2) return;
    c->any = true;
    const uint8_t *mask = f->data;
    for (int64_t i = 0; i < f->shape[0] * f->shape[1]; i++) count[mask[i]]++;
    for (int64_t k = 0; k < 256; k++) {
        const int64_t place = k < c->n_classes && k != IGNORED ? k : c->n_classes;
        if (place < c->n_classes) counted += count[k];
        c->pixels[split][place] += count[k];
        c->pictures[split][place] += count[k] > 0;
    }
    if (counted == 0 && c->ignored_pictures++ < MOST_LINES)
        print_line(stdout, "%s: no pixel of its mask counts; remove it, or see data.ignore_index", name);
}

static int64_t sum_of(const pixel_counts *c, uint32_t split) {
    int64_t sum = 0;
    for (int64_t k = 0; k < c->n_classes; k++) sum += c->pixels[split][k];
    return sum;
}

/* Of the pixels that count, and for those that do not of all. */
static double share_of(const pixel_counts *c, uint32_t split, int64_t k) {
    const int64_t all = sum_of(c, split) + (k == c->n_classes ? c->pixels[split][k] : 0);
    return all ? (double)c->pixels[split][k] / (double)all : 0;
}

static void print_row(const pixel_counts *c, const bool has[2], const char *name, int64_t k) {
    char cells[2][64] = {"", ""};
    for (uint32_t i = 0; i < 2; i++) {
        char n[32];
        if (has[i])
            (void)snprintf(cells[i], sizeof cells[i], "%9.3f %% %9s", 100 * share_of(c, i, k),
                           human_count(c->pictures[i][k], n));
    }
    print_line(stdout, "  %-22s %21s %21s", name, cells[0], cells[1]);
}

/* Classes without a pixel; `only` gets the one that has some, if it is alone. */
static int64_t count_absent(const pixel_counts *c, uint32_t split, int64_t *only) {
    int64_t absent = 0;
    *only = -1;
    for (int64_t k = 0; k < c->n_classes; k++) {
        if (c->pixels[split][k])
            *only = k;
        else
            absent++;
    }
    if (absent != c->n_classes - 1) *only = -1;
    return absent;
}

static void print_absent(const pixel_counts *c, uint32_t split, const char *const *class_names) {
    int64_t only;
    const int64_t absent = count_absent(c, split, &only);
    if (absent)
        print_text("%s: %lld of %lld classes have no pixel\n", split_names[split], (long long)absent,
                   (long long)c->n_classes);
    if (only < 0 || c->n_classes < 2 || !c->pixels[split][c->n_classes]) return;
    print_line(
        stdout,
        "%s: every pixel is %s or ignored; where masks are of black and white, data.mask_values = 0,255 makes 255 "
        "a class",
        split_names[split], class_names[only]);
}

void pixel_counts_print(const pixel_counts *c, const bool has[2], const char *const *class_names) {
    if (!c->any) return;
    if (c->ignored_pictures > MOST_LINES)
        printf("... and %lld more such masks\n", (long long)(c->ignored_pictures - MOST_LINES));
    print_text("%-24s %21s %21s\n", "pixels, and pictures, of", has[0] ? "training" : "", has[1] ? "validation" : "");
    for (int64_t k = 0; k < c->n_classes; k++) print_row(c, has, class_names[k], k);
    print_row(c, has, "(ignored)", c->n_classes);
    for (uint32_t i = 0; i < 2; i++)
        if (has[i]) print_absent(c, i, class_names);
}
