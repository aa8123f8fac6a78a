/* Numbers of files as the network takes them: each element type, all of f16, what no i64 holds. */
#include "../core/train/session.h"
#include <criterion/criterion.h>
#include <math.h>

Test(cast, all_of_f16) {
    for (uint32_t bits = 0; bits < 65536; bits++) {
        const uint16_t h = (uint16_t)bits;
        float have;
        cr_assert(weights_cast(CVR_F32, &have, CVR_F16, &h, 1));
        const int exponent = h >> 10 & 31;
        const double fraction = (h & 1023) / 1024.0, sign = h >> 15 ? -1 : 1;
        const double want = exponent == 31  ? (h & 1023 ? (double)NAN : sign * (double)INFINITY)
                            : exponent == 0 ? sign * fraction * 0x1p-14
                                            : sign * (1 + fraction) * pow(2, exponent - 15);
        cr_assert(isnan(want) ? isnan(have) : (double)have == want && signbit(have) == signbit((float)want),
                  "%04x is %g, not %g", bits, (double)have, want);
    }
}

#define CHECK(to_dtype, to_type, from_dtype, from_type, from_value, want)                                              \
    do {                                                                                                               \
        const from_type in = (from_type)(from_value);                                                                  \
        char unaligned[1 + sizeof in];                                                                                 \
        to_type out = 0;                                                                                               \
        memcpy(unaligned + 1, &in, sizeof in);                                                                         \
        cr_expect(weights_cast(to_dtype, &out, from_dtype, unaligned + 1, 1));                                         \
        cr_expect(out == (to_type)(want), "from type %u: %g", (unsigned)(from_dtype), (double)out);                    \
    } while (0)

Test(cast, every_type) {
    CHECK(CVR_F32, float, CVR_FILE_F64, double, 1.0 / 3, (float)(1.0 / 3));
    CHECK(CVR_F32, float, CVR_FILE_F64, double, 1e300, INFINITY);
    CHECK(CVR_F32, float, CVR_BF16, uint16_t, 0x3f80, 1);
    CHECK(CVR_F32, float, CVR_I64, int64_t, 16777217, 16777216);
    CHECK(CVR_F32, float, CVR_I32, int32_t, -7, -7);
    CHECK(CVR_F32, float, CVR_I8, int8_t, -7, -7);
    CHECK(CVR_F32, float, CVR_U8, uint8_t, 200, 200);
    CHECK(CVR_F32, float, CVR_FILE_BOOL, uint8_t, 1, 1);
    CHECK(CVR_F32, float, CVR_FILE_I16, int16_t, -300, -300);
    CHECK(CVR_F32, float, CVR_FILE_U16, uint16_t, 60000, 60000);
    CHECK(CVR_F32, float, CVR_FILE_U32, uint32_t, 4000000000u, 4e9f);
    CHECK(CVR_I64, int64_t, CVR_FILE_U64, uint64_t, 5, 5);
    CHECK(CVR_I64, int64_t, CVR_I32, int32_t, -5, -5);
    CHECK(CVR_I64, int64_t, CVR_F32, float, -5.75f, -5);
    CHECK(CVR_I64, int64_t, CVR_F32, float, 1e30f, 0);
    CHECK(CVR_I64, int64_t, CVR_FILE_F64, double, NAN, 0);
    cr_expect(!weights_cast(CVR_F32, NULL, 0, NULL, 0));
    cr_expect(!weights_cast(CVR_BF16, NULL, CVR_F32, NULL, 0));
}
