/* From the number of an element, counted as a host function laid it down (ops/walk.c), to its place in two tensors. */
FN void walk_to(device_walk w, u32 i, OUT u32 at[2]) {
    u32 to = 0u, from = 0u;
    UNROLL for (u32 d = 0u; d < 6u; d++) {
        if (d >= w.n) break;
        const u32 rest = divide(i, w.magic[d], w.shift[d]), place = i - rest * w.size[d];
        to += place * w.to[d];
        from += place * w.from[d];
        i = rest;
    }
    at[0] = to, at[1] = from;
}
