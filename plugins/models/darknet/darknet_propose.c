/*
 * What a .cfg file says of training and of pictures, as settings of a recipe. Numbers that Darknet has in its program
 * are here, too: sizes of pictures in training, and flips.
 */
#include "darknet.h"

typedef struct telling {
    cvr_propose_fn each;
    void *ctx;
    cvr_error *err;
    int32_t status;
} telling;

static void tell(telling *t, const char *key, const char *format, ...) CVR_PRINTF(3, 4);
static void tell(telling *t, const char *key, const char *format, ...) {
    char value[1024];
    va_list ap;
    if (t->status != CVR_OK) return;
    va_start(ap, format);
    (void)vsnprintf(value, sizeof value, format, ap);
    va_end(ap);
    t->status = t->each(t->ctx, key, value, t->err);
}

/* Files for the Darknet of YOLOv4, which stretches pictures unless letter_box=1; the first one letterboxes. */
static int is_later(const darknet_plan *p) {
    int later = p->net.mosaic || p->net.has_letter_box;
    for (uint32_t i = 0; i < p->n_heads; i++) {
        const darknet_head *h = &p->heads[i];
        later = later || h->box_kind || h->new_coords || (!h->is_region && h->scale_x_y != 1);
    }
    return later;
}

static void tell_pictures(telling *t, const darknet_plan *p) {
    const int64_t side = p->net.width > p->net.height ? p->net.width : p->net.height;
    tell(t, "run.task", "%s", p->n_heads ? "detect" : "classify");
    if (side > 0) tell(t, "data.img_size", "%lld", (long long)side);
    if (p->n_heads) tell(t, "data.fit", "%s", is_later(p) && !p->net.letter_box ? "stretch" : "letterbox_center");
}

/* 320 to 608 pixels in the first Darknet, whatever the file says; 1.4 times as small or large in the later one. */
static void tell_sizes(telling *t, const darknet_plan *p) {
    const int64_t step = darknet_plan_stride(p), side = p->net.width;
    int random = 0;
    for (uint32_t i = 0; i < p->n_heads; i++) random = random || p->heads[i].random;
    if (!random || side < 1 || side % step != 0) return;
    int64_t least = side * 5 / 7 / step * step, most = side * 7 / 5 / step * step;
    if (!is_later(p) && side >= 320 && step == 32) {
        least = 320;
        most = 608;
    }
    if (least < step) least = step;
    if ((most - least) / step < 32) /* the most that may be planned */
        tell(t, "train.multi_scale", "%lld,%lld,%lld", (long long)least, (long long)most, (long long)step);
}

static double at_least_one(double x) {
    return x > 1 ? x : 1;
}

static void tell_transforms(telling *t, const darknet_plan *p) {
    const double hue = p->net.hue, saturation = at_least_one(p->net.saturation),
                 exposure = at_least_one(p->net.exposure);
    double jitter = 0;
    for (uint32_t i = 0; i < p->n_heads; i++) jitter = p->heads[i].jitter > jitter ? p->heads[i].jitter : jitter;
    if (p->net.mosaic)
        tell(t, "augment.mosaic", "%s", "");
    else if (jitter > 0)
        tell(t, "augment.random_jitter_crop", "jitter=%.9g", jitter < 0.45 ? jitter : 0.45);
    if (hue > 0 || saturation > 1 || exposure > 1)
        tell(t, "augment.random_hsv_scale", "hue=%.9g saturation=%.9g exposure=%.9g", hue, saturation, exposure);
    tell(t, "augment.random_horizontal_flip", "%s", "0.5");
}

/* Decay is for weights alone. */
static void tell_optimizer(telling *t, const darknet_plan *p) {
    tell(t, "optim.name", "%s", "sgd");
    tell(t, "optim.lr", "%.9g", p->net.learning_rate);
    tell(t, "optim.momentum", "%.9g", p->net.momentum);
    tell(t, "optim.weight_decay", "%.9g", p->net.decay);
    tell(t, "optim.norm_weight_decay", "%s", "0");
    tell(t, "optim.bias_weight_decay", "%s", "0");
}

static void add(char *text, size_t size, double x) {
    const size_t n = strlen(text);
    (void)snprintf(text + n, size - n, "%s%.9g", n ? "," : "", x);
}

static void tell_schedule(telling *t, const darknet_plan *p) {
    const darknet_net *n = &p->net;
    char steps[32 * DARKNET_MOST_STEPS] = "", scales[32 * DARKNET_MOST_STEPS] = "";
    for (uint32_t i = 0; i < n->n_steps && n->has_policy_steps; i++) {
        add(steps, sizeof steps, (double)n->steps[i]);
        add(scales, sizeof scales, n->scales[i]);
    }
    if (*steps) {
        tell(t, "sched.name", "%s", "steps");
        tell(t, "sched.steps", "%s", steps);
        tell(t, "sched.scales", "%s", scales);
    }
    if (n->has_policy_poly) {
        tell(t, "sched.name", "%s", "poly");
        tell(t, "sched.power", "%.9g", n->power);
    }
    if (n->burn_in > 0) {
        tell(t, "sched.warmup_steps", "%lld", (long long)n->burn_in);
        tell(t, "sched.warmup", "%s", n->power < 1.5 ? "linear" : n->power < 3 ? "quadratic" : "quartic");
    }
}

int32_t darknet_propose(const darknet_plan *p, cvr_propose_fn each, void *ctx, cvr_error *err) {
    telling t = {each, ctx, err, CVR_OK};
    tell_pictures(&t, p);
    if (p->n_heads) {
        tell_sizes(&t, p);
        tell_transforms(&t, p);
    }
    if (p->net.batch > 1) tell(&t, "train.batch", "%lld", (long long)p->net.batch); /* files to predict with have 1 */
    if (p->net.max_batches > 0) tell(&t, "train.max_batches", "%lld", (long long)p->net.max_batches);
    tell_optimizer(&t, p);
    tell_schedule(&t, p);
    return t.status;
}
