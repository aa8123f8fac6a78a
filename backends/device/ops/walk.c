/* Loops over axes: which elements of two tensors belong together, with as few axes as can be. */
#include "device_ops.h"

void device_steps(uint32_t rank, const int64_t *shape, uint32_t steps[CVR_MAX_RANK]) {
    static const uint32_t pixels[4] = {1, 3, 2, 0};
    uint32_t step = 1;
    for (uint32_t i = 0; i < rank; i++) {
        const uint32_t axis = rank == 4 ? pixels[i] : rank - 1 - i;
        steps[axis] = step;
        step *= (uint32_t)shape[axis];
    }
}

/* Adds an axis outside of those that are there; one with the last where it goes on where that ends. */
static void add_axis(device_walk *w, uint32_t size, uint32_t to, uint32_t from) {
    const uint32_t last = w->n - 1;
    if (w->n && w->to[last] * w->size[last] == to && w->from[last] * w->size[last] == from) {
        w->size[last] *= size;
        return;
    }
    w->size[w->n] = size;
    w->to[w->n] = to;
    w->from[w->n] = from;
    w->n++;
}

device_walk device_walk_of(uint32_t rank, const int64_t *shape, const uint32_t *to, const uint32_t *from) {
    device_walk w = {.n = 0};
    uint32_t done = 0;
    for (uint32_t k = 0; k < rank; k++) { /* by steps of `to`, then of `from` */
        uint32_t next = rank;
        for (uint32_t i = 0; i < rank; i++) {
            if (done >> i & 1) continue;
            if (next == rank || to[i] < to[next] || (to[i] == to[next] && from[i] < from[next])) next = i;
        }
        done |= UINT32_C(1) << next;
        if (shape[next] != 1) add_axis(&w, (uint32_t)shape[next], to[next], from[next]);
    }
    for (uint32_t i = 0; i < w.n; i++) {
        const device_divisor by = device_divisor_of(w.size[i]);
        w.magic[i] = by.magic;
        w.shift[i] = by.shift;
    }
    return w;
}

int32_t device_copy(const cvr_recorder *r, void *to, const void *from, uint32_t element, const device_walk *w,
                    cvr_error *err) {
    copy_params p = {.to = device_address(to), .from = device_address(from), .count = 1, .walk = *w};
    const uint32_t constants[] = {element};
    for (uint32_t i = 0; i < w->n; i++) p.count *= w->size[i];
    return DEVICE_LAUNCH(r, copy, &p, constants, device_groups_for(p.count), err);
}

uint32_t device_width(const device_walk *inner, uint32_t outputs, uint32_t terms) {
    const int apart = inner->n && inner->from[0] != 1;
    uint32_t width = 1;
    while (width < DEVICE_GROUP && width * 4 < terms && (!apart || (uint64_t)outputs * width < 65536)) width *= 2;
    return width;
}
