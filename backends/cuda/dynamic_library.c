/* See dynamic_library.h. */
#include "dynamic_library.h"

#include <dlfcn.h>

static void *open_any(const char *name) {
    static const char *const folders[] = {"/usr/local/cuda/lib64", "/usr/local/cuda/lib"};
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; !library && i < sizeof folders / sizeof *folders; i++) {
        char path[256];
        (void)snprintf(path, sizeof path, "%s/%s", folders[i], name);
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    return library;
}

int32_t dynamic_library_open(const char *name, const dynamic_function *functions, cvr_error *err) {
    void *library = open_any(name);
    if (!library)
        return cvr_fail(err, CVR_ERR_NOTFOUND,
                        "%s is not here: install it, or name its folder in LD_LIBRARY_PATH or in ld.so.conf", name);
    for (; functions->name; functions++) {
        void *f = dlsym(library, functions->name);
        if (!f)
            return cvr_fail(err, CVR_ERR_NOTFOUND, "%s has no %s: another version of it is needed", name,
                            functions->name);
        memcpy(functions->to, &f, sizeof f);
    }
    return CVR_OK;
}
