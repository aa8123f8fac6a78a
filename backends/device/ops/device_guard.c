/* update_guard (<cvr/plugin/idle.h>) by guard.k. */
#include "device_ops.h"

#include <cvr/plugin/idle.h>

#define EXPONENT 0x7f800000u  /* of an f32 */
#define MAGNITUDE 0x7fffffffu /* all but its sign */

/* A whole number is always finite. */
static void add_veto(guard_params *p, const cvr_tensor *veto, int finite) {
    if (finite && veto->dtype != CVR_F32) return;
    const uint32_t i = p->count++;
    p->veto[i] = device_address(veto->data);
    p->mask[i] = finite ? EXPONENT : veto->dtype == CVR_F32 ? MAGNITUDE : UINT32_MAX;
    p->wide[i] = veto->dtype == CVR_I64;
}

static int32_t record_guard(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_update_guard_attrs *s = (const cvr_update_guard_attrs *)a->attrs;
    const uint32_t constants[] = {s->finite != 0};
    const int wide = a->inputs[0]->dtype == CVR_I64;
    const float real = (float)s->idle;
    const int64_t whole = (int64_t)s->idle;
    guard_params p = {.x = device_at(a, 0), .y = device_address(a->outputs[0]->data), .words = wide ? 2 : 1};
    memcpy(p.idle, wide ? (const void *)&whole : &real, wide ? sizeof whole : sizeof real);
    for (uint32_t i = 1; i < a->n_inputs; i++) add_veto(&p, a->inputs[i], s->finite != 0);
    return DEVICE_LAUNCH(r, guard, &p, constants, 1, err);
}

const device_op device_guard_ops[] = {DEVICE_OP("update_guard", record_guard, .supports = device_supports),
                                      {.op = NULL}};
