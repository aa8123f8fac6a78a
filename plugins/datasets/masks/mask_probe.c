/*
 * A look at some masks when the data is opened. Masks of black and white are common, and 255 in a mask is mostly a
 * pixel that does not count: without a word, a network would learn that everything is black.
 */
#include "masks.h"

#define MOST_LOOKED 8
#define MOST_BLOCKS 4

/* The memory of one mask, as the functions that read want it. */
typedef struct probe {
    const cvr_host *host;
    void *blocks[MOST_BLOCKS];
    uint32_t n;
} probe;

static void *take(probe *p, uint64_t bytes) {
    void *const block = p->n < MOST_BLOCKS ? p->host->alloc(p->host, bytes, 64) : NULL;
    if (block) p->blocks[p->n++] = block;
    return block;
}

static void *take_for_sample(cvr_sample *s, uint64_t bytes) {
    return take(s->ctx, bytes);
}

static void *take_for_picture(void *ctx, uint64_t bytes) {
    return take(ctx, bytes);
}

/* Whether the mask has 255 and beside it nothing but 0. What cannot be read is told when it is needed. */
static int32_t is_black_and_white(const mask_data *d, const char *path) {
    probe p = {.host = d->host};
    cvr_sample s = {.struct_size = sizeof s, .ctx = &p, .alloc = take_for_sample};
    cvr_image mask = {.struct_size = sizeof mask};
    cvr_picture_job job = {
        .struct_size = sizeof job, .alloc = take_for_picture, .alloc_ctx = &p, .out = &mask, .exact = 1};
    cvr_error ignored = CVR_ERROR_INIT;
    uint8_t *bytes = NULL;
    int32_t white = 0, other = 1;
    if (dataset_picture_read(path, &s, &bytes, &job.n, &ignored) == CVR_OK) {
        job.bytes = bytes;
        other = d->pictures.image->decode_part(d->pictures.image, &job, &ignored) != CVR_OK;
    }
    for (int64_t i = 0; !other && i < mask.height * mask.width * mask.channels; i++) {
        white |= mask.data[i] == 255;
        other = mask.data[i] != 0 && mask.data[i] != 255;
    }
    for (uint32_t i = 0; i < p.n; i++) d->host->free(d->host, p.blocks[i]);
    return white && !other;
}

void masks_warn_of_white(const mask_data *d) {
    const uint64_t n = d->list.n < MOST_LOOKED ? d->list.n : MOST_LOOKED;
    char line[1200];
    if (d->values.colours || d->values.n_classes != 2 || d->values.class_of[255] != MASK_IGNORED) return;
    for (uint64_t i = 0; i < n; i++)
        if (!is_black_and_white(d, mask_list_mask(&d->list, (int64_t)i))) return;
    (void)snprintf(
        line, sizeof line,
        "%.900s and others hold nothing but 0 and 255, and 255 does not count; where it is the second class, "
        "set data.mask_values = 0,255",
        mask_list_mask(&d->list, 0));
    d->host->log(d->host, CVR_LOG_WARNING, line);
}
