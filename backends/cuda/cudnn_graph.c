/* See cudnn_graph.h. */
#include "cudnn_graph.h"

#include <stdbool.h>

uint32_t cudnn_add_tensor(cudnn_graph *g, const cudnn_tensor *t) {
    g->tensors[g->n_tensors] = *t;
    return g->n_tensors++;
}

void cudnn_add_step(cudnn_graph *g, const cudnn_step *s) {
    g->steps[g->n_steps++] = *s;
}

/* A result has the larger size along each axis. */
uint32_t cudnn_add_pointwise(cudnn_graph *g, cudnnPointwiseMode_t mode, uint32_t a, uint32_t b) {
    cudnn_tensor y = {.dtype = CVR_F32, .place = CUDNN_AT_NONE};
    for (int i = 0; i < 4; i++) {
        const int64_t n = g->tensors[a].dims[i], m = b == NO_TENSOR ? 1 : g->tensors[b].dims[i];
        y.dims[i] = n > m ? n : m;
    }
    const uint32_t made = cudnn_add_tensor(g, &y);
    cudnn_add_step(g, &(const cudnn_step){.kind = CUDNN_POINTWISE, .mode = mode, .tensors = {a, b, made}});
    return made;
}

/* ---- descriptors ---- */

void cudnn_release(const cudnn_target *t, cudnn_owned *owned) {
    while (owned->n) (void)t->table->descriptor_destroy(owned->list[--owned->n]);
}

static int32_t fill(const cudnn_target *t, cudnnBackendDescriptor_t d, const cudnn_field *fields, uint32_t n_fields,
                    cvr_error *err) {
    for (uint32_t i = 0; i < n_fields; i++) {
        const cudnn_field *f = &fields[i];
        char what[48];
        if (f->n == 0) continue;
        (void)snprintf(what, sizeof what, "attribute %d", f->name);
        CVR_TRY(cudnn_check(t->table,
                            t->table->set(d, (cudnnBackendAttributeName_t)f->name, (cudnnBackendAttributeType_t)f->type,
                                          f->n, f->values),
                            what, err));
    }
    return cudnn_check(t->table, t->table->finalize(d), "descriptor", err);
}

int32_t cudnn_make(const cudnn_target *t, cudnn_owned *owned, cudnnBackendDescriptorType_t type,
                   const cudnn_field *fields, uint32_t n_fields, cudnnBackendDescriptor_t *out, cvr_error *err) {
    if (owned->n == sizeof owned->list / sizeof *owned->list)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "cuDNN: a graph of too many descriptors");
    CVR_TRY(cudnn_check(t->table, t->table->descriptor_create(type, out), "descriptor", err));
    owned->list[owned->n++] = *out;
    return fill(t, *out, fields, n_fields, err);
}

/* ---- tensors ---- */

static cudnnDataType_t data_type(uint32_t dtype) {
    return dtype == CVR_F16 ? CUDNN_DATA_HALF : dtype == CVR_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

static int32_t make_tensor(const cudnn_target *t, const cudnn_tensor *x, int64_t id, cudnn_owned *owned,
                           cudnnBackendDescriptor_t *out, cvr_error *err) {
    const int64_t channels = x->dims[1],
                  strides[4] = {channels * x->dims[2] * x->dims[3], 1, channels * x->dims[3], channels};
    const int64_t alignment = 16;
    const cudnnDataType_t type = data_type(x->dtype);
    const bool passes_on = x->place == CUDNN_AT_NONE;
    return CUDNN_MAKE(t, owned, CUDNN_BACKEND_TENSOR_DESCRIPTOR, out, err,
                      {CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type},
                      {CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, x->dims},
                      {CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides},
                      {CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment},
                      {CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id},
                      {CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &passes_on});
}

/* ---- operations ---- */

static const cudnnDataType_t in_f32 = CUDNN_DATA_FLOAT;
static const float one = 1, zero = 0;

/* The names of a convolution's operation: descriptor, and the attributes for x, weight and y. */
typedef struct conv_names {
    cudnnBackendDescriptorType_t type;
    int conv, x, weight, y, alpha, beta;
} conv_names;

static const conv_names names_of[] = {
    [CUDNN_CONV] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    [CUDNN_CONV_DATA] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    [CUDNN_CONV_WEIGHT] = {
        CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA}};

static int32_t make_conv(const cudnn_target *t, const cudnn_step *s, const cudnnBackendDescriptor_t *of,
                         cudnn_owned *owned, cudnnBackendDescriptor_t *out, cvr_error *err) {
    const conv_names *names = &names_of[s->kind];
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const int64_t axes = 2;
    cudnnBackendDescriptor_t conv;
    CVR_TRY(CUDNN_MAKE(t, owned, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, &conv, err,
                       {CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &in_f32},
                       {CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode},
                       {CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &axes},
                       {CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, s->padding},
                       {CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, s->padding},
                       {CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, s->stride},
                       {CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, s->dilation}));
    return CUDNN_MAKE(t, owned, names->type, out, err, {names->conv, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &conv},
                      {names->x, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &of[s->tensors[0]]},
                      {names->weight, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &of[s->tensors[1]]},
                      {names->y, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &of[s->tensors[2]]},
                      {names->alpha, CUDNN_TYPE_FLOAT, 1, &one}, {names->beta, CUDNN_TYPE_FLOAT, 1, &zero});
}

static int32_t make_pointwise(const cudnn_target *t, const cudnn_step *s, const cudnnBackendDescriptor_t *of,
                              cudnn_owned *owned, cudnnBackendDescriptor_t *out, cvr_error *err) {
    const int two = s->tensors[1] != NO_TENSOR, backward = s->mode == CUDNN_POINTWISE_RELU_BWD;
    const double upper = (double)s->upper;
    cudnnBackendDescriptor_t pointwise;
    CVR_TRY(CUDNN_MAKE(t, owned, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, &pointwise, err,
                       {CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &s->mode},
                       {CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &in_f32},
                       {CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, CUDNN_TYPE_DOUBLE, s->upper > 0, &upper}));
    if (backward)
        return CUDNN_MAKE(
            t, owned, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, out, err,
            {CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &pointwise},
            {CUDNN_ATTR_OPERATION_POINTWISE_DYDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &of[s->tensors[0]]},
            {CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &of[s->tensors[1]]},
            {CUDNN_ATTR_OPERATION_POINTWISE_DXDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &of[s->tensors[2]]});
    return CUDNN_MAKE(
        t, owned, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, out, err,
        {CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &pointwise},
        {CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &of[s->tensors[0]]},
        {CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, two, two ? &of[s->tensors[1]] : NULL},
        {CUDNN_ATTR_OPERATION_POINTWISE_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &of[s->tensors[2]]});
}

static int32_t make_stats(const cudnn_target *t, const cudnn_step *s, const cudnnBackendDescriptor_t *of,
                          cudnn_owned *owned, cudnnBackendDescriptor_t *out, cvr_error *err) {
    const cudnnGenStatsMode_t mode = CUDNN_GENSTATS_SUM_SQSUM;
    return CUDNN_MAKE(t, owned, CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR, out, err,
                      {CUDNN_ATTR_OPERATION_GENSTATS_MODE, CUDNN_TYPE_GENSTATS_MODE, 1, &mode},
                      {CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &in_f32},
                      {CUDNN_ATTR_OPERATION_GENSTATS_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &of[s->tensors[0]]},
                      {CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &of[s->tensors[1]]},
                      {CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &of[s->tensors[2]]});
}

/* CUDNN_ATTR_REDUCTION_IS_DETERMINISTIC: older headers lack the name, and a library that does not know the number
 * refuses the graph. */
#define REDUCTION_IS_DETERMINISTIC 1602

static int32_t make_sum(const cudnn_target *t, const cudnn_step *s, const cudnnBackendDescriptor_t *of,
                        cudnn_owned *owned, cudnnBackendDescriptor_t *out, cvr_error *err) {
    const cudnnReduceTensorOp_t add = CUDNN_REDUCE_TENSOR_ADD;
    const bool deterministic = true;
    cudnnBackendDescriptor_t sum;
    CVR_TRY(CUDNN_MAKE(t, owned, CUDNN_BACKEND_REDUCTION_DESCRIPTOR, &sum, err,
                       {CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &add},
                       {CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &in_f32},
                       {REDUCTION_IS_DETERMINISTIC, CUDNN_TYPE_BOOLEAN, 1, &deterministic}));
    return CUDNN_MAKE(t, owned, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, out, err,
                      {CUDNN_ATTR_OPERATION_REDUCTION_DESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &sum},
                      {CUDNN_ATTR_OPERATION_REDUCTION_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &of[s->tensors[0]]},
                      {CUDNN_ATTR_OPERATION_REDUCTION_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &of[s->tensors[1]]});
}

static int32_t (*const make_step[])(const cudnn_target *, const cudnn_step *, const cudnnBackendDescriptor_t *,
                                    cudnn_owned *, cudnnBackendDescriptor_t *, cvr_error *) = {
    [CUDNN_CONV] = make_conv,           [CUDNN_CONV_DATA] = make_conv, [CUDNN_CONV_WEIGHT] = make_conv,
    [CUDNN_POINTWISE] = make_pointwise, [CUDNN_STATS] = make_stats,    [CUDNN_SUM] = make_sum};

/* The attribute for the handle is deprecated since a graph can be made without one, and needed before cuDNN 9.8. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
int32_t cudnn_graph_make(const cudnn_target *t, const cudnn_graph *g, cudnn_owned *owned, cudnnBackendDescriptor_t *out,
                         cvr_error *err) {
    cudnnBackendDescriptor_t tensors[CUDNN_GRAPH_TENSORS] = {NULL}, steps[CUDNN_GRAPH_STEPS] = {NULL};
    for (uint32_t i = 0; i < g->n_tensors; i++)
        CVR_TRY(make_tensor(t, &g->tensors[i], (int64_t)i + 1, owned, &tensors[i], err));
    for (uint32_t i = 0; i < g->n_steps; i++)
        CVR_TRY(make_step[g->steps[i].kind](t, &g->steps[i], tensors, owned, &steps[i], err));
    return CUDNN_MAKE(t, owned, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, out, err,
                      {CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, (int64_t)g->n_steps, steps},
                      {CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, t->handle != NULL, &t->handle});
}
#pragma GCC diagnostic pop
