/* The sentences that models are written in. Initialisation: torch.nn.init. */
#include "model_net.h"
#include <math.h>

net_text net_print(const char *format, ...) {
    net_text t;
    va_list ap;
    va_start(ap, format);
    const int n = vsnprintf(t.s, sizeof t.s, format, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof t.s) t.s[0] = '\0'; /* a layer without a name is refused */
    return t;
}

const int64_t *net_shape(const net *n, cvr_value x) {
    return n->b->type(n->b, x)->shape;
}

static void call_layer(net *n, const cvr_layer_call *call) {
    if (n->status != CVR_OK) return;
    n->status = *call->name ? n->b->layer(n->b, call, n->err)
                            : cvr_fail(n->err, CVR_ERR_INVALID, "a layer (%s) with too long a name", call->layer);
}

cvr_value net_layer(net *n, cvr_value x, const char *name, const char *layer, const char *settings) {
    cvr_value y = x;
    const cvr_layer_call call = {sizeof call, layer, name, settings, &x, &y, 1, 1};
    call_layer(n, &call);
    return n->status == CVR_OK ? y : x;
}

cvr_value net_layer2(net *n, cvr_value x, cvr_value y, const char *name, const char *layer, const char *settings) {
    const cvr_value in[2] = {x, y};
    cvr_value out = x;
    const cvr_layer_call call = {sizeof call, layer, name, settings, in, &out, 2, 1};
    call_layer(n, &call);
    return n->status == CVR_OK ? out : x;
}

static cvr_value declare(net *n, const cvr_param_decl *decl) {
    cvr_value value = CVR_NONE;
    if (n->status == CVR_OK) n->status = n->b->param(n->b, decl, &value, n->err);
    return value;
}

cvr_value net_declare(net *n, const char *name, uint32_t rank, const int64_t *shape, uint32_t flags,
                      const cvr_init *init) {
    cvr_param_decl d = {.struct_size = sizeof d, .name = name, .dtype = CVR_F32, .rank = rank, .init = init};
    d.flags = CVR_PARAM_TRAINABLE | flags;
    for (uint32_t i = 0; i < CVR_MAX_RANK; i++) d.shape[i] = i < rank ? shape[i] : 1;
    return declare(n, &d);
}

/* fan_in is axis 1, fan_out axis 0, each times the kernel, whatever the groups. */
static cvr_init start_of(const net_start *s, const int64_t *shape, uint32_t rank) {
    const double kernel = rank == 4 ? (double)shape[2] * (double)shape[3] : 1;
    const double fan_in = (double)shape[1] * kernel, fan_out = (double)shape[0] * kernel;
    const double xavier = sqrt(6 / (fan_in + fan_out));
    switch (s->kind) {
    case NET_START_KAIMING: return (cvr_init){sizeof(cvr_init), CVR_INIT_NORMAL, 0, 0, sqrt(2 / fan_out)};
    case NET_START_NORMAL: return (cvr_init){sizeof(cvr_init), CVR_INIT_NORMAL, 0, 0, s->std};
    case NET_START_XAVIER: return (cvr_init){sizeof(cvr_init), CVR_INIT_UNIFORM, 0, -xavier, xavier};
    default: return (cvr_init){sizeof(cvr_init), CVR_INIT_CONSTANT, 0, 0, 0};
    }
}

/* weight and bias of the layer `name`. A weight that meets a flattened picture has its order. */
static void start(net *n, const char *name, const net_start *s, const cvr_type *weight, int64_t bias) {
    const cvr_init init = start_of(s, weight->shape, weight->rank);
    const cvr_init bias_init = {sizeof bias_init, s->bias_std > 0 ? CVR_INIT_NORMAL : CVR_INIT_CONSTANT, 0, 0,
                                s->bias_std};
    const net_text names[2] = {net_print("%s.weight", name), net_print("%s.bias", name)};
    cvr_param_decl d = {.struct_size = sizeof d,
                        .name = names[0].s,
                        .dtype = CVR_F32,
                        .rank = weight->rank,
                        .flags = CVR_PARAM_TRAINABLE,
                        .init = &init};
    memcpy(d.shape, weight->shape, sizeof d.shape);
    memcpy(d.order, weight->order, sizeof d.order);
    (void)declare(n, &d);
    if (bias) (void)net_declare(n, names[1].s, 1, weight->shape, CVR_PARAM_BIAS, &bias_init);
}

cvr_value net_conv(net *n, cvr_value x, const char *name, const net_conv2d *c) {
    const int64_t groups = c->groups ? c->groups : 1, stride = c->stride ? c->stride : 1;
    const net_text settings = net_print("%lld kernel_size=%lld stride=%lld padding=%lld groups=%lld bias=%s",
                                        (long long)c->out_channels, (long long)c->kernel_size, (long long)stride,
                                        (long long)c->padding, (long long)groups, c->bias ? "yes" : "no");
    const int64_t shape[4] = {c->out_channels, net_shape(n, x)[1] / groups, c->kernel_size, c->kernel_size};
    cvr_type weight;
    cvr_type_set(&weight, CVR_F32, 4, shape);
    if (n->conv.kind != NET_START_TORCH) start(n, name, &n->conv, &weight, c->bias);
    return net_layer(n, x, name, "conv2d", settings.s);
}

cvr_value net_linear(net *n, cvr_value x, const char *name, int64_t out_features) {
    const cvr_type *in = n->b->type(n->b, x);
    const int64_t shape[2] = {out_features, in->rank ? in->shape[in->rank - 1] : 1};
    cvr_type weight;
    cvr_type_set(&weight, CVR_F32, 2, shape);
    if (in->rank == 2) memcpy(weight.order, in->order, sizeof weight.order);
    if (n->linear.kind != NET_START_TORCH) start(n, name, &n->linear, &weight, 1);
    return net_layer(n, x, name, "linear", net_print("%lld", (long long)out_features).s);
}

int32_t net_result(net *n, const cvr_io *io, cvr_value x) {
    return n->status == CVR_OK ? io->put(io, "output", CVR_ROLE_RESULT, x, n->err) : n->status;
}

int32_t net_register(const cvr_registrar *r, const cvr_model_desc *const *models, size_t count, cvr_error *err) {
    int32_t status = CVR_OK;
    for (size_t i = 0; i < count && status == CVR_OK; i++) status = r->add(r, CVR_KIND_MODEL, models[i], err);
    return status;
}
