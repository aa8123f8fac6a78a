/* See vulkan_barriers.h. */
#include "vulkan_barriers.h"

static int32_t overlap(const cvr_range *a, const cvr_range *b) {
    const uint64_t x = (uint64_t)(uintptr_t)a->address, y = (uint64_t)(uintptr_t)b->address;
    return x < y ? y - x < a->bytes : x - y < b->bytes;
}

/* Whether one writes where the other reads or writes. */
static int32_t launches_meet(const cvr_launch *a, const cvr_launch *b) {
    for (uint32_t i = 0; i < a->n_touches; i++)
        for (uint32_t k = 0; k < b->n_touches; k++)
            if (((a->touches[i]->flags | b->touches[k]->flags) & CVR_RANGE_WRITE) &&
                overlap(a->touches[i], b->touches[k]))
                return 1;
    return 0;
}

/* Whether command i must see that command k < i is done. Within a launch it must, unless it says that it need not. */
static int32_t needs(const vulkan_order *o, uint64_t i, uint64_t k, const cvr_launch *const *launches) {
    if (o[i].launch == o[k].launch) return !(o[i].concurrent && k + 1 == i);
    return launches_meet(launches[o[i].launch], launches[o[k].launch]);
}

void vulkan_barriers_place(vulkan_order *o, uint64_t n, const cvr_launch *const *launches) {
    uint64_t open = 0; /* the first command since the last barrier */
    for (uint64_t i = 0; i < n; i++) {
        o[i].barrier = 0;
        for (uint64_t k = open; k < i && !o[i].barrier; k++) o[i].barrier = needs(o, i, k, launches);
        if (o[i].barrier) open = i;
    }
}

void vulkan_barriers_all(vulkan_order *o, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) o[i].barrier = 1;
}

int32_t vulkan_barriers_drop(vulkan_order *o, uint64_t n, uint64_t which) {
    for (uint64_t i = 0; i < n; i++) {
        if (!o[i].barrier || --which) continue;
        o[i].barrier = 0;
        return 1;
    }
    return 0;
}

int32_t vulkan_barriers_check(const vulkan_order *o, uint64_t n, const cvr_launch *const *launches, cvr_error *err) {
    for (uint64_t i = 0; i < n; i++) {
        /* Back to the barrier that is nearest: what lies before that is done. */
        for (uint64_t k = i; k-- > 0 && !o[k + 1].barrier;) {
            if (!needs(o, i, k, launches)) continue;
            return cvr_fail(err, CVR_ERR_PLUGIN,
                            "vulkan_check: there is no barrier between %.200s (command %llu) and %.200s (command %llu)",
                            launches[o[k].launch]->name, (unsigned long long)k, launches[o[i].launch]->name,
                            (unsigned long long)i);
        }
    }
    return CVR_OK;
}
