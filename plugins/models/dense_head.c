/* The parts of networks with a class for each pixel; see the header. */
#include "dense_head.h"

cvr_value dense_resize(net *n, cvr_value x, const char *name, cvr_value like, const char *mode) {
    if (n->status != CVR_OK) return x;
    const int64_t *const size = net_shape(n, like);
    return net_layer(n, x, name, "upsample",
                     net_print("size=%lld,%lld mode=%s", (long long)size[2], (long long)size[3], mode).s);
}

cvr_value dense_conv(net *n, const char *name, int i, const net_conv2d *c, int64_t dilation, cvr_value x) {
    x = net_conv_dilated(n, x, net_print("%s.%d", name, i).s, c, dilation);
    x = net_layer(n, x, net_print("%s.%d", name, i + 1).s, "batch_norm2d", "");
    return net_layer(n, x, net_print("%s.%d", name, i + 2).s, "relu", "");
}

cvr_value dense_fcn_head(net *n, const dense_fcn *h, cvr_value x) {
    const int64_t channels = h->channels ? h->channels : net_shape(n, x)[1] / 4;
    const net_conv2d narrow = {channels ? channels : 1, 3, 1, 1, 1, 0}, classes = {h->num_classes, 1, 1, 0, 1, 1};
    x = dense_conv(n, h->name, 0, &narrow, 1, x);
    x = net_layer(n, x, net_print("%s.3", h->name).s, h->drop, net_print("%.17g", h->p).s);
    return net_conv(n, x, net_print("%s.4", h->name).s, &classes);
}

resnet_trunk dense_trunk(net *n, const dense_resnet *a, int64_t output_stride) {
    resnet_trunk t = {.n_layers = a->n_layers,
                      .block = RESNET_BOTTLENECK,
                      .width = a->width,
                      .groups = 1,
                      .width_per_group = 64,
                      .output_stride = output_stride};
    memcpy(t.layers, a->layers, sizeof t.layers);
    if (n->status == CVR_OK && a->n_layers != 4)
        n->status = cvr_fail(n->err, CVR_ERR_INVALID, "model.layers has %lld numbers; this network has four stages",
                             (long long)a->n_layers);
    return t;
}

int32_t dense_proposes(const void *attrs, cvr_propose_fn each, void *ctx, cvr_error *err) {
    (void)attrs;
    return each(ctx, "run.task", "segment", err);
}
