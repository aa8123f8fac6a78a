/*
 * The transforms of erasing, as one plugin.
 */
#include "../transforms.h"

static const cvr_augment_desc *const transforms[] = {&transform_random_erasing};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    int32_t status = CVR_OK;
    (void)host;
    for (size_t i = 0; i < sizeof transforms / sizeof transforms[0] && status == CVR_OK; i++) {
        status = r->add(r, CVR_KIND_AUGMENT, transforms[i], err);
    }
    return status;
}

static const cvr_plugin plugin = {
    .magic = CVR_PLUGIN_MAGIC,
    .struct_size = sizeof plugin,
    .abi_major = CVR_ABI_MAJOR,
    .abi_minor = CVR_ABI_MINOR,
    .min_host_minor = CVR_ABI_MINOR,
    .id = "augment_erase",
    .version = "0.1.0",
    .sanitizer = CVR_SANITIZER,
    .requires_ = "",
    .load = load,
};

CVR_EXPORT const cvr_plugin *cvr_plugin_query(uint32_t host_major, uint32_t host_minor) {
    (void)host_major;
    (void)host_minor;
    return &plugin;
}
