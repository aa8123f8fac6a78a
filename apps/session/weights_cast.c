/* Numbers of a file as the network has them: rounded to the nearest, as PyTorch's copy_ does it. */
#include "session_parts.h"
#include <math.h>

/* IEEE 754 half precision, all of it: subnormal numbers, infinities, NaN. */
static double f16(uint16_t h) {
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    const double size = exponent == 31  ? (fraction ? (double)NAN : (double)INFINITY)
                        : exponent == 0 ? ldexp(fraction, -24)
                                        : ldexp(1024 + fraction, exponent - 25);
    return h >> 15 ? -size : size;
}

/* Element i of `p`, which need not be aligned: as a real number, or (false) as a whole one. */
#define READ(type, to)                                                                                                 \
    do {                                                                                                               \
        type x;                                                                                                        \
        memcpy(&x, (const char *)p + (size_t)i * sizeof x, sizeof x);                                                  \
        to;                                                                                                            \
    } while (0)

static bool read_number(uint32_t from, const void *p, int64_t i, double *real, int64_t *whole) {
    switch (from) {
    case CVR_F32: READ(float, *real = (double)x); return true;
    case CVR_F16: READ(uint16_t, *real = f16(x)); return true;
    case CVR_BF16: READ(uint16_t, *real = (double)cvr_f32_of_bf16(x)); return true;
    case CVR_FILE_F64: READ(double, *real = x); return true;
    case CVR_U8:
    case CVR_FILE_BOOL: READ(uint8_t, *whole = x); return false;
    case CVR_I8: READ(int8_t, *whole = x); return false;
    case CVR_FILE_I16: READ(int16_t, *whole = x); return false;
    case CVR_FILE_U16: READ(uint16_t, *whole = x); return false;
    case CVR_I32: READ(int32_t, *whole = x); return false;
    case CVR_FILE_U32: READ(uint32_t, *whole = x); return false;
    case CVR_FILE_U64: READ(uint64_t, *whole = (int64_t)x); return false;
    default: READ(int64_t, *whole = x); return false;
    }
}

static uint64_t size_of(uint32_t dtype) {
    switch (dtype) {
    case CVR_FILE_BOOL: return 1;
    case CVR_FILE_I16:
    case CVR_FILE_U16: return 2;
    case CVR_FILE_U32: return 4;
    case CVR_FILE_F64:
    case CVR_FILE_U64: return 8;
    default: return cvr_dtype_size(dtype);
    }
}

static const char *bad_field(const cvr_weight *w) {
    uint64_t bytes = size_of(w->dtype);
    if (w->struct_size < sizeof *w) return "struct_size";
    if (!w->name) return "name";
    if (w->dtype && !bytes) return "dtype";
    if (w->rank > sizeof w->shape / sizeof *w->shape) return "rank";
    for (uint32_t i = 0; i < w->rank; i++)
        if (w->shape[i] < 0 || __builtin_mul_overflow(bytes, (uint64_t)w->shape[i], &bytes)) return "shape";
    if (w->dtype && w->bytes != bytes) return "bytes";
    return !w->data && w->bytes ? "data" : NULL;
}

int32_t cvr_weight_check(const cvr_weight *w, cvr_error *err) {
    const char *bad = w ? bad_field(w) : "struct_size";
    if (!bad) return CVR_OK;
    return cvr_fail(err, CVR_ERR_PLUGIN, "tensor `%.160s`: `%s` of its cvr_weight makes no sense",
                    w && strcmp(bad, "struct_size") != 0 && w->name ? w->name : "", bad);
}

bool weights_cast(uint32_t to, void *out, uint32_t from, const void *in, int64_t n) {
    float *reals = out;
    int64_t *wholes = out;
    if (from == 0 || (to != CVR_F32 && to != CVR_I64)) return false;
    for (int64_t i = 0; i < n; i++) {
        double real = 0;
        int64_t whole = 0;
        const bool is_real = read_number(from, in, i, &real, &whole);
        if (to == CVR_F32)
            reals[i] = is_real ? (float)real : (float)whole;
        else /* what no i64 can hold becomes 0 */
            wholes[i] = !is_real ? whole : fabs(real) < 0x1p62 ? (int64_t)real : 0;
    }
    return true;
}

bool weights_finite(uint32_t dtype, const void *data, int64_t n) {
    float x; /* copied, since a file may put it anywhere */
    for (int64_t i = 0; i < n && dtype == CVR_F32; i++) {
        memcpy(&x, (const char *)data + (size_t)i * sizeof x, sizeof x);
        if (!isfinite(x)) return false;
    }
    return true;
}
