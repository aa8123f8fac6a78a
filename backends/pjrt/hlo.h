/*
 * Writing the body of a StableHLO function (<cvr/plugin/stablehlo.h>): each call writes one statement and gives the
 * value that it defines. What goes wrong is kept in the writer, and everything after it is not written, so that an
 * emitter reads like its formula. Shapes are in the order of memory. Source: the StableHLO specification.
 */
#ifndef HLO_H
#define HLO_H

#include <cvr/plugin/kernel.h>
#include <cvr/plugin/stablehlo.h>

/* Element types that tensors of the framework do not have. */
#define HLO_BOOL 100u
#define HLO_U32 101u
#define HLO_U64 102u
#define HLO_F64 103u

#define HLO_RANK 8u

typedef struct hlo_value {
    uint32_t id, part; /* part: 0, or 1 + the number of one of several results */
    uint32_t dtype, rank;
    int64_t shape[HLO_RANK];
} hlo_value;

typedef struct hlo {
    const cvr_kernel_args *a;
    const cvr_text_sink *sink;
    cvr_error *err;
    int32_t status;
    uint32_t next; /* the next name */
    uint32_t n_results;
    hlo_value results[CVR_MAX_IO];
} hlo;

void hlo_begin(hlo *h, const cvr_kernel_args *a, const cvr_text_sink *sink, cvr_error *err);
/* Converts what has been given to hlo_result() to the outputs' types, writes `return`, and gives the status. */
int32_t hlo_end(hlo *h);
/* The next output, or the next new value of a mutated input. It may have other axes of size 1 than the output. */
void hlo_result(hlo *h, hlo_value v);
/* The emitter cannot: one line why. */
void hlo_fail(hlo *h, const char *format, ...) CVR_PRINTF(2, 3);
/* A value of this type and shape under the next name, for a statement that defines it. */
hlo_value hlo_new(hlo *h, hlo_value type);
/* Text as it stands. */
void hlo_put(hlo *h, const char *format, ...) CVR_PRINTF(2, 3);
/* "%12" and "tensor<2x3xf32>", in a buffer of the caller's. */
#define HLO_TEXT 200u
const char *hlo_name(hlo_value v, char *text);
const char *hlo_type(hlo_value v, char *text);

/* ---- inputs ---- */

/* Input i in the order of memory; f16 and bf16 become f32. */
hlo_value hlo_input(hlo *h, uint32_t i);
/* As it is. */
hlo_value hlo_input_raw(hlo *h, uint32_t i);
/* Whether input i is there. */
int hlo_has(const hlo *h, uint32_t i);
/* The type that a tensor has in memory, for shapes of results. */
hlo_value hlo_like(const cvr_tensor *t);
/* Where a logical axis lies in memory: of rank 4 (N,C,H,W) it is (N,H,W,C). */
uint32_t hlo_axis(uint32_t rank, int64_t axis);
int64_t hlo_count(hlo_value v);

/* ---- constants: of the type and shape of `like`, or scalars ---- */

hlo_value hlo_fill(hlo *h, hlo_value like, double value);
hlo_value hlo_scalar(hlo *h, uint32_t dtype, double value);
hlo_value hlo_integer(hlo *h, uint32_t dtype, int64_t value);
hlo_value hlo_f32(hlo *h, double value);
/* 0, 1, 2, ... along an axis of this shape. */
hlo_value hlo_iota(hlo *h, uint32_t dtype, hlo_value shape, uint32_t axis);
/* A table of f32 or i32 that the emitter has computed. */
hlo_value hlo_table_f32(hlo *h, const float *values, uint32_t rank, const int64_t *shape);
hlo_value hlo_table_i32(hlo *h, const int32_t *values, uint32_t rank, const int64_t *shape);

/* ---- elements: a scalar operand is repeated ---- */

hlo_value hlo_unary(hlo *h, const char *op, hlo_value a);
hlo_value hlo_binary(hlo *h, const char *op, hlo_value a, hlo_value b);
hlo_value hlo_add(hlo *h, hlo_value a, hlo_value b);
hlo_value hlo_sub(hlo *h, hlo_value a, hlo_value b);
hlo_value hlo_mul(hlo *h, hlo_value a, hlo_value b);
hlo_value hlo_div(hlo *h, hlo_value a, hlo_value b);
hlo_value hlo_scale(hlo *h, hlo_value a, double factor);
/* EQ NE LT LE GT GE */
hlo_value hlo_compare(hlo *h, const char *how, hlo_value a, hlo_value b);
hlo_value hlo_select(hlo *h, hlo_value which, hlo_value yes, hlo_value no);
hlo_value hlo_convert(hlo *h, hlo_value a, uint32_t dtype);
/* The same bits, in a type of the same size. */
hlo_value hlo_bits(hlo *h, hlo_value a, uint32_t dtype);

/* ---- shapes ---- */

hlo_value hlo_reshape(hlo *h, hlo_value a, uint32_t rank, const int64_t *shape);
hlo_value hlo_reshape_like(hlo *h, hlo_value a, hlo_value like);
/* Axis k of the result is axis order[k] of a. */
hlo_value hlo_transpose(hlo *h, hlo_value a, const uint32_t *order);
/* Logical order (N,C,H,W) of what lies as in memory, and back. */
hlo_value hlo_to_logical(hlo *h, hlo_value a);
hlo_value hlo_to_memory(hlo *h, hlo_value a);
/* Repeated to the shape of `like`; a's axis k is axis axes[k] of it. */
hlo_value hlo_broadcast(hlo *h, hlo_value a, hlo_value like, const uint32_t *axes);
/* One number for each index of one axis; a scalar is repeated everywhere. */
hlo_value hlo_along(hlo *h, hlo_value a, hlo_value like, uint32_t axis);
/* What hlo_reduce left of `like`, whose bit-set axes it took away. */
hlo_value hlo_expand(hlo *h, hlo_value a, hlo_value like, uint32_t axes);
hlo_value hlo_slice(hlo *h, hlo_value a, const int64_t *from, const int64_t *to, const int64_t *step);
hlo_value hlo_slice_axis(hlo *h, hlo_value a, uint32_t axis, int64_t from, int64_t to);
/* One place along an axis, which a scalar i32 names; and `into` with one there, whose other axes are `part`'s. */
hlo_value hlo_slice_at(hlo *h, hlo_value a, uint32_t axis, hlo_value at);
hlo_value hlo_update_at(hlo *h, hlo_value into, hlo_value part, uint32_t axis, hlo_value at);
/* Negative padding cuts. */
hlo_value hlo_pad(hlo *h, hlo_value a, hlo_value with, const int64_t *low, const int64_t *high, const int64_t *inner);
hlo_value hlo_concat(hlo *h, const hlo_value *all, uint32_t n, uint32_t axis);
hlo_value hlo_reverse(hlo *h, hlo_value a, uint32_t axes);

/* ---- sums and products ---- */

/* op: add, maximum, minimum, and, or; over the axes whose bit is set, which go. */
hlo_value hlo_reduce(hlo *h, const char *op, hlo_value a, uint32_t axes);
hlo_value hlo_sum(hlo *h, hlo_value a, uint32_t axes);
hlo_value hlo_mean(hlo *h, hlo_value a, uint32_t axes);

/* Over windows of the two middle axes of (N,H,W,C). */
typedef struct hlo_window {
    int64_t size[2], step[2], low[2], high[2], dilation[2], base[2]; /* base: steps between elements of a */
} hlo_window;
hlo_value hlo_reduce_window(hlo *h, const char *op, hlo_value a, const hlo_window *w);

/* Axes 0 to n_batch - 1 are common; then one axis of each is summed over; the others stay, a's first. */
hlo_value hlo_dot(hlo *h, hlo_value a, hlo_value b, uint32_t n_batch, uint32_t of_a, uint32_t of_b);

typedef struct hlo_convolution {
    const char *axes; /* "[b, 0, 1, f]x[o, 0, 1, i]->[b, 0, 1, f]" */
    int64_t step[2], low[2], high[2], x_dilation[2], w_dilation[2];
    int64_t groups, batch_groups;
    hlo_value result; /* its type */
} hlo_convolution;
hlo_value hlo_convolve(hlo *h, hlo_value x, hlo_value w, const hlo_convolution *c);

/* ---- looking up ---- */

/* Rows a[index]: the axes of `index`, then those of a but for its first. Indices outside are held to the table. */
hlo_value hlo_take(hlo *h, hlo_value a, hlo_value index);
/* a (B, R, ...) and index (B, ...): rows of each b's own table. */
hlo_value hlo_take_batched(hlo *h, hlo_value a, hlo_value index);
/* `into` with rows of `rows` (n, ...) added at index (n); those outside go nowhere. */
hlo_value hlo_scatter_add(hlo *h, hlo_value into, hlo_value index, hlo_value rows);
/* Sorts along the last axis by `key`, rising, equal ones in their order; `with` goes along. Both are replaced. */
void hlo_sort(hlo *h, hlo_value *key, hlo_value *with);

/* ---- loops (hlo_loop.c) ---- */

#define HLO_CARRIED 24u
typedef struct hlo_loop {
    uint32_t id, n;
    hlo_value round; /* how many rounds have been done */
} hlo_loop;
/*
 * What is written from here to hlo_loop_end() is done in rounds. The `n` values `carried` go from one round to the
 * next: here they become their names within the loop, there what it leaves of them. carried[0], a scalar i32, is the
 * number of rounds, and may be changed in one. Nothing else from before may be used within, constants included.
 */
void hlo_loop_begin(hlo *h, hlo_loop *l, hlo_value *carried, uint32_t n);
void hlo_loop_end(hlo *h, const hlo_loop *l, hlo_value *carried);

/* ---- formulas that several ops share (hlo_math.c) ---- */

/* The functions of elementwise programs, to the rounding of the reference. */
hlo_value hlo_step(hlo *h, uint32_t code, const hlo_value v[4]);
hlo_value hlo_sigmoid(hlo *h, hlo_value a);
/* exp(x) over its sum along these axes, a bit each */
hlo_value hlo_softmax(hlo *h, hlo_value x, uint32_t axes);
/* v^exponent; 0 and 2 do without a power. */
hlo_value hlo_power(hlo *h, hlo_value v, double exponent);
/* 1 / sqrt(var + eps) */
hlo_value hlo_invstd(hlo *h, hlo_value var, double eps);
/* log(1 + exp(a)) */
hlo_value hlo_softplus(hlo *h, hlo_value a);
/* CVR_ACTIVATION_* of ops/norm.h, and its gradient where y = activation(x); silu's takes x. */
hlo_value hlo_activation(hlo *h, int64_t activation, hlo_value x);
hlo_value hlo_activation_gradient(hlo *h, int64_t activation, hlo_value x_or_y, hlo_value grad);
/* Four words of Philox4x32-10 (rng.h): key and counter as pairs of u32, scalars or tensors of one shape. */
void hlo_philox(hlo *h, const hlo_value key[2], const hlo_value counter[4], hlo_value words[4]);

/* ---- registration ---- */

typedef struct hlo_op {
    const char *op;
    cvr_stablehlo_emit payload;
    int32_t (*supports)(const cvr_signature *sig, cvr_error *reason);
} hlo_op;

/* HLO_EMITTER(name) { ... } defines a payload that writes with `h`. */
#define HLO_EMITTER(name_)                                                                                             \
    static void name_##_body(hlo *h);                                                                                  \
    static int32_t name_(const cvr_kernel_args *a, const cvr_text_sink *sink, cvr_error *err) {                        \
        hlo h;                                                                                                         \
        hlo_begin(&h, a, sink, err);                                                                                   \
        name_##_body(&h);                                                                                              \
        return hlo_end(&h);                                                                                            \
    }                                                                                                                  \
    static void name_##_body(hlo *h)
#define HLO_OP(op_, emit_)                                                                                             \
    {                                                                                                                  \
        .op = op_, .payload = { sizeof(cvr_stablehlo_emit), emit_ }                                                    \
    }
#define HLO_ATTRS(type_) ((const type_ *)h->a->attrs)

#endif
