/*
 * Training in f16: small gradients of activations would become 0 there, so the loss is multiplied by a scale before the
 * backward pass, and gradients are divided by it afterwards (Micikevicius et al., "Mixed Precision Training", 2018).
 * Where a gradient still is not finite, the scale was too large: the updates of the step are left out, and the scale is
 * halved. After train.loss_scale_growth steps without that it is doubled. As torch.amp.GradScaler does.
 */
#include "session_parts.h"
#include <math.h>

#define SQUARES "gradient squares" /* the output that is not finite where a gradient is not */
#define AT_ONCE 63                 /* gradients of a node */
#define LEAST 0x1p-14              /* a scale below which it is not the scale that makes gradients overflow */
#define MOST 0x1p60

/* ---- the graph ---- */

static int32_t divide(const cvr_gradients *g, cvr_error *err) {
    cvr_value inverse;
    CVR_TRY(g->builder->scalar(g->builder, "loss_unscale", CVR_F32, &inverse, err));
    for (uint64_t i = 0; i < g->n; i++) {
        const cvr_value pair[2] = {g->all[i]->grad, inverse};
        cvr_value scaled;
        CVR_TRY(cvr_emit(g->builder, "gradient_scale", NULL, 0, pair, 2, &scaled, err));
        CVR_TRY(g->replace(g, i, scaled, err));
    }
    return CVR_OK;
}

/* One number that says of all gradients whether they are finite: the sum of their squares. */
static int32_t look(const cvr_gradients *g, cvr_error *err) {
    cvr_value sum = CVR_NONE;
    for (uint64_t first = 0; first < g->n; first += AT_ONCE) {
        cvr_value in[AT_ONCE], pair[2] = {sum};
        uint32_t n = 0;
        for (; n < AT_ONCE && first + n < g->n; n++) in[n] = g->all[first + n]->grad;
        CVR_TRY(cvr_emit(g->builder, "gradient_sum_squares", NULL, 0, in, n, &pair[1], err));
        if (sum)
            CVR_TRY(cvr_emit(g->builder, "add", NULL, 0, pair, 2, &sum, err));
        else
            sum = pair[1];
    }
    return sum ? g->output(g, SQUARES, sum, err) : CVR_OK;
}

static int32_t run(const cvr_gradients *g, cvr_error *err) {
    CVR_TRY(divide(g, err));
    return look(g, err);
}

int32_t loss_scale_build(cvr_graph *g, cvr_error *err) {
    static const cvr_gradient_desc desc = {
        .struct_size = sizeof desc, .name = "loss_scale", .doc = "divides gradients by the loss's scale", .run = run};
    const cvr_gradient_plugin plugin = {&desc, NULL};
    CVR_TRY(cvr_graph_gradients(g, &plugin, 1, err));
    return cvr_graph_output_value(g, SQUARES) == CVR_NONE ? CVR_OK : cvr_graph_guard(g, SQUARES, err);
}

/* ---- steps ---- */

double loss_scale_of(const cvr_session *s, const train_state *st) {
    if (s->net.precision != PRECISION_F16) return 1;
    return st->loss_scale > 0 ? st->loss_scale : s->set.train->loss_scale;
}

int32_t loss_scale_look(cvr_session *s, net_program *p, cvr_error *err) {
    const int32_t slot = cvr_program_slot(p->program, SQUARES);
    float squares;
    s->overflowed = false;
    if (!s->vetoed || slot < 0 || s->net.precision != PRECISION_F16) return CVR_OK;
    CVR_TRY(cvr_program_read(p->program, slot, &squares, err));
    s->overflowed = !isfinite(squares);
    return CVR_OK;
}

/* A step that something else vetoed says nothing about the scale. */
int32_t loss_scale_step(const cvr_session *s, train_state *st, cvr_error *err) {
    if (s->net.precision != PRECISION_F16 || !isfinite(s->losses.total) || (s->vetoed && !s->overflowed)) return CVR_OK;
    st->loss_scale = loss_scale_of(s, st);
    if (!s->overflowed) {
        if (++st->scaled_steps < s->set.train->loss_scale_growth) return CVR_OK;
        st->scaled_steps = 0;
        if (st->loss_scale < MOST) st->loss_scale *= 2;
        return CVR_OK;
    }
    st->scaled_steps = 0;
    st->loss_scale /= 2;
    if (st->loss_scale < LEAST)
        return cvr_fail(
            err, CVR_ERR_NUMERIC,
            "step %lld: gradients are not finite in f16 whatever the loss is multiplied by; lower optim.lr, "
            "or set backend.precision=bf16",
            (long long)st->step + 1);
    cvr_log(CVR_LOG_INFO, "step %lld: a gradient overflowed f16, so its update is left out; the loss's scale is %g now",
            (long long)st->step + 1, st->loss_scale);
    return CVR_OK;
}
