/* Pruning of channels: methods of `cvrun prune` that differ in how they judge a channel. */
#include "prune.h"

static const cvr_attr_desc *const channel_attrs[] = {
    CVR_ATTR(
        STRING, "target", "",
        "what is to be left, of what one picture costs: macs:0.5 (the default), params:0.5, or time:0.5, measured"),
    CVR_ATTR(FLOAT, "amount", "0",
             "without a target, the share of each group's channels that goes; products and weights fall to about "
             "the square of what is left",
             CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(CHOICE, "scope", "bottleneck",
             "channels within blocks only, or also those of residual streams, which many layers share",
             .choices = "bottleneck|all"),
    CVR_ATTR(BOOL, "global", "no", "one threshold for all layers, in place of one share"),
    CVR_ATTR(FLOAT, "max", "0.9", "the most that a group of channels may lose", CVR_ATTR_BETWEEN(0, 0.999)),
    CVR_ATTR(INT, "round_to", "16", "channels that are left are a multiple of this, and at least this many",
             CVR_ATTR_BETWEEN(1, 4096)),
    CVR_ATTR(STRING, "layers", "",
             "only channels that these layers make, by patterns of names with * and ?, separated by commas"),
    CVR_ATTR(STRING, "skip", "", "layers that keep all channels that they make, and with them whatever shares these"),
    CVR_ATTR(INT, "batches", "10", "of the training pictures, for method=taylor", CVR_ATTR_BETWEEN(1, 1e6)),
    CVR_ATTR(INT, "seed", "0", "for method=random", CVR_ATTR_AT_LEAST(0)),
};
CVR_STATIC_ASSERT(sizeof(prune_settings) == sizeof(void *) * sizeof channel_attrs / sizeof *channel_attrs,
                  "settings must match the schema");

/* ---- which groups ---- */

/* Columns of a weight are channels that another layer makes. */
static int skips(const prune_job *j, const cvr_channel_group *g) {
    for (uint64_t i = 0; i < g->n_members; i++)
        if (g->members[i]->axis == 0 && cvr_names_fit(j->settings->skip, g->members[i]->param)) return 1;
    return 0;
}

static int names_member(const prune_job *j, const char *pattern, uint64_t n) {
    for (uint64_t i = 0; i < j->n_groups; i++)
        for (uint64_t k = 0; k < j->groups[i]->n_members; k++)
            if (cvr_name_fits(pattern, n, j->groups[i]->members[k]->param)) return 1;
    return 0;
}

/* A pattern of prune.skip that means nothing here is more likely a slip than a wish. */
static int32_t note_unused_skips(const prune_job *j, cvr_error *err) {
    const char *list = j->settings->skip, *pattern;
    char text[300];
    uint64_t n;
    while ((pattern = cvr_next_pattern(&list, &n))) {
        if (names_member(j, pattern, n)) continue;
        (void)snprintf(text, sizeof text, "%.*s: none of the channels that could go is that layer's",
                       (int)(n < 200 ? n : 200), pattern);
        CVR_TRY(j->c->note(j->c, "prune.skip", text, err));
    }
    return CVR_OK;
}

static void choose_groups(const prune_job *j) {
    for (uint64_t i = 0; i < j->n_groups; i++) {
        const cvr_channel_group *g = j->groups[i];
        const int stream = (g->flags & CVR_CHANNELS_STREAM) && j->settings->scope == PRUNE_BOTTLENECK;
        j->chosen[i] =
            !stream && !skips(j, g) && (!*j->settings->layers || cvr_names_fit(j->settings->layers, g->name));
    }
}

/* ---- a run ---- */

static int32_t open_job(prune_job *j, cvr_error *err) {
    CVR_TRY(j->c->channels(j->c, &j->groups, &j->n_groups, err));
    j->first = prune_room(j->c, (j->n_groups + 1) * sizeof *j->first);
    j->chosen = prune_room(j->c, j->n_groups + 1);
    if (!j->first || !j->chosen) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (uint64_t i = 0; i < j->n_groups; i++) j->first[i + 1] = j->first[i] + j->groups[i]->units;
    j->n_units = j->first[j->n_groups];
    j->scores = prune_room(j->c, j->n_units * sizeof *j->scores);
    j->gone = prune_room(j->c, j->n_units + 1);
    j->order = prune_room(j->c, j->n_units * sizeof *j->order);
    return j->scores && j->gone && j->order ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

static void close_job(const prune_job *j) {
    void *const all[] = {j->first, j->chosen, j->scores, j->gone, j->order};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) j->c->host->free(j->c->host, all[i]);
}

static int32_t score_groups(const prune_job *j, prune_score_fn score, cvr_error *err) {
    uint64_t judged = 0;
    for (uint64_t i = 0; i < j->n_groups; i++) {
        cvr_error why = CVR_ERROR_INIT;
        char text[600];
        if (!j->chosen[i]) continue;
        const int32_t status = score(j, j->groups[i], j->scores + j->first[i], &why);
        if (status != CVR_OK && status != CVR_ERR_UNSUPPORTED) return cvr_fail(err, status, "%s", why.message);
        judged += status == CVR_OK;
        if (status == CVR_OK) continue;
        j->chosen[i] = 0;
        (void)snprintf(text, sizeof text, "%.200s: %.300s", j->groups[i]->name, why.message);
        CVR_TRY(j->c->note(j->c, "stays whole", text, err));
    }
    if (judged) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE,
                    "no channels of this network may go: see prune.layers, prune.skip, and prune.scope=all");
}

/* "layer1.0.conv1" of "layer1.0.conv1.weight" */
static int layer_length(const char *param) {
    const char *dot = strrchr(param, '.');
    return dot ? (int)(dot - param) : (int)strlen(param);
}

static int32_t note_widths(const prune_job *j, cvr_error *err) {
    for (uint64_t i = 0; i < j->n_groups; i++) {
        const cvr_channel_group *g = j->groups[i];
        const uint64_t channels = g->members[0]->each;
        char text[400];
        uint64_t left = 0;
        for (uint64_t u = j->first[i]; u < j->first[i + 1]; u++) left += !j->gone[u];
        if (left == g->units) continue;
        (void)snprintf(text, sizeof text, "%.*s: %llu -> %llu%s", layer_length(g->name), g->name,
                       (unsigned long long)(g->units * channels), (unsigned long long)(left * channels),
                       g->flags & CVR_CHANNELS_STATISTICS ? "; a norm over these channels computes other numbers" : "");
        CVR_TRY(j->c->note(j->c, "width", text, err));
    }
    return CVR_OK;
}

static int32_t run(prune_job *j, prune_score_fn score, cvr_error *err) {
    CVR_TRY(open_job(j, err));
    choose_groups(j);
    CVR_TRY(note_unused_skips(j, err));
    if (score == prune_score_taylor) CVR_TRY(j->c->gradients(j->c, (uint64_t)j->settings->batches, err));
    CVR_TRY(score_groups(j, score, err));
    CVR_TRY(prune_reach_target(j, err));
    CVR_TRY(note_widths(j, err));
    return j->c->remove(j->c, j->gone, err);
}

static int32_t compress(const cvr_compression *c, prune_score_fn score, cvr_error *err) {
    prune_job j = {.c = c, .settings = c->attrs};
    const int32_t status = run(&j, score, err);
    close_job(&j);
    return status;
}

#define METHOD(name_, doc_)                                                                                            \
    static int32_t compress_##name_(const cvr_compression *c, cvr_error *err) {                                        \
        return compress(c, prune_score_##name_, err);                                                                  \
    }                                                                                                                  \
    static const cvr_compressor_desc method_##name_ = {.struct_size = sizeof method_##name_,                           \
                                                       .name = #name_,                                                 \
                                                       .section = "prune",                                             \
                                                       .doc = doc_,                                                    \
                                                       .n_attrs = sizeof channel_attrs / sizeof *channel_attrs,        \
                                                       .attrs = channel_attrs,                                         \
                                                       .compress = compress_##name_};

METHOD(l1, "channels whose weights have the least sum of magnitudes go")
METHOD(l2, "channels whose weights have the least sum of squares go")
METHOD(bn_scale, "channels whose batch norms have the least scale go (Network Slimming)")
METHOD(taylor, "channels without which the loss changes least, to first order, go")
METHOD(lamp, "channels of the least score go that sees the larger ones of the layer (LAMP)")
METHOD(fpgm, "channels whose filters are nearest to the others go (geometric median)")
METHOD(random, "channels go by chance: what a method has to be better than")

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    const cvr_compressor_desc *const methods[] = {&method_l1,   &method_l2,   &method_bn_scale, &method_taylor,
                                                  &method_lamp, &method_fpgm, &method_random};
    (void)host;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        CVR_TRY(r->add(r, CVR_KIND_COMPRESSOR, methods[i], err));
    for (size_t i = 0; i < PRUNE_MASK_METHODS; i++) CVR_TRY(r->add(r, CVR_KIND_COMPRESSOR, &prune_masks[i], err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("compress_prune", "0.1.0", "", load)
