/* Numbers of the device dialect (cvr/device/scalar.h), as the host compiles them: f16, bf16, division by a constant. */
#include "device/ops/device_ops.h"
#include <criterion/criterion.h>
#include <cvr/plugin/bf16.h>

/* The dialect has words of its own (`shared`): last. */
#include <cvr/device/kernel.h>

/* The value of an f16, by its definition. */
static double value_of(uint32_t h) {
    const int exponent = (int)(h >> 10 & 31), mantissa = (int)(h & 1023);
    const double size = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return h >> 15 ? -size : size;
}

Test(device_scalar, f16_there_and_back) {
    for (uint32_t h = 0; h < 65536; h++) {
        if ((h >> 10 & 31) == 31) continue;
        const float x = f32_of_f16(h);
        cr_assert(x == (float)value_of(h), "%#x", h);
        cr_assert_eq(f16_of_f32(x), h);
    }
    cr_assert(f32_of_f16(0x7c00) == HUGE_VALF && f32_of_f16(0xfc00) == -HUGE_VALF && is_nan(f32_of_f16(0x7e00)));
}

/* Half way between two neighbours the even one wins, a little to a side that side. */
Test(device_scalar, f16_rounds_to_even) {
    for (uint32_t h = 0; h < 0x7bff; h++) {
        const float half = (float)((value_of(h) + value_of(h + 1)) / 2);
        cr_assert_eq(f16_of_f32(half), h & 1 ? h + 1 : h, "%#x", h);
        cr_assert_eq(f16_of_f32(nextafterf(half, 0)), h);
        cr_assert_eq(f16_of_f32(nextafterf(half, 1e6f)), h + 1);
    }
    cr_assert_eq(f16_of_f32(65519.0f), 0x7bff);
    cr_assert_eq(f16_of_f32(65520.0f), 0x7c00);
    cr_assert_eq(f16_of_f32(-1e30f), 0xfc00);
}

Test(device_scalar, bf16_is_the_abis) {
    uint32_t bits = 1;
    for (int i = 0; i < 1000000; i++, bits = bits * 1664525u + 1013904223u)
        cr_assert_eq(bf16_of_f32(float_of(bits)), cvr_bf16_of_f32(float_of(bits)), "%#x", bits);
}

Test(device_scalar, division) {
    static const uint32_t edges[] = {0, 1, 2, 0x7ffffffe, 0x7fffffff};
    uint32_t x = 1;
    for (uint32_t d = 1; d < 0x7fffffff; d += d < 5000 ? 1 : d / 3) {
        const device_divisor by = device_divisor_of(d);
        for (int i = 0; i < 60; i++, x = x * 1664525u + 1013904223u) {
            const uint32_t around = (uint32_t)((uint64_t)(x >> 1) / d * d + (uint32_t)(i % 3) - 1);
            const uint32_t n = i < 5 ? edges[i] : i % 2 ? x >> 1 : around & 0x7fffffff;
            cr_assert_eq(divide(n, by.magic, by.shift), n / d, "%u / %u", n, d);
        }
    }
}
