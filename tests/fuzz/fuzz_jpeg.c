/*
 * Fuzz target: plugins/codecs/jpeg. Each input is decoded whole, and then a part of it, which must have the pixels of
 * the whole.
 */
#include "../../plugins/codecs/jpeg/jpeg_codec.h"
#include "fuzz.h"
#include <stdlib.h>

typedef struct wish {
    uint64_t number; /* decides which part is asked for */
    cvr_part want;
} wish;

/* Takes a number below n off the wish's. */
static int64_t draw(wish *w, int64_t n) {
    const uint64_t v = w->number % (uint64_t)n;
    w->number = w->number / (uint64_t)n ^ w->number << 40;
    return (int64_t)v;
}

static int32_t choose(const cvr_part_request *r, int64_t height, int64_t width, int64_t channels, cvr_part *want,
                      cvr_error *err) {
    wish *const w = r->ctx;
    (void)channels, (void)err;
    const int64_t reduce = draw(w, 2) ? 1 : (int64_t)1 << draw(w, 4);
    cvr_part_whole(want, height, width);
    want->reduce = reduce;
    want->top = draw(w, height) / reduce * reduce;
    want->left = draw(w, width) / reduce * reduce;
    want->rows = 1 + draw(w, height - want->top);
    want->columns = 1 + draw(w, width - want->left);
    w->want = *want;
    return CVR_OK;
}

typedef struct decoded {
    int32_t status;
    uint64_t logs;
    fuzz_block block;
    cvr_image image;
    cvr_error err;
} decoded;

static void decode(decoded *d, const uint8_t *bytes, size_t n, uint64_t channels, const cvr_part_request *request) {
    fuzz_host h;
    *d = (decoded){.image = {.struct_size = sizeof d->image}};
    cvr_error_init(&d->err);
    fuzz_host_init(&h, 1u << 28);
    const cvr_picture_job job = {sizeof job, bytes, n, channels, fuzz_alloc_one, &d->block, request, &d->image, 0, 0};
    d->status = jpeg_codec_decode(&h.host, &job, &d->err);
    d->logs = h.logs;
    fuzz_check_error(d->status, &d->err);
    fuzz_check(h.live == 0, "%lld blocks were left behind", (long long)h.live);
    /* Half a thousand pixels to the byte, 3 bytes each, once as stored and once upright, and a row. */
    fuzz_check(h.used + d->block.n <= (1u << 20) + 512 * 6 * n, "%llu bytes for a file of %zu",
               (unsigned long long)(h.used + d->block.n), n);
    if (d->status != CVR_OK) return;
    fuzz_check((uint64_t)(d->image.width * d->image.height * d->image.channels) <= d->block.n,
               "a picture that is larger than what was allocated");
    fuzz_touch(d->image.data, (uint64_t)(d->image.width * d->image.height * d->image.channels));
}

static void check_given(const cvr_part *given, const cvr_part *want, const cvr_image *image) {
    fuzz_check(cvr_part_covers(given, want) && given->reduce <= want->reduce, "not all that was asked for was given");
    fuzz_check(image->height == cvr_part_reduced(given->top, given->rows, given->reduce) &&
                   image->width == cvr_part_reduced(given->left, given->columns, given->reduce),
               "%lld x %lld pixels are not the part that was given", (long long)image->height, (long long)image->width);
}

static void check_same(const decoded *whole, const decoded *part, const cvr_part *given, const cvr_part *want) {
    const cvr_image *const a = &whole->image, *const b = &part->image;
    fuzz_check(a->height == given->height && a->width == given->width, "another size");
    for (int64_t y = want->top; y < want->top + want->rows; y++) {
        const uint8_t *const from = a->data + (y * a->width + want->left) * a->channels,
                             *const to =
                                 b->data + ((y - given->top) * b->width + want->left - given->left) * b->channels;
        fuzz_check(memcmp(from, to, (size_t)(want->columns * a->channels)) == 0,
                   "row %lld differs: part %lld+%lld, %lld+%lld of %lld x %lld", (long long)y, (long long)want->top,
                   (long long)want->rows, (long long)want->left, (long long)want->columns, (long long)a->height,
                   (long long)a->width);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static const uint64_t channels[] = {0, 1, 3};
    wish w = {.number = fuzz_number(bytes, n)};
    const uint64_t c = channels[draw(&w, 3)];
    cvr_part given = {.struct_size = sizeof given};
    const cvr_part_request request = {sizeof request, &w, choose, &given};
    decoded whole, part;
    decode(&whole, bytes, n, c, NULL);
    decode(&part, bytes, n, c, &request);
    const int clean = whole.status == CVR_OK && whole.logs == 0; /* a damaged picture may differ outside of its part */
    fuzz_check(!clean || part.status == CVR_OK, "the whole was taken, a part refused: %s", part.err.message);
    if (part.status == CVR_OK) check_given(&given, &w.want, &part.image);
    if (clean && given.reduce == 1) check_same(&whole, &part, &given, &w.want);
    free(whole.block.p);
    free(part.block.p);
    return 0;
}
