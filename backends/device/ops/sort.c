/* Sorting of segments of keys, by sort.k: four passes of eight bits, each of which counts, adds up and places. */
#include "device_ops.h"

device_sort device_sort_of(uint32_t segments, uint32_t n, uint64_t at) {
    const uint64_t all = device_padded(UINT64_C(4) * segments * n);
    return (device_sort){.keys = at,
                         .values = at + all,
                         .spare_keys = at + 2 * all,
                         .spare_values = at + 3 * all,
                         .counts = at + 4 * all,
                         .segments = segments,
                         .n = n,
                         .chunks = (uint32_t)device_groups(n, SORT_TILES * DEVICE_GROUP)};
}

uint64_t device_sort_bytes(uint32_t segments, uint32_t n) {
    const device_sort s = device_sort_of(segments, n, 0);
    return device_padded(s.counts + UINT64_C(4) * 256 * segments * s.chunks);
}

int32_t device_sort_run(const device_sort *s, const cvr_recorder *r, cvr_error *err) {
    sort_params p = {.counts = s->counts, .n = s->n, .chunks = s->chunks, .segments = s->segments};
    const uint32_t count[] = {SORT_COUNT}, scan[] = {SORT_SCAN}, place[] = {SORT_PLACE};
    const uint64_t groups = (uint64_t)s->segments * s->chunks;
    for (uint32_t pass = 0; pass < 4; pass++) {
        const int even = pass % 2 == 0;
        p.shift = 8 * pass;
        p.keys = even ? s->keys : s->spare_keys;
        p.values = pass == 0 ? 0 : even ? s->values : s->spare_values;
        p.keys_to = even ? s->spare_keys : s->keys;
        p.values_to = even ? s->spare_values : s->values;
        CVR_TRY(DEVICE_LAUNCH(r, sort, &p, count, groups, err));
        CVR_TRY(DEVICE_LAUNCH(r, sort, &p, scan, s->segments, err));
        CVR_TRY(DEVICE_LAUNCH(r, sort, &p, place, groups, err));
    }
    return CVR_OK;
}
