/* Scores of classes at positions: what losses of segmentation share. With one class, its probability is sigmoid(x). */

/* Where the scores of a position begin, and the position's number: at[1], at[0]. */
FN void position_at(class_rows s, u32 row, OUT u32 at[2]) {
    walk_to(s.outer, min_u(row, s.rows - 1u), at);
}
FN f32 score_at(class_rows s, u64 x, u32 first, u32 c) {
    u32 at[2];
    walk_to(s.inner, c, at);
    return load_f32(x, first + at[1]);
}

#define TARGET_IGNORED 0xffffffffu
#define TARGET_BAD 0xfffffffeu

FN u32 target_at(class_rows s, u64 target, u32 position) {
    const u32 low = load_u32(target, 2u * position), high = load_u32(target, 2u * position + 1u);
    if (low == s.ignored[0] && high == s.ignored[1]) return TARGET_IGNORED;
    return high == 0u && low < (s.terms == 1u ? 2u : s.terms) ? low : TARGET_BAD;
}
/* Whether the target is class c; with one class it is the target itself. */
FN bool is_class(class_rows s, u32 target, u32 c) {
    return s.terms == 1u ? target == 1u : target == c;
}
