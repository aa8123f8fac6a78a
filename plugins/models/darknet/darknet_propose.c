/*
 * What a .cfg file says of training and of pictures, as settings of a recipe. Numbers that Darknet has in its program
 * are here, too: sizes of pictures in training, and flips.
 */
#include "darknet_propose.h"
#include <math.h>

void darknet_tell(telling *t, const char *key, const char *format, ...) {
    char value[1024];
    va_list ap;
    if (t->status != CVR_OK) return;
    va_start(ap, format);
    (void)vsnprintf(value, sizeof value, format, ap);
    va_end(ap);
    t->status = t->each(t->ctx, key, value, t->err);
}

/* ---- pictures ---- */

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
    darknet_tell(t, "run.task", "%s", p->n_heads ? "detect" : "classify");
    darknet_tell(t, "model.num_classes", "%lld", (long long)darknet_plan_classes(p));
    if (side > 0) darknet_tell(t, "data.img_size", "%lld", (long long)side);
    if (p->n_heads)
        darknet_tell(t, "data.fit", "%s", is_later(p) && !p->net.letter_box ? "stretch" : "letterbox_aligned");
}

/* A side in the later Darknet: `factor` of the width, and one step more. */
static int64_t side_by(double factor, int64_t width, int64_t step) {
    return (int64_t)(rint(factor * (double)width / (double)step + 1) * (double)step);
}

/* 320 to 608 pixels in the first Darknet, whatever the file says; in the later one 1.4 times as small or large, or as
 * many times as `random` says. */
static void tell_sizes(telling *t, const darknet_plan *p) {
    const int64_t stride = darknet_plan_stride(p), side = p->net.width;
    double random = 0;
    for (uint32_t i = 0; i < p->n_heads; i++) random = fmax(random, p->heads[i].random);
    if (random == 0 || side < 1 || side % stride != 0) return;
    const double most_times = random == 1 ? 1.4 : random < 1 ? 1 / random : random;
    const int64_t step = p->net.resize_step % stride == 0 ? p->net.resize_step : stride;
    int64_t least = side_by(1 / most_times, side, step), most = side_by(most_times, side, step);
    if (!is_later(p) && side >= 320 && stride == 32) {
        least = 320;
        most = 608;
    }
    if (least > side) least = side;
    if (most > least && most <= 16384 && (most - least) / step < 32) /* the most that may be planned */
        darknet_tell(t, "train.multi_scale", "%lld,%lld,%lld", (long long)least, (long long)most, (long long)step);
}

static double at_least_one(double x) {
    return x > 1 ? x : 1;
}

/* Each of the four pictures of a mosaic has half the side; what jitter means is then done to the mosaic. */
static void tell_crops(telling *t, const darknet_plan *p) {
    double jitter = 0;
    for (uint32_t i = 0; i < p->n_heads; i++) jitter = fmax(jitter, p->heads[i].jitter);
    if (p->net.mosaic) darknet_tell(t, "augment.mosaic", "%s", "p=0.5 degrees=0 translate=0 scale=0.5,0.5 shear=0");
    if (jitter > 0) darknet_tell(t, "augment.random_jitter_crop", "jitter=%.9g", jitter < 0.45 ? jitter : 0.45);
}

/* A classifier's crops: the shorter side becomes anything from min_crop to max_crop. */
static void tell_class_crops(telling *t, const darknet_plan *p) {
    const darknet_net *n = &p->net;
    if (n->width < 1) return;
    darknet_tell(t, "augment.random_resize", "min_size=%lld max_size=%lld", (long long)n->min_crop,
                 (long long)n->max_crop + 1);
    if (n->angle > 0) darknet_tell(t, "augment.random_rotation", "degrees=%.9g interpolation=bilinear", n->angle);
    darknet_tell(t, "augment.random_crop", "%lld%s", (long long)n->width,
                 n->min_crop < n->width ? " pad_if_needed=yes" : "");
}

static void tell_transforms(telling *t, const darknet_plan *p) {
    const double hue = p->net.hue, saturation = at_least_one(p->net.saturation),
                 exposure = at_least_one(p->net.exposure);
    (p->n_heads ? tell_crops : tell_class_crops)(t, p);
    if (hue > 0 || saturation > 1 || exposure > 1)
        darknet_tell(t, "augment.random_hsv_scale", "hue=%.9g saturation=%.9g exposure=%.9g", hue, saturation,
                     exposure);
    if (p->net.flip) darknet_tell(t, "augment.random_horizontal_flip", "%s", "0.5");
}

/* ---- what has no effect ---- */

/* A detector does not look at what a classifier's pictures are cut out by. */
static void ignore_class_keys(const darknet_plan *p) {
    const darknet_section *s = &p->cfg.sections[0];
    if (p->net.angle > 0) darknet_cfg_ignore(&p->cfg, s, "angle");
    darknet_cfg_ignore(&p->cfg, s, "min_crop");
    darknet_cfg_ignore(&p->cfg, s, "max_crop");
}

/* One line for all of them, with their own lines: "a.cfg:7: `blur=1` has no effect here, nor has `cutmix=1` (line 9)".
 */
static void tell_ignored(telling *t, const darknet_plan *p) {
    char text[900] = "";
    uint32_t told = 0, left = 0;
    for (uint32_t i = 0; i < p->cfg.n_options; i++) {
        const darknet_option *o = &p->cfg.options[i];
        const size_t n = strlen(text);
        if (!o->ignored) continue;
        if (n > sizeof text - 200) {
            left++;
        } else if (told++ == 0) {
            (void)snprintf(text, sizeof text, "%.300s:%u: `%.40s=%.40s` has no effect here", p->cfg.path, o->line,
                           o->key, o->value);
        } else {
            (void)snprintf(text + n, sizeof text - n, ", nor has `%.40s=%.40s` (line %u)", o->key, o->value, o->line);
        }
    }
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?'; /* words of the file, which others wrote */
    if (left) (void)snprintf(text + strlen(text), sizeof text - strlen(text), ", nor have %u more", left);
    if (told) darknet_tell(t, "", "%s", text);
}

int32_t darknet_propose(const darknet_plan *p, cvr_propose_fn each, void *ctx, cvr_error *err) {
    telling t = {each, ctx, err, CVR_OK};
    tell_pictures(&t, p);
    if (p->n_heads) {
        tell_sizes(&t, p);
        ignore_class_keys(p);
    }
    tell_transforms(&t, p);
    if (p->net.batch > 1)
        darknet_tell(&t, "train.batch", "%lld", (long long)p->net.batch); /* files to predict with have 1 */
    if (p->net.max_batches > 0) darknet_tell(&t, "train.max_batches", "%lld", (long long)p->net.max_batches);
    darknet_tell_updates(&t, p);
    tell_ignored(&t, p);
    return t.status;
}
