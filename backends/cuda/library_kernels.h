/* Kernels of the backend `cuda` whose work a library does: descriptors whose callbacks look up the plan of their node
 * (libraries.c). */
#ifndef CUDA_LIBRARY_KERNELS_H
#define CUDA_LIBRARY_KERNELS_H

#include "choose.h"

/* All libraries that this build knows; ends with NULL. */
extern const library_desc *const library_all[];

/* A library's kernels. All such lists; ends with an empty one. */
typedef struct library_kernels {
    const cvr_kernel_desc *list;
    uint32_t n, reserved;
} library_kernels;
extern const library_kernels library_all_kernels[];

/* Before the device kernels, whose priority is 0. */
#define LIBRARY_PRIORITY 20

/* An op as one kernel. Its arguments do not say by which math it was planned, so f32 nodes in tf32 have a kernel of
 * their own. */
typedef struct library_kernel {
    const library_op *op;
    uint32_t math, reserved; /* CVR_MATH_F32, or CVR_MATH_TF32 */
} library_kernel;

int32_t library_supports(const library_kernel *k, const cvr_signature *sig, cvr_error *reason);
uint64_t library_workspace(const library_kernel *k, const cvr_signature *sig);
int32_t library_launch(const library_kernel *k, const cvr_kernel_args *a, void *stream, cvr_error *err);

/* Defines NAME_supports, NAME_workspace and NAME_payload for an op, */
#define LIBRARY_KERNEL(name_, op_, math_)                                                                              \
    static const library_kernel name_##_kernel = {op_, math_, 0};                                                      \
    static int32_t name_##_supports(const cvr_signature *sig, cvr_error *reason) {                                     \
        return library_supports(&name_##_kernel, sig, reason);                                                         \
    }                                                                                                                  \
    static uint64_t name_##_workspace(const cvr_signature *sig) {                                                      \
        return library_workspace(&name_##_kernel, sig);                                                                \
    }                                                                                                                  \
    static int32_t name_##_launch(const cvr_kernel_args *a, void *stream, cvr_error *err) {                            \
        return library_launch(&name_##_kernel, a, stream, err);                                                        \
    }                                                                                                                  \
    static const cvr_cuda_launch name_##_payload = {sizeof(cvr_cuda_launch), name_##_launch};

/* for both kinds of math; */
#define LIBRARY_KERNELS(name_, op_)                                                                                    \
    LIBRARY_KERNEL(name_, op_, CVR_MATH_F32) LIBRARY_KERNEL(name_##_tf32, op_, CVR_MATH_TF32)

/* and their descriptors. The one for tf32 goes before the other, which takes the node where it cannot. `casts_` is
 * CVR_KERNEL_CASTS of what the library wants in the activations' type. */
#define LIBRARY_DESC(name_, text_, isa_, priority_, casts_)                                                            \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_kernel_desc), .op = text_, .backend = "cuda",                                        \
        .payload_kind = CVR_PAYLOAD_CUDA_LAUNCH, .payload = &name_##_payload, .isa = isa_, .op_version = 1,            \
        .priority = priority_,                                                                                         \
        .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE | CVR_KERNEL_BF16 | CVR_KERNEL_F16 | (casts_),       \
        .supports = name_##_supports, .workspace = name_##_workspace                                                   \
    }
#define LIBRARY_DESCS(name_, casts_)                                                                                   \
    LIBRARY_DESC(name_##_tf32, #name_, "tf32", LIBRARY_PRIORITY + 1, casts_),                                          \
        LIBRARY_DESC(name_, #name_, "", LIBRARY_PRIORITY, casts_)

#endif
