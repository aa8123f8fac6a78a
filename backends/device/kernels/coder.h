/* Boxes as differences from anchors, and back: the formulas of <cvr/plugin/ops/detect_math.h>. */

#define CODER_MOST 4.135166556742356f /* ln(1000 / 16), above which sides are held */

/* Whether the side of dw or dh, divided by its weight, is held. */
FN bool side_is_held(u32 coder, f32 growth) {
    return coder != CODER_CENTER_OPEN && growth > CODER_MOST;
}
/* The side in units of the anchor's. */
FN f32 side_of(u32 coder, f32 growth) {
    return exp_f(side_is_held(coder, growth) ? CODER_MOST : growth);
}

FN void encode_box(u32 coder, f32 weights[4], f32 box[4], f32 anchor[4], OUT f32 delta[4]) {
    UNROLL for (u32 j = 0u; j < 2u; j++) {
        const f32 side = anchor[j + 2u] - anchor[j], size = box[j + 2u] - box[j];
        if (coder == CODER_LTRB) {
            const f32 at = 0.5f * (anchor[j] + anchor[j + 2u]);
            delta[j] = div_f(at - box[j], side);
            delta[j + 2u] = div_f(box[j + 2u] - at, side);
        } else {
            EXACT f32 from = anchor[j] + 0.5f * side;
            EXACT f32 to = box[j] + 0.5f * size;
            EXACT f32 far = weights[j] * (to - from);
            delta[j] = div_f(far, side);
            delta[j + 2u] = weights[j + 2u] * log_f(div_f(size, side));
        }
    }
}

FN void decode_box(u32 coder, f32 weights[4], f32 delta[4], f32 anchor[4], OUT f32 box[4]) {
    UNROLL for (u32 j = 0u; j < 2u; j++) {
        EXACT f32 side = anchor[j + 2u] - anchor[j];
        if (coder == CODER_LTRB) {
            EXACT f32 at = 0.5f * (anchor[j] + anchor[j + 2u]);
            EXACT f32 low = at - delta[j] * side;
            EXACT f32 high = at + delta[j + 2u] * side;
            box[j] = low, box[j + 2u] = high;
        } else {
            EXACT f32 at = div_f(delta[j], weights[j]) * side + (anchor[j] + 0.5f * side);
            EXACT f32 half_side = 0.5f * (side_of(coder, div_f(delta[j + 2u], weights[j + 2u])) * side);
            EXACT f32 low = at - half_side;
            EXACT f32 high = at + half_side;
            box[j] = low, box[j + 2u] = high;
        }
    }
}

FN void decode_gradient(u32 coder, f32 weights[4], f32 delta[4], f32 anchor[4], f32 grad[4], OUT f32 slope[4]) {
    UNROLL for (u32 j = 0u; j < 2u; j++) {
        const f32 side = anchor[j + 2u] - anchor[j];
        if (coder == CODER_LTRB) {
            slope[j] = -grad[j] * side;
            slope[j + 2u] = grad[j + 2u] * side;
        } else {
            const f32 growth = div_f(delta[j + 2u], weights[j + 2u]);
            const f32 half_side = side_is_held(coder, growth) ? 0.0f : 0.5f * side;
            slope[j] = div_f((grad[j] + grad[j + 2u]) * side, weights[j]);
            slope[j + 2u] = div_f((grad[j + 2u] - grad[j]) * half_side * side_of(coder, growth), weights[j + 2u]);
        }
    }
}
