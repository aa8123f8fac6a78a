/*
 * acme.softsign on NVIDIA's GPUs: the same kernel (softsign.k) compiled for CUDA, handed over in the two ways that
 * there are. Forward the backend gets the module and a dispatch (cuda.fatbin/1); backward the plugin launches by itself
 * on the stream that it is given (cuda.launch/1), as one would that calls a library.
 */
#include "softsign_params.h"
#include <cuda.h>
#include <cudaTypedefs.h>
#include <cvr/plugin/cuda.h>
#include <cvr/plugin/plugin.h>
#include <dlfcn.h>

#define GROUP_THREADS 256u
#define CONSTANTS 8 /* of a kernel in the dialect */

extern const cvr_code device_code_softsign;

static softsign_params params_of(const cvr_kernel_args *a) {
    const cvr_tensor *x = a->inputs[a->n_inputs - 1], *y = a->outputs[0];
    return (softsign_params){.x = (uint64_t)(uintptr_t)x->data,
                             .dy = a->n_inputs > 1 ? (uint64_t)(uintptr_t)a->inputs[0]->data : 0,
                             .y = (uint64_t)(uintptr_t)y->data,
                             .n = (uint32_t)cvr_numel(y->rank, y->shape)};
}
static uint32_t groups_of(const softsign_params *p) {
    return (p->n + 4 * GROUP_THREADS - 1) / (4 * GROUP_THREADS);
}

/* ---- forward: the backend launches ---- */

static int32_t record(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const softsign_params p = params_of(a);
    const uint32_t constants[] = {a->inputs[0]->dtype};
    const cvr_dispatch d = {.struct_size = sizeof d,
                            .code = &device_code_softsign,
                            .entry = "softsign",
                            .params = &p,
                            .params_size = sizeof p,
                            .constants = constants,
                            .n_constants = 1,
                            .groups = {groups_of(&p), 1, 1},
                            .threads = {GROUP_THREADS, 1, 1}};
    return r->dispatch(r, &d, err);
}

/* ---- backward: the plugin launches ---- */

typedef struct driver {
    PFN_cuLibraryLoadData_v12000 load;
    PFN_cuLibraryGetKernel_v12000 get;
    PFN_cuLaunchKernel_v4000 launch;
} driver;

static int32_t find(PFN_cuGetProcAddress_v12000 look, const char *name, int version, void *out, cvr_error *err) {
    CUdriverProcAddressQueryResult found;
    void *symbol = NULL;
    if (look(name, &symbol, version, CU_GET_PROC_ADDRESS_DEFAULT, &found) != CUDA_SUCCESS || !symbol)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "acme.softsign: the driver has no %s", name);
    memcpy(out, &symbol, sizeof symbol);
    return CVR_OK;
}

static int32_t open_driver(driver *d, cvr_error *err) {
    PFN_cuGetProcAddress_v12000 look;
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    void *symbol = library ? dlsym(library, "cuGetProcAddress_v2") : NULL;
    if (!symbol) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "acme.softsign: there is no driver of CUDA");
    memcpy(&look, &symbol, sizeof symbol);
    CVR_TRY(find(look, "cuLibraryLoadData", 12000, &d->load, err));
    CVR_TRY(find(look, "cuLibraryGetKernel", 12000, &d->get, err));
    return find(look, "cuLaunchKernel", 4000, &d->launch, err);
}

static int32_t check(CUresult r, const char *call, cvr_error *err) {
    return r == CUDA_SUCCESS ? CVR_OK : cvr_fail(err, CVR_ERR_UNSUPPORTED, "acme.softsign: %s gives %d", call, (int)r);
}

/* Loaded in the first call, when nothing is captured yet. A module, as cuModuleLoadData loads one, would belong to the
 * context, which goes when a run moves to another backend and is another one when it comes back. A library belongs to
 * none, and its kernel is launched in whatever context the stream is of. */
static int32_t entry(driver *d, CUfunction *out, cvr_error *err) {
    static driver opened;
    static CUkernel kernel;
    CUlibrary library;
    if (!kernel) {
        CVR_TRY(open_driver(&opened, err));
        CVR_TRY(check(opened.load(&library, device_code_softsign.bytes, NULL, NULL, 0, NULL, NULL, 0),
                      "cuLibraryLoadData", err));
        CVR_TRY(check(opened.get(&kernel, library, "softsign"), "cuLibraryGetKernel", err));
    }
    *d = opened;
    *out = (CUfunction)kernel; /* cuLaunchKernel takes either */
    return CVR_OK;
}

static int32_t launch(const cvr_kernel_args *a, void *stream, cvr_error *err) {
    struct {
        softsign_params p;
        uint32_t constants[CONSTANTS];
    } argument = {params_of(a), {a->inputs[0]->dtype}};
    void *arguments[] = {&argument};
    driver d;
    CUfunction f;
    CVR_TRY(entry(&d, &f, err));
    return check(d.launch(f, groups_of(&argument.p), 1, 1, GROUP_THREADS, 1, 1, 0, (CUstream)stream, arguments, NULL),
                 "cuLaunchKernel", err);
}

/* ---- descriptors ---- */

static int32_t counts_32_bits(const cvr_signature *sig, cvr_error *reason) {
    const cvr_tensor *y = sig->outputs[0];
    if (cvr_numel(y->rank, y->shape) <= INT32_MAX) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "more than 2^31 elements");
}

static const cvr_device_fn device_fn = {sizeof device_fn, record};
static const cvr_cuda_launch cuda_launch = {sizeof cuda_launch, launch};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    cvr_kernel_desc k = {.struct_size = sizeof k,
                         .op = "acme.softsign",
                         .backend = "cuda",
                         .payload_kind = CVR_PAYLOAD_CUDA_FATBIN,
                         .payload = &device_fn,
                         .op_version = 1,
                         .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE | CVR_KERNEL_BF16 | CVR_KERNEL_F16,
                         .supports = counts_32_bits};
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_KERNEL, &k, err));
    k.op = "acme.softsign_backward";
    k.payload_kind = CVR_PAYLOAD_CUDA_LAUNCH;
    k.payload = &cuda_launch;
    return r->add(r, CVR_KIND_KERNEL, &k, err);
}

CVR_DEFINE_PLUGIN("com.acme.softsign_cuda", "1.0.0", "op:acme.softsign op:acme.softsign_backward", load)
