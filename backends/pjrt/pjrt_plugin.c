/* See pjrt_plugin.h. Source: the PJRT C API's header, on versions and sizes of structs. */
#include "pjrt_plugin.h"
#include <dlfcn.h>

#define NEWEST_STABLEHLO_WE_WRITE "1.1.0" /* batched gathers came with it */

/* ---- errors ---- */

static int32_t status_of(PJRT_Error_Code code) {
    switch (code) {
    case PJRT_Error_Code_RESOURCE_EXHAUSTED: return CVR_ERR_NOMEM;
    case PJRT_Error_Code_UNIMPLEMENTED: return CVR_ERR_UNSUPPORTED;
    default: return CVR_ERR_DEVICE;
    }
}

void pjrt_forget(const pjrt_plugin *p, PJRT_Error *e) {
    PJRT_ARGS(PJRT_Error_Destroy, d, .error = e);
    if (e) p->api->PJRT_Error_Destroy(&d);
}

void pjrt_words(char *line, size_t size, const char *text, size_t n) {
    size_t length = 0;
    for (; text && length < n && length + 1 < size && text[length]; length++)
        line[length] = (uint8_t)text[length] < 0x20 || text[length] == 0x7f ? ' ' : text[length];
    line[length] = '\0';
}

int32_t pjrt_check(const pjrt_plugin *p, PJRT_Error *e, const char *what, cvr_error *err) {
    char text[600];
    if (!e) return CVR_OK;
    PJRT_ARGS(PJRT_Error_Message, m, .error = e);
    PJRT_ARGS(PJRT_Error_GetCode, c, .error = e);
    p->api->PJRT_Error_Message(&m);
    pjrt_words(text, sizeof text, m.message, m.message_size);
    PJRT_Error *inner = p->api->PJRT_Error_GetCode(&c);
    const int32_t status = inner ? CVR_ERR_DEVICE : status_of(c.code);
    pjrt_forget(p, inner);
    pjrt_forget(p, e);
    return cvr_fail(err, status, "pjrt: %s: %s failed: %s", p->file, what, text[0] ? text : "it does not say why");
}

/* ---- what the table must have ---- */

typedef struct needed {
    const char *name;
    size_t at;
} needed;

#define NEEDS(function_)                                                                                               \
    { #function_, offsetof(PJRT_Api, function_) }
static const needed functions[] = {
    NEEDS(PJRT_Error_Destroy),
    NEEDS(PJRT_Error_Message),
    NEEDS(PJRT_Error_GetCode),
    NEEDS(PJRT_Plugin_Initialize),
    NEEDS(PJRT_Event_Destroy),
    NEEDS(PJRT_Event_Await),
    NEEDS(PJRT_Client_Create),
    NEEDS(PJRT_Client_Destroy),
    NEEDS(PJRT_Client_PlatformName),
    NEEDS(PJRT_Client_PlatformVersion),
    NEEDS(PJRT_Client_AddressableDevices),
    NEEDS(PJRT_Client_Compile),
    NEEDS(PJRT_Client_BufferFromHostBuffer),
    NEEDS(PJRT_DeviceDescription_Kind),
    NEEDS(PJRT_Device_GetDescription),
    NEEDS(PJRT_LoadedExecutable_Destroy),
    NEEDS(PJRT_LoadedExecutable_Execute),
    NEEDS(PJRT_Buffer_Destroy),
    NEEDS(PJRT_Buffer_ToHostBuffer),
};

static int32_t check_table(const pjrt_plugin *p, cvr_error *err) {
    const PJRT_Api *api = p->api;
    if (api->struct_size < offsetof(PJRT_Api, PJRT_Error_Destroy))
        return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                        "pjrt: %s: its table has %zu bytes, too few for a version; this backend was built for PJRT "
                        "%d.%d",
                        p->file, api->struct_size, PJRT_API_MAJOR, PJRT_API_MINOR);
    const PJRT_Api_Version *v = &api->pjrt_api_version;
    if (v->major_version != PJRT_API_MAJOR)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                        "pjrt: %s has PJRT %d.%d, and this backend was built for %d.%d: another major version; take a "
                        "plugin of version %d.*",
                        p->file, v->major_version, v->minor_version, PJRT_API_MAJOR, PJRT_API_MINOR, PJRT_API_MAJOR);
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        const void *function = NULL;
        if (api->struct_size >= functions[i].at + sizeof function)
            memcpy(&function, (const char *)api + functions[i].at, sizeof function);
        if (!function)
            return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                            "pjrt: %s has PJRT %d.%d with a table of %zu bytes and without %s; this backend was built "
                            "for %d.%d; take a newer plugin",
                            p->file, v->major_version, v->minor_version, api->struct_size, functions[i].name,
                            PJRT_API_MAJOR, PJRT_API_MINOR);
    }
    return CVR_OK;
}

/* ---- attributes ---- */

/* Another version's attributes may be longer than ours, and the size of one is how far the next is away. */
static const PJRT_NamedValue *find_attribute(const PJRT_Plugin_Attributes_Args *a, const char *name) {
    const char *at = (const char *)a->attributes;
    const size_t step = at ? a->attributes->struct_size : 0;
    if (step < PJRT_NamedValue_STRUCT_SIZE || step % _Alignof(PJRT_NamedValue)) return NULL;
    for (size_t i = 0; i < a->num_attributes; i++, at += step) {
        const PJRT_NamedValue *v = (const PJRT_NamedValue *)(const void *)at;
        if (v->name && v->name_size == strlen(name) && memcmp(v->name, name, v->name_size) == 0) return v;
    }
    return NULL;
}

/* What the plugin says of itself goes into `versions`; one that says nothing is worked with. */
static int32_t read_attributes(pjrt_plugin *p, cvr_error *err) {
    PJRT_ARGS(PJRT_Plugin_Attributes, a, .attributes = NULL);
    const PJRT_Api_Version *v = &p->api->pjrt_api_version;
    size_t n = (size_t)snprintf(p->versions, sizeof p->versions, "PJRT %d.%d", v->major_version, v->minor_version);
    if (!PJRT_KNOWS(p->api, PJRT_Plugin_Attributes)) return CVR_OK;
    CVR_TRY(pjrt_check(p, p->api->PJRT_Plugin_Attributes(&a), "PJRT_Plugin_Attributes", err));
    if (!a.num_attributes) return CVR_OK;
    const PJRT_NamedValue *ours = find_attribute(&a, "stablehlo_current_version");
    const PJRT_NamedValue *xla = find_attribute(&a, "xla_version");
    if (ours && ours->type == PJRT_NamedValue_kInt64List && ours->value_size == 3 && ours->int64_array_value) {
        const int64_t *x = ours->int64_array_value;
        n += (size_t)snprintf(p->versions + n, sizeof p->versions - n, ", StableHLO %lld.%lld.%lld", (long long)x[0],
                              (long long)x[1], (long long)x[2]);
        if (x[0] < 1 || (x[0] == 1 && x[1] < 1))
            return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                            "pjrt: %s reads StableHLO up to %lld.%lld.%lld, and this backend writes %s; take a newer "
                            "plugin",
                            p->file, (long long)x[0], (long long)x[1], (long long)x[2], NEWEST_STABLEHLO_WE_WRITE);
    }
    if (xla && xla->type == PJRT_NamedValue_kInt64)
        (void)snprintf(p->versions + n, sizeof p->versions - n, ", XLA %lld", (long long)xla->int64_value);
    return CVR_OK;
}

/* ---- loading ---- */

#define MOST_PLUGINS 16u

/* Initialising is for once in a process, however often a device is opened. */
static int32_t initialise(const pjrt_plugin *p, cvr_error *err) {
    static const PJRT_Api *done[MOST_PLUGINS];
    uint32_t i = 0;
    while (i < MOST_PLUGINS && done[i] && done[i] != p->api) i++;
    if (i == MOST_PLUGINS) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "pjrt: more than %u plugins", MOST_PLUGINS);
    if (done[i]) return CVR_OK;
    PJRT_ARGS(PJRT_Plugin_Initialize, a, .extension_start = NULL);
    CVR_TRY(pjrt_check(p, p->api->PJRT_Plugin_Initialize(&a), "PJRT_Plugin_Initialize", err));
    done[i] = p->api;
    return CVR_OK;
}

int32_t pjrt_plugin_load(pjrt_plugin *p, const char *path, cvr_error *err) {
    const char *slash = strrchr(path, '/');
    const PJRT_Api *(*get)(void);
    memset(p, 0, sizeof *p);
    (void)snprintf(p->file, sizeof p->file, "%.200s", slash ? slash + 1 : path);
    if (!*path)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "pjrt: no plugin is named; backend.plugin=FILE.so says which vendor's library computes "
                        "(docs/tpu.md)");
    CVR_TRY(pjrt_file_check(path, &p->is, err));
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library) return cvr_fail(err, CVR_ERR_IO, "pjrt: %.400s", dlerror());
    void *symbol = dlsym(library, "GetPjrtApi");
    if (!symbol)
        return cvr_fail(err, CVR_ERR_FORMAT, "pjrt: %s exports no GetPjrtApi: it is a library, but no PJRT plugin",
                        p->file);
    memcpy(&get, &symbol, sizeof get);
    return pjrt_plugin_take(p, get(), err);
}

int32_t pjrt_plugin_take(pjrt_plugin *p, const PJRT_Api *api, cvr_error *err) {
    p->api = api;
    if (!api) return cvr_fail(err, CVR_ERR_FORMAT, "pjrt: %s: its GetPjrtApi gives nothing", p->file);
    CVR_TRY(check_table(p, err));
    CVR_TRY(initialise(p, err));
    return read_attributes(p, err);
}
