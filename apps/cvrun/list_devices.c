/* See list_devices.h. Nothing is opened for it. */
#include "list_devices.h"
#include "cvrun.h"
#include <cvr/program.h>

/* Calls `each` for every device of every backend that the plugin provides; `info` NULL: `why` says what is wrong. */
typedef void (*device_fn)(void *ctx, const cvr_backend_desc *b, int64_t device, const cvr_device_info *info,
                          const char *why);

static void each_device(cvr_plugins *plugins, const cvr_plugin_info *p, device_fn each, void *ctx) {
    char name[128];
    const void *found;
    for (const char *t = p->provides; p->state == CVR_PLUGIN_LOADED && *t;) {
        const size_t n = strcspn(t, " ");
        (void)snprintf(name, sizeof name, "%.*s", (int)n, t);
        t += n + strspn(t + n, " ");
        if (strncmp(name, "backend:", 8) != 0) continue;
        if (cvr_plugins_find(plugins, CVR_KIND_BACKEND, name + 8, &found, NULL) != CVR_OK) continue;
        const cvr_backend_desc *b = found;
        const int64_t n_devices = cvr_backend_devices(plugins, b);
        for (int64_t i = 0; i < (n_devices ? n_devices : 1); i++) { /* of none, why */
            cvr_device_info info;
            cvr_error err = CVR_ERROR_INIT;
            const int32_t status = cvr_backend_device_info(plugins, b, i, &info, &err);
            each(ctx, b, i, status == CVR_OK ? &info : NULL, err.message);
        }
    }
}

/* Nothing where the device does not say, or it is as good as endless. */
static void print_bytes(const char *before, uint64_t bytes, const char *after) {
    char text[32];
    if (bytes && bytes < UINT64_C(1) << 48) print_text("%s%s%s", before, cvr_bytes_text(bytes, text), after);
}

static void print_device(void *ctx, const cvr_backend_desc *b, int64_t device, const cvr_device_info *i,
                         const char *why) {
    (void)ctx;
    print_text("    device   %s/%lld %s%s", b->name, (long long)device, i ? i->name : "cannot be used: ", i ? "" : why);
    if (!i) {
        printf("\n");
        return;
    }
    if (*i->driver) print_text(", driver %s", i->driver);
    if (*i->uuid) print_text(", UUID %s", i->uuid);
    printf("\n             ");
    print_bytes("memory ", i->memory, ", ");
    print_bytes("blocks of at most ", i->max_allocation, ", ");
    printf("alignment %llu", (unsigned long long)i->alignment);
    if (i->group_threads) printf(", groups of %u threads", i->group_threads);
    print_bytes(" that share ", i->shared_bytes, "");
    if (i->subgroup_max) printf(", subgroups of %u to %u", i->subgroup_min, i->subgroup_max);
    if (i->multiprocessors) printf(", %u multiprocessors", i->multiprocessors);
    if (i->arch) printf(", arch %u", i->arch);
    printf("\n");
    if (*i->features) print_text("             features %s\n", i->features);
}

void print_devices(cvr_plugins *plugins, const cvr_plugin_info *p) {
    each_device(plugins, p, print_device, NULL);
}

static void add_text(cvr_text *t, const char *key, const char *value) {
    cvr_text_add(t, ", \"%s\": ", key);
    cvr_text_add_json(t, value);
}

static void add_device(void *ctx, const cvr_backend_desc *b, int64_t device, const cvr_device_info *i,
                       const char *why) {
    cvr_text *t = ctx;
    cvr_text_add(t, "%s{\"backend\": ", t->n && t->s[t->n - 1] == '[' ? "" : ", ");
    cvr_text_add_json(t, b->name);
    cvr_text_add(t, ", \"device\": %lld", (long long)device);
    if (!i) {
        add_text(t, "reason", why);
        cvr_text_add(t, "}");
        return;
    }
    add_text(t, "name", i->name);
    add_text(t, "driver", i->driver);
    add_text(t, "uuid", i->uuid);
    add_text(t, "features", i->features);
    cvr_text_add(t,
                 ", \"memory\": %llu, \"max_allocation\": %llu, \"alignment\": %llu, \"shared_bytes\": %u, "
                 "\"group_threads\": %u, \"subgroup_min\": %u, \"subgroup_max\": %u, \"multiprocessors\": %u, "
                 "\"arch\": %u}",
                 (unsigned long long)i->memory, (unsigned long long)i->max_allocation, (unsigned long long)i->alignment,
                 i->shared_bytes, i->group_threads, i->subgroup_min, i->subgroup_max, i->multiprocessors, i->arch);
}

void add_devices(cvr_text *t, cvr_plugins *plugins, const cvr_plugin_info *p) {
    cvr_text_add(t, "[");
    each_device(plugins, p, add_device, t);
    cvr_text_add(t, "]");
}
