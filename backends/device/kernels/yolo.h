/* The rows of Darknet's maps of boxes: the formulas of <cvr/plugin/ops/yolo_math.h>. */

/* The box of the numbers t of a row, corners in pixels; anchor: its width and height; cell: its line and column. */
FN void yolo_box(u32 squares, f32 scale, u32 cells[2], f32 size[2], u32 cell[2], f32 t[4], f32 anchor[2],
                 OUT f32 box[4]) {
    UNROLL for (u32 j = 0u; j < 2u; j++) { /* x, y */
        const f32 inside = squares != 0u ? t[j] : div_f(1.0f, 1.0f + exp_f(-t[j]));
        EXACT f32 at = f32(cell[1u - j]) + inside * scale - 0.5f * (scale - 1.0f);
        EXACT f32 centre = div_f(at, f32(cells[1u - j])) * size[1u - j];
        EXACT f32 growth = squares != 0u ? t[j + 2u] * t[j + 2u] * 4.0f : exp_f(t[j + 2u]);
        EXACT f32 half_side = 0.5f * growth * anchor[j];
        EXACT f32 low = centre - half_side;
        EXACT f32 high = centre + half_side;
        box[j] = low, box[j + 2u] = high;
    }
}
