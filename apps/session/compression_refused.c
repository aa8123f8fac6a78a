/* What a compressor is told that asks for what its section has not: those of [prune] give no tensors, those of [quant]
 * remove no channels. Every callback is there, so that none is a jump to nowhere. */
#include "session_parts.h"

static int32_t refuse(const char *what, cvr_error *err) {
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "`%s` is not for compressors of this section", what);
}

static int32_t no_probe(const cvr_compression *c, const cvr_probe *probe, cvr_error *err) {
    (void)c, (void)probe;
    return refuse("probe", err);
}

static int32_t no_tensor(const cvr_compression *c, const char *name, const cvr_type *type, const void *memory,
                         cvr_error *err) {
    (void)c, (void)name, (void)type, (void)memory;
    return refuse("tensor", err);
}

static int32_t no_plan(const cvr_compression *c, const char *text, cvr_error *err) {
    (void)c, (void)text;
    return refuse("plan", err);
}

static int32_t no_measure(const cvr_compression *c, double *before, double *after, cvr_error *err) {
    (void)c, (void)before, (void)after;
    return refuse("measure", err);
}

static int32_t no_channels(const cvr_compression *c, const cvr_channel_group *const **groups, uint64_t *n,
                           cvr_error *err) {
    (void)c, (void)groups, (void)n;
    return refuse("channels", err);
}

static const cvr_param_view *no_param(const cvr_compression *c, uint64_t i) {
    (void)c, (void)i;
    return NULL;
}

static int32_t no_gradients(const cvr_compression *c, uint64_t batches, cvr_error *err) {
    (void)c, (void)batches;
    return refuse("gradients", err);
}

static int32_t no_cost(const cvr_compression *c, const uint8_t *units, uint32_t what, double *out, cvr_error *err) {
    (void)c, (void)units, (void)what, (void)out;
    return refuse("cost", err);
}

static int32_t no_removal(const cvr_compression *c, const uint8_t *units, cvr_error *err) {
    (void)c, (void)units;
    return refuse("remove", err);
}

static int32_t no_mask(const cvr_compression *c, const char *param, const uint8_t *mask, cvr_error *err) {
    (void)c, (void)param, (void)mask;
    return refuse("mask", err);
}

cvr_compression session_compression(const cvr_session *s, void *ctx, const void *attrs) {
    return (cvr_compression){.struct_size = sizeof(cvr_compression),
                             .ctx = ctx,
                             .host = cvr_plugins_host(s->plugins),
                             .attrs = attrs,
                             .probe = no_probe,
                             .tensor = no_tensor,
                             .plan = no_plan,
                             .measure = no_measure,
                             .channels = no_channels,
                             .param = no_param,
                             .gradients = no_gradients,
                             .cost = no_cost,
                             .remove = no_removal,
                             .mask = no_mask};
}
