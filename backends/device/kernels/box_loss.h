/*
 * Losses of the overlap of two boxes, with their slopes along x1, y1, x2, y2 of the first: GIoU (Rezatofighi et al.,
 * 2019), DIoU and CIoU (Zheng et al., 2020), the square of the IoU (YOLOX). As <cvr/plugin/ops/box_loss_math.h> has
 * them in double; boxes should lie near 0, where f32 holds more.
 */

#define BOX_EPS 1e-7f
#define BOX_ASPECT 0.405284735f /* 4 / pi^2 */

/* A number and how it moves with the four sides. */
STRUCT(number) {
    f32 at, by[4];
};

FN number constant_of(f32 x) {
    number z;
    z.at = x;
    UNROLL for (u32 i = 0u; i < 4u; i++) z.by[i] = 0.0f;
    return z;
}
/* a * x + b * y */
FN number mixed(f32 a, number x, f32 b, number y) {
    number z;
    z.at = a * x.at + b * y.at;
    UNROLL for (u32 i = 0u; i < 4u; i++) z.by[i] = a * x.by[i] + b * y.by[i];
    return z;
}
FN number product(number x, number y) {
    number z;
    z.at = x.at * y.at;
    UNROLL for (u32 i = 0u; i < 4u; i++) z.by[i] = x.by[i] * y.at + x.at * y.by[i];
    return z;
}
/* x / (y + eps) */
FN number ratio(number x, number y) {
    const f32 whole = y.at + BOX_EPS;
    number z;
    z.at = div_f(x.at, whole);
    UNROLL for (u32 i = 0u; i < 4u; i++) z.by[i] = div_f(x.by[i] - z.at * y.by[i], whole);
    return z;
}
/* The larger (sign 1) or smaller (-1) of side i of the box and a number; where they are equal, half of each. */
FN number extreme(f32 sign_, f32 box[4], u32 i, f32 other) {
    number z = constant_of(sign_ * box[i] > sign_ * other ? box[i] : other);
    z.by[i] = box[i] == other ? 0.5f : z.at == other ? 0.0f : 1.0f;
    return z;
}

/* The arc tangent of x >= 0: a polynomial on 0 .. tan(pi/8), to which larger numbers are brought by
 * atan(x) = pi/4 + atan((x - 1) / (x + 1)) and pi/2 - atan(1 / x). */
FN f32 atan_f(f32 x) {
    f32 from = 0.0f, t = x;
    if (x > 2.41421356f) {
        from = 1.57079633f;
        t = -div_f(1.0f, x);
    } else if (x > 0.414213562f) {
        from = 0.785398163f;
        t = div_f(x - 1.0f, x + 1.0f);
    }
    const f32 z = t * t;
    f32 q = -1.0f / 19.0f;
    q = q * z + 1.0f / 17.0f;
    q = q * z - 1.0f / 15.0f;
    q = q * z + 1.0f / 13.0f;
    q = q * z - 1.0f / 11.0f;
    q = q * z + 1.0f / 9.0f;
    q = q * z - 1.0f / 7.0f;
    q = q * z + 0.2f;
    q = q * z - 1.0f / 3.0f;
    return from + (t + t * z * q);
}
/* The angle of width and height; a width below 0 has one below 0. */
FN f32 angle_of(f32 w, f32 h) {
    const f32 t = div_f(w, h);
    return is_nan(t) ? t : t < 0.0f ? -atan_f(-t) : atan_f(t);
}

/* alpha * v, v = 4 / pi^2 * (how far the angles are apart)^2; alpha does not move. */
FN number aspect(number w, number h, f32 object_w, f32 object_h, f32 iou) {
    const f32 off = angle_of(object_w, object_h) - angle_of(w.at, h.at), v = BOX_ASPECT * off * off;
    const f32 alpha = div_f(v, 1.0f - iou + v + BOX_EPS), square = w.at * w.at + h.at * h.at;
    number z;
    z.at = alpha * v;
    UNROLL for (u32 i = 0u; i < 4u; i++) z.by[i] =
        div_f(alpha * BOX_ASPECT * 2.0f * off * (h.by[i] * w.at - w.by[i] * h.at), square);
    return z;
}

/* 1 - overlap; kind: BOX_GIOU and so on. */
FN f32 overlap_loss(u32 kind, f32 box[4], f32 object[4], OUT f32 slope[4]) {
    number side[2], inner[2], outer[2], loss;
    number apart = constant_of(0.0f), diagonal = constant_of(0.0f);
    f32 object_side[2];
    UNROLL for (u32 j = 0u; j < 2u; j++) {
        number away = constant_of(0.5f * ((box[j] - object[j]) + (box[j + 2u] - object[j + 2u])));
        away.by[j] = away.by[j + 2u] = 0.5f;
        inner[j] = mixed(1.0f, extreme(-1.0f, box, j + 2u, object[j + 2u]), -1.0f, extreme(1.0f, box, j, object[j]));
        outer[j] = mixed(1.0f, extreme(1.0f, box, j + 2u, object[j + 2u]), -1.0f, extreme(-1.0f, box, j, object[j]));
        side[j] = constant_of(box[j + 2u] - box[j]);
        side[j].by[j] = -1.0f;
        side[j].by[j + 2u] = 1.0f;
        object_side[j] = object[j + 2u] - object[j];
        apart = mixed(1.0f, apart, 1.0f, product(away, away));
        diagonal = mixed(1.0f, diagonal, 1.0f, product(outer[j], outer[j]));
    }
    number both = constant_of(0.0f);
    if (inner[0].at > 0.0f && inner[1].at > 0.0f) both = product(inner[0], inner[1]);
    number all = mixed(1.0f, product(side[0], side[1]), -1.0f, both);
    all.at += object_side[0] * object_side[1];
    const number iou = ratio(both, all);
    if (kind == BOX_SQUARED_IOU) {
        loss = mixed(-1.0f, product(iou, iou), 0.0f, iou);
    } else if (kind == BOX_GIOU) {
        const number hull = product(outer[0], outer[1]);
        loss = mixed(-1.0f, iou, 1.0f, ratio(mixed(1.0f, hull, -1.0f, all), hull));
    } else {
        loss = mixed(-1.0f, iou, 1.0f, ratio(apart, diagonal));
        if (kind == BOX_CIOU)
            loss = mixed(1.0f, loss, 1.0f, aspect(side[0], side[1], object_side[0], object_side[1], iou.at));
    }
    UNROLL for (u32 i = 0u; i < 4u; i++) slope[i] = loss.by[i];
    return 1.0f + loss.at;
}
