/* Modules, whose entries are those of the kernels that are compiled in, and how they run. See standin.h. */
#include "standin.h"
#include <stdlib.h>

static CUfunction functions; /* they are never freed, so that the use of one that is gone shows itself */
static emu_group *group;

/* ---- a host for emu's functions ---- */

static void *host_alloc(const cvr_host *host, uint64_t bytes, uint64_t align) {
    void *p = NULL;
    (void)host;
    return posix_memalign(&p, align < sizeof p ? sizeof p : align, bytes) == 0 ? p : NULL;
}
static void host_free(const cvr_host *host, void *p) {
    (void)host;
    free(p);
}
static void host_log(const cvr_host *host, uint32_t level, const char *text) {
    (void)host, (void)level;
    (void)fprintf(stderr, "libcuda stand-in: %s\n", text);
}
static const void *host_get(const cvr_host *host, const char *service) {
    (void)host, (void)service;
    return NULL;
}
static const cvr_host host = {sizeof host, NULL, host_log, host_alloc, host_free, host_get};

/* ---- modules ---- */

struct CUmod_st {
    int nothing;
};

static CUresult load(CUmodule *out, const void *image) {
    static const uint8_t magic[] = {0x50, 0xED, 0x55, 0xBA};
    STANDIN_CALL("cuModuleLoadData");
    if (memcmp(image, magic, sizeof magic) != 0) return CUDA_ERROR_INVALID_IMAGE;
    *out = calloc(1, sizeof **out);
    if (!*out) return CUDA_ERROR_OUT_OF_MEMORY;
    cuda_standin.alive++;
    return CUDA_SUCCESS;
}
const PFN_cuModuleLoadData_v2000 standin_ModuleLoadData = load;

static CUresult unload(CUmodule m) {
    for (CUfunction f = functions; f; f = f->next)
        if (f->owner == m) f->owner = NULL;
    return standin_destroy("cuModuleUnload", m);
}
const PFN_cuModuleUnload_v2000 standin_ModuleUnload = unload;

static const cvr_emu_entry *find(const char *name) {
    for (const cvr_code *const *c = standin_kernels; *c; c++) {
        const cvr_emu_entry *entries = (const cvr_emu_entry *)(*c)->bytes;
        for (uint64_t i = 0; i < (*c)->n_bytes / sizeof *entries; i++)
            if (strcmp(entries[i].name, name) == 0) return &entries[i];
    }
    return NULL;
}

static CUresult function_of(CUfunction *out, const void *owner, const char *name) {
    const cvr_emu_entry *e = owner ? find(name) : NULL;
    if (!e) return CUDA_ERROR_NOT_FOUND;
    for (CUfunction f = functions; f; f = f->next) {
        if (f->owner != owner || f->entry != e) continue;
        *out = f;
        return CUDA_SUCCESS;
    }
    CUfunction f = calloc(1, sizeof *f);
    if (!f) return CUDA_ERROR_OUT_OF_MEMORY;
    *f = (struct CUfunc_st){.next = functions, .owner = owner, .entry = e};
    *out = functions = f;
    return CUDA_SUCCESS;
}

static CUresult get_function(CUfunction *out, CUmodule m, const char *name) {
    STANDIN_CALL("cuModuleGetFunction");
    return function_of(out, m, name);
}
const PFN_cuModuleGetFunction_v2000 standin_ModuleGetFunction = get_function;

static CUresult func_load(CUfunction f) {
    STANDIN_CALL("cuFuncLoad");
    if (!f->owner) return CUDA_ERROR_INVALID_HANDLE;
    f->loaded = true;
    return CUDA_SUCCESS;
}
const PFN_cuFuncLoad_v12040 standin_FuncLoad = func_load;

size_t standin_argument(const struct CUfunc_st *f) {
    return (f->entry->params_size + 4 * (size_t)f->entry->n_constants + 7) / 8 * 8;
}

static CUresult param_info(CUfunction f, size_t index, size_t *offset, size_t *size) {
    STANDIN_CALL("cuFuncGetParamInfo");
    if (index) return CUDA_ERROR_INVALID_VALUE;
    *offset = 0;
    *size = standin_argument(f);
    return CUDA_SUCCESS;
}
const PFN_cuFuncGetParamInfo_v12040 standin_FuncGetParamInfo = param_info;

static CUresult set_attribute(CUfunction f, CUfunction_attribute which, int value) {
    STANDIN_CALL("cuFuncSetAttribute");
    (void)f, (void)value;
    return which == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
const PFN_cuFuncSetAttribute_v9000 standin_FuncSetAttribute = set_attribute;

/* ---- libraries, which belong to no context ---- */

static char library; /* there is one, with all entries */

static CUresult load_library(CUlibrary *out, const void *image, CUjit_option *jit, void **jit_values, unsigned n_jit,
                             CUlibraryOption *options, void **values, unsigned n_options) {
    static const uint8_t magic[] = {0x50, 0xED, 0x55, 0xBA};
    (void)jit, (void)jit_values, (void)options, (void)values;
    STANDIN_CALL("cuLibraryLoadData");
    if (n_jit || n_options) return CUDA_ERROR_INVALID_VALUE;
    if (memcmp(image, magic, sizeof magic) != 0) return CUDA_ERROR_INVALID_IMAGE;
    *out = (CUlibrary)(void *)&library;
    return CUDA_SUCCESS;
}

static CUresult get_kernel(CUkernel *out, CUlibrary l, const char *name) {
    CUfunction f;
    STANDIN_CALL("cuLibraryGetKernel");
    const CUresult r = function_of(&f, l, name);
    if (r == CUDA_SUCCESS) *out = (CUkernel)f;
    return r;
}

const void *standin_library_function(const char *name) {
    static const PFN_cuLibraryLoadData_v12000 load_data = load_library;
    static const PFN_cuLibraryGetKernel_v12000 kernel_of = get_kernel;
    const void *out = NULL;
    if (strcmp(name, "cuLibraryLoadData") == 0) memcpy(&out, &load_data, sizeof out);
    if (strcmp(name, "cuLibraryGetKernel") == 0) memcpy(&out, &kernel_of, sizeof out);
    return out;
}

/* What was loaded is loaded again in the next context. */
void standin_modules_end(void) {
    for (CUfunction f = functions; f; f = f->next) {
        if (f->owner != &library) f->owner = NULL;
        f->loaded = f->launched = false;
    }
}

/* ---- running ---- */

CUresult standin_run(const struct CUfunc_st *f, const void *argument, uint64_t groups) {
    static const emu_settings settings = {.order = EMU_FORWARD, .subgroup = 32};
    cvr_error err = CVR_ERROR_INIT;
    if (cuda_standin.idle) return CUDA_SUCCESS;
    if (!group && emu_group_create(&group, &host, &err) != CVR_OK) abort();
    uint32_t constants[128] = {0};
    memcpy(constants, (const uint8_t *)argument + f->entry->params_size, 4 * (size_t)f->entry->n_constants);
    if (emu_group_run(group, &settings, f->entry, argument, constants, groups, &err) == CVR_OK) return CUDA_SUCCESS;
    host_log(&host, CVR_LOG_ERROR, err.message);
    return CUDA_ERROR_ILLEGAL_INSTRUCTION;
}
