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
