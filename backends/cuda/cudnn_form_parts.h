/* For those who write forms: tensors of the node as tensors of the graph. All give the tensor's number. */
#ifndef CUDNN_FORM_PARTS_H
#define CUDNN_FORM_PARTS_H

#include "../device/ops/device_ops.h"
#include "cudnn_form.h"
#include "plain.h"

/* So many bytes of the workspace; where they begin. */
uint64_t form_scratch(cudnn_form *f, uint64_t bytes);
/* Input i, cast to `dtype` before where it is of another type, and padded where the form pads it. A vector (C) stands
 * for (1, C, 1, 1). */
uint32_t form_input(cudnn_form *f, const cvr_signature *sig, uint32_t i, uint32_t dtype);
/* Output i, in its own type. */
uint32_t form_output(cudnn_form *f, const cvr_signature *sig, uint32_t i);
/* In the workspace, and in `dtype`; *at is where. */
uint32_t form_scratch_like(cudnn_form *f, const cvr_tensor *t, uint32_t dtype, uint64_t *at);
/* Of t's shape, in f32, and in no memory. */
uint32_t form_passing(cudnn_form *f, const cvr_tensor *t);
/* A number for each channel, f32, in the workspace: vector `which` of the form. */
uint32_t form_channels(cudnn_form *f, int64_t channels, uint32_t which);
/* The same vector for a device kernel. */
cvr_tensor form_vector(const cudnn_form *f, const cvr_kernel_args *a, uint32_t which, int64_t channels);

/* The three convolutions of the attributes, between tensors of these numbers. */
static inline void form_conv(cudnn_form *f, uint32_t kind, const cvr_conv2d_attrs *attrs, uint32_t x, uint32_t weight,
                             uint32_t y) {
    const cudnn_step s = {.kind = kind,
                          .tensors = {x, weight, y},
                          .stride = {attrs->stride[0], attrs->stride[1]},
                          .padding = {attrs->padding[0], attrs->padding[1]},
                          .dilation = {attrs->dilation[0], attrs->dilation[1]}};
    cudnn_add_step(&f->graph, &s);
}

/* Whether cuDNN computes a convolution of x to y with this weight as the op means it; else the reason. */
int32_t form_takes_conv(const cvr_conv2d_attrs *attrs, const cvr_tensor *x, const cvr_tensor *weight,
                        const cvr_tensor *y, cvr_error *reason);

/* For `pads`: whether a convolution without groups reads a picture of 16 bits with fewer than CUDNN_FORM_CHANNELS
 * channels. */
int form_reads_picture(const cvr_tensor *x, const cvr_tensor *weight);
/* Inputs 0 and 1 where they are such a picture and its weight. */
uint32_t form_pads_both(const cvr_signature *sig);
/* A tensor of the same pixels with CUDNN_FORM_CHANNELS channels. */
cvr_tensor form_padded(const cvr_tensor *t);
/* That one in the workspace, in `dtype`; *at is where. */
uint32_t form_scratch_padded(cudnn_form *f, const cvr_tensor *t, uint32_t dtype, uint64_t *at);

/* The input that may be absent. */
static inline const cvr_tensor *form_optional(const cvr_signature *sig, uint32_t i) {
    return i < sig->n_inputs ? sig->inputs[i] : NULL;
}

#endif
