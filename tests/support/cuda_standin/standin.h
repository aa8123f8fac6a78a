/*
 * A libcuda.so.1 for machines without a GPU: as many of the driver's functions as the backend `cuda` calls. Kernels run
 * as the backend `emu` runs them, found by the names of their entries; the bytes of a fatbin are not looked at.
 *
 * It is strict where a GPU is lenient. Nothing that is put on a stream is done before somebody waits for it, so what
 * relies on more than its events sees old bytes. Device memory cannot be touched by the host at all, ends at a page
 * that nobody may touch, and is NaN at first. Copies between host and device want host memory that is page-locked. A
 * kernel that is launched into a graph has to be loaded before, and to have been launched outside of one.
 */
#ifndef STANDIN_H
#define STANDIN_H

#include "cuda/cuda_driver.h"
#include "emu/emu_group.h"
#include "standin_control.h"
#include <stdbool.h>

extern cuda_standin_control cuda_standin;

/* Counts a call. CUDA_SUCCESS, or what the call has to return at once. */
CUresult standin_call(const char *name);
#define STANDIN_CALL(name)                                                                                             \
    do {                                                                                                               \
        const CUresult refused = standin_call(name);                                                                   \
        if (refused != CUDA_SUCCESS) return refused;                                                                   \
    } while (0)
/* From now on every call fails. */
void standin_lose(CUresult why);
bool standin_is_lost(void);

/* ---- memory (standin_memory.c) ---- */

/* Device memory can be touched between the two, which may be nested. */
void standin_memory_open(void);
void standin_memory_close(void);
bool standin_in_device(CUdeviceptr address, size_t bytes);
bool standin_in_locked(const void *host, size_t bytes);
/* Whether host memory was made page-locked by cuMemHostRegister. */
bool standin_in_registered(const void *host, size_t bytes);

/* ---- functions (standin_modules.c) ---- */

/* That of a module goes with it, or with the context; that of a library stays. */
struct CUfunc_st {
    CUfunction next;
    const void *owner; /* the module, or the library; NULL: it is gone, and the function must not be used */
    const cvr_emu_entry *entry;
    bool loaded, launched; /* the second: also outside of a graph */
};

/* The context is gone, and all modules with it. */
void standin_modules_end(void);
/* cuLibraryLoadData, cuLibraryGetKernel: the backend does not call them, but others' plugins may. NULL: none of these.
 */
const void *standin_library_function(const char *name);
size_t standin_argument(const struct CUfunc_st *f);
/* Runs all groups. */
CUresult standin_run(const struct CUfunc_st *f, const void *argument, uint64_t groups);
extern const cvr_code *const standin_kernels[]; /* ends with NULL */

/* ---- streams (standin_streams.c) ---- */

/* All that was put on any stream is done. */
void standin_finish(void);
/* The call that frees a thing which what was put on streams may name: all that is done first. Fails or not, it is
 * gone. */
CUresult standin_destroy(const char *call, void *thing);

#define STANDIN_DECLARE(name, version) extern const PFN_cu##name##_v##version standin_##name;
CUDA_FUNCTIONS(STANDIN_DECLARE)
#undef STANDIN_DECLARE

#endif
