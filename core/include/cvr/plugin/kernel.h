/*
 * "cvr.kernel/1": one way to compute one op on one backend. The core keeps them all, keyed by (op, version, backend);
 * load order does not matter, and a kernel for a backend that is not there lies dormant.
 *
 * The backend name "reference" is for the plain, readable kernel that every op has: what the op means, what all others
 * are tested against, and what runs on the host where a backend has nothing of its own.
 */
#ifndef CVR_PLUGIN_KERNEL_H
#define CVR_PLUGIN_KERNEL_H

#include "device.h"
#include "host.h"
#include "op.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_KERNEL_DETERMINISTIC 1u /* same inputs, same bits, whatever the number of threads */
#define CVR_KERNEL_RECORDABLE 2u    /* may stand between others in one recording; without it, it is one by itself */
#define CVR_KERNEL_STRIDED 4u       /* takes rank-4 tensors whose pixel_stride exceeds C */
#define CVR_KERNEL_BF16 8u          /* takes bf16 where the op's activations are; */
#define CVR_KERNEL_F16 16u          /* f16, likewise; without these, f32 alone */
#define CVR_KERNEL_CASTS(i) (1u << (16u + (i))) /* rounds input i < 16 to their type, or takes it so (docs/abi.md) */

#define CVR_MATH_F32 0u    /* how a program's f32 products may be computed: in f32; */
#define CVR_MATH_BF16X3 1u /* each operand as the sum of two bf16, three products: about 16 bits of mantissa */
#define CVR_MATH_TF32 2u   /* operands rounded to 11 bits of mantissa, sums in f32: tensor cores since sm_80 */

/* What is known before launch: tensors whose `data` is NULL. Absent inputs are NULL. */
typedef struct cvr_signature {
    uint64_t struct_size;
    const void *attrs;
    const cvr_tensor *const *inputs;
    const cvr_tensor *const *outputs;
    uint32_t n_inputs;
    uint32_t n_outputs;
    uint32_t n_workers; /* threads of the pool that the kernel will get: scratch may be sized by it, results may not
                           depend on it; 1 on a device */
    uint32_t math;      /* CVR_MATH_* */
    uint32_t prepared;  /* 1: the inputs of `prepares` stay as they are, so `prepare` will have run */
    uint32_t reserved;
    const cvr_device_info *device; /* NULL on the host */
} cvr_signature;

typedef struct cvr_kernel_args {
    uint64_t struct_size;
    const void *attrs;
    const cvr_tensor *const *inputs; /* NULL where absent */
    cvr_tensor *const *outputs;
    void *workspace; /* aligned by 64 bytes, or as the device says, `workspace_size` bytes, not zeroed; of 0 bytes it
                        may be anything */
    uint64_t workspace_size;
    const cvr_threadpool *pool;
    void *stream; /* the backend's own; NULL on the host */
    uint32_t n_inputs;
    uint32_t n_outputs;
    void *prepared; /* what `prepare` made, 64-byte aligned; NULL where it did not run */
    uint64_t prepared_size;
    const cvr_device_info *device; /* NULL on the host */
} cvr_kernel_args;

/* Payload "cpu.fn/1". */
typedef struct cvr_cpu_fn {
    uint64_t struct_size;
    int32_t (*run)(const cvr_kernel_args *a, cvr_error *err);
} cvr_cpu_fn;
#define CVR_PAYLOAD_CPU_FN "cpu.fn/1"

typedef struct cvr_kernel_desc {
    uint64_t struct_size;
    const char *op;
    const char *backend;
    const char *payload_kind;
    const void *payload; /* not copied: lives as long as the plugin, and begins with its struct_size */
    /* Features that it needs, "avx2 fma", or "!avx2", must not have; "" or NULL: none. Of the CPU for
     * CVR_PAYLOAD_CPU_FN, for any other kind of the device (cvr_device_info.features). */
    const char *isa;
    uint32_t op_version;
    int32_t priority; /* the highest that the machine and `supports` allow wins; equal: the first by plugin id */
    uint32_t flags;
    uint32_t reserved;
    /* Bit i: output 0 may share input i's memory, if both have the same size and nobody needs the input any more. */
    uint64_t inplace;
    /* Pure. CVR_OK, or CVR_ERR_UNSUPPORTED with the reason. NULL: supports all that `infer` allows. */
    int32_t (*supports)(const cvr_signature *sig, cvr_error *reason);
    /* Bytes of workspace. NULL: none. */
    uint64_t (*workspace)(const cvr_signature *sig);
    /*
     * What a kernel makes of some of its inputs before it computes, weights in panels say, can be kept from one run to
     * the next while these inputs stay as they are: in evaluation, in prediction, and where a layer is frozen. Bit i of
     * `prepares`: input i is such a one; all of them have to be parameters or buffers that are not trained. Then
     * signatures have `prepared` set, `prepare` runs whenever one of them may have changed, with the arguments of
     * `run`, of which it reads these inputs and fills `prepared`, and `run` reads that. 0 bytes: nothing to keep.
     */
    uint64_t prepares;
    uint64_t (*prepared_size)(const cvr_signature *sig);
    const void *prepare; /* a payload of the same kind; NULL where `prepares` is 0 */
} cvr_kernel_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_signature) == 64, "cvr_signature has padding");
CVR_STATIC_ASSERT(sizeof(cvr_kernel_args) == 96, "cvr_kernel_args has padding");
CVR_STATIC_ASSERT(sizeof(cvr_cpu_fn) == 16, "cvr_cpu_fn has padding");
CVR_STATIC_ASSERT(sizeof(cvr_kernel_desc) == 112, "cvr_kernel_desc has padding");

#endif
