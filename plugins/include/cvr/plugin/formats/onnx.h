/*
 * How an op is written in ONNX (https://onnx.ai/onnx/operators): the trait that the exporter "onnx" asks ops for. An op
 * without it is written by its elementwise program or its decomposition. Everything is in logical order: a picture is
 * (N,C,H,W), a convolution's weight OIHW.
 *
 *     static int32_t write(const cvr_onnx *o, cvr_error *err) {        // y = max(x, slope * x)
 *         const double slope = ((const acme_attrs *)o->attrs)->slope;
 *         const cvr_onnx_attr attrs[] = {cvr_onnx_float("alpha", slope)};
 *         return cvr_onnx_op(o, "LeakyRelu", attrs, 1, err);
 *     }
 *     static const cvr_onnx_trait acme_onnx = {sizeof acme_onnx, write};
 *     CVR_DEFINE_TRAITS(acme_traits, {CVR_TRAIT_ONNX, &acme_onnx})
 */
#ifndef CVR_PLUGIN_FORMATS_ONNX_H
#define CVR_PLUGIN_FORMATS_ONNX_H

#include <cvr/plugin/axes.h>
#include <cvr/plugin/elementwise_steps.h>
#include <cvr/plugin/host.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A value in the file; 0: none. */
typedef uint32_t cvr_onnx_value;

/* An attribute of a node. Never grows. */
#define CVR_ONNX_INT 1u
#define CVR_ONNX_FLOAT 2u
#define CVR_ONNX_STRING 3u
#define CVR_ONNX_INTS 4u
typedef struct cvr_onnx_attr {
    const char *name;
    uint32_t kind;
    uint32_t n; /* of `ints` */
    int64_t i;
    double f;
    const int64_t *ints;
    const char *s;
} cvr_onnx_attr;

typedef struct cvr_onnx_node {
    uint64_t struct_size;
    const char *type;             /* "Conv" */
    const char *domain;           /* of an op that ONNX does not have, "com.acme", at version 1; NULL: ONNX's own */
    const cvr_onnx_value *inputs; /* 0 where one is absent */
    cvr_onnx_value *outputs;      /* of the op's own, or 0, which becomes a new value */
    const cvr_onnx_attr *attrs;
    uint32_t n_inputs, n_outputs, n_attrs;
    uint32_t reserved;
} cvr_onnx_node;

/* What an op is given to write itself: its attributes and values, and what puts nodes into the file. */
typedef struct cvr_onnx {
    uint64_t struct_size;
    void *ctx;
    const cvr_host *host;
    int64_t opset;     /* 13 to 21 */
    const void *attrs; /* the op's, packed */
    const cvr_onnx_value *inputs;
    const cvr_onnx_value *outputs; /* each to be made by a node */
    uint32_t n_inputs, n_outputs;
    /* Shape and element type of the op's own values and of constants; NULL for others. */
    const cvr_type *(*type)(const struct cvr_onnx *o, cvr_onnx_value v);
    /* The same values: axis i has so many elements for each picture of a batch; 0: its size does not depend on the
     * batch. No number that depends on it may be written as a constant. */
    const int64_t *(*per_picture)(const struct cvr_onnx *o, cvr_onnx_value v);
    int32_t (*node)(const struct cvr_onnx *o, const cvr_onnx_node *node, cvr_error *err);
    /* Numbers, row-major; copied. Of `type` element type, rank and shape count. */
    int32_t (*constant)(const struct cvr_onnx *o, const cvr_type *type, const void *data, cvr_onnx_value *out,
                        cvr_error *err);
    /* (1) i64: how many pictures there are. */
    int32_t (*batch)(const struct cvr_onnx *o, cvr_onnx_value *out, cvr_error *err);
    /* An elementwise program over `inputs`, which broadcast. `out`: as a node's outputs. */
    int32_t (*program)(const struct cvr_onnx *o, const cvr_steps *steps, const cvr_onnx_value *inputs,
                       uint32_t n_inputs, cvr_onnx_value *out, cvr_error *err);
} cvr_onnx;

#define CVR_TRAIT_ONNX "cvr.trait.onnx/1"
typedef struct cvr_onnx_trait {
    uint64_t struct_size;
    int32_t (*write)(const cvr_onnx *o, cvr_error *err);
} cvr_onnx_trait;

/* Defines a function for cvr_op_desc.trait that also gives the traits of another: cvr_traits_mixed and the like. */
#define CVR_ONNX_TRAITS(function_, write_, others_)                                                                    \
    const void *function_(const char *name) {                                                                          \
        static const cvr_onnx_trait onnx = {sizeof onnx, write_};                                                      \
        return strcmp(name, CVR_TRAIT_ONNX) == 0 ? &onnx : others_(name);                                              \
    }

/* The same with cvr.trait.axes/1. */
#define CVR_ONNX_AXES_TRAITS(function_, write_, axes_, others_)                                                        \
    CVR_AXES_AND(function_##_others, axes_, others_)                                                                   \
    CVR_ONNX_TRAITS(function_, write_, function_##_others)

/* There are no others. */
static inline const void *cvr_onnx_alone(const char *name) {
    (void)name;
    return NULL;
}

/* ---- attributes ---- */

static inline cvr_onnx_attr cvr_onnx_int(const char *name, int64_t i) {
    const cvr_onnx_attr a = {name, CVR_ONNX_INT, 0, i, 0, NULL, NULL};
    return a;
}

static inline cvr_onnx_attr cvr_onnx_float(const char *name, double f) {
    const cvr_onnx_attr a = {name, CVR_ONNX_FLOAT, 0, 0, f, NULL, NULL};
    return a;
}

static inline cvr_onnx_attr cvr_onnx_string(const char *name, const char *s) {
    const cvr_onnx_attr a = {name, CVR_ONNX_STRING, 0, 0, 0, NULL, s};
    return a;
}

/* `ints` must live until the node is written. */
static inline cvr_onnx_attr cvr_onnx_ints(const char *name, const int64_t *ints, uint32_t n) {
    const cvr_onnx_attr a = {name, CVR_ONNX_INTS, n, 0, 0, ints, NULL};
    return a;
}

/* ---- nodes ---- */

/* A node with one output. */
static inline int32_t cvr_onnx_emit(const cvr_onnx *o, const char *type, const cvr_onnx_value *inputs,
                                    uint32_t n_inputs, const cvr_onnx_attr *attrs, uint32_t n_attrs,
                                    cvr_onnx_value *out, cvr_error *err) {
    cvr_onnx_node n;
    memset(&n, 0, sizeof n);
    n.struct_size = sizeof n;
    n.type = type;
    n.inputs = inputs;
    n.outputs = out;
    n.attrs = attrs;
    n.n_inputs = n_inputs;
    n.n_outputs = 1;
    n.n_attrs = n_attrs;
    return o->node(o, &n, err);
}

/* The same of one input, or of two, without attributes. */
static inline int32_t cvr_onnx_emit1(const cvr_onnx *o, const char *type, cvr_onnx_value x, cvr_onnx_value *out,
                                     cvr_error *err) {
    return cvr_onnx_emit(o, type, &x, 1, NULL, 0, out, err);
}

static inline int32_t cvr_onnx_emit2(const cvr_onnx *o, const char *type, cvr_onnx_value a, cvr_onnx_value b,
                                     cvr_onnx_value *out, cvr_error *err) {
    const cvr_onnx_value in[2] = {a, b};
    return cvr_onnx_emit(o, type, in, 2, NULL, 0, out, err);
}

static inline int32_t cvr_onnx_emit3(const cvr_onnx *o, const char *type, cvr_onnx_value a, cvr_onnx_value b,
                                     cvr_onnx_value c, cvr_onnx_value *out, cvr_error *err) {
    const cvr_onnx_value in[3] = {a, b, c};
    return cvr_onnx_emit(o, type, in, 3, NULL, 0, out, err);
}

/* The whole op as one node: its inputs, its first output. */
static inline int32_t cvr_onnx_op(const cvr_onnx *o, const char *type, const cvr_onnx_attr *attrs, uint32_t n_attrs,
                                  cvr_error *err) {
    cvr_onnx_value out = o->outputs[0];
    return cvr_onnx_emit(o, type, o->inputs, o->n_inputs, attrs, n_attrs, &out, err);
}

/* ---- constants ---- */

/* (n) i64 */
static inline int32_t cvr_onnx_i64s(const cvr_onnx *o, const int64_t *values, int64_t n, cvr_onnx_value *out,
                                    cvr_error *err) {
    cvr_type t;
    cvr_type_set(&t, CVR_I64, 1, &n);
    return o->constant(o, &t, values, out, err);
}

static inline int32_t cvr_onnx_i64(const cvr_onnx *o, int64_t value, cvr_onnx_value *out, cvr_error *err) {
    return cvr_onnx_i64s(o, &value, 1, out, err);
}

/* A number, rank 0, of f32, i32 or i64. */
static inline int32_t cvr_onnx_number(const cvr_onnx *o, uint32_t dtype, double value, cvr_onnx_value *out,
                                      cvr_error *err) {
    const float f = (float)value;
    const int64_t l = dtype == CVR_F32 ? 0 : (int64_t)value; /* f32 may be infinite */
    const int32_t i = (int32_t)l;
    const void *const data = dtype == CVR_F32 ? (const void *)&f : dtype == CVR_I32 ? (const void *)&i : &l;
    cvr_type t;
    cvr_type_set(&t, dtype, 0, NULL);
    return o->constant(o, &t, data, out, err);
}

static inline int32_t cvr_onnx_f32(const cvr_onnx *o, double value, cvr_onnx_value *out, cvr_error *err) {
    return cvr_onnx_number(o, CVR_F32, value, out, err);
}

/* A node of x, f32, and a number: "Mul", "Max". */
static inline int32_t cvr_onnx_with(const cvr_onnx *o, const char *type, cvr_onnx_value x, double number,
                                    cvr_onnx_value *out, cvr_error *err) {
    cvr_onnx_value constant = 0;
    CVR_TRY(cvr_onnx_f32(o, number, &constant, err));
    return cvr_onnx_emit2(o, type, x, constant, out, err);
}

/* A reduction over axes. `since`: the opset from which on these are an input (ReduceSum 13, most others 18). */
static inline int32_t cvr_onnx_reduce(const cvr_onnx *o, const char *type, int64_t since, cvr_onnx_value x,
                                      const int64_t *axes, uint32_t n, int64_t keepdims, cvr_onnx_value *out,
                                      cvr_error *err) {
    const cvr_onnx_attr attrs[2] = {cvr_onnx_int("keepdims", keepdims), cvr_onnx_ints("axes", axes, n)};
    cvr_onnx_value in[2] = {x, 0};
    if (o->opset < since) return cvr_onnx_emit(o, type, in, 1, attrs, 2, out, err);
    CVR_TRY(cvr_onnx_i64s(o, axes, n, &in[1], err));
    return cvr_onnx_emit(o, type, in, 2, attrs, 1, out, err);
}

/* ---- shapes ---- */

/* Axis `axis` of a value times `factor`, in shapes for cvr_onnx_reshape. Never grows. */
typedef struct cvr_onnx_dim {
    int64_t size;        /* with the batch that the network was built with */
    int64_t per_picture; /* 0: whatever the batch */
} cvr_onnx_dim;

static inline cvr_onnx_dim cvr_onnx_size(int64_t size) {
    const cvr_onnx_dim d = {size, 0};
    return d;
}

static inline cvr_onnx_dim cvr_onnx_axis(const cvr_onnx *o, cvr_onnx_value v, uint32_t axis) {
    const cvr_onnx_dim d = {o->type(o, v)->shape[axis], o->per_picture(o, v)[axis]};
    return d;
}

/* All axes of a value; returns their number. */
static inline uint32_t cvr_onnx_axes(const cvr_onnx *o, cvr_onnx_value v, cvr_onnx_dim dims[CVR_MAX_RANK]) {
    const uint32_t rank = o->type(o, v)->rank;
    for (uint32_t i = 0; i < rank; i++) dims[i] = cvr_onnx_axis(o, v, i);
    return rank;
}

/* (rank) i64: these sizes, those that depend on the batch made of the number of pictures. */
static inline int32_t cvr_onnx_shape(const cvr_onnx *o, const cvr_onnx_dim *dims, uint32_t rank, cvr_onnx_value *out,
                                     cvr_error *err) {
    cvr_onnx_value parts[CVR_MAX_RANK + 2];
    const cvr_onnx_attr axis = cvr_onnx_int("axis", 0);
    int64_t sizes[CVR_MAX_RANK + 2];
    uint32_t n = 0, fixed = 0;
    for (uint32_t i = 0; i < rank; i++) {
        cvr_onnx_value each = 0;
        if (!dims[i].per_picture) {
            sizes[fixed++] = dims[i].size;
            if (i + 1 < rank && !dims[i + 1].per_picture) continue;
            CVR_TRY(cvr_onnx_i64s(o, sizes, fixed, &parts[n++], err));
            fixed = 0;
            continue;
        }
        CVR_TRY(o->batch(o, &parts[n], err));
        if (dims[i].per_picture != 1) {
            cvr_onnx_value product = 0;
            CVR_TRY(cvr_onnx_i64(o, dims[i].per_picture, &each, err));
            CVR_TRY(cvr_onnx_emit2(o, "Mul", parts[n], each, &product, err));
            parts[n] = product;
        }
        n++;
    }
    *out = n == 1 ? parts[0] : 0;
    return n == 1 ? CVR_OK : cvr_onnx_emit(o, "Concat", parts, n, &axis, 1, out, err);
}

/* Reshape. One size that depends on the batch is left to be found out (-1). */
static inline int32_t cvr_onnx_reshape(const cvr_onnx *o, cvr_onnx_value x, const cvr_onnx_dim *dims, uint32_t rank,
                                       cvr_onnx_value *out, cvr_error *err) {
    cvr_onnx_value shape = 0;
    int64_t sizes[CVR_MAX_RANK + 2];
    uint32_t open = 0;
    for (uint32_t i = 0; i < rank; i++) {
        sizes[i] = dims[i].per_picture ? -1 : dims[i].size;
        open += dims[i].per_picture != 0;
    }
    if (open > 1)
        CVR_TRY(cvr_onnx_shape(o, dims, rank, &shape, err));
    else
        CVR_TRY(cvr_onnx_i64s(o, sizes, rank, &shape, err));
    return cvr_onnx_emit2(o, "Reshape", x, shape, out, err);
}

static inline int32_t cvr_onnx_transpose(const cvr_onnx *o, cvr_onnx_value x, const int64_t *perm, uint32_t rank,
                                         cvr_onnx_value *out, cvr_error *err) {
    const cvr_onnx_attr attr = cvr_onnx_ints("perm", perm, rank);
    return cvr_onnx_emit(o, "Transpose", &x, 1, &attr, 1, out, err);
}

/* x[start:end:step] of an axis. */
static inline int32_t cvr_onnx_slice(const cvr_onnx *o, cvr_onnx_value x, int64_t axis, int64_t start, int64_t end,
                                     int64_t step, cvr_onnx_value *out, cvr_error *err) {
    cvr_onnx_value in[5] = {x, 0, 0, 0, 0};
    CVR_TRY(cvr_onnx_i64(o, start, &in[1], err));
    CVR_TRY(cvr_onnx_i64(o, end, &in[2], err));
    CVR_TRY(cvr_onnx_i64(o, axis, &in[3], err));
    CVR_TRY(cvr_onnx_i64(o, step, &in[4], err));
    return cvr_onnx_emit(o, "Slice", in, 5, NULL, 0, out, err);
}

/* Axes that are taken out, or put in with size 1. */
static inline int32_t cvr_onnx_squeeze(const cvr_onnx *o, const char *type, cvr_onnx_value x, int64_t axis,
                                       cvr_onnx_value *out, cvr_error *err) {
    cvr_onnx_value axes = 0;
    CVR_TRY(cvr_onnx_i64(o, axis, &axes, err));
    return cvr_onnx_emit2(o, type, x, axes, out, err);
}

static inline int32_t cvr_onnx_cast(const cvr_onnx *o, cvr_onnx_value x, int64_t onnx_type, cvr_onnx_value *out,
                                    cvr_error *err) {
    const cvr_onnx_attr to = cvr_onnx_int("to", onnx_type);
    return cvr_onnx_emit(o, "Cast", &x, 1, &to, 1, out, err);
}

/* Element types as ONNX numbers them. */
#define CVR_ONNX_TYPE_F32 1
#define CVR_ONNX_TYPE_U8 2
#define CVR_ONNX_TYPE_I8 3
#define CVR_ONNX_TYPE_I32 6
#define CVR_ONNX_TYPE_I64 7
#define CVR_ONNX_TYPE_BOOL 9
#define CVR_ONNX_TYPE_F16 10
#define CVR_ONNX_TYPE_BF16 16

/* Of CVR_F32 and the like; 0: it has none. */
static inline int32_t cvr_onnx_type_of(uint32_t dtype) {
    static const int32_t types[] = {0,
                                    CVR_ONNX_TYPE_F32,
                                    CVR_ONNX_TYPE_F16,
                                    CVR_ONNX_TYPE_BF16,
                                    CVR_ONNX_TYPE_U8,
                                    CVR_ONNX_TYPE_I8,
                                    CVR_ONNX_TYPE_I32,
                                    CVR_ONNX_TYPE_I64};
    return dtype <= CVR_I64 ? types[dtype] : 0;
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_onnx_attr) == 48, "cvr_onnx_attr has padding");
CVR_STATIC_ASSERT(sizeof(cvr_onnx_node) == 64, "cvr_onnx_node has padding");
CVR_STATIC_ASSERT(sizeof(cvr_onnx) == 112, "cvr_onnx has padding");
CVR_STATIC_ASSERT(sizeof(cvr_onnx_trait) == 16, "cvr_onnx_trait has padding");
CVR_STATIC_ASSERT(sizeof(cvr_onnx_dim) == 16, "cvr_onnx_dim has padding");

#endif
