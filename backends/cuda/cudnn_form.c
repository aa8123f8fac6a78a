/* What forms are put together of. See cudnn_form.h. */
#include "cudnn_form_parts.h"

#define ALIGNED 256u /* where parts of a workspace begin: what cuDNN may want */

uint64_t form_scratch(cudnn_form *f, uint64_t bytes) {
    const uint64_t at = f->scratch;
    f->scratch += (bytes + ALIGNED - 1) / ALIGNED * ALIGNED;
    return at;
}

static uint64_t bytes_of(const cvr_tensor *t, uint32_t dtype) {
    return (uint64_t)cvr_numel(t->rank, t->shape) * cvr_dtype_size(dtype);
}

static uint32_t add(cudnn_form *f, const cvr_tensor *t, uint32_t dtype, uint32_t place, uint64_t at) {
    cudnn_tensor made = {.dtype = dtype, .place = place, .at = at, .dims = {1, 1, 1, 1}};
    if (t->rank == 4) memcpy(made.dims, t->shape, sizeof made.dims);
    if (t->rank == 1) made.dims[1] = t->shape[0];
    return cudnn_add_tensor(&f->graph, &made);
}

uint32_t form_input(cudnn_form *f, const cvr_signature *sig, uint32_t i, uint32_t dtype) {
    const cvr_tensor *t = sig->inputs[i];
    const int pads = f->pads >> i & 1;
    if (t->dtype == dtype && !pads) return add(f, t, dtype, CUDNN_AT_INPUT, i);
    const uint64_t at = t->dtype == dtype ? 0 : form_scratch(f, bytes_of(t, dtype));
    const uint32_t k = f->n_casts++;
    f->casts[k].input = i;
    f->casts[k].dtype = dtype;
    f->casts[k].at = at;
    return pads ? form_scratch_padded(f, t, dtype, &f->casts[k].padded) : add(f, t, dtype, CUDNN_AT_SCRATCH, at);
}

uint32_t form_output(cudnn_form *f, const cvr_signature *sig, uint32_t i) {
    return add(f, sig->outputs[i], sig->outputs[i]->dtype, CUDNN_AT_OUTPUT, i);
}

uint32_t form_scratch_like(cudnn_form *f, const cvr_tensor *t, uint32_t dtype, uint64_t *at) {
    *at = form_scratch(f, bytes_of(t, dtype));
    return add(f, t, dtype, CUDNN_AT_SCRATCH, *at);
}

int form_reads_picture(const cvr_tensor *x, const cvr_tensor *weight) {
    const int64_t channels = x->shape[1];
    return x->dtype != CVR_F32 && channels == weight->shape[1] && channels < CUDNN_FORM_CHANNELS &&
           cvr_numel(4, x->shape) / channels <= INT32_MAX / CUDNN_FORM_CHANNELS;
}

uint32_t form_pads_both(const cvr_signature *sig) {
    return form_reads_picture(sig->inputs[0], sig->inputs[1]) ? 3 : 0;
}

cvr_tensor form_padded(const cvr_tensor *t) {
    cvr_tensor padded = *t;
    padded.shape[1] = padded.pixel_stride = CUDNN_FORM_CHANNELS;
    return padded;
}

uint32_t form_scratch_padded(cudnn_form *f, const cvr_tensor *t, uint32_t dtype, uint64_t *at) {
    const cvr_tensor padded = form_padded(t);
    return form_scratch_like(f, &padded, dtype, at);
}

uint32_t form_passing(cudnn_form *f, const cvr_tensor *t) {
    return add(f, t, CVR_F32, CUDNN_AT_NONE, 0);
}

uint32_t form_channels(cudnn_form *f, int64_t channels, uint32_t which) {
    f->vectors[which] = form_scratch(f, (uint64_t)channels * 4);
    const cudnn_tensor t = {
        .dtype = CVR_F32, .place = CUDNN_AT_SCRATCH, .at = f->vectors[which], .dims = {1, channels, 1, 1}};
    return cudnn_add_tensor(&f->graph, &t);
}

cvr_tensor form_vector(const cudnn_form *f, const cvr_kernel_args *a, uint32_t which, int64_t channels) {
    return (cvr_tensor){.struct_size = sizeof(cvr_tensor),
                        .dtype = CVR_F32,
                        .rank = 1,
                        .shape = {channels, 1, 1, 1, 1, 1},
                        .data = (char *)a->workspace + f->vectors[which]};
}
