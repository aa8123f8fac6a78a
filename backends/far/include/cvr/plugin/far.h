/*
 * "far.fn/1": device code for `far`, the strict device of the tests. A module (cvr_code) is an array of pointers to
 * cvr_far_entry, `n_bytes` long: functions of the host, which still get the device's addresses and have to ask for what
 * is behind them. It is the shape that SPIR-V and fatbins have, on a machine without a GPU.
 */
#ifndef CVR_PLUGIN_FAR_H
#define CVR_PLUGIN_FAR_H

#include <cvr/plugin/device.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One group of threads of a dispatch. */
typedef struct cvr_far_group {
    uint64_t struct_size;
    const void *params;
    const uint32_t *constants;
    uint64_t params_size;
    uint32_t n_constants;
    uint32_t index[3]; /* of this group */
    uint32_t groups[3], threads[3];
    uint32_t reserved;
    uint32_t shared_bytes;
    void *shared;
    /* Where the host sees device memory, for the call alone. */
    void *(*host)(uint64_t address);
} cvr_far_group;

typedef struct cvr_far_entry {
    uint64_t struct_size;
    const char *name;
    int32_t (*run)(const cvr_far_group *g, cvr_error *err);
} cvr_far_entry;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_far_group) == 96, "cvr_far_group has padding");
CVR_STATIC_ASSERT(sizeof(cvr_far_entry) == 24, "cvr_far_entry has padding");

#endif
