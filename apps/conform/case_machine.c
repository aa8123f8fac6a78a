/* A backend with its plugins and threads, on all of the machine's instruction sets or up to one. */
#include "layer_case.h"

static const cvr_plugin_info *find_pack(const cvr_plugins *plugins, const char *id) {
    for (size_t i = 0; i < cvr_plugins_count(plugins); i++) {
        const cvr_plugin_info *info = cvr_plugins_info(plugins, i);
        if (strcmp(info->id, id) == 0) return info;
    }
    return NULL;
}

int32_t machine_open(case_machine *m, const char *backend, const char *isa, uint32_t threads, cvr_error *err) {
    cvr_plugins *plugins;
    memset(m, 0, sizeof *m);
    CVR_TRY(cvr_plugins_open(&plugins, NULL, 0, err));
    return machine_open_on(m, plugins, backend, isa, threads, err);
}

int32_t machine_open_on(case_machine *m, cvr_plugins *plugins, const char *backend, const char *isa, uint32_t threads,
                        cvr_error *err) {
    int32_t status = CVR_OK;
    memset(m, 0, sizeof *m);
    m->plugins = plugins;
    m->fallback = CVR_FALLBACK_ALLOW;
    (void)snprintf(m->label, sizeof m->label, "%s%s%s/%u", backend, isa ? "/" : "", isa ? isa : "", threads);
    if (isa) {
        const cvr_plugin_info *pack = find_pack(m->plugins, isa);
        if (strcmp(isa, "base") != 0 && !pack) {
            CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOTFOUND, "there is no kernel pack %s", isa));
        } else {
            cvr_plugins_limit_isa(m->plugins, pack ? pack->isa : "base");
        }
    }
    CVR_TRY_OUT(cvr_pool_create(&m->pool, threads, err));
    CVR_TRY_OUT(cvr_device_open(&m->device, m->plugins, &(cvr_device_choice){.backend = backend}, m->pool, err));
out:
    if (status != CVR_OK) machine_close(m);
    return status;
}

void machine_close(case_machine *m) {
    cvr_device_close(&m->device);
    cvr_plugins_close(&m->plugins);
    if (m->pool) cvr_pool_destroy(&m->pool);
}

bool machine_has_pack(const char *pack, char *missing, size_t size) {
    cvr_plugins *plugins;
    const char *feature = "";
    *missing = '\0';
    if (strcmp(pack, "base") == 0) return true;
    if (cvr_plugins_open(&plugins, NULL, 0, NULL) != CVR_OK) return false;
    const cvr_plugin_info *info = find_pack(plugins, pack);
    const bool has = info && cvr_cpu_has(info->isa, &feature);
    (void)snprintf(missing, size, "%.*s", (int)strcspn(feature, " "), feature);
    cvr_plugins_close(&plugins);
    return has;
}
