/* Focal losses (Lin et al., "Focal Loss for Dense Object Detection", 2017): what their kernels share. */

/* (1 - q)^gamma */
FN f32 easy(f32 rest, f32 gamma) {
    if (gamma == 0.0f) return 1.0f;
    if (gamma == 2.0f) return rest * rest;
    return rest > 0.0f ? exp_f(gamma * log_f(rest)) : 0.0f;
}

/* One class against all others: log q, 1 - q, its share and its sign by x. */
FN void part_of(f32 x, bool is, f32 alpha, OUT f32 part[4]) {
    const f32 z = is ? x : -x, tail = exp_f(-abs_f(z));
    part[0] = -(log_f(1.0f + tail) + (z < 0.0f ? -z : 0.0f));
    part[1] = z < 0.0f ? 1.0f / (1.0f + tail) : tail / (1.0f + tail);
    part[2] = alpha < 0.0f ? 1.0f : is ? alpha : 1.0f - alpha;
    part[3] = is ? 1.0f : -1.0f;
}
FN f32 part_loss(f32 part[4], f32 gamma) {
    return -part[2] * easy(part[1], gamma) * part[0];
}
FN f32 part_slope(f32 part[4], f32 gamma) {
    return part[2] * part[3] * easy(part[1], gamma) * (gamma * exp_f(part[0]) * part[0] - part[1]);
}
