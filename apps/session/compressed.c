/* The network of a run that a compressor made of another ([compressed]): as the model builds it, batch norms folded,
 * and then rewritten by the plan that lies in the run folder. */
#include "finetune.h"

#define MOST_PLAN_BYTES (16u << 20)

static int32_t run_probe(const cvr_rewriter *r, cvr_error *err) {
    const network_rewriting *w = r->attrs;
    return w->probe->rewrite(w->probe->ctx, r, err);
}

static int32_t run_rewrite(const cvr_rewriter *r, cvr_error *err) {
    const network_rewriting *w = r->attrs;
    return CVR_CALL(w->compressor, rewrite, NULL, err, r, w->plan);
}

int32_t graph_rewrite(const network_rewriting *w, const settings *s, cvr_graph *g, cvr_error *err) {
    const cvr_pass_desc probe = {
        .struct_size = sizeof probe, .name = "probe", .doc = "what a compressor looks at", .run = run_probe};
    cvr_pass_desc rewrite = {.struct_size = sizeof rewrite, .doc = "a compressed network", .run = run_rewrite};
    if (!w->probe && !w->compressor) return CVR_OK;
    CVR_TRY(cvr_graph_passes(g, CVR_PASS_NETWORK, "fold_norm", err));
    if (w->probe) return cvr_graph_pass(g, &probe, w, err);
    rewrite.name = w->compressor->name;
    const int32_t status = cvr_graph_pass(g, &rewrite, w, err);
    if (status != CVR_OK && *s->compressed->plan) /* the plan's fault, unless memory is out */
        cvr_fail_at(err, s->compressed->plan, 0, status);
    CVR_TRY(status);
    return w->alone ? cvr_graph_drop_unread(g, err) : CVR_OK;
}

int32_t network_rewrite(const run_network *n, cvr_graph *g, cvr_error *err) {
    return graph_rewrite(&n->rewriting, n->settings, g, err);
}

/* A training step and its stage, for the pass below. */
typedef struct step_rewriting {
    const network_rewriting *w;
    uint32_t stage;
} step_rewriting;

static int32_t run_step(const cvr_rewriter *r, cvr_error *err) {
    const step_rewriting *step = r->attrs;
    return CVR_CALL(step->w->finetune, finetune->rewrite, NULL, err, r, step->w->plan, step->stage);
}

int32_t network_rewrite_step(const run_network *n, cvr_graph *g, size_t phase, cvr_error *err) {
    const step_rewriting step = {&n->rewriting, n->settings->phases.stages[phase]};
    cvr_pass_desc pass = {.struct_size = sizeof pass, .doc = "training for a compressed network", .run = run_step};
    if (!step.w->finetune) return CVR_OK;
    if (step.stage & CVR_FINETUNE_NORMS_FROZEN) CVR_TRY(cvr_graph_passes(g, CVR_PASS_NETWORK, "freeze_norm", err));
    pass.name = step.w->finetune->name;
    return cvr_graph_pass(g, &pass, &step, err);
}

static int32_t refuse(const cvr_session *s, const char *why, cvr_error *err) {
    const compressed_settings *c = s->set.compressed;
    cvr_fail(err, CVR_ERR_USAGE, "this run was made by `%s` of another, %s take that one: %s", c->by, why,
             *c->origin ? c->origin : "it does not say which");
    return cvr_config_blame(s->set.config, "compressed", "by", CVR_ERR_USAGE, err);
}

static int32_t read_plan(const settings *s, char **plan, cvr_error *err) {
    uint8_t *bytes;
    uint64_t n;
    CVR_TRY(cvr_fs_read(s->compressed->plan, MOST_PLAN_BYTES, &bytes, &n, err));
    *plan = cvr_strndup((const char *)bytes, (size_t)n);
    const bool text = *plan && strlen(*plan) == n;
    cvr_free(bytes);
    if (!*plan) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (text) return CVR_OK;
    cvr_fail(err, CVR_ERR_FORMAT, "is no text; quantise the run again");
    return cvr_fail_at(err, s->compressed->plan, 0, CVR_ERR_FORMAT);
}

int32_t compressed_open(const settings *s, cvr_plugins *plugins, network_rewriting *to, char **plan, cvr_error *err) {
    const compressed_settings *c = s->compressed;
    const void *desc;
    CVR_TRY(cvr_config_blame(s->config, "compressed", "by",
                             cvr_plugins_find(plugins, CVR_KIND_COMPRESSOR, c->by, &desc, err), err));
    if (!((const cvr_compressor_desc *)desc)->rewrite)
        return cvr_config_blame(
            s->config, "compressed", "by",
            cvr_fail(err, CVR_ERR_USAGE, "compressed.by = %s: that prunes, and needs no [compressed]", c->by), err);
    if (!*c->plan)
        return cvr_config_blame(s->config, "compressed", "by",
                                cvr_fail(err, CVR_ERR_USAGE, "compressed.by without compressed.plan"), err);
    CVR_TRY(read_plan(s, plan, err));
    *to = (network_rewriting){.compressor = desc, .plan = *plan, .alone = true};
    return CVR_OK;
}

int32_t session_open_compressed(cvr_session *s, cvr_error *err) {
    const compressed_settings *c = s->set.compressed;
    const bool finetunes = s->purpose & CVR_TO_FINETUNE;
    if ((s->purpose & (CVR_FOR_TRAINING | CVR_FOR_DATA)) && !finetunes)
        return refuse(s,
                      "and is evaluated and exported only; training for integers goes on by cvrun quantize --resume; "
                      "for all else",
                      err);
    if (s->purpose & CVR_FOR_COMPRESSION) return refuse(s, "and cannot be made smaller once more;", err);
    if (s->set.backend->precision != PRECISION_F32)
        return cvr_config_blame(
            s->set.config, "backend", "precision",
            cvr_fail(err, CVR_ERR_USAGE, "backend.precision: what `%s` left as it was is in f32; leave it out", c->by),
            err);
    CVR_TRY(compressed_open(&s->set, s->plugins, &s->net.rewriting, &s->plan, err));
    return finetunes ? finetune_open(s, s->net.rewriting.compressor, err) : CVR_OK;
}
