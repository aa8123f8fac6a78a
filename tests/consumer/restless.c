/*
 * acme.restless: an update, sum += weight * x, that says it is told to do nothing by a weight of 0 (cvr/plugin/idle.h).
 * With ACME_MISTAKE=restless it computes all the same, so that a step whose gradients are not finite spoils the sum.
 */
#include <cvr/plugin/idle.h>
#include <cvr/plugin/plugin.h>
#include <stdlib.h>

static int32_t restless_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *sum = a->inputs[1], *x = a->inputs[2];
    if (a->inputs[0]->rank == 0 && a->inputs[0]->dtype == CVR_F32 && sum->dtype == CVR_F32 && x->dtype == CVR_F32 &&
        cvr_numel(sum->rank, sum->shape) == cvr_numel(x->rank, x->shape))
        return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "acme.restless: takes a scalar and two tensors of one shape, f32");
}

static int32_t restless_run(const cvr_kernel_args *a, cvr_error *err) {
    const char *mistake = getenv("ACME_MISTAKE");
    const float weight = *(const float *)a->inputs[0]->data, *x = (const float *)a->inputs[2]->data;
    float *sum = (float *)a->inputs[1]->data;
    (void)err;
    if (weight == 0 && (!mistake || strcmp(mistake, "restless") != 0)) return CVR_OK;
    for (int64_t i = 0; i < cvr_numel(a->inputs[1]->rank, a->inputs[1]->shape); i++) sum[i] += weight * x[i];
    return CVR_OK;
}

static const cvr_idle_trait idle = {sizeof idle, 0, 0, 0};
CVR_DEFINE_TRAITS(restless_traits, {CVR_TRAIT_IDLE, &idle})

static const cvr_op_desc restless_op = {.struct_size = sizeof restless_op,
                                        .name = "acme.restless",
                                        .version = 1,
                                        .min_inputs = 3,
                                        .max_inputs = 3,
                                        .mutates = 2,
                                        .infer = restless_infer,
                                        .trait = restless_traits,
                                        .doc = "sum += weight * x"};
static const cvr_cpu_fn restless_fn = {sizeof restless_fn, restless_run};
static const cvr_kernel_desc restless_kernel = {.struct_size = sizeof restless_kernel,
                                                .op = "acme.restless",
                                                .backend = "reference",
                                                .payload_kind = CVR_PAYLOAD_CPU_FN,
                                                .payload = &restless_fn,
                                                .op_version = 1,
                                                .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_OP, &restless_op, err));
    return r->add(r, CVR_KIND_KERNEL, &restless_kernel, err);
}

CVR_DEFINE_PLUGIN("com.acme.restless", "1.0.0", "", load)
