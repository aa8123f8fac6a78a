/* Fuzz target: manifests. What can be read is asked for everything that it provides; none of the files is
 * there. */
#include "fuzz.h"
#include <cvr/plugins.h>

static void find_all(cvr_plugins *p) {
    static const char *const kinds[] = {CVR_KIND_LAYER, CVR_KIND_OP,      CVR_KIND_CODEC,  CVR_KIND_DATASET,
                                        CVR_KIND_MODEL, CVR_KIND_WEIGHTS, CVR_KIND_BACKEND};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        const char *name;
        for (size_t i = 0; i < 4 && (name = cvr_plugins_name(p, kinds[k], i)); i++) {
            cvr_error err = CVR_ERROR_INIT;
            const void *desc = NULL;
            char copy[4200];
            (void)snprintf(copy, sizeof copy, "%s", name);
            const int32_t status = cvr_plugins_find(p, kinds[k], copy, &desc, &err);
            fuzz_check_line(status, &err);
        }
    }
}

static void look_at_all(cvr_plugins *p) {
    cvr_plugins_load_all(p);
    for (size_t i = 0; i < cvr_plugins_count(p); i++) {
        const cvr_plugin_info *const info = cvr_plugins_info(p, i);
        const char *const texts[] = {info->id, info->file, info->provides, info->reason};
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
            if (texts[k]) fuzz_touch(texts[k], strlen(texts[k]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    const char *const path = fuzz_file("plugins.ini", bytes, n);
    cvr_plugins *p = NULL;
    cvr_error err = CVR_ERROR_INIT;
    const int32_t status = cvr_plugins_open(&p, &path, 1, &err);
    fuzz_check_line(status, &err);
    if (status == CVR_OK) {
        find_all(p);
        look_at_all(p);
    }
    cvr_plugins_close(&p);
    return 0;
}
