/* Numbers of the threads of a group, added up in the order of the threads. Include it after kernel.h. */

shared u32 flag_cells[GROUP];

/* The sum of the threads before this one in counts[0], of all threads in counts[1]. All threads of the group call it.
 */
FN void count_flags(u32 flag, OUT u32 counts[2]) {
    counts[0] = counts[1] = 0u;
    barrier();
    flag_cells[local_id()] = flag;
    barrier();
    for (u32 t = 0u; t < GROUP; t++) {
        counts[0] += t < local_id() ? flag_cells[t] : 0u;
        counts[1] += flag_cells[t];
    }
}
