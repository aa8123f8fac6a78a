/*
 * Sums and maxima over the threads of a group, in an order that does not depend on the device: thread t meets t ^ 1,
 * then t ^ 2, t ^ 4 and so on, within a subgroup by shuffles, beyond it through shared memory. So a sum has the same
 * bits on every device, whatever its subgroups. `width`, a power of two up to GROUP: so many neighbours are one sum.
 * All threads of the group call these, and all get the result. Include it after kernel.h.
 */
#ifndef CVR_DEVICE_REDUCE_H
#define CVR_DEVICE_REDUCE_H

shared f32 reduce_cells[GROUP];

/* v of thread local_id() ^ mask. */
FN f32 other_thread(f32 v, u32 mask) {
    if (mask < subgroup_size()) return shuffle_xor(v, mask);
    barrier();
    reduce_cells[local_id()] = v;
    barrier();
    return reduce_cells[local_id() ^ mask];
}
FN f32 sum_over(f32 v, u32 width) {
    for (u32 m = 1u; m < width; m <<= 1u) v += other_thread(v, m);
    return v;
}
FN f32 max_over(f32 v, u32 width) {
    for (u32 m = 1u; m < width; m <<= 1u) v = max_f(v, other_thread(v, m));
    return v;
}
/* The same among threads that are `stride` apart: neighbours are sums of their own. */
FN f32 sum_across(f32 v, u32 stride) {
    for (u32 m = stride; m < GROUP; m <<= 1u) v += other_thread(v, m);
    return v;
}

#endif
