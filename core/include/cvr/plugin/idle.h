/*
 * "cvr.trait.idle/1": how an update is told to do nothing. A step whose loss or gradients are not finite must leave
 * parameters and all that belongs to them as they were. The device finds that out in the middle of the step, and the
 * host would have to stop and wait for the device to hear of it. So the core puts the op `update_guard` between the
 * scalar that such an update reads (its step, its weight) and the update: in a step that is vetoed the update reads
 * `value` there. Then the whole step runs without a wait, and the host hears at its end whether it was vetoed.
 *
 * An update op without this trait is as good as ever: a program that has one is cut in front of its first update, and
 * the host waits there for what may veto.
 */
#ifndef CVR_PLUGIN_IDLE_H
#define CVR_PLUGIN_IDLE_H

#include "op.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_TRAIT_IDLE "cvr.trait.idle/1"

/*
 * For an op that changes stored values and has no outputs. Where input `input`, one number, f32 or i64, holds `value`,
 * a run leaves all that the op mutates as it was, to the bit, whatever the other inputs hold: gradients may be NaN. All
 * kernels of the op must keep to that, and what it decomposes into as well.
 */
typedef struct cvr_idle_trait {
    uint64_t struct_size;
    double value;
    uint32_t input;
    uint32_t reserved;
} cvr_idle_trait;

/*
 * Attributes of `update_guard`, version 1 (plugin "optimizers"): x, then up to 62 vetoes -> x, or `idle` in its place
 * where one of the vetoes says no. x and the result are one number, f32 or i64; a veto is one number, f32, i32 or i64.
 * It says no where it is infinite or not a number, if `finite` (a loss, a sum of gradients); else where it is not 0.
 */
typedef struct cvr_update_guard_attrs {
    double idle;
    int64_t finite; /* 0 or 1 */
} cvr_update_guard_attrs;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_idle_trait) == 24, "cvr_idle_trait has padding");
CVR_STATIC_ASSERT(sizeof(cvr_update_guard_attrs) == 16, "cvr_update_guard_attrs has padding");

#endif
