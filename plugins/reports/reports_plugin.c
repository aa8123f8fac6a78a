/*
 * The plugin "reports": what a run leaves behind for people.
 */
#include "reports.h"
#include <cvr/plugin/plugin.h>

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    int32_t status = r->add(r, CVR_KIND_REPORTER, &reports_tables, err);
    if (status == CVR_OK) status = r->add(r, CVR_KIND_REPORTER, &reports_curves, err);
    if (status == CVR_OK) status = r->add(r, CVR_KIND_REPORTER, &reports_pictures, err);
    return status;
}

static const cvr_plugin plugin = {
    .magic = CVR_PLUGIN_MAGIC,
    .struct_size = sizeof plugin,
    .abi_major = CVR_ABI_MAJOR,
    .abi_minor = CVR_ABI_MINOR,
    .min_host_minor = CVR_ABI_MINOR,
    .id = "reports",
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
