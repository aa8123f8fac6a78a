/* What element q of the large picture takes along an axis: two places, and the second one's weight in t[0]. */
FN void resize_source(u32 q, u32 size, u32 large, f32 step, u32 mode, OUT u32 at[2], OUT f32 t[1]) {
    at[0] = at[1] = q;
    t[0] = 0.0f;
    if (size == large) return;
    if (mode == RESIZE_NEAREST) {
        at[0] = large == 2u * size ? q / 2u : min_u(u32(f32(q) * step), size - 1u);
        at[1] = at[0];
        return;
    }
    EXACT f32 u = mode == RESIZE_CORNERS ? f32(q) * step : max_f((f32(q) + 0.5f) * step - 0.5f, 0.0f);
    at[0] = min_u(u32(u), size - 1u);
    at[1] = min_u(at[0] + 1u, size - 1u);
    t[0] = min_f(u - f32(at[0]), 1.0f);
}
