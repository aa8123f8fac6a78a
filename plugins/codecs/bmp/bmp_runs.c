/*
 * BMP's run lengths, RLE8 and RLE4 (Microsoft, "Bitmap Compression"): pairs of bytes, count and value; a count of 0 is
 * an escape. What no run reaches is colour 0.
 */
#include "bmp_codec.h"

#define ESCAPE_END_OF_LINE 0
#define ESCAPE_END 1
#define ESCAPE_MOVE 2

typedef struct runs {
    const bmp_header *h;
    const uint8_t *at, *end;
    uint8_t *to;
    int64_t x, y; /* of the next pixel; y counts stored rows */
    int32_t nibbles;
} runs;

static uint8_t *place(const runs *r) {
    const int64_t row = r->h->top_down ? r->y : r->h->height - 1 - r->y;
    return r->to + row * r->h->width + r->x;
}

/* Whether `n` pixels of this row are left. */
static int32_t fits(const runs *r, int64_t n) {
    return r->y < r->h->height && n <= r->h->width - r->x;
}

/* `n` times the same byte; of RLE4 its two halves in turn. */
static int32_t repeat(runs *r, int64_t n, uint8_t value, cvr_error *err) {
    if (!fits(r, n)) return bmp_damaged("a run past the end of a row", err);
    uint8_t *const to = place(r);
    for (int64_t i = 0; i < n; i++) to[i] = !r->nibbles ? value : i % 2 ? value & 15 : value >> 4;
    r->x += n;
    return CVR_OK;
}

/* `n` pixels as they are, padded to an even number of bytes. */
static int32_t copy(runs *r, int64_t n, cvr_error *err) {
    const int64_t bytes = r->nibbles ? (n + 1) / 2 : n;
    if (!fits(r, n)) return bmp_damaged("a run past the end of a row", err);
    if (r->end - r->at < bytes) return bmp_damaged("the file ends too early", err);
    uint8_t *const to = place(r);
    for (int64_t i = 0; i < n; i++) to[i] = !r->nibbles ? r->at[i] : i % 2 ? r->at[i / 2] & 15 : r->at[i / 2] >> 4;
    r->at += bytes;
    if (bytes % 2 && r->at < r->end) r->at++;
    r->x += n;
    return CVR_OK;
}

static int32_t move(runs *r, cvr_error *err) {
    if (r->end - r->at < 2) return bmp_damaged("the file ends too early", err);
    r->x += r->at[0];
    r->y += r->at[1];
    r->at += 2;
    return r->x > r->h->width || r->y > r->h->height ? bmp_damaged("a move out of the picture", err) : CVR_OK;
}

static int32_t escape(runs *r, uint8_t what, int32_t *done, cvr_error *err) {
    *done = what == ESCAPE_END;
    if (what == ESCAPE_END) return CVR_OK;
    if (what == ESCAPE_MOVE) return move(r, err);
    if (what != ESCAPE_END_OF_LINE) return copy(r, what, err);
    r->x = 0;
    if (r->y == r->h->height) return bmp_damaged("more rows than the picture has", err);
    r->y++;
    return CVR_OK;
}

int32_t bmp_read_runs(const bmp_header *h, const uint8_t *bytes, uint64_t n, uint8_t *to, cvr_error *err) {
    runs r = {h, bytes, bytes + n, to, 0, 0, h->compression == BMP_RLE4};
    memset(to, 0, (size_t)(h->width * h->height));
    for (int32_t done = 0; !done;) {
        if (r.end - r.at < 2) return bmp_damaged("the file ends too early", err);
        const uint8_t count = r.at[0], value = r.at[1];
        r.at += 2;
        CVR_TRY(count ? repeat(&r, count, value, err) : escape(&r, value, &done, err));
    }
    return CVR_OK;
}
