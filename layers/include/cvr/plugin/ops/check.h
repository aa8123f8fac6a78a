/*
 * What the shape rules of ops share: shapes as text for messages, and the output size of a sliding window.
 */
#ifndef CVR_PLUGIN_OPS_CHECK_H
#define CVR_PLUGIN_OPS_CHECK_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cvr_shape_text {
    char text[160];
} cvr_shape_text;

/* "(2,3,8,8)", for one message: cvr_shape_of(t).text. */
static inline cvr_shape_text cvr_shape_of(const cvr_type *t) {
    cvr_shape_text s;
    size_t n = 0;
    s.text[n++] = '(';
    for (uint32_t i = 0; i < t->rank && i < CVR_MAX_RANK; i++)
        n += (size_t)snprintf(s.text + n, sizeof s.text - n, i ? ",%lld" : "%lld", (long long)t->shape[i]);
    s.text[n++] = ')';
    s.text[n] = '\0';
    return s;
}

/* One axis of a convolution or pooling. */
typedef struct cvr_window {
    int64_t kernel, stride, padding, dilation;
    int64_t ceil_mode; /* the last window may reach past the padding, as long as it starts inside */
} cvr_window;

/*
 * How many positions the window has on an axis of `in` elements, as PyTorch counts them:
 * (in + 2*padding - dilation*(kernel-1) - 1) / stride + 1. Less than 1 where the window does not fit, or where the
 * numbers make no sense or overflow.
 */
static inline int64_t cvr_window_count(int64_t in, const cvr_window *w) {
    int64_t reach, room;
    if (in < 1 || w->kernel < 1 || w->stride < 1 || w->padding < 0 || w->dilation < 1) return 0;
    if (w->padding > INT64_MAX / 8 || w->stride > INT64_MAX / 8 || in > INT64_MAX / 8) return 0;
    if (w->kernel > 1 && w->dilation > INT64_MAX / 8 / (w->kernel - 1)) return 0;
    reach = w->dilation * (w->kernel - 1) + 1;
    room = in + 2 * w->padding - reach;
    if (room < 0) return 0;
    if (!w->ceil_mode) return room / w->stride + 1;
    room = (room + w->stride - 1) / w->stride + 1;
    return (room - 1) * w->stride >= in + w->padding ? room - 1 : room;
}

/*
 * How many positions a transposed convolution gives: (in-1)*stride - 2*padding + dilation*(kernel-1) + output_padding
 * + 1. 0 where that is no size, or where the numbers make no sense or overflow.
 */
static inline int64_t cvr_window_transposed(int64_t in, const cvr_window *w, int64_t output_padding) {
    int64_t span, reach;
    if (w->kernel < 1 || w->stride < 1 || w->padding < 0 || w->dilation < 1 || output_padding < 0) return 0;
    if (w->padding > INT64_MAX / 8 || output_padding > INT64_MAX / 8) return 0;
    if (__builtin_mul_overflow(in - 1, w->stride, &span) || span > INT64_MAX / 8) return 0;
    if (__builtin_mul_overflow(w->kernel - 1, w->dilation, &reach) || reach > INT64_MAX / 8) return 0;
    const int64_t size = span - 2 * w->padding + reach + output_padding + 1;
    return size > 0 ? size : 0;
}

#ifdef __cplusplus
}
#endif

#endif
