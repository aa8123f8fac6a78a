/*
 * Forms of an op for cuDNN: a graph that cuDNN computes in one plan, and what device kernels do before and after it,
 * such as casts of weights that cuDNN wants in the activations' type. An op may have several; the fastest one is taken.
 *
 * Tensor cores want pixels of at least four channels of 16 bits, and a picture has three. So where a convolution of 16
 * bits reads a picture, each form is tried once more with picture and weight padded to four channels by zeros.
 */
#ifndef CUDNN_FORM_H
#define CUDNN_FORM_H

#include "cudnn_graph.h"
#include "library.h"

#define CUDNN_FORMS 2u
#define CUDNN_FORM_CASTS 3u
#define CUDNN_FORM_VECTORS 2u
#define CUDNN_FORM_CHANNELS 4 /* what pictures are padded to */

typedef struct cudnn_form cudnn_form;

/* Enqueues device kernels; scratch memory of the form begins at `a->workspace`. */
typedef int32_t (*cudnn_form_fn)(const cudnn_form *f, const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err);

struct cudnn_form {
    cudnn_graph graph;
    struct {
        uint32_t input, dtype;
        uint64_t at;           /* where it is cast to, if it has another type; */
        uint64_t padded;       /* where it is padded to, if it is */
    } casts[CUDNN_FORM_CASTS]; /* an input is brought into the workspace in another type, or padded */
    uint32_t n_casts;
    uint32_t pads;                        /* bit i: input i is padded to CUDNN_FORM_CHANNELS channels */
    uint64_t scratch;                     /* bytes of the workspace before cuDNN's own */
    uint64_t vectors[CUDNN_FORM_VECTORS]; /* where in it the op's functions keep numbers */
    cudnn_form_fn before, after;          /* NULL: nothing */
};

/* An op that cuDNN computes. `op` comes first, so that its address is this struct's. */
typedef struct cudnn_op {
    library_op op;
    /* Which inputs have the channels of a picture, so that padding them may help, a bit each. NULL: none ever. */
    uint32_t (*pads)(const cvr_signature *sig);
    /* Fills in an empty form, of which `pads` may be set, for a signature that `op.takes`. The list ends with NULL. */
    void (*forms[CUDNN_FORMS + 1])(const cvr_signature *sig, cudnn_form *f);
} cudnn_op;

#define CUDNN_CONV_OPS 5
#define CUDNN_FUSED_OPS 2
#define CUDNN_NORM_OPS 1
extern const cudnn_op cudnn_conv_ops[CUDNN_CONV_OPS], cudnn_fused_ops[CUDNN_FUSED_OPS], cudnn_norm_ops[CUDNN_NORM_OPS];
#define CUDNN_KERNELS 16
extern const cvr_kernel_desc cudnn_kernels[CUDNN_KERNELS];
extern const library_desc cudnn_library;

#endif
