/*
 * Max pooling in lanes of channels: indices of a byte, and channels in whole blocks of two vectors, which stay in
 * registers over all taps of a window, or over all windows of a pixel of dx. In bf16 a block is the bf16v of cpu_vec.h.
 * Taps are counted in floats, since these are exact and selected as numbers are.
 */
#include "cpu_vec.h"
#include "pool_max.h"

#define BLOCK (2 * VEC)
#define TAPS 256 /* of a window whose index is a byte */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Two vectors of channels; in bf16 those of even and those of odd index. */
typedef struct block {
    vec v[2];
} block;

ALWAYS_INLINE block block_load(const void *data, int bf16, int64_t at) {
    if (!bf16) return (block){{vec_load((const float *)data + at), vec_load((const float *)data + at + VEC)}};
    const bf16v w = bf16v_load((const uint16_t *)data + at);
    return (block){{bf16v_even(w), bf16v_odd(w)}};
}

ALWAYS_INLINE void block_store(void *data, int bf16, int64_t at, block b) {
    if (bf16) {
        uint16_t *to = (uint16_t *)data + at;
        bf16v_store(to, bf16v_join(b.v[0], b.v[1]));
        return;
    }
    float *to = (float *)data + at;
    vec_store(to, b.v[0]);
    vec_store(to + VEC, b.v[1]);
}

/* index = taps of a byte, which bf16 holds, too */
ALWAYS_INLINE void index_store(uint8_t *index, int bf16, block taps) {
    float wide[BLOCK];
    uint16_t narrow[BLOCK];
    block_store(bf16 ? (void *)narrow : (void *)wide, bf16, 0, taps);
    for (int c = 0; c < BLOCK; c++) index[c] = (uint8_t)(int32_t)(bf16 ? cvr_f32_of_bf16(narrow[c]) : wide[c]);
}

int pool_max_fits(const pool_max_job *job, const cvr_tensor *index) {
    const int64_t *kernel = job->attrs->kernel_size;
    return index->dtype == CVR_U8 && kernel[0] * kernel[1] <= TAPS && index->shape[1] % BLOCK == 0;
}

/* Taps of a window that lie in x: elements from where its first tap would be, and numbers. */
typedef struct window_taps {
    int64_t n;
    int64_t at[TAPS];
    float number[TAPS];
} window_taps;

static void list_taps(const pool_max_job *job, int64_t i, int64_t j, window_taps *taps) {
    const cvr_max_pool2d_attrs *attrs = job->attrs;
    const int64_t channels = job->a->shape[1], rows = job->a->shape[2], columns = job->a->shape[3];
    taps->n = 0;
    for (int64_t r = 0; r < attrs->kernel_size[0]; r++)
        for (int64_t s = 0; s < attrs->kernel_size[1]; s++) {
            const int64_t down = r * attrs->dilation[0], across = s * attrs->dilation[1];
            if (i + down < 0 || i + down >= rows || j + across < 0 || j + across >= columns) continue;
            taps->at[taps->n] = (down * columns + across) * channels;
            taps->number[taps->n++] = (float)(r * attrs->kernel_size[1] + s);
        }
}

/* The channels [from, from + BLOCK) of a window -> y, index at `to`. A dilated window can miss x altogether. */
ALWAYS_INLINE void max_block(const pool_max_job *job, const window_taps *taps, int64_t from, int64_t to, int bf16) {
    const float lowest = -INFINITY;
    block best = {{vec_set1(&lowest), vec_set1(&lowest)}}, at = {{vec_zero(), vec_zero()}};
    if (taps->n > 0) {
        best = block_load(job->a->data, bf16, from + taps->at[0]);
        at.v[0] = at.v[1] = vec_set1(&taps->number[0]);
    }
    for (int64_t k = 1; k < taps->n; k++) {
        const block x = block_load(job->a->data, bf16, from + taps->at[k]);
        const vec tap = vec_set1(&taps->number[k]);
        vec_take_larger(&best.v[0], &at.v[0], x.v[0], tap);
        vec_take_larger(&best.v[1], &at.v[1], x.v[1], tap);
    }
    block_store(job->y->data, bf16, to, best);
    index_store((uint8_t *)job->index->data + to, bf16, at);
}

void pool_max_task(void *ctx, uint64_t task, uint32_t worker) {
    const pool_max_job *job = ctx;
    const cvr_max_pool2d_attrs *attrs = job->attrs;
    const int64_t channels = job->a->shape[1], rows = job->a->shape[2], columns = job->a->shape[3];
    const int64_t n = (int64_t)task / job->y->shape[2], p = (int64_t)task % job->y->shape[2], across = job->y->shape[3];
    const int64_t i = p * attrs->stride[0] - attrs->padding[0],
                  reach = (attrs->kernel_size[1] - 1) * attrs->dilation[1];
    window_taps taps;
    int listed = 0; /* for a window that lies within the columns: good for the next one like it */
    (void)worker;
    for (int64_t q = 0; q < across; q++) {
        const int64_t j = q * attrs->stride[1] - attrs->padding[1], within = j >= 0 && j + reach < columns;
        if (!within || !listed) list_taps(job, i, j, &taps);
        listed = (int)within;
        const int64_t from = ((n * rows + i) * columns + j) * channels, to = ((int64_t)task * across + q) * channels;
        for (int64_t c = 0; c < channels; c += BLOCK)
            if (job->bf16)
                max_block(job, &taps, from + c, to + c, 1);
            else
                max_block(job, &taps, from + c, to + c, 0);
    }
}

/* The windows that a pixel of dx lies in: their elements of grad and index, and which tap it is of each. */
typedef struct pixel_windows {
    int64_t n;
    int64_t whole, rest; /* windows across that every pixel has, and the taps s that have one more */
    int64_t at[TAPS];
    uint8_t tap[TAPS];
} pixel_windows;

/* Adds the windows (p,q) of one p, q upwards. `top` is the last window that begins at or before column j, at its tap
 * s; the ones before it have the taps s + stride, s + 2 * stride, ... */
static void add_windows(const pool_max_job *job, int64_t p_row, int64_t r, int64_t top, int64_t s, pixel_windows *w) {
    const int64_t stride = job->attrs->stride[1], width = job->attrs->kernel_size[1];
    const int64_t channels = job->y->shape[1], count = job->a->shape[3];
    for (int64_t k = cpu_min(w->whole + (s < w->rest) - 1, top); k >= 0; k--) {
        if (top - k >= count) continue;
        w->at[w->n] = (p_row * count + top - k) * channels;
        w->tap[w->n++] = (uint8_t)(r * width + s + k * stride);
    }
}

/* dx[c] = sum over windows of grad[c] where the winner is this pixel's tap, for channels [c, c + BLOCK). */
ALWAYS_INLINE void gather_block(const pool_max_job *job, const pixel_windows *w, int64_t c, int64_t to, int bf16) {
    const uint8_t *index = (const uint8_t *)job->b->data + c;
    block sum = {{vec_zero(), vec_zero()}};
    for (int64_t k = 0; k < w->n; k++) {
        const int64_t at = w->at[k];
        const uint8_t tap = w->tap[k];
        block x;
        if (bf16) {
            const bf16v grad = bf16v_where(index + at, tap, bf16v_load((const uint16_t *)job->a->data + at + c));
            x = (block){{bf16v_even(grad), bf16v_odd(grad)}};
        } else {
            x = block_load(job->a->data, 0, at + c);
            x.v[0] = vec_where(index + at, tap, x.v[0]);
            x.v[1] = vec_where(index + at + VEC, tap, x.v[1]);
        }
        sum.v[0] = vec_add(sum.v[0], x.v[0]);
        sum.v[1] = vec_add(sum.v[1], x.v[1]);
    }
    block_store(job->y->data, bf16, to + c, sum);
}

void pool_max_backward_task(void *ctx, uint64_t task, uint32_t worker) {
    const pool_max_job *job = ctx;
    const cvr_max_pool2d_attrs *attrs = job->attrs;
    const int64_t channels = job->y->shape[1], columns = job->y->shape[3], heights = job->a->shape[2];
    const int64_t image = (int64_t)task / job->y->shape[2], stride = attrs->stride[0];
    const int64_t i = (int64_t)task % job->y->shape[2] + attrs->padding[0];
    const int64_t p0 = cpu_max(0, cpu_ceil_div(i - attrs->kernel_size[0] + 1, stride));
    int64_t top = attrs->padding[1] / attrs->stride[1], s = attrs->padding[1] % attrs->stride[1];
    pixel_windows w;
    w.whole = attrs->kernel_size[1] / attrs->stride[1];
    w.rest = attrs->kernel_size[1] % attrs->stride[1];
    (void)worker;
    for (int64_t j = 0; j < columns; j++) {
        const int64_t to = ((int64_t)task * columns + j) * channels;
        w.n = 0;
        for (int64_t p = p0; p < heights && p * stride <= i; p++)
            add_windows(job, image * heights + p, i - p * stride, top, s, &w);
        for (int64_t c = 0; c < channels; c += BLOCK)
            if (job->bf16)
                gather_block(job, &w, c, to, 1);
            else
                gather_block(job, &w, c, to, 0);
        if (++s < attrs->stride[1]) continue;
        s = 0;
        top++;
    }
}
