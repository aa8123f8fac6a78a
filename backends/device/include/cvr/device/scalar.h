/*
 * Numbers in kernels: element types, division by a number that the host knows, random numbers, and the functions that
 * the steps of elementwise programs are defined by (<cvr/plugin/ops/elementwise_math.h> is the reference). Part of
 * kernel.h. What is marked EXACT gives the reference's bits on every device.
 */
#ifndef CVR_DEVICE_SCALAR_H
#define CVR_DEVICE_SCALAR_H

/* Element types, with the numbers of <cvr/plugin/abi.h>. */
#define TYPE_F32 1u
#define TYPE_F16 2u
#define TYPE_BF16 3u
#define TYPE_U8 4u
#define TYPE_I64 7u

#define INFINITE float_of(0x7f800000u)
#define NOT_A_NUMBER float_of(0x7fc00000u)

FN f32 max_f(f32 a, f32 b) {
    return a < b ? b : a;
}
FN f32 min_f(f32 a, f32 b) {
    return a > b ? b : a;
}
FN u32 min_u(u32 a, u32 b) {
    return a > b ? b : a;
}
/* By its bits: compilers may take x != x for false. */
FN bool is_nan(f32 x) {
    return (bits_of(x) & 0x7fffffffu) > 0x7f800000u;
}

/* ---- bf16 and f16, rounded to nearest, ties to even ---- */

FN f32 f32_of_bf16(u32 h) {
    return float_of(h << 16u);
}
FN u32 bf16_of_f32(f32 x) {
    const u32 bits = bits_of(x);
    const u32 rounded = (bits + 0x7fffu + (bits >> 16u & 1u)) >> 16u;
    return is_nan(x) ? (bits >> 16u | 0x40u) : rounded;
}
/* Without denormal f32 on the way, which a device may take for 0. */
FN f32 f32_of_f16(u32 h) {
    const u32 sign = (h & 0x8000u) << 16u, rest = (h & 0x7fffu) << 13u, exponent = h >> 10u & 31u;
    const f32 small = float_of(rest + (113u << 23u)) - float_of(113u << 23u);
    const u32 bits = exponent == 0u ? bits_of(small) : rest + (exponent == 31u ? 224u : 112u) * (1u << 23u);
    return float_of(sign | bits);
}
FN u32 f16_of_f32(f32 x) {
    const u32 sign = bits_of(x) >> 16u & 0x8000u, a = bits_of(x) & 0x7fffffffu;
    if (a > 0x7f800000u) return sign | 0x7e00u;
    if (a >= 0x477ff000u) return sign | 0x7c00u;                                      /* 65520 and more */
    if (a < 0x38800000u) return sign | (bits_of(float_of(a) + 0.5f) - bits_of(0.5f)); /* below 2^-14 */
    return sign | ((a - (112u << 23u) + 0xfffu + (a >> 13u & 1u)) >> 13u);
}

/* ---- elements ---- */

/* Element i at address a, as f32. */
FN f32 load(u64 a, u32 i, u32 type) {
    if (type == TYPE_BF16) return f32_of_bf16(load_u16(a, i));
    if (type == TYPE_F16) return f32_of_f16(load_u16(a, i));
    if (type == TYPE_U8) return f32(load_u8(a, i));
    return load_f32(a, i);
}
FN void store(u64 a, u32 i, u32 type, f32 v) {
    if (type == TYPE_BF16)
        store_u16(a, i, bf16_of_f32(v));
    else if (type == TYPE_F16)
        store_u16(a, i, f16_of_f32(v));
    else
        store_f32(a, i, v);
}

/* Elements i to i + 3 of n, 0 past the end. i is a multiple of 4, a one of 16 bytes. */
FN void load4(u64 a, u32 i, u32 n, u32 type, OUT f32 v[4]) {
    if (i + 4u > n || type == TYPE_U8) {
        UNROLL for (u32 j = 0u; j < 4u; j++) v[j] = i + j < n ? load(a, i + j, type) : 0.0f;
    } else if (type == TYPE_F32) {
        u32 w[4];
        load4_u32(a, i, w);
        UNROLL for (u32 j = 0u; j < 4u; j++) v[j] = float_of(w[j]);
    } else {
        u32 w[2];
        load2_u32(a, i / 2u, w);
        UNROLL for (u32 j = 0u; j < 4u; j++) {
            const u32 h = w[j / 2u] >> 16u * (j & 1u) & 0xffffu;
            v[j] = type == TYPE_BF16 ? f32_of_bf16(h) : f32_of_f16(h);
        }
    }
}
FN void store4(u64 a, u32 i, u32 n, u32 type, f32 v[4]) {
    if (i + 4u > n) {
        UNROLL for (u32 j = 0u; j < 4u; j++) if (i + j < n) store(a, i + j, type, v[j]);
    } else if (type == TYPE_F32) {
        u32 w[4];
        UNROLL for (u32 j = 0u; j < 4u; j++) w[j] = bits_of(v[j]);
        store4_u32(a, i, w);
    } else {
        u32 w[2];
        UNROLL for (u32 j = 0u; j < 2u; j++) {
            const f32 low = v[2u * j], high = v[2u * j + 1u];
            w[j] = type == TYPE_BF16 ? bf16_of_f32(low) | bf16_of_f32(high) << 16u
                                     : f16_of_f32(low) | f16_of_f32(high) << 16u;
        }
        store2_u32(a, i / 2u, w);
    }
}

/* ---- division ---- */

/*
 * i / d for i < 2^31, where the host has made `magic` and `shift` of d (divisor_of in device.h): the high half of one
 * product (Granlund and Montgomery, "Division by Invariant Integers using Multiplication", PLDI 1994).
 */
FN u32 divide(u32 i, u32 magic, u32 shift) {
    return magic == 0u ? i >> shift : mul_hi(i, magic) >> shift;
}

/* ---- the machine of elementwise programs ---- */

#define ROUNDER 12582912.0f /* 1.5 * 2^23: adding it rounds to an integer */

FN f32 two_to(f32 n) {
    EXACT f32 shifted = n + (ROUNDER + 127.0f);
    return float_of(bits_of(shifted) << 23u);
}
/* x = n * ln 2 + r: n, and exp(r) - 1 in parts[1] */
FN void exp_parts(f32 x, OUT f32 parts[2]) {
    EXACT f32 n = x * 1.44269504f + ROUNDER;
    n = n - ROUNDER;
    EXACT f32 r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    EXACT f32 q = 1.0f / 5040.0f;
    q = q * r + 1.0f / 720.0f;
    q = q * r + 1.0f / 120.0f;
    q = q * r + 1.0f / 24.0f;
    q = q * r + 1.0f / 6.0f;
    q = q * r + 0.5f;
    q = r * r * q + r;
    parts[0] = n;
    parts[1] = q;
}
FN f32 exp_f(f32 x) {
    f32 parts[2];
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    exp_parts(x, parts);
    const f32 n = parts[0];
    EXACT f32 most = n * 0.5f + ROUNDER;
    most = most - ROUNDER;
    EXACT f32 y = (1.0f + parts[1]) * two_to(most) * two_to(n - most);
    return y;
}
/* 1 - exp(x) for x <= 0, exact also where exp(x) is nearly 1 */
FN f32 one_minus_exp(f32 x) {
    f32 parts[2];
    exp_parts(max_f(x, -60.0f), parts);
    return parts[0] == 0.0f ? -parts[1] : 1.0f - (1.0f + parts[1]) * two_to(parts[0]);
}
FN f32 with_sign_of(f32 size, f32 x) {
    return float_of((bits_of(size) & 0x7fffffffu) | (bits_of(x) & 0x80000000u));
}
FN f32 tanh_f(f32 x) {
    f32 parts[2];
    const f32 a = abs_f(x);
    EXACT f32 twice = a > 10.0f ? 20.0f : 2.0f * a;
    exp_parts(twice, parts);
    const f32 s = two_to(parts[0]);
    EXACT f32 e = s * parts[1] + (s - 1.0f);
    return with_sign_of(div_f(e, e + 2.0f), x);
}
FN f32 normal_cdf(f32 x) {
    const f32 a = abs_f(x);
    EXACT f32 below = 1.0f + 0.3f * a;
    const f32 t = div_f(1.0f, below);
    EXACT f32 q = -2.062355204e-02f;
    q = q * t + 1.124360624e-01f;
    q = q * t - 2.282146509e-01f;
    q = q * t + 1.917859256e-01f;
    q = q * t - 7.942463544e-02f;
    q = q * t + 9.615743766e-02f;
    q = q * t + 7.838944447e-02f;
    q = q * t + 1.102354676e-01f;
    q = q * t + 1.195718089e-01f;
    q = q * t + 1.196866901e-01f;
    EXACT f32 square = -0.5f * x * x;
    EXACT f32 tail = exp_f(square) * t * q;
    return x < 0.0f ? tail : 1.0f - tail;
}
FN f32 erf_f(f32 x) {
    const f32 a = abs_f(x);
    EXACT f32 z = x * x;
    EXACT f32 q = -1.0f / 75600.0f;
    q = q * z + 1.0f / 9360.0f;
    q = q * z - 1.0f / 1320.0f;
    q = q * z + 1.0f / 216.0f;
    q = q * z - 1.0f / 42.0f;
    q = q * z + 0.1f;
    q = q * z - 1.0f / 3.0f;
    EXACT f32 near_zero = 1.12837917f * (x + x * (z * q));
    EXACT f32 away = 1.0f - 2.0f * normal_cdf(-1.41421356f * a);
    return a < 0.5f ? near_zero : with_sign_of(away, x);
}
FN f32 log_f(f32 x) {
    const bool tiny = x < 1.17549435e-38f;
    const f32 scaled = tiny ? x * 8388608.0f : x;
    u32 bits = bits_of(scaled);
    const i32 exponent = i32(bits - 0x3f3504f3u) >> 23;
    bits -= u32(exponent) << 23u;
    const f32 m = float_of(bits), e = f32(exponent) - (tiny ? 23.0f : 0.0f);
    EXACT f32 above = m - 1.0f;
    EXACT f32 below = m + 1.0f;
    const f32 s = div_f(above, below);
    EXACT f32 z = s * s;
    EXACT f32 q = 1.0f / 11.0f;
    q = q * z + 1.0f / 9.0f;
    q = q * z + 1.0f / 7.0f;
    q = q * z + 0.2f;
    q = q * z + 1.0f / 3.0f;
    EXACT f32 y = (2.0f * s * (z * q) - e * 2.12194440e-4f) + 2.0f * s + e * 0.693359375f;
    if (x == INFINITE || is_nan(x)) return x;
    return x == 0.0f ? -INFINITE : x < 0.0f ? NOT_A_NUMBER : y;
}

/* ---- random numbers: Philox4x32-10, as <cvr/plugin/rng.h> has it ---- */

FN void philox(u32 key[2], u32 counter[4], OUT u32 r[4]) {
    u32 k0 = key[0], k1 = key[1], c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (u32 round = 0u; round < 10u; round++) {
        const u32 high0 = mul_hi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        const u32 high1 = mul_hi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    r[0] = c0, r[1] = c1, r[2] = c2, r[3] = c3;
}

#endif
