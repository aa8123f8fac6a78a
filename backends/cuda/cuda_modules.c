/*
 * Compiled code. A module and its entries are loaded whole when a recording first names them, at bind: nothing is
 * loaded while a step runs or a graph is captured. See cuda_device.h.
 */
#include "cuda_device.h"

typedef struct module {
    const cvr_code *code;
    CUmodule handle;
} module;

typedef struct entry {
    const cvr_code *code;
    char *name; /* a copy */
    cuda_function function;
    uint32_t shared, reserved;
} entry;

struct cuda_modules {
    cuda_device *d;
    module *modules;
    entry *entries;
    uint64_t n_modules, n_entries, modules_capacity, entries_capacity;
};

int32_t cuda_modules_open(cuda_modules **out, cuda_device *d, cvr_error *err) {
    cuda_modules *m = (cuda_modules *)d->host->alloc(d->host, sizeof *m, 16);
    if (!m) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *m = (cuda_modules){.d = d};
    *out = m;
    return CVR_OK;
}

void cuda_modules_close(cuda_modules **of) {
    cuda_modules *m = *of;
    if (!m) return;
    const cvr_host *host = m->d->host;
    for (uint64_t i = 0; i < m->n_modules; i++) (void)m->d->cu->ModuleUnload(m->modules[i].handle);
    for (uint64_t i = 0; i < m->n_entries; i++) host->free(host, m->entries[i].name);
    host->free(host, m->modules);
    host->free(host, m->entries);
    host->free(host, m);
    *of = NULL;
}

/* The fatbin's header was looked at: an image that is called invalid is one that an older driver cannot read. */
static int32_t is_no_code(CUresult r) {
    switch (r) {
    case CUDA_ERROR_INVALID_IMAGE:
    case CUDA_ERROR_NO_BINARY_FOR_GPU:
    case CUDA_ERROR_INVALID_PTX:
    case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
    case CUDA_ERROR_JIT_COMPILER_NOT_FOUND:
    case CUDA_ERROR_JIT_COMPILATION_DISABLED: return 1;
    default: return 0;
    }
}

static int32_t load_failed(cuda_device *d, CUresult r, const char *name, cvr_error *err) {
    if (!is_no_code(r)) return cuda_result(d, r, "cuModuleLoadData", err);
    return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                    "cuda: kernel %.60s has no code that %s (sm_%u) with a driver for %s can run (%s): build with "
                    "-DCVR_CUDA_ARCHS=%u, or install a driver for the CUDA toolkit that compiled it",
                    name, d->physical.name, d->physical.info.arch, d->physical.driver, cuda_result_name(r),
                    d->physical.info.arch);
}

static int32_t load_module(cuda_modules *m, const cvr_code *code, const char *name, CUmodule *out, cvr_error *err) {
    cuda_device *d = m->d;
    for (uint64_t i = 0; i < m->n_modules; i++) {
        if (m->modules[i].code != code) continue;
        *out = m->modules[i].handle;
        return CVR_OK;
    }
    const char *bad = cuda_fatbin_bad(code->bytes, code->n_bytes);
    if (bad) return cvr_fail(err, CVR_ERR_PLUGIN, "the code of kernel %.60s is %s", name, bad);
    module *more = (module *)host_grow(d->host, m->modules, m->n_modules, &m->modules_capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    m->modules = more;
    const CUresult r = d->cu->ModuleLoadData(out, code->bytes);
    if (r != CUDA_SUCCESS) return load_failed(d, r, name, err);
    more[m->n_modules++] = (module){code, *out};
    return CVR_OK;
}

/* Its one argument are the parameters, with the constants behind them. */
static int32_t read_argument(cuda_device *d, const char *name, cuda_function *f, cvr_error *err) {
    size_t offset = 0, bytes = 0, more;
    const CUresult r = d->cu->FuncGetParamInfo(f->handle, 0, &offset, &bytes);
    if (r != CUDA_SUCCESS && r != CUDA_ERROR_INVALID_VALUE) return cuda_result(d, r, "cuFuncGetParamInfo", err);
    if (r == CUDA_ERROR_INVALID_VALUE || d->cu->FuncGetParamInfo(f->handle, 1, &offset, &more) == CUDA_SUCCESS)
        return cvr_fail(err, CVR_ERR_PLUGIN, "entry %.60s does not have one argument, with all parameters in it", name);
    f->argument = bytes;
    return CVR_OK;
}

static int32_t load_entry(cuda_modules *m, const cvr_code *code, const char *name, cuda_function *out, cvr_error *err) {
    cuda_device *d = m->d;
    CUmodule handle;
    CVR_TRY(load_module(m, code, name, &handle, err));
    const CUresult r = d->cu->ModuleGetFunction(&out->handle, handle, name);
    if (r == CUDA_ERROR_NOT_FOUND) return cvr_fail(err, CVR_ERR_PLUGIN, "the code has no entry %.60s", name);
    CVR_TRY(cuda_result(d, r, "cuModuleGetFunction", err));
    CVR_TRY(cuda_result(d, d->cu->FuncLoad(out->handle), "cuFuncLoad", err));
    return read_argument(d, name, out, err);
}

/* Dynamic shared memory has to be asked for where it makes more than 48 kB with the entry's static one, which only the
 * compiler knows: so it always is. */
static int32_t allow_shared(cuda_modules *m, entry *e, uint32_t shared, cvr_error *err) {
    if (shared <= e->shared) return CVR_OK;
    CVR_TRY(cuda_result(
        m->d,
        m->d->cu->FuncSetAttribute(e->function.handle, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)shared),
        "cuFuncSetAttribute", err));
    e->shared = shared;
    return CVR_OK;
}

static entry *find_entry(const cuda_modules *m, const cvr_code *code, const char *name) {
    for (uint64_t i = 0; i < m->n_entries; i++)
        if (m->entries[i].code == code && strcmp(m->entries[i].name, name) == 0) return &m->entries[i];
    return NULL;
}

static int32_t add_entry(cuda_modules *m, const cvr_code *code, const char *name, entry **out, cvr_error *err) {
    const cvr_host *host = m->d->host;
    const size_t length = strlen(name) + 1;
    entry *more = (entry *)host_grow(host, m->entries, m->n_entries, &m->entries_capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    m->entries = more;
    entry *e = &more[m->n_entries];
    *e = (entry){.code = code};
    CVR_TRY(load_entry(m, code, name, &e->function, err));
    e->name = (char *)host->alloc(host, length, 1);
    if (!e->name) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memcpy(e->name, name, length);
    m->n_entries++;
    *out = e;
    return CVR_OK;
}

int32_t cuda_modules_get(cuda_modules *m, const cvr_code *code, const char *name, uint32_t shared, cuda_function *out,
                         cvr_error *err) {
    entry *e = find_entry(m, code, name);
    if (!e) CVR_TRY(add_entry(m, code, name, &e, err));
    CVR_TRY(allow_shared(m, e, shared, err));
    *out = e->function;
    return CVR_OK;
}
