/* Which cell learns which object, by what that would cost (Ge et al., "YOLOX", 2021). Formulas in ops/detect.h. */
#include "detect_family.h"
#include <cvr/plugin/ops/sim_ota_math.h>

static const cvr_attr_desc *const ota_attrs[] = {
    CVR_ATTR(CHOICE, "coder", "center_open", "what the deltas say: centre and sides, or distances of the four sides",
             .choices = "center|ltrb|center_open"),
    CVR_ATTR(FLOAT, "weights", "1", "of dx, dy, dw, dh", .count = 4, CVR_ATTR_AT_LEAST(1e-6)),
    CVR_ATTR(FLOAT, "radius", "1.5", "how far from an object's centre a cell may learn it, in sides of the anchor",
             CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(FLOAT, "iou_weight", "3", "of -ln(IoU) in what an assignment costs", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(INT, "candidates", "10", "largest IoUs whose sum is the number of cells that an object gets",
             CVR_ATTR_BETWEEN(1, CVR_SIM_OTA_MOST)),
};

/* classes (N,A,K), objectness (N,A,1), deltas (N,A,4), anchors, boxes (N,M,4), labels (N,M), counts (N) ->
 * match (N,A) i32, iou (N,A) */
static int32_t ota_infer(const cvr_infer_args *a, cvr_error *err) {
    static const int64_t any[3] = {-1, -1, -1};
    const int64_t *const s = a->inputs[0]->shape, one[3] = {s[0], s[1], 1}, four[3] = {s[0], s[1], 4},
                         objects[3] = {s[0], -1, 4};
    CVR_TRY(detect_check("sim_ota", a, 0, CVR_F32, 3, any, err));
    CVR_TRY(detect_check("sim_ota", a, 1, CVR_F32, 3, one, err));
    CVR_TRY(detect_check("sim_ota", a, 2, CVR_F32, 3, four, err));
    CVR_TRY(detect_check_anchors("sim_ota", a, 3, s[0], s[1], err));
    CVR_TRY(detect_check("sim_ota", a, 4, CVR_F32, 3, objects, err));
    CVR_TRY(detect_check("sim_ota", a, 5, CVR_I64, 2, a->inputs[4]->shape, err));
    CVR_TRY(detect_check("sim_ota", a, 6, CVR_I64, 1, s, err));
    CVR_TRY(detect_check_rows("sim_ota", s[1], err));
    CVR_TRY(detect_check_rows("sim_ota", a->inputs[4]->shape[1], err));
    cvr_type_set(a->outputs[0], CVR_I32, 2, s);
    cvr_type_set(a->outputs[1], CVR_F32, 2, s);
    return CVR_OK;
}

static int32_t ota_run(const cvr_kernel_args *a, cvr_error *err) {
    cvr_sim_ota_picture p;
    CVR_TRY(cvr_sim_ota_check(a, err));
    for (int64_t n = 0; n < a->inputs[0]->shape[0]; n++) {
        cvr_sim_ota_open(a, n, a->workspace, &p);
        cvr_sim_ota(&p);
    }
    return CVR_OK;
}

static uint64_t ota_workspace(const cvr_signature *sig) {
    return cvr_sim_ota_bytes(sig->inputs[0]->shape[1]);
}

/* Candidates are few, how few is not known: each row is compared with each object. */
static double ota_flops(const cvr_infer_args *a) {
    return 10.0 * (double)cvr_numel(2, a->outputs[0]->shape) * (double)a->inputs[4]->shape[1];
}

static const cvr_counts_trait ota_counts = {sizeof ota_counts, 1u << 4 | 1u << 5, 0};
CVR_DEFINE_TRAITS(ota_traits, {CVR_TRAIT_PRECISION, &cvr_precision_none}, {CVR_TRAIT_COUNTS, &ota_counts})

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "sim_ota",
            .version = 1,
            .trait = ota_traits,
            .min_inputs = 7,
            .max_inputs = 7,
            .n_outputs = 2,
            .n_attrs = sizeof ota_attrs / sizeof *ota_attrs,
            .attrs = ota_attrs,
            .infer = ota_infer,
            .flops = ota_flops,
            .doc = "the object that each cell learns at the least cost, and the IoU with it (Ge et al., 2021)"},
     .reference = {sizeof(cvr_cpu_fn), ota_run},
     .workspace = ota_workspace},
};

const detect_family detect_sim_ota = DETECT_FAMILY(ops);
