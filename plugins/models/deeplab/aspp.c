/* Atrous spatial pyramid pooling; see the header. */
#include "aspp.h"

#define BRANCHES 5

/* x: (N, C, h, w) -> (N, channels, h, w), the same at every pixel */
static cvr_value pooled(net *n, const char *name, const net_conv2d *one, cvr_value x) {
    cvr_value y = net_layer(n, x, net_print("%s.0", name).s, "adaptive_avg_pool2d", "1");
    y = dense_conv(n, name, 1, one, 1, y);
    return dense_resize(n, y, net_print("%s.resize", name).s, x, DENSE_BILINEAR);
}

cvr_value aspp(net *n, const char *name, const aspp_attrs *a, cvr_value x) {
    const net_conv2d one = {a->channels, 1, 1, 0, 1, 0};
    cvr_value branch[BRANCHES], y;
    if (n->status == CVR_OK && a->n_rates != BRANCHES - 2)
        n->status = cvr_fail(n->err, CVR_ERR_INVALID, "model.atrous_rates has %lld numbers; the pyramid has three",
                             (long long)a->n_rates);
    branch[0] = dense_conv(n, net_print("%s.convs.0", name).s, 0, &one, 1, x);
    for (int i = 1; i < BRANCHES - 1; i++) {
        const int64_t rate = a->rates[i - 1];
        const net_conv2d three = {a->channels, 3, 1, rate, 1, 0};
        branch[i] = dense_conv(n, net_print("%s.convs.%d", name, i).s, 0, &three, rate, x);
    }
    branch[BRANCHES - 1] = pooled(n, net_print("%s.convs.%d", name, BRANCHES - 1).s, &one, x);
    y = net_concat(n, branch, BRANCHES, 1, net_print("%s.concat", name).s);
    y = dense_conv(n, net_print("%s.project", name).s, 0, &one, 1, y);
    return net_layer(n, y, net_print("%s.project.3", name).s, "dropout", net_print("%.17g", a->dropout).s);
}
