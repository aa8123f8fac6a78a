/* See dynamic_library.h. */
#include "dynamic_library.h"

#include <dlfcn.h>
#include <unistd.h>

/* NULL with the reason of the linker, or of the toolkit's folder where the file is there. */
static void *open_any(const char *name, cvr_error *err) {
    static const char *const folders[] = {"/usr/local/cuda/lib64", "/usr/local/cuda/lib"};
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    char path[256], why[300] = "";
    if (!library) (void)snprintf(why, sizeof why, "%s", dlerror());
    for (size_t i = 0; !library && i < sizeof folders / sizeof *folders; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folders[i], name);
        if (access(path, F_OK) != 0) continue;
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!library) (void)snprintf(why, sizeof why, "%s", dlerror());
    }
    if (!library)
        (void)cvr_fail(err, CVR_ERR_NOTFOUND,
                       "%s cannot be loaded (%s): install it, or name its folder in LD_LIBRARY_PATH or in ld.so.conf",
                       name, why);
    return library;
}

int32_t dynamic_library_open(const char *name, const dynamic_function *functions, cvr_error *err) {
    void *library = open_any(name, err);
    if (!library) return CVR_ERR_NOTFOUND;
    for (; functions->name; functions++) {
        void *f = dlsym(library, functions->name);
        if (!f)
            return cvr_fail(err, CVR_ERR_NOTFOUND, "%s has no %s: another version of it is needed", name,
                            functions->name);
        memcpy(functions->to, &f, sizeof f);
    }
    return CVR_OK;
}
