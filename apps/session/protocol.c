/*
 * Settles how pictures are looked at and what is measured. Published numbers differ by points with it: torchvision
 * measures on resized masks, mmsegmentation on the original ones, others on centre crops. So the words stand beside
 * every number.
 */
#include "run_settings.h"

static int32_t refuse(const settings *s, const char *key, const char *why, cvr_error *err) {
    return cvr_config_blame(s->config, "val", key, cvr_fail(err, CVR_ERR_USAGE, "val.%s: %s", key, why), err);
}

static bool one_size(const val_settings *v) {
    return v->n_scales == 0 || (v->n_scales == 1 && v->scales[0] == 1);
}

/* A task that says something of whole pictures has no use for these keys. */
static int32_t check_unused(const settings *s, cvr_error *err) {
    const val_settings *v = s->val;
    const struct {
        const char *key;
        bool given;
    } keys[] = {{"protocol", v->protocol != PROTOCOL_AUTO},
                {"stride", v->stride != 0},
                {"flip", v->flip != 0},
                {"scales", !one_size(v)}};
    char why[256];
    (void)snprintf(why, sizeof why,
                   "task %s says nothing of each pixel, so that there is nothing to merge; leave it out",
                   s->task->name);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (keys[i].given) return refuse(s, keys[i].key, why, err);
    return CVR_OK;
}

static int32_t check_dense(const settings *s, int64_t crop, cvr_error *err) {
    const val_settings *v = s->val;
    if (v->stride && crop == 0) return refuse(s, "stride", "windows need a size: set val.crop_size", err);
    if (v->stride > crop)
        return refuse(s, "stride", "it is more than val.crop_size, the windows' size, so that pixels would be left out",
                      err);
    if (v->protocol == PROTOCOL_CROP && v->stride)
        return refuse(s, "protocol",
                      "windows go over all of a picture; choose resized or original, or leave out val.stride", err);
    if (v->protocol == PROTOCOL_CROP && crop == 0)
        return refuse(s, "protocol", "there is no crop: set val.crop_size or data.img_size", err);
    return CVR_OK;
}

static int64_t choose_kind(const protocol *p, const val_settings *v, int64_t crop, bool predicts) {
    if (v->protocol != PROTOCOL_AUTO) return v->protocol;
    if (predicts) return PROTOCOL_ORIGINAL;
    if (crop > 0 && !v->stride) return PROTOCOL_CROP;
    return p->resize > 0 ? PROTOCOL_RESIZED : PROTOCOL_ORIGINAL;
}

static void put_words(protocol *p) {
    static const char *const names[] = {"", "resized", "original size", "centre crop"};
    size_t n = (size_t)snprintf(p->words, sizeof p->words, "%s", names[p->kind]);
#define ADD(...) n += (size_t)snprintf(p->words + n, sizeof p->words - n, __VA_ARGS__)
    if (p->crop) ADD(" of %lld", (long long)p->crop);
    if (p->resize) ADD(", shorter side %lld", (long long)p->resize);
    if (p->window) ADD(", windows of %lld every %lld pixels", (long long)p->window, (long long)p->stride);
    if (p->flip) ADD(", mirrored too");
    if (p->n_scales > 1 || p->scales[0] != 1) ADD(", scales");
    for (size_t i = 0; i < p->n_scales && (p->n_scales > 1 || p->scales[0] != 1); i++) ADD(" %g", p->scales[i]);
#undef ADD
}

int32_t protocol_settle(const settings *s, bool predicts, protocol *out, cvr_error *err) {
    const val_settings *v = s->val;
    const int64_t resize = v->resize_size < 0 ? s->data->img_size : v->resize_size,
                  crop = v->crop_size < 0 ? s->data->img_size : v->crop_size;
    protocol p = {.resize = resize, .crop = crop, .n_scales = 1, .scales = {1}};
    *out = p;
    if (!s->task->dense) return check_unused(s, err);
    CVR_TRY(check_dense(s, crop, err));
    p.kind = choose_kind(&p, v, crop, predicts);
    p.crop = p.kind == PROTOCOL_CROP ? crop : 0;
    p.window = v->stride ? crop : 0;
    p.stride = v->stride;
    p.flip = v->flip != 0;
    if (v->n_scales) p.n_scales = (size_t)v->n_scales;
    for (size_t i = 0; i < (size_t)v->n_scales; i++) p.scales[i] = v->scales[i];
    p.reread = p.kind == PROTOCOL_ORIGINAL && resize > 0 && !predicts; /* there are no masks to compare with */
    p.views = p.reread || p.window || p.flip || p.n_scales > 1 || p.scales[0] != 1;
    p.single = p.views || (p.kind != PROTOCOL_CROP && !s->probe->enabled);
    if (p.views && s->probe->enabled)
        return cvr_fail(
            err, CVR_ERR_USAGE,
            "[probe] validates on features of whole pictures: leave out val.protocol, stride, flip and scales");
    put_words(&p);
    *out = p;
    return CVR_OK;
}
