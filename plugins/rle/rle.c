/*
 * Run lengths: numbers, strings, pixels, and what two masks have in common.
 */
#include "rle.h"
#include "rle_build.h"

void rle_free(rle *r) {
    if (r->runs) r->host->free(r->host, r->runs);
    *r = (rle){.host = r->host};
}

/* ---- building: runs that may have no pixels go in, none comes out but the first ---- */

int32_t rle_build_start(rle_build *b, rle *r, int64_t height, int64_t width, cvr_error *err) {
    if (height < 1 || width < 1 || height > UINT32_MAX / width)
        return cvr_fail(err, CVR_ERR_FORMAT, "a mask of %lld x %lld pixels; that is no size of a picture",
                        (long long)width, (long long)height);
    *b = (rle_build){.r = r, .left = (uint64_t)(height * width)};
    r->n = 0;
    return CVR_OK;
}

static int32_t push(rle *r, uint64_t run, cvr_error *err) {
    if (r->n == r->room) {
        const uint64_t room = 2 * r->room + 16;
        uint32_t *const runs = r->host->alloc(r->host, room * sizeof *runs, 16);
        if (!runs) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a mask");
        if (r->n) memcpy(runs, r->runs, r->n * sizeof *runs);
        if (r->runs) r->host->free(r->host, r->runs);
        r->runs = runs;
        r->room = room;
    }
    r->runs[r->n++] = (uint32_t)run;
    return CVR_OK;
}

int32_t rle_build_add(rle_build *b, uint64_t pixels, uint32_t inside, cvr_error *err) {
    if (pixels == 0) return CVR_OK;
    if (inside != b->inside) {
        CVR_TRY(push(b->r, b->run, err));
        b->inside = inside;
        b->run = 0;
    }
    b->run += pixels;
    b->left -= pixels;
    return CVR_OK;
}

int32_t rle_build_end(rle_build *b, cvr_error *err) {
    CVR_TRY(rle_build_add(b, b->left, 0, err));
    return push(b->r, b->run, err);
}

/* ---- numbers and strings ---- */

/* A count as it stands in a file: also one of no pixels is kept where it is, so that the string stays the same. */
static int32_t take_count(rle *r, int64_t count, uint64_t *left, cvr_error *err) {
    if (count < 0)
        return cvr_fail(err, CVR_ERR_FORMAT, "run %llu of a mask has %lld pixels; make the mask anew",
                        (unsigned long long)r->n + 1, (long long)count);
    if ((uint64_t)count > *left)
        return cvr_fail(err, CVR_ERR_FORMAT, "a mask has more pixels than its picture; make it anew from this picture");
    *left -= (uint64_t)count;
    return push(r, (uint64_t)count, err);
}

static int32_t check_left(uint64_t left, cvr_error *err) {
    if (left == 0) return CVR_OK;
    return cvr_fail(err, CVR_ERR_FORMAT, "a mask has %llu pixels fewer than its picture; make it anew",
                    (unsigned long long)left);
}

int32_t rle_from_counts(rle *r, int64_t height, int64_t width, const int64_t *counts, uint64_t n, cvr_error *err) {
    rle_build b = {0};
    CVR_TRY(rle_build_start(&b, r, height, width, err));
    for (uint64_t i = 0; i < n; i++) CVR_TRY(take_count(r, counts[i], &b.left, err));
    return check_left(b.left, err);
}

/* One number: groups of five bits from the lowest, 48 added; bit 5 says that another follows, bit 4 of the last is the
 * sign. 0 where the text is no such number. */
static int32_t read_number(const char **s, const char *end, int64_t *out) {
    uint64_t x = 0;
    for (unsigned shift = 0; *s < end && shift < 35; shift += 5) {
        const unsigned c = (unsigned)(uint8_t) * (*s)++ - 48u;
        if (c >= 64) return 0;
        x |= (uint64_t)(c & 31u) << shift;
        if (c & 32u) continue;
        if (c & 16u) x |= ~UINT64_C(0) << (shift + 5);
        memcpy(out, &x, sizeof x);
        return 1;
    }
    return 0;
}

int32_t rle_from_string(rle *r, int64_t height, int64_t width, const char *s, uint64_t n, cvr_error *err) {
    const char *const end = s + n;
    rle_build b = {0};
    CVR_TRY(rle_build_start(&b, r, height, width, err));
    while (s < end) {
        int64_t x;
        if (!read_number(&s, end, &x))
            return cvr_fail(err, CVR_ERR_FORMAT, "the counts of a mask are no run lengths after number %llu",
                            (unsigned long long)r->n);
        /* From the fourth on they are told by what they differ from the one before the last. */
        if (r->n > 2) x += r->runs[r->n - 2];
        CVR_TRY(take_count(r, x, &b.left, err));
    }
    return check_left(b.left, err);
}

uint64_t rle_to_string(rle_view r, char *s) {
    const char *const start = s;
    for (uint64_t i = 0; i < r.n; i++) {
        int64_t x = r.runs[i];
        int more = 1;
        if (i > 2) x -= r.runs[i - 2];
        while (more) {
            /* of a negative number the next groups are what rounding down leaves */
            const int64_t group = x & 31, rest = (x - group) / 32;
            more = group & 16 ? rest != -1 : rest != 0;
            *s++ = (char)(group + (more ? 32 : 0) + 48);
            x = rest;
        }
    }
    *s = '\0';
    return (uint64_t)(s - start);
}

/* ---- pixels ---- */

int32_t rle_from_bitmap(rle *r, int64_t height, int64_t width, const uint8_t *mask, int64_t stride, cvr_error *err) {
    rle_build b = {0};
    CVR_TRY(rle_build_start(&b, r, height, width, err));
    for (int64_t x = 0; x < width; x++) {
        const uint8_t *const column = mask + x;
        for (int64_t y = 0, end; y < height; y = end) {
            const uint32_t inside = column[y * stride] != 0;
            for (end = y + 1; end < height && (column[end * stride] != 0) == (int)inside;) end++;
            CVR_TRY(rle_build_add(&b, (uint64_t)(end - y), inside, err));
        }
    }
    return rle_build_end(&b, err);
}

void rle_to_bitmap(rle_view r, int64_t height, int64_t width, uint8_t *mask) {
    int64_t x = 0, y = 0;
    memset(mask, 0, (size_t)(height * width));
    for (uint64_t i = 0; i < r.n; i++) {
        for (int64_t left = r.runs[i], n; left > 0; left -= n) {
            n = left < height - y ? left : height - y;
            for (int64_t k = y; i % 2 && k < y + n; k++) mask[k * width + x] = 1;
            y += n;
            if (y < height) continue;
            y = 0;
            x++;
        }
    }
}

/* ---- two masks ---- */

/* Goes through two masks at once, a stretch at a time in which neither changes. */
typedef struct pair {
    rle_view of[2];
    uint64_t at[2], left[2]; /* the run that each is in, and what is left of it */
} pair;

static void pair_start(pair *p, rle_view a, rle_view b) {
    *p = (pair){.of = {a, b}, .left = {a.n ? a.runs[0] : 0, b.n ? b.runs[0] : 0}};
}

/* Pixels of the next stretch, 0 at the end; `inside` gets whether they are in each. */
static uint64_t pair_next(pair *p, uint32_t inside[2]) {
    for (int k = 0; k < 2; k++) {
        while (p->left[k] == 0 && p->at[k] + 1 < p->of[k].n) p->left[k] = p->of[k].runs[++p->at[k]];
        inside[k] = (uint32_t)(p->at[k] & 1);
    }
    const uint64_t n = p->left[0] < p->left[1] ? p->left[0] : p->left[1];
    p->left[0] -= n;
    p->left[1] -= n;
    return n;
}

uint64_t rle_area(rle_view r) {
    uint64_t sum = 0;
    for (uint64_t i = 1; i < r.n; i += 2) sum += r.runs[i];
    return sum;
}

uint64_t rle_common(rle_view a, rle_view b) {
    uint64_t sum = 0, n;
    uint32_t inside[2];
    pair p;
    pair_start(&p, a, b);
    while ((n = pair_next(&p, inside))) sum += inside[0] & inside[1] ? n : 0;
    return sum;
}

double rle_iou(rle_view found, rle_view truth, int32_t crowd) {
    const uint64_t common = rle_common(found, truth), mine = rle_area(found);
    if (common == 0) return 0;
    return (double)common / (double)(crowd ? mine : mine + rle_area(truth) - common);
}

static int32_t merge(rle *r, rle_view a, rle_view b, int32_t both, cvr_error *err) {
    uint64_t n;
    uint32_t inside[2];
    rle_build build = {.r = r, .left = UINT64_MAX};
    pair p;
    pair_start(&p, a, b);
    r->n = 0;
    while ((n = pair_next(&p, inside)))
        CVR_TRY(rle_build_add(&build, n, both ? inside[0] & inside[1] : inside[0] | inside[1], err));
    build.left = 0;
    return rle_build_end(&build, err);
}

int32_t rle_union(rle *r, rle_view a, rle_view b, cvr_error *err) {
    return merge(r, a, b, 0, err);
}

int32_t rle_intersect(rle *r, rle_view a, rle_view b, cvr_error *err) {
    return merge(r, a, b, 1, err);
}

int32_t rle_copy(rle *r, rle_view from, cvr_error *err) {
    r->n = 0;
    for (uint64_t i = 0; i < from.n; i++) CVR_TRY(push(r, from.runs[i], err));
    return CVR_OK;
}

void rle_box(rle_view r, int64_t height, double box[4]) {
    int64_t at = 0, x1 = INT64_MAX, y1 = INT64_MAX, x2 = -1, y2 = -1;
    for (uint64_t i = 0; i < r.n; at += r.runs[i++]) {
        if (i % 2 == 0 || r.runs[i] == 0) continue;
        const int64_t last = at + r.runs[i] - 1, first_x = at / height, last_x = last / height;
        /* what goes on into the next column is at the bottom of one and at the top of the other */
        const int64_t top = first_x < last_x ? 0 : at % height, bottom = first_x < last_x ? height - 1 : last % height;
        x1 = first_x < x1 ? first_x : x1;
        x2 = last_x;
        y1 = top < y1 ? top : y1;
        y2 = bottom > y2 ? bottom : y2;
    }
    const int32_t empty = x2 < 0;
    box[0] = empty ? 0 : (double)x1;
    box[1] = empty ? 0 : (double)y1;
    box[2] = empty ? 0 : (double)(x2 - x1 + 1);
    box[3] = empty ? 0 : (double)(y2 - y1 + 1);
}
