/* The sentences that models are written in. Initialisation: torch.nn.init. */
#include "model_net.h"
#include <math.h>
#include <stdlib.h>

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

static void call_layer(net *n, cvr_layer_call *call) {
    const net_text name = net_print("%s%s", n->scope && *call->name ? n->scope : "", call->name);
    if (n->status != CVR_OK) return;
    call->name = name.s;
    n->status = *name.s ? n->b->layer(n->b, call, n->err)
                        : cvr_fail(n->err, CVR_ERR_INVALID, "a layer (%s) with too long a name", call->layer);
}

static cvr_value one_to_one(net *n, cvr_layer_call *call, cvr_value x) {
    cvr_value y = x;
    call->struct_size = sizeof *call;
    call->inputs = &x;
    call->outputs = &y;
    call->n_inputs = call->n_outputs = 1;
    call_layer(n, call);
    return n->status == CVR_OK ? y : x;
}

cvr_value net_layer(net *n, cvr_value x, const char *name, const char *layer, const char *settings) {
    cvr_layer_call call = {.layer = layer, .name = name, .settings = settings};
    return one_to_one(n, &call, x);
}

cvr_value net_norm(net *n, cvr_value x, const char *name, const char *settings) {
    return net_layer(n, x, name, n->norm ? n->norm : "batch_norm2d", settings ? settings : "");
}

/* A layer of several inputs or outputs. */
static void many_to_many(net *n, cvr_layer_call *call, const cvr_value *in, uint32_t n_in, cvr_value *out,
                         uint32_t n_out) {
    call->struct_size = sizeof *call;
    call->inputs = in;
    call->outputs = out;
    call->n_inputs = n_in;
    call->n_outputs = n_out;
    call_layer(n, call);
}

cvr_value net_layer2(net *n, cvr_value x, cvr_value y, const char *name, const char *layer, const char *settings) {
    const cvr_value in[2] = {x, y};
    cvr_layer_call call = {.layer = layer, .name = name, .settings = settings};
    cvr_value out = x;
    many_to_many(n, &call, in, 2, &out, 1);
    return n->status == CVR_OK ? out : x;
}

cvr_value net_concat(net *n, const cvr_value *parts, uint32_t count, int dim, const char *name) {
    const net_text settings = net_print("%d", dim);
    cvr_layer_call call = {.layer = "concat", .name = name, .settings = settings.s};
    cvr_value out = parts[0];
    many_to_many(n, &call, parts, count, &out, 1);
    return n->status == CVR_OK ? out : parts[0];
}

void net_chunk(net *n, cvr_value x, const char *name, int dim, cvr_value *parts, uint32_t count) {
    const net_text settings = net_print("%u dim=%d", count, dim);
    cvr_layer_call call = {.layer = "chunk", .name = name, .settings = settings.s};
    many_to_many(n, &call, &x, 1, parts, count);
}

cvr_value net_attend(net *n, const cvr_value qkv[3], const char *name, int64_t num_heads) {
    const net_text settings = net_print("%lld", (long long)num_heads);
    cvr_layer_call call = {.layer = "scaled_dot_product_attention", .name = name, .settings = settings.s};
    cvr_value out = qkv[0];
    many_to_many(n, &call, qkv, 3, &out, 1);
    return n->status == CVR_OK ? out : qkv[0];
}

cvr_value net_emit(net *n, const net_op *op, const cvr_value *in, uint32_t n_in, cvr_value *out, uint32_t n_out) {
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = op->op,
                              .attrs = op->attrs,
                              .attrs_size = op->size,
                              .inputs = in,
                              .outputs = out,
                              .n_inputs = n_in,
                              .n_outputs = n_out};
    for (uint32_t i = 0; i < n_out; i++) out[i] = CVR_NONE;
    if (n->status == CVR_OK) n->status = n->b->emit(n->b, &call, n->err);
    return out[0];
}

cvr_value net_emit1(net *n, const net_op *op, const cvr_value *in, uint32_t n_in) {
    cvr_value out;
    return net_emit(n, op, in, n_in, &out, 1);
}

cvr_value net_declare(net *n, const char *name, uint32_t rank, const int64_t *shape, uint32_t flags,
                      const cvr_init *init) {
    cvr_param_decl d = {.struct_size = sizeof d, .name = name, .dtype = CVR_F32, .rank = rank, .init = init};
    cvr_value value = CVR_NONE;
    d.flags = CVR_PARAM_TRAINABLE | flags;
    for (uint32_t i = 0; i < CVR_MAX_RANK; i++) d.shape[i] = i < rank ? shape[i] : 1;
    if (n->status == CVR_OK) n->status = n->b->param(n->b, &d, &value, n->err);
    return value;
}

/* A layer with a weight, and perhaps a bias, that start as `s` says. */
static cvr_value start_layer(net *n, cvr_value x, const net_start *s, cvr_layer_call *call) {
    static const cvr_init inits[] = {[NET_START_KAIMING] = {sizeof(cvr_init), CVR_INIT_KAIMING, 0, 2, 0},
                                     [NET_START_NORMAL] = {sizeof(cvr_init), CVR_INIT_NORMAL, 0, 0, 0},
                                     [NET_START_ZERO] = {sizeof(cvr_init), CVR_INIT_CONSTANT, 0, 0, 0},
                                     [NET_START_XAVIER] = {sizeof(cvr_init), CVR_INIT_XAVIER, 0, 6, 0},
                                     [NET_START_UNIFORM] = {sizeof(cvr_init), CVR_INIT_UNIFORM, 0, 0, 0}};
    cvr_init weight = inits[s->kind];
    const cvr_init bias = {sizeof bias, s->bias_std > 0 ? CVR_INIT_NORMAL : CVR_INIT_CONSTANT, 0, 0, s->bias_std};
    const cvr_param_init of_weight = {sizeof of_weight, "weight", &weight}, of_bias = {sizeof of_bias, "bias", &bias};
    const cvr_param_init *const both[] = {&of_weight, &of_bias};
    if (s->kind == NET_START_NORMAL || s->kind == NET_START_UNIFORM) weight.b = s->std;
    if (s->kind == NET_START_UNIFORM) weight.a = -s->std;
    call->inits = both;
    call->n_inits = s->kind == NET_START_TORCH ? 0 : s->bias_std < 0 ? 1 : 2;
    return one_to_one(n, call, x);
}

/* The start of a convolution of `groups`, as start_layer knows it. */
static net_start start_of(const net *n, cvr_value x, int64_t kernel_size, int64_t groups) {
    const net_start *s = &n->conv;
    if (s->kind != NET_START_KAIMING_IN && s->kind != NET_START_KAIMING_UNIFORM) return *s;
    if (n->status != CVR_OK) return (net_start){NET_START_TORCH, 0, 0}; /* x may be no value; nothing will start */
    const double fan_in = (double)(net_shape(n, x)[1] * kernel_size * kernel_size) / (double)groups;
    return s->kind == NET_START_KAIMING_IN ? (net_start){NET_START_NORMAL, sqrt(2 / fan_in), s->bias_std}
                                           : (net_start){NET_START_UNIFORM, sqrt(6 / fan_in), s->bias_std};
}

cvr_value net_conv_by(net *n, cvr_value x, const char *name, const char *settings) {
    cvr_layer_call call = {.layer = "conv2d", .name = name, .settings = settings};
    return start_layer(n, x, &n->conv, &call);
}

cvr_value net_conv_transpose(net *n, cvr_value x, const char *name, const char *settings) {
    cvr_layer_call call = {.layer = "conv_transpose2d", .name = name, .settings = settings};
    return start_layer(n, x, &n->conv, &call);
}

cvr_value net_conv_dilated(net *n, cvr_value x, const char *name, const net_conv2d *c, int64_t dilation) {
    const int64_t groups = c->groups ? c->groups : 1, stride = c->stride ? c->stride : 1;
    const net_text settings =
        net_print("%lld kernel_size=%lld stride=%lld padding=%lld dilation=%lld groups=%lld bias=%s",
                  (long long)c->out_channels, (long long)c->kernel_size, (long long)stride, (long long)c->padding,
                  (long long)dilation, (long long)groups, c->bias ? "yes" : "no");
    const net_start start = start_of(n, x, c->kernel_size, groups);
    cvr_layer_call call = {.layer = "conv2d", .name = name, .settings = settings.s};
    return start_layer(n, x, &start, &call);
}

cvr_value net_conv(net *n, cvr_value x, const char *name, const net_conv2d *c) {
    return net_conv_dilated(n, x, name, c, 1);
}

cvr_value net_conv_norm_dilated(net *n, cvr_value x, const char *name, const net_conv2d *c, int64_t dilation,
                                const net_norm_act *a) {
    x = net_conv_dilated(n, x, net_print("%s.0", name).s, c, dilation);
    x = net_norm(n, x, net_print("%s.1", name).s, a->norm);
    return a->activation ? net_layer(n, x, net_print("%s.2", name).s, a->activation, "") : x;
}

cvr_value net_conv_norm(net *n, cvr_value x, const char *name, const net_conv2d *c, const net_norm_act *a) {
    return net_conv_norm_dilated(n, x, name, c, 1, a);
}

cvr_value net_squeeze_excite(net *n, cvr_value x, const char *name, const net_squeeze *s) {
    const net_conv2d fc1 = {.out_channels = s->channels, .kernel_size = 1, .bias = 1},
                     fc2 = {.out_channels = net_shape(n, x)[1], .kernel_size = 1, .bias = 1};
    cvr_value y = net_layer(n, x, net_print("%s.avgpool", name).s, "adaptive_avg_pool2d", "1");
    y = net_conv(n, y, net_print("%s.fc1", name).s, &fc1);
    y = net_layer(n, y, net_print("%s.activation", name).s, s->activation, "");
    y = net_conv(n, y, net_print("%s.fc2", name).s, &fc2);
    y = net_layer(n, y, net_print("%s.scale_activation", name).s, s->gate, "");
    return net_layer2(n, y, x, net_print("%s.mul", name).s, "mul", "");
}

int64_t net_divisible(double v, int64_t divisor) {
    int64_t channels = (int64_t)(v + (double)divisor / 2) / divisor * divisor;
    if (channels < divisor) channels = divisor;
    return (double)channels < 0.9 * v ? channels + divisor : channels;
}

int64_t net_scaled(int64_t channels, double factor) {
    const int64_t scaled = (int64_t)((double)channels * factor + 0.5);
    return scaled > 1 ? scaled : 1;
}

cvr_value net_values(net *n, const cvr_param_decl *like) {
    cvr_value value = CVR_NONE;
    if (n->status == CVR_OK) n->status = n->b->param(n->b, like, &value, n->err);
    return value;
}

/* A number for each of three channels, which is in no file. */
static cvr_value per_channel(net *n, const char *name, const float values[3]) {
    const cvr_param_decl d = {.struct_size = sizeof d,
                              .name = name,
                              .dtype = CVR_F32,
                              .rank = 3,
                              .shape = {3, 1, 1, 1, 1, 1},
                              .flags = CVR_PARAM_CONSTANT,
                              .values = values};
    return net_values(n, &d);
}

cvr_value net_transform_input(net *n, cvr_value x) {
    static const float scale[3] = {0.229f / 0.5f, 0.224f / 0.5f, 0.225f / 0.5f},
                       shift[3] = {(0.485f - 0.5f) / 0.5f, (0.456f - 0.5f) / 0.5f, (0.406f - 0.5f) / 0.5f};
    if (n->status == CVR_OK && net_shape(n, x)[1] != 3)
        n->status =
            cvr_fail(n->err, CVR_ERR_INVALID, "model.transform_input is for pictures of 3 channels; these have %lld",
                     (long long)net_shape(n, x)[1]);
    x = net_layer2(n, x, per_channel(n, "transform_input.scale", scale), "transform_input.mul", "mul", "");
    return net_layer2(n, x, per_channel(n, "transform_input.shift", shift), "transform_input.add", "add", "");
}

cvr_value net_linear(net *n, cvr_value x, const char *name, int64_t out_features) {
    const net_text settings = net_print("%lld", (long long)out_features);
    cvr_layer_call call = {.layer = "linear", .name = name, .settings = settings.s};
    return start_layer(n, x, &n->linear, &call);
}

cvr_value net_linear_plain(net *n, cvr_value x, const char *name, int64_t out_features) {
    const net_text settings = net_print("%lld bias=no", (long long)out_features);
    cvr_layer_call call = {.layer = "linear", .name = name, .settings = settings.s};
    return start_layer(n, x, &n->linear, &call);
}

int32_t net_result(net *n, const cvr_io *io, cvr_value x) {
    return n->status == CVR_OK ? io->put(io, "output", CVR_ROLE_RESULT, x, n->err) : n->status;
}

void net_auxiliary(net *n, const cvr_io *io, const char *name, double weight, cvr_value x) {
    if (n->status == CVR_OK) n->status = io->put(io, name, CVR_ROLE_AUXILIARY, x, n->err);
    if (n->status == CVR_OK) io->weigh(io, name, weight);
}

int32_t net_register(const cvr_registrar *r, const cvr_model_desc *const *models, size_t count, cvr_error *err) {
    for (size_t i = 0; i < count; i++) CVR_TRY(r->add(r, CVR_KIND_MODEL, models[i], err));
    return CVR_OK;
}

/* ---- names ---- */

/* Bytes of `name` that `from` fits, up to a dot or its end; the numbers that # stands for. 0: it does not fit. */
static size_t fit_name(const char *from, const char *name, long long numbers[4]) {
    const char *p = name;
    int n = 0;
    for (; *from; from++) {
        if (*from == '#' && n < 4 && *p >= '0' && *p <= '9') {
            char *end;
            numbers[n++] = strtoll(p, &end, 10);
            p = end;
        } else if (*from != *p++) {
            return 0;
        }
    }
    return *p == '.' || *p == '\0' ? (size_t)(p - name) : 0;
}

/* "{i}" and "{i:a+b}" are a * number i + b. */
static int32_t print_name(const char *to, const long long numbers[4], const char *rest, char *out, uint64_t size) {
    uint64_t n = 0;
    while (*to && n < size) {
        int which, length = 0;
        long long times = 1, more = 0;
        if (sscanf(to, "{%1d:%lld+%lld}%n", &which, &times, &more, &length) != 3 || !length) {
            times = 1;
            more = length = 0;
            if (sscanf(to, "{%1d}%n", &which, &length) != 1) length = 0;
        }
        if (length && which >= 1 && which <= 4)
            n += (uint64_t)snprintf(out + n, size - n, "%lld", numbers[which - 1] * times + more);
        else
            out[n++] = *to;
        to += length ? length : 1;
    }
    return n < size && (uint64_t)snprintf(out + n, size - n, "%s", rest) < size - n;
}

int32_t net_rename(const net_name *rules, size_t n, const char *name, char *out, uint64_t size) {
    for (size_t i = 0; i < n; i++) {
        long long numbers[4] = {0};
        const size_t length = fit_name(rules[i].from, name, numbers);
        if (length) return print_name(rules[i].to, numbers, name + length, out, size);
    }
    return 0;
}
