/*
 * Under the address sanitizer: while a launch runs, of all device memory only the ranges are open that it says it
 * touches (cvr_launch.touches). What it reads or writes beside them, in another tensor or between two, is reported as
 * any access out of bounds is. In other builds nothing happens here.
 */
#ifndef EMU_FENCE_H
#define EMU_FENCE_H

#include <cvr/plugin/backend.h>
#include <cvr/plugin/host.h>

typedef struct emu_block {
    void *address;
    uint64_t bytes;
} emu_block;

/* The blocks of device memory that are in use. */
typedef struct emu_fence {
    const cvr_host *host;
    emu_block *blocks;
    uint64_t n, capacity;
} emu_fence;

int32_t emu_fence_add(emu_fence *f, void *address, uint64_t bytes, cvr_error *err);
void emu_fence_remove(emu_fence *f, const void *address);
void emu_fence_clear(emu_fence *f);

/* Shuts all but what the launch touches; opens all. */
void emu_fence_shut(const emu_fence *f, const cvr_launch *l);
void emu_fence_open(const emu_fence *f);

#endif
