/*
 * Scales of norms are drawn to zero, so that those that matter little can be told and pruned: s * sign(scale) is added
 * to their gradients (Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", 2017). The key
 * train.norm_sparsity.
 */
#include <cvr/plugin/plugin.h>

/* As `keys` packs it. */
typedef struct sparsity_settings {
    double norm_sparsity;
} sparsity_settings;

static const cvr_attr_desc *const keys[] = {
    CVR_ATTR(FLOAT, "norm_sparsity", "0",
             "draws scales of norms to zero, 1e-5 or so, before `cvrun prune method=bn_scale`; 0: it does not",
             CVR_ATTR_AT_LEAST(0))};

/* grad + (scale > 0 ? s : scale < 0 ? -s : 0) */
static void write_program(double sparsity, cvr_elementwise_attrs *attrs) {
    cvr_steps s;
    memset(&s, 0, sizeof s);
    s.struct_size = sizeof s;
    const uint32_t grad = 0, scale = 1, zero = cvr_constant(&s, 0);
    const uint32_t negative = cvr_step4(&s, CVR_STEP_SELECT_GT, zero, scale, cvr_constant(&s, -(float)sparsity), zero);
    const uint32_t push = cvr_step4(&s, CVR_STEP_SELECT_GT, scale, zero, cvr_constant(&s, (float)sparsity), negative);
    (void)cvr_step2(&s, CVR_STEP_ADD, grad, push);
    cvr_elementwise_attrs_of(&s, attrs);
}

/* Of a norm's two parameters the scale is called `weight`, as PyTorch has it. */
static int is_scale(const cvr_gradients *g, const cvr_gradient *p) {
    const char *dot = strrchr(p->name, '.');
    return (g->builder->param_flags(g->builder, p->param) & CVR_PARAM_NORM) &&
           strcmp(dot ? dot + 1 : p->name, "weight") == 0;
}

static int32_t run(const cvr_gradients *g, cvr_error *err) {
    const sparsity_settings *s = g->attrs;
    cvr_elementwise_attrs attrs;
    if (s->norm_sparsity == 0) return CVR_OK;
    write_program(s->norm_sparsity, &attrs);
    for (uint64_t i = 0; i < g->n; i++) {
        const cvr_value in[2] = {g->all[i]->grad, g->all[i]->param};
        cvr_value pushed;
        if (!is_scale(g, g->all[i])) continue;
        CVR_TRY(cvr_emit(g->builder, "elementwise", &attrs, sizeof attrs, in, 2, &pushed, err));
        CVR_TRY(g->replace(g, i, pushed, err));
    }
    return CVR_OK;
}

static const cvr_gradient_desc sparsity = {.struct_size = sizeof sparsity,
                                           .name = "norm_sparsity",
                                           .doc = "draws scales of norms to zero",
                                           .n_attrs = 1,
                                           .attrs = keys,
                                           .run = run};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_GRADIENT, &sparsity, err);
}

CVR_DEFINE_PLUGIN("gradient_norm_sparsity", "0.1.0", "op:elementwise", load)
