/* Element i of a tensor (n,rows,columns,channels): its picture, row, column and channel. */
FN void pool_place(PARAMS_OF(pool_params) p, u32 i, u32 rows, u32 columns, OUT u32 at[4]) {
    const u32 pixel = divide(i, p.channels_magic, p.channels_shift);
    const u32 line = divide(pixel, p.inner_magic, p.inner_shift);
    at[0] = divide(line, p.outer_magic, p.outer_shift);
    at[1] = line - at[0] * rows;
    at[2] = pixel - line * columns;
    at[3] = i - pixel * p.channels;
}
