/* A .cfg file as a list of layers; see the header. */
#include "darknet_plan.h"
#include <math.h>

/* ---- [net] ---- */

/* Keys that are about Darknet's memory, speed and windows, and those that are ignored where they say more than nothing.
 */
static const char passed_net[] =
    " subdivisions time_steps notruth inputs track augment_speed optimized_memory workspace_size_limit_MB cudnn_half "
    "show_receptive_field num_boxes max_boxes use_cuda_graph try_fix_nan loss_scale "
    "gamma=0 aspect=1 ratio=1 min_ratio=0 max_ratio=0 random_crop=0 random=0 center=0 clip=0 cutmix=0 mixup=0 "
    "gaussian_noise=0 blur=0 label_smooth_eps=0 sequential_subdivisions=1 seq_scales=1 max_chart_loss=0 ema_alpha=0 "
    "dynamic_minibatch=0 num_sigmas_reject_badlabels=0 badlabels_rejection_percentage=0 reject_threshold=0 "
    "mosaic_bound=0 contrastive=0 contrastive_jit_flip=0 contrastive_color=0 unsupervised=0 "
    "init_sequential_subdivisions=1 weights_reject_freq=0 equidistant_point=0 sgdr_mult=2 ";

static const int64_t counts[2] = {0, 1000000000}, yes_no[2] = {0, 1};

static int32_t read_ints(const darknet_cfg *c, const darknet_section *s, darknet_net *n, cvr_error *err) {
    static const int64_t batches[2] = {1, 65536}, sides[2] = {0, 16384}, channels[2] = {1, 16}, few[2] = {0, 3};
    CVR_TRY(darknet_cfg_int(c, s, "batch", 1, batches, &n->batch, err));
    CVR_TRY(darknet_cfg_int(c, s, "width", 0, sides, &n->width, err));
    CVR_TRY(darknet_cfg_int(c, s, "height", 0, sides, &n->height, err));
    CVR_TRY(darknet_cfg_int(c, s, "channels", 3, channels, &n->channels, err));
    CVR_TRY(darknet_cfg_int(c, s, "burn_in", 0, counts, &n->burn_in, err));
    CVR_TRY(darknet_cfg_int(c, s, "max_batches", 0, counts, &n->max_batches, err));
    CVR_TRY(darknet_cfg_int(c, s, "mosaic", 0, few, &n->mosaic, err));
    n->has_letter_box = darknet_cfg_find(c, s, "letter_box") != NULL;
    return darknet_cfg_int(c, s, "letter_box", 0, few, &n->letter_box, err);
}

static int32_t read_pictures(const darknet_cfg *c, const darknet_section *s, darknet_net *n, cvr_error *err) {
    static const int64_t sides[2] = {1, 65499}, multiples[2] = {1, 1024};
    static const double hues[2] = {0, 0.5}, factors[2] = {0, 100}, angles[2] = {0, 180};
    CVR_TRY(darknet_cfg_float(c, s, "hue", 0, hues, &n->hue, err));
    CVR_TRY(darknet_cfg_float(c, s, "saturation", 1, factors, &n->saturation, err));
    CVR_TRY(darknet_cfg_float(c, s, "exposure", 1, factors, &n->exposure, err));
    CVR_TRY(darknet_cfg_float(c, s, "angle", 0, angles, &n->angle, err));
    CVR_TRY(darknet_cfg_int(c, s, "flip", 1, yes_no, &n->flip, err));
    CVR_TRY(darknet_cfg_int(c, s, "resize_step", 32, multiples, &n->resize_step, err));
    CVR_TRY(darknet_cfg_int(c, s, "min_crop", n->width, sides, &n->min_crop, err));
    CVR_TRY(darknet_cfg_int(c, s, "max_crop", 2 * n->width, sides, &n->max_crop, err));
    if (n->max_crop < n->min_crop)
        return darknet_cfg_fail(c, s->line, err, "[net]: max_crop=%lld is below min_crop=%lld; raise it",
                                (long long)n->max_crop, (long long)n->min_crop);
    return CVR_OK;
}

static int32_t read_optimizer(const darknet_cfg *c, const darknet_section *s, darknet_net *n, cvr_error *err) {
    static const double rates[2] = {0, 1000}, shares[2] = {0, 0.999999}, small[2] = {1e-30, 1};
    CVR_TRY(darknet_cfg_float(c, s, "learning_rate", 0.001, rates, &n->learning_rate, err));
    CVR_TRY(darknet_cfg_float(c, s, "momentum", 0.9, shares, &n->momentum, err));
    CVR_TRY(darknet_cfg_float(c, s, "decay", 0.0001, rates, &n->decay, err));
    CVR_TRY(darknet_cfg_int(c, s, "adam", 0, yes_no, &n->adam, err));
    CVR_TRY(darknet_cfg_float(c, s, "B1", 0.9, shares, &n->beta1, err));
    CVR_TRY(darknet_cfg_float(c, s, "B2", 0.999, shares, &n->beta2, err));
    return darknet_cfg_float(c, s, "eps", 1e-7, small, &n->eps, err);
}

/* ---- the learning rate ---- */

static int32_t read_policy(const darknet_cfg *c, const darknet_section *s, darknet_net *n, cvr_error *err) {
    static const struct {
        const char *name;
        darknet_policy policy;
    } all[] = {{"constant", DARKNET_CONSTANT},
               {"steps", DARKNET_STEPS},
               {"step", DARKNET_STEP},
               {"poly", DARKNET_POLY},
               {"sgdr", DARKNET_SGDR},
               {"exp", DARKNET_POLICY_UNKNOWN},
               {"sig", DARKNET_POLICY_UNKNOWN},
               {"sigmoid", DARKNET_POLICY_UNKNOWN},
               {"random", DARKNET_POLICY_UNKNOWN}};
    const darknet_option *o = darknet_cfg_find(c, s, "policy");
    n->policy = DARKNET_CONSTANT;
    for (size_t i = 0; o && i < sizeof all / sizeof *all; i++)
        if (strcmp(o->value, all[i].name) == 0) {
            n->policy = all[i].policy;
            if (n->policy == DARKNET_POLICY_UNKNOWN) darknet_cfg_ignore(c, s, "policy");
            return CVR_OK;
        }
    return o ? darknet_cfg_fail(c, o->line, err,
                                "policy=%.40s: known are constant, steps, step, poly, sgdr, exp, sig and random",
                                o->value)
             : CVR_OK;
}

/* policy=steps: the rate is multiplied by the i-th scale from the i-th step on. Official files have a step of -1 for a
 * scale that holds from the start. Of steps that fall Darknet would never come to the later ones in time. */
static int32_t read_steps(const darknet_cfg *c, const darknet_section *s, darknet_net *n, cvr_error *err) {
    static const int64_t places[2] = {-1000000000, 1000000000};
    static const double factors[2] = {1e-9, 1e9};
    uint32_t n_scales;
    CVR_TRY(darknet_cfg_ints(c, s, "steps", places, n->steps, DARKNET_MOST_STEPS, &n->n_steps, err));
    CVR_TRY(darknet_cfg_floats(c, s, "scales", factors, n->scales, DARKNET_MOST_STEPS, &n_scales, err));
    if (n->policy == DARKNET_STEPS && n->n_steps != n_scales)
        return darknet_cfg_fail(c, darknet_cfg_find(c, s, "policy")->line, err,
                                "policy=steps: %u steps and %u scales; each step has one scale", n->n_steps, n_scales);
    for (uint32_t i = 1; n->policy == DARKNET_STEPS && i < n->n_steps; i++)
        if (n->steps[i] < n->steps[i - 1])
            return darknet_cfg_fail(c, darknet_cfg_find(c, s, "steps")->line, err,
                                    "steps=: %lld stands behind %lld; give steps, and their scales, in ascending order",
                                    (long long)n->steps[i], (long long)n->steps[i - 1]);
    return CVR_OK;
}

static int32_t read_schedule(const darknet_cfg *c, const darknet_section *s, darknet_net *n, cvr_error *err) {
    static const double rates[2] = {0, 1000}, powers[2] = {0, 100}, factors[2] = {1e-9, 1e9};
    static const int64_t steps[2] = {1, 1000000000};
    CVR_TRY(read_policy(c, s, n, err));
    CVR_TRY(read_steps(c, s, n, err));
    CVR_TRY(darknet_cfg_float(c, s, "power", 4, powers, &n->power, err));
    CVR_TRY(darknet_cfg_int(c, s, "step", 1, steps, &n->step, err));
    CVR_TRY(darknet_cfg_float(c, s, "scale", 1, factors, &n->scale, err));
    CVR_TRY(darknet_cfg_float(c, s, "learning_rate_min", 1e-5, rates, &n->lr_min, err));
    return darknet_cfg_int(c, s, "sgdr_cycle", n->max_batches, counts, &n->cycle, err);
}

static int32_t read_net(darknet_plan *p, cvr_error *err) {
    const darknet_section *s = &p->cfg.sections[0];
    CVR_TRY(read_ints(&p->cfg, s, &p->net, err));
    CVR_TRY(read_pictures(&p->cfg, s, &p->net, err));
    CVR_TRY(read_optimizer(&p->cfg, s, &p->net, err));
    CVR_TRY(read_schedule(&p->cfg, s, &p->net, err));
    return darknet_cfg_check_used(&p->cfg, s, passed_net, " ", err);
}

/* ---- layers ---- */

static int is_head(const darknet_section *s) {
    return strcmp(s->name, "yolo") == 0 || strcmp(s->name, "region") == 0;
}

static int32_t read_layers(darknet_plan *p, cvr_error *err) {
    for (uint32_t i = 1; i < p->cfg.n_sections; i++) {
        const darknet_section *s = &p->cfg.sections[i];
        CVR_TRY(is_head(s) ? darknet_head_read(p, s, err) : darknet_layer_read(p, s, err));
        p->n_layers++;
    }
    return CVR_OK;
}

/* The convolution in front of a head, which must have a number for everything that the head reads. */
static int32_t mark_head(darknet_plan *p, const darknet_head *h, cvr_error *err) {
    const uint32_t line = p->layers[h->layer].line;
    darknet_layer *l = h->layer ? &p->layers[h->layer - 1] : NULL;
    const int64_t want = h->n_mask * (h->classes + 5);
    if (!l || l->kind != DARKNET_CONVOLUTIONAL || l->feeds_result)
        return darknet_cfg_fail(&p->cfg, line, err, "the layer before this one must be [convolutional]");
    if (l->filters != want)
        return darknet_cfg_fail(&p->cfg, l->line, err,
                                "filters=%lld, but %u anchors with %lld classes in line %u need %lld; set filters=%lld",
                                (long long)l->filters, h->n_mask, (long long)h->classes, line, (long long)want,
                                (long long)want);
    l->feeds_result = 1;
    return CVR_OK;
}

/* Without heads the network is a classifier: the last layer with weights says the classes. */
static int32_t mark_classifier(darknet_plan *p, cvr_error *err) {
    uint32_t i = p->n_layers;
    while (i > 0) {
        darknet_layer *l = &p->layers[--i];
        if (l->kind == DARKNET_CONVOLUTIONAL || l->kind == DARKNET_CONNECTED) {
            l->feeds_result = 1;
            return CVR_OK;
        }
        if (l->kind != DARKNET_AVGPOOL && l->kind != DARKNET_SOFTMAX && l->kind != DARKNET_COST &&
            l->kind != DARKNET_DROPOUT)
            break;
    }
    return darknet_cfg_fail(&p->cfg, p->cfg.sections[p->cfg.n_sections - 1].line, err,
                            "the network ends in nothing that cvrun can use; end it with [yolo], or with "
                            "[convolutional], [avgpool] and [softmax]");
}

/* The task has the softmax of a classifier's end; there is none for other places. */
static int32_t check_softmax(const darknet_plan *p, cvr_error *err) {
    for (uint32_t i = 0; i + 1 < p->n_layers; i++)
        if (p->layers[i].kind == DARKNET_SOFTMAX && p->layers[i + 1].kind != DARKNET_COST)
            return darknet_cfg_fail(&p->cfg, p->layers[i].line, err,
                                    "[softmax] is followed by other layers, where cvrun has none; put it at the end");
    return CVR_OK;
}

static int32_t read_all(darknet_plan *p, cvr_error *err) {
    p->layers = p->cfg.host->alloc(p->cfg.host, p->cfg.n_sections * sizeof *p->layers, 64);
    if (!p->layers) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    CVR_TRY(read_net(p, err));
    CVR_TRY(read_layers(p, err));
    if (!p->n_layers) return darknet_cfg_fail(&p->cfg, p->cfg.sections[0].line, err, "there is no layer after [net]");
    CVR_TRY(check_softmax(p, err));
    for (uint32_t i = 0; i < p->n_heads; i++) CVR_TRY(mark_head(p, &p->heads[i], err));
    return p->n_heads ? CVR_OK : mark_classifier(p, err);
}

int32_t darknet_plan_parse(const cvr_host *host, const char *path, const char *bytes, uint64_t n, darknet_plan *out,
                           cvr_error *err) {
    memset(out, 0, sizeof *out);
    CVR_TRY(darknet_cfg_parse(host, path, bytes, n, &out->cfg, err));
    return read_all(out, err);
}

int32_t darknet_plan_open(const cvr_host *host, const char *path, darknet_plan *out, cvr_error *err) {
    memset(out, 0, sizeof *out);
    CVR_TRY(darknet_cfg_open(host, path, &out->cfg, err));
    return read_all(out, err);
}

int64_t darknet_plan_classes(const darknet_plan *p) {
    uint32_t i = p->n_layers;
    if (p->n_heads) return p->heads[0].classes;
    while (i > 0)
        if (p->layers[--i].feeds_result) return p->layers[i].filters;
    return 0;
}

void darknet_plan_close(darknet_plan *p) {
    if (p->layers) p->cfg.host->free(p->cfg.host, p->layers);
    p->layers = NULL;
    darknet_cfg_close(&p->cfg);
}

int64_t darknet_plan_stride(const darknet_plan *p) {
    double largest = 1;
    for (uint32_t i = 0; i < p->n_layers; i++) largest = fmax(largest, p->layers[i].down);
    return (int64_t)ceil(largest);
}

/* Whether layer `k` reads layer `from`: those that it names, and the layer before it, but for a route. */
static int32_t reads(const darknet_plan *p, uint32_t k, uint32_t from) {
    const darknet_layer *l = &p->layers[k];
    for (uint32_t i = 0; i < l->n_from; i++)
        if ((uint32_t)l->from[i] == from) return 1;
    return l->kind != DARKNET_ROUTE && k == from + 1;
}

/* A head gives what it reads, so that who reads the head reads layer i. */
int32_t darknet_plan_shares(const darknet_plan *p, uint32_t i) {
    for (uint32_t k = i + 1; k < p->n_layers; k++) {
        const int32_t own = k == i + 1 && p->layers[k].kind == DARKNET_HEAD;
        if ((!own && reads(p, k, i)) || (k > i + 1 && reads(p, k, i + 1))) return 1;
    }
    return 0;
}
