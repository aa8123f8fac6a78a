/* Modules, whose entries are those of the kernels that are compiled in, and how they run. See standin.h. */
#include "standin.h"
#include <stdlib.h>

#define FUNCTIONS 128u

static struct CUfunc_st functions[FUNCTIONS];
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

static CUresult get_function(CUfunction *out, CUmodule m, const char *name) {
    STANDIN_CALL("cuModuleGetFunction");
    const cvr_emu_entry *e = m ? find(name) : NULL;
    if (!e) return CUDA_ERROR_NOT_FOUND;
    for (uint32_t i = 0; i < FUNCTIONS; i++) {
        if (functions[i].entry && functions[i].entry != e) continue;
        if (!functions[i].entry) functions[i] = (struct CUfunc_st){.entry = e};
        *out = &functions[i];
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_OUT_OF_MEMORY;
}
const PFN_cuModuleGetFunction_v2000 standin_ModuleGetFunction = get_function;

static CUresult func_load(CUfunction f) {
    STANDIN_CALL("cuFuncLoad");
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
