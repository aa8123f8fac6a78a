/*
 * Fuzz target: backends/pjrt, against a plugin that says whatever the bytes are: the size and version of its table,
 * functions that are not there, attributes, names, numbers of devices and bytes, errors with any text at any call, and
 * nothing where something should be. What it gives out is to come back, all of it.
 */
#include "fuzz.h"
#include "pjrt_device.h"
#include <stdlib.h>

struct PJRT_Error {
    char *text;
    size_t n;
    PJRT_Error_Code code;
};

static const uint8_t *at;
static size_t left;
static int64_t given; /* errors, events, buffers, executables and clients that have not come back */
static PJRT_NamedValue *attributes;
static char *words[64]; /* names and numbers that live as long as the plugin */
static size_t n_words;
static PJRT_Device *devices[4];

/* ---- the bytes ---- */

static uint8_t byte(void) {
    if (!left) return 0;
    left--;
    return *at++;
}

static int64_t number(void) {
    uint64_t v = 0;
    const int size = byte() & 7;
    for (int i = 0; i <= size; i++) v = v << 8 | byte();
    return size == 0 ? (int64_t)(int8_t)v : (int64_t)v;
}

/* Exactly as many bytes as it says, so that a reader past the end is caught. */
static char *text(size_t *n) {
    const size_t wanted = byte();
    *n = wanted < left ? wanted : left;
    char *s = malloc(*n ? *n : 1);
    for (size_t i = 0; i < *n; i++) s[i] = (char)byte();
    return s;
}

static char *kept_text(size_t *n) {
    *n = 0;
    if (n_words == sizeof words / sizeof *words) return NULL;
    return words[n_words++] = text(n);
}

/* ---- what is given out ---- */

static void *give(void) {
    given++;
    return malloc(1);
}
static void *maybe_give(void) {
    return byte() == 255 ? NULL : give();
}
static void take_back(void *p) {
    fuzz_check(p != NULL, "something comes back that was never given");
    given--;
    free(p);
}

static PJRT_Error *maybe_fail(void) {
    if (byte() < 240) return NULL;
    PJRT_Error *e = malloc(sizeof *e);
    given++;
    e->text = text(&e->n);
    e->code = (PJRT_Error_Code)number();
    return e;
}

/* ---- the table ---- */

static void error_destroy(PJRT_Error_Destroy_Args *a) {
    free(a->error->text);
    take_back(a->error);
}
static void error_message(PJRT_Error_Message_Args *a) {
    a->message = a->error->n == 3 ? NULL : a->error->text;
    a->message_size = a->error->n;
}
static PJRT_Error *error_code(PJRT_Error_GetCode_Args *a) {
    a->code = a->error->code;
    return NULL;
}
static PJRT_Error *initialize(PJRT_Plugin_Initialize_Args *a) {
    (void)a;
    return NULL;
}

static void fill_attribute(PJRT_NamedValue *v) {
    static const char *const known[2] = {"stablehlo_current_version", "xla_version"};
    const uint8_t kind = byte();
    if (kind < 2) {
        v->name = known[kind];
        v->name_size = strlen(known[kind]);
    } else if (kind < 250) {
        v->name = kept_text(&v->name_size);
    } else {
        v->name_size = strlen(known[kind & 1]);
    }
    v->type = (PJRT_NamedValue_Type)(byte() % 6);
    v->value_size = byte() % 5;
    v->int64_value = v->type == PJRT_NamedValue_kInt64 ? number() : 0;
    if (v->type != PJRT_NamedValue_kInt64List || byte() == 255 || n_words == sizeof words / sizeof *words) return;
    int64_t *list = malloc(v->value_size * sizeof *list + 1);
    words[n_words++] = (char *)list;
    for (size_t i = 0; i < v->value_size; i++) list[i] = number();
    v->int64_array_value = list;
}

/* Structs of another version: longer ones, or shorter. */
static PJRT_Error *give_attributes(PJRT_Plugin_Attributes_Args *a) {
    static const size_t sizes[4] = {PJRT_NamedValue_STRUCT_SIZE, PJRT_NamedValue_STRUCT_SIZE + 16, 16, 0};
    const uint8_t kind = byte();
    const size_t step = sizes[kind > 250 ? kind & 3 : 0], n = byte() % 6;
    free(attributes);
    attributes = calloc(1, n * step + 1);
    for (size_t i = 0; i < n && step >= 8; i++) {
        PJRT_NamedValue v = {.struct_size = step};
        if (step >= sizeof v) fill_attribute(&v);
        memcpy((char *)attributes + i * step, &v, step < sizeof v ? step : sizeof v);
    }
    a->attributes = kind == 250 ? NULL : attributes;
    a->num_attributes = step < 8 ? 0 : n;
    return maybe_fail();
}

static PJRT_Error *client_create(PJRT_Client_Create_Args *a) {
    PJRT_Error *e = maybe_fail();
    a->client = e ? NULL : maybe_give();
    return e;
}
static PJRT_Error *client_destroy(PJRT_Client_Destroy_Args *a) {
    take_back(a->client);
    return maybe_fail();
}
static PJRT_Error *platform_name(PJRT_Client_PlatformName_Args *a) {
    a->platform_name = kept_text(&a->platform_name_size);
    return maybe_fail();
}
static PJRT_Error *platform_version(PJRT_Client_PlatformVersion_Args *a) {
    a->platform_version = byte() == 255 ? NULL : kept_text(&a->platform_version_size);
    return maybe_fail();
}
static PJRT_Error *addressable(PJRT_Client_AddressableDevices_Args *a) {
    for (int i = 0; i < 4; i++) devices[i] = byte() == 255 ? NULL : (PJRT_Device *)(void *)devices;
    a->addressable_devices = byte() == 255 ? NULL : devices;
    a->num_addressable_devices = a->addressable_devices ? byte() % 5 : (size_t)number();
    return maybe_fail();
}
static PJRT_Error *device_description(PJRT_Device_GetDescription_Args *a) {
    a->device_description = NULL;
    return maybe_fail();
}
static PJRT_Error *device_kind(PJRT_DeviceDescription_Kind_Args *a) {
    a->device_kind = byte() == 255 ? NULL : kept_text(&a->device_kind_size);
    return maybe_fail();
}
static PJRT_Error *device_id(PJRT_DeviceDescription_Id_Args *a) {
    a->id = byte() < 200 ? 0 : (int)number();
    return maybe_fail();
}
static PJRT_Error *memory_stats(PJRT_Device_MemoryStats_Args *a) {
    a->bytes_limit_is_set = byte() & 1;
    a->bytes_in_use = number();
    a->bytes_limit = number();
    return maybe_fail();
}
static PJRT_Error *event_await(PJRT_Event_Await_Args *a) {
    (void)a;
    return maybe_fail();
}
static PJRT_Error *event_destroy(PJRT_Event_Destroy_Args *a) {
    take_back(a->event);
    return maybe_fail();
}
static PJRT_Error *compile(PJRT_Client_Compile_Args *a) {
    PJRT_Error *e = maybe_fail();
    a->executable = e ? NULL : maybe_give();
    return e;
}
static PJRT_Error *load(PJRT_Executable_DeserializeAndLoad_Args *a) {
    PJRT_Error *e = maybe_fail();
    fuzz_touch(a->serialized_executable, a->serialized_executable_size);
    a->loaded_executable = e ? NULL : maybe_give();
    return e;
}
static PJRT_Error *serialize(PJRT_Executable_Serialize_Args *a) {
    (void)a;
    return maybe_fail();
}
static PJRT_Error *loaded_destroy(PJRT_LoadedExecutable_Destroy_Args *a) {
    take_back(a->executable);
    return maybe_fail();
}
static PJRT_Error *get_executable(PJRT_LoadedExecutable_GetExecutable_Args *a) {
    PJRT_Error *e = maybe_fail();
    a->executable = e ? NULL : maybe_give();
    return e;
}
static PJRT_Error *executable_destroy(PJRT_Executable_Destroy_Args *a) {
    take_back(a->executable);
    return maybe_fail();
}
static PJRT_Error *num_outputs(PJRT_Executable_NumOutputs_Args *a) {
    a->num_outputs = byte() < 200 ? 1 : (size_t)number();
    return maybe_fail();
}
static PJRT_Error *compiled_memory(PJRT_Executable_GetCompiledMemoryStats_Args *a) {
    a->temp_size_in_bytes = number();
    a->output_size_in_bytes = number();
    a->alias_size_in_bytes = number();
    return maybe_fail();
}
static PJRT_Error *execute(PJRT_LoadedExecutable_Execute_Args *a) {
    (void)a;
    return maybe_fail();
}
static PJRT_Error *from_host(PJRT_Client_BufferFromHostBuffer_Args *a) {
    PJRT_Error *e = maybe_fail();
    if (e) return e;
    fuzz_touch(a->data, (uint64_t)a->dims[0] * 4);
    a->buffer = maybe_give();
    a->done_with_host_buffer = maybe_give();
    return NULL;
}
static PJRT_Error *to_host(PJRT_Buffer_ToHostBuffer_Args *a) {
    PJRT_Error *e = maybe_fail();
    if (e) return e;
    memset(a->dst, byte(), a->dst_size);
    a->event = maybe_give();
    return NULL;
}
static PJRT_Error *buffer_destroy(PJRT_Buffer_Destroy_Args *a) {
    take_back(a->buffer);
    return maybe_fail();
}

static void fill_table(PJRT_Api *api) {
    *api = (PJRT_Api){.struct_size = PJRT_Api_STRUCT_SIZE,
                      .pjrt_api_version = {.struct_size = PJRT_Api_Version_STRUCT_SIZE,
                                           .major_version = PJRT_API_MAJOR,
                                           .minor_version = PJRT_API_MINOR},
                      .PJRT_Error_Destroy = error_destroy,
                      .PJRT_Error_Message = error_message,
                      .PJRT_Error_GetCode = error_code,
                      .PJRT_Plugin_Initialize = initialize,
                      .PJRT_Plugin_Attributes = give_attributes,
                      .PJRT_Event_Destroy = event_destroy,
                      .PJRT_Event_Await = event_await,
                      .PJRT_Client_Create = client_create,
                      .PJRT_Client_Destroy = client_destroy,
                      .PJRT_Client_PlatformName = platform_name,
                      .PJRT_Client_PlatformVersion = platform_version,
                      .PJRT_Client_AddressableDevices = addressable,
                      .PJRT_Client_Compile = compile,
                      .PJRT_Client_BufferFromHostBuffer = from_host,
                      .PJRT_DeviceDescription_Id = device_id,
                      .PJRT_DeviceDescription_Kind = device_kind,
                      .PJRT_Device_GetDescription = device_description,
                      .PJRT_Device_MemoryStats = memory_stats,
                      .PJRT_LoadedExecutable_Destroy = loaded_destroy,
                      .PJRT_LoadedExecutable_GetExecutable = get_executable,
                      .PJRT_LoadedExecutable_Execute = execute,
                      .PJRT_Executable_Destroy = executable_destroy,
                      .PJRT_Executable_NumOutputs = num_outputs,
                      .PJRT_Executable_Serialize = serialize,
                      .PJRT_Executable_DeserializeAndLoad = load,
                      .PJRT_Executable_GetCompiledMemoryStats = compiled_memory,
                      .PJRT_Buffer_Destroy = buffer_destroy,
                      .PJRT_Buffer_ToHostBuffer = to_host};
    const uint8_t kind = byte();
    if (kind == 1) api->struct_size = (size_t)number();
    if (kind == 2) api->pjrt_api_version.major_version = (int)number();
    if (kind == 3) api->pjrt_api_version.minor_version = (int)number();
    if (kind == 4) api->PJRT_Plugin_Attributes = NULL;
    if (kind == 5) api->PJRT_Device_MemoryStats = NULL;
    if (kind == 6) api->PJRT_Executable_NumOutputs = NULL;
    if (kind == 7) api->PJRT_LoadedExecutable_GetExecutable = NULL;
    if (kind == 8) api->PJRT_Client_Compile = NULL;
    if (kind == 9) api->PJRT_DeviceDescription_Id = NULL;
    /* a table that is really so long, not only says so */
    if (api->struct_size > PJRT_Api_STRUCT_SIZE) api->struct_size = PJRT_Api_STRUCT_SIZE;
}

/* ---- what is done with it ---- */

static pjrt_device *device;
static const pjrt_trace *trace;

/* A file of the cache whose head is right, or is not, and whatever bytes behind it. */
static int32_t cache_get(const cvr_cache_service *s, const char *name, cvr_alloc_fn alloc, void *ctx, uint64_t *n,
                         cvr_error *err) {
    char versions[1024];
    (void)s, (void)name, (void)err;
    pjrt_program_versions(device, versions, sizeof versions);
    uint64_t sizes[2] = {strlen(versions), trace->text.n};
    if (byte() > 200) sizes[byte() & 1] = (uint64_t)number();
    const uint64_t body = 1 + byte() % 40;
    *n = sizeof sizes + strlen(versions) + trace->text.n + body;
    if (byte() > 240) *n = byte() % 64;
    uint8_t *to = alloc(ctx, *n);
    if (!to) return CVR_ERR_NOMEM;
    memset(to, 7, *n);
    if (*n < sizeof sizes + strlen(versions) + trace->text.n) return CVR_OK;
    memcpy(to, sizes, sizeof sizes);
    memcpy(to + sizeof sizes, versions, strlen(versions));
    memcpy(to + sizeof sizes + strlen(versions), trace->text.s, trace->text.n);
    return CVR_OK;
}
static int32_t cache_put(const cvr_cache_service *s, const char *name, const void *bytes, uint64_t n, cvr_error *err) {
    (void)s, (void)name, (void)err;
    fuzz_touch(bytes, n);
    return CVR_OK;
}
static const void *service(const cvr_host *host, const char *name) {
    static const cvr_cache_service cache = {sizeof cache, NULL, cache_get, cache_put};
    (void)host;
    return strcmp(name, CVR_SERVICE_CACHE) == 0 ? &cache : NULL;
}

static int32_t checked(int32_t status, cvr_error *err) {
    fuzz_check_error(status, err);
    *err = (cvr_error)CVR_ERROR_INIT;
    return status;
}

static void move_bytes(pjrt_device *d) {
    uint8_t bytes[64] = {1, 2, 3};
    cvr_error err = CVR_ERROR_INIT;
    void *to = NULL;
    pjrt_value *v;
    if (checked(pjrt_alloc(d, sizeof bytes, &to, &err), &err) != CVR_OK) return;
    const cvr_transfer up = {.struct_size = sizeof up, .from = bytes, .to = to, .bytes = sizeof bytes};
    const cvr_transfer down = {.struct_size = sizeof down, .from = to, .to = bytes, .bytes = sizeof bytes};
    (void)checked(pjrt_upload(d, &up, &err), &err);
    for (int i = 0; i < 2; i++)
        (void)checked(pjrt_fetch(d, (uint64_t)(uintptr_t)to, sizeof bytes, CVR_F32, &v, &err), &err);
    (void)checked(pjrt_download(d, &down, &err), &err);
    pjrt_free(d, to);
}

static void compile_program(pjrt_device *d, const cvr_host *host) {
    pjrt_part part = {0, 0, "c1/conv2d"};
    pjrt_trace t = {.host = host, .parts = &part, .n_parts = 1, .n_outputs = 1};
    pjrt_program *p = NULL;
    cvr_error err = CVR_ERROR_INIT;
    t.text.host = t.functions.host = host;
    pjrt_text_print(&t.text, "module");
    pjrt_text_print(&t.functions, "() { return }\n");
    part.n = t.functions.n;
    trace = &t;
    if (checked(pjrt_program_get(d, &t, &p, &err), &err) == CVR_OK) pjrt_program_release(d, p);
    host->free(host, t.text.s);
    host->free(host, t.functions.s);
}

static void check_words(const char *s) {
    for (; *s; s++) fuzz_check((uint8_t)*s >= 0x20 && *s != 0x7f, "a name with byte 0x%02x", (unsigned)(uint8_t)*s);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static PJRT_Api api;
    const pjrt_keys keys = {.plugin = "", .device = 0, .cache = 1, .dump = ""};
    pjrt_plugin plugin = {.file = "fuzz.so"};
    cvr_error err = CVR_ERROR_INIT;
    fuzz_host h;
    at = bytes;
    left = n;
    given = 0;
    fuzz_host_init(&h, 1 << 20);
    h.host.get = service;
    fill_table(&api);
    if (checked(pjrt_plugin_take(&plugin, &api, &err), &err) == CVR_OK &&
        checked(pjrt_open_on(&h.host, &keys, &plugin, &device, &err), &err) == CVR_OK) {
        check_words(device->name);
        check_words(device->driver);
        check_words(device->features);
        move_bytes(device);
        compile_program(device, &h.host);
        pjrt_close(device);
    }
    fuzz_check(given == 0, "%lld things that the plugin gave do not come back", (long long)given);
    fuzz_check(h.live == 0, "%lld blocks are left", (long long)h.live);
    while (n_words) free(words[--n_words]);
    free(attributes);
    attributes = NULL;
    return 0;
}
