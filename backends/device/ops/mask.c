/* Dropout, and what stochastic depth multiplies samples with, by mask.k. */
#include "device_ops.h"

#include <cvr/plugin/ops/dropout.h>
#include <cvr/plugin/ops/stochastic_depth.h>

static int32_t run_mask(mask_params *p, double probability, int64_t key, uint32_t type, const cvr_recorder *r,
                        cvr_error *err) {
    const uint32_t constants[] = {type};
    p->all = probability >= 1;
    p->limit = p->all ? 0 : (uint32_t)(probability * 4294967296.0);
    p->scale = p->all ? 0 : (float)(1 / (1 - probability));
    p->key[0] = (uint32_t)(uint64_t)key;
    p->key[1] = (uint32_t)((uint64_t)key >> 32);
    return DEVICE_LAUNCH(r, mask, p, constants, device_groups(p->n, 4 * DEVICE_GROUP), err);
}

static int32_t record_dropout(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_dropout_attrs *attrs = (const cvr_dropout_attrs *)a->attrs;
    mask_params p = {.x = device_at(a, 0),
                     .y = device_address(a->outputs[0]->data),
                     .seed = device_at(a, 1),
                     .step = device_at(a, 2),
                     .n = device_numel(a->outputs[0])};
    return run_mask(&p, attrs->p, attrs->key, a->outputs[0]->dtype, r, err);
}

static int32_t record_scale(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_stochastic_depth_attrs *attrs = &((const cvr_stochastic_depth_scale_attrs *)a->attrs)->depth;
    mask_params p = {.y = device_address(a->outputs[0]->data),
                     .seed = device_at(a, 0),
                     .step = device_at(a, 1),
                     .n = device_numel(a->outputs[0]),
                     .one_draw = attrs->mode != CVR_STOCHASTIC_DEPTH_ROW};
    return run_mask(&p, attrs->p, attrs->key, a->outputs[0]->dtype, r, err);
}

const device_op device_mask_ops[] = {DEVICE_OP("dropout", record_dropout, .inplace = 1),
                                     DEVICE_OP("stochastic_depth_scale", record_scale),
                                     {.op = NULL}};
