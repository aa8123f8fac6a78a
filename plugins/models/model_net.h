/*
 * What models are written with: layers by name, one after the other, and how their parameters start. A failure sticks:
 * after it every call does nothing, so that a network reads as its layers and is checked once, at the end.
 *
 * Every width but the first of a chain is read from the value that a layer gets (net_shape), so that a recipe's
 * [layers] may change any of them. Where a sum joins two values, the branch takes its last width from the other one.
 */
#ifndef CVR_MODEL_NET_H
#define CVR_MODEL_NET_H

#include <cvr/plugin/plugin.h>

/* A stage of a model, for its list. */
#define NET_STAGE(name_, globs_)                                                                                       \
    &(const cvr_stage) {                                                                                               \
        sizeof(cvr_stage), name_, globs_                                                                               \
    }
#define NET_COUNT(list_) (sizeof(list_) / sizeof *(list_))

/* How weights start; a bias starts at 0 but for NET_START_TORCH, and where `bias_std` says otherwise. */
#define NET_START_TORCH 0   /* as the layer has it: uniform in +-1/sqrt(fan_in), bias too */
#define NET_START_KAIMING 1 /* torch.nn.init.kaiming_normal_, mode fan_out, relu: std sqrt(2 / (out * kH * kW)) */
#define NET_START_NORMAL 2  /* standard deviation `std` */
#define NET_START_ZERO 3
#define NET_START_XAVIER 4  /* torch.nn.init.xavier_uniform_: +-sqrt(6 / (fan_in + fan_out)) */
#define NET_START_UNIFORM 5 /* in +-`std` */
/* of net_conv, by fan_in = channels of the input / groups * kH * kW; torch.nn.init's, with mode fan_in and relu: */
#define NET_START_KAIMING_IN 6      /* kaiming_normal_: std sqrt(2 / fan_in) */
#define NET_START_KAIMING_UNIFORM 7 /* kaiming_uniform_: in +-sqrt(6 / fan_in) */

#define NET_BIAS_TORCH (-1.0)
typedef struct net_start {
    int64_t kind;
    double std;
    double bias_std; /* deviation of the bias; 0: it starts at 0; NET_BIAS_TORCH: as the layer has it */
} net_start;

typedef struct net {
    const cvr_builder *b;
    cvr_error *err;
    int32_t status;
    net_start conv, linear;
    const char *scope; /* stands in front of every layer's name: "backbone."; NULL: nothing does */
    const char *norm;  /* the layer that normalises in net_norm; NULL: batch_norm2d */
} net;

/* A name or settings, made as printf does; too long a one is a failure of the layer's. */
typedef struct net_text {
    char s[160];
} net_text;
net_text net_print(const char *format, ...) CVR_PRINTF(1, 2);

/* A layer of one input and one output. Returns `x` after a failure. */
cvr_value net_layer(net *n, cvr_value x, const char *name, const char *layer, const char *settings);
/* The layer `n->norm` on (N, C, H, W); `settings` may be NULL. */
cvr_value net_norm(net *n, cvr_value x, const char *name, const char *settings);
/* concat of `count` values along `dim`. */
cvr_value net_concat(net *n, const cvr_value *parts, uint32_t count, int dim, const char *name);
/* x in `count` equal pieces along `dim`. */
void net_chunk(net *n, cvr_value x, const char *name, int dim, cvr_value *parts, uint32_t count);
/* softmax(q k^T / sqrt(E)) v of query, key and value, heads side by side in the last axis */
cvr_value net_attend(net *n, const cvr_value qkv[3], const char *name, int64_t num_heads);
/* A layer of two inputs: add, mul, concat. */
cvr_value net_layer2(net *n, cvr_value x, cvr_value y, const char *name, const char *layer, const char *settings);

/* Adds an op where there is no layer for it. `attrs`: its packed struct of `size` bytes, or NULL and 0. Returns output
 * 0; the n_out of `out` are CVR_NONE after a failure. */
typedef struct net_op {
    const char *op;
    const void *attrs;
    uint64_t size;
} net_op;
cvr_value net_emit(net *n, const net_op *op, const cvr_value *in, uint32_t n_in, cvr_value *out, uint32_t n_out);
/* The op as an expression: NET_OP("top_k", &attrs), with the attributes' struct; NET_PLAIN_OP("clip_boxes") has none.
 */
#define NET_OP(name_, attrs_)                                                                                          \
    &(const net_op) {                                                                                                  \
        name_, attrs_, sizeof *(attrs_)                                                                                \
    }
#define NET_PLAIN_OP(name_)                                                                                            \
    &(const net_op) {                                                                                                  \
        name_, NULL, 0                                                                                                 \
    }
/* The same for an op with one output. */
cvr_value net_emit1(net *n, const net_op *op, const cvr_value *in, uint32_t n_in);

/* Square kernels; 0 stands for stride 1 and groups 1. */
typedef struct net_conv2d {
    int64_t out_channels, kernel_size, stride, padding, groups, bias;
} net_conv2d;
/* x: (N, C, H, W) -> (N, out_channels, P, Q); starts as n->conv says */
cvr_value net_conv(net *n, cvr_value x, const char *name, const net_conv2d *c);
/* The same with `dilation` pixels from one tap of the kernel to the next. */
cvr_value net_conv_dilated(net *n, cvr_value x, const char *name, const net_conv2d *c, int64_t dilation);
/* The same by settings of the layer conv2d, for kernels that are not square. */
cvr_value net_conv_by(net *n, cvr_value x, const char *name, const char *settings);
/* x: (N, C, H, W) -> (N, out_channels, P, Q) by settings of conv_transpose2d; starts as n->conv says */
cvr_value net_conv_transpose(net *n, cvr_value x, const char *name, const char *settings);

/* What stands around a convolution in a network: batch norm and activation ("" or NULL: none). */
typedef struct net_norm_act {
    const char *norm; /* settings of net_norm's layer: "eps=1e-3" */
    const char *activation;
} net_norm_act;
/* torchvision's Conv2dNormActivation: activation(batch norm(convolution)), as NAME.0, NAME.1 and NAME.2 */
cvr_value net_conv_norm(net *n, cvr_value x, const char *name, const net_conv2d *c, const net_norm_act *a);
cvr_value net_conv_norm_dilated(net *n, cvr_value x, const char *name, const net_conv2d *c, int64_t dilation,
                                const net_norm_act *a);

/*
 * Squeeze and excitation (Hu, Shen, Sun: "Squeeze-and-Excitation Networks", 2018):
 * x * gate(fc2(activation(fc1(mean of each channel)))), where fc1 has `squeeze` channels; torchvision's names
 */
typedef struct net_squeeze {
    int64_t channels;
    const char *activation, *gate;
} net_squeeze;
cvr_value net_squeeze_excite(net *n, cvr_value x, const char *name, const net_squeeze *s);

/* To the nearest multiple of the divisor, at least one of them, and not below 90 % (the MobileNets' _make_divisible).
 */
int64_t net_divisible(double v, int64_t divisor);

/* channels * factor to the nearest whole number, at least 1 */
int64_t net_scaled(int64_t channels, double factor);

/*
 * (x - 0.5) / 0.5 of pictures that were normalised with ImageNet's mean and deviation: torchvision's transform_input,
 * for the networks whose weights came from TensorFlow. x: (N, 3, H, W)
 */
cvr_value net_transform_input(net *n, cvr_value x);
/* x: (..., I) -> (..., out_features); starts as n->linear says */
cvr_value net_linear(net *n, cvr_value x, const char *name, int64_t out_features);

/* The same without a bias. */
cvr_value net_linear_plain(net *n, cvr_value x, const char *name, int64_t out_features);

/* A parameter of the model's own. `shape` has `rank` axes. CVR_NONE after a failure. */
cvr_value net_declare(net *n, const char *name, uint32_t rank, const int64_t *shape, uint32_t flags,
                      const cvr_init *init);

/* A buffer or constant that starts with given values. CVR_NONE after a failure. */
cvr_value net_values(net *n, const cvr_param_decl *like);

/* The logical shape of a value. */
const int64_t *net_shape(const net *n, cvr_value x);

/* Hands the network's one result over, under the name "output", and returns what became of the whole. */
int32_t net_result(net *n, const cvr_io *io, cvr_value x);

/* How timm's names become torchvision's: `from` is the beginning of a name, with # for a number; `to` what stands in
 * its place, with {1} for the first of these numbers, {2:2+1} for twice the second and one more. */
typedef struct net_name {
    const char *from, *to;
} net_name;
/* As cvr_model_desc.alias, by the first rule that fits. */
int32_t net_rename(const net_name *rules, size_t n, const char *name, char *out, uint64_t size);
/* Hands an auxiliary result over, which only training looks at, with the weight of its loss. */
void net_auxiliary(net *n, const cvr_io *io, const char *name, double weight, cvr_value x);

/* Registers `count` models. */
int32_t net_register(const cvr_registrar *r, const cvr_model_desc *const *models, size_t count, cvr_error *err);

#endif
