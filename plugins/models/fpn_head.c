/* Heads on every map of a feature pyramid; see the header. */
#include "fpn_head.h"
#include <math.h>

const cvr_attr_desc fpn_head_topk = DETECT_TOPK("1000", "pairs of anchor and class of each map");

const cvr_attr_desc fpn_head_groups = CVR_ATTR_INIT(
    INT, "head_groups", "32", "groups that the heads' channels are normalised in", CVR_ATTR_BETWEEN(1, 65536));

double fpn_head_prior(void) {
    return -log((1 - FPN_HEAD_PRIOR) / FPN_HEAD_PRIOR);
}

static void check_groups(net *n, int64_t groups, cvr_value x) {
    const int64_t channels = n->status == CVR_OK ? net_shape(n, x)[1] : 0;
    if (channels % groups != 0)
        n->status =
            cvr_fail(n->err, CVR_ERR_INVALID,
                     "model.head_groups = %lld does not divide the pyramid's %lld channels (model.fpn_channels)",
                     (long long)groups, (long long)channels);
}

cvr_value fpn_tower(net *n, const char *name, int kind, int64_t groups, cvr_value x) {
    const net_text in_groups = net_print("%lld", (long long)groups);
    n->conv = (net_start){NET_START_NORMAL, FPN_HEAD_STD, 0};
    if (kind != FPN_TOWER_PLAIN) check_groups(n, groups, x);
    for (int i = 0; i < FPN_HEAD_DEPTH && n->status == CVR_OK; i++) {
        const net_conv2d c = {net_shape(n, x)[1], 3, 1, 1, 1, kind != FPN_TOWER_NORMED};
        net_text part[3];
        for (int k = 0; k < 3; k++)
            part[k] = kind == FPN_TOWER_FLAT ? net_print("%s.%d", name, 3 * i + k) : net_print("%s.%d.%d", name, i, k);
        x = net_conv(n, x, part[0].s, &c);
        if (kind != FPN_TOWER_PLAIN) x = net_layer(n, x, part[1].s, "group_norm", in_groups.s);
        x = net_layer(n, x, part[kind == FPN_TOWER_PLAIN ? 1 : 2].s, "relu", "");
    }
    return x;
}

cvr_value fpn_head_rows(net *n, const char *name, int64_t each, int64_t columns, double bias, cvr_value x) {
    const net_conv2d c = {each * columns, 3, 1, 1, 1, 1};
    return detect_rows(n, detect_conv(n, x, name, &c, FPN_HEAD_STD, bias), name, each, columns);
}

uint32_t fpn_head_maps(net *n, const fpn_head_attrs *a, int64_t extra, cvr_value image, cvr_value maps[FPN_MOST_MAPS]) {
    const fpn pyramid = {&a->fpn, FPN_STAGES_FROM_8, extra, NULL};
    const size_t count = fpn_build(n, &pyramid, image, maps);
    if (n->status == CVR_OK && (size_t)a->n_anchor_sizes != count)
        n->status = cvr_fail(n->err, CVR_ERR_INVALID,
                             "model.anchor_sizes has %lld numbers; the pyramid has %zu maps, and each has one",
                             (long long)a->n_anchor_sizes, count);
    return n->status == CVR_OK ? (uint32_t)count : 0;
}
