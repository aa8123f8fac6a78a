/*
 * A PJRT plugin that computes nothing: results are zeros of the types that the program names, given up as PJRT wants
 * it. What is wrong with it is said by the variable FAKE_PJRT: `major`, `small`, `tiny`, `no_attributes`,
 * `old_stablehlo`, `nothing`, `no_client`, `no_device`, `compile` (the first program), `compile=WORD` (programs with
 * that word in them), `execute=N` (the N-th step and all later ones), `await=N`, `memory` (there is none left for the
 * step), `upload`, `slow` (compiling takes as long as is worth a place in the cache), `newer` (the same, by another
 * version), `garbage` (the same, and what it gives for the cache is none of its programs), `chip` (its device has the
 * number 300, for which every program has to be compiled).
 */
#define _DEFAULT_SOURCE
#include <pjrt_c_api.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct PJRT_Error {
    const char *text;
    PJRT_Error_Code code;
};
struct PJRT_Buffer {
    void *bytes;
    size_t n;
};
struct PJRT_Event {
    int fails;
};
struct PJRT_LoadedExecutable {
    size_t n, bytes[512];
};

static int device, client, description, executions, awaits;
static PJRT_Device *devices[1] = {(PJRT_Device *)(void *)&device};

static const char *setting(const char *name) {
    const char *is = getenv("FAKE_PJRT");
    const size_t n = strlen(name);
    if (!is || strncmp(is, name, n) != 0) return NULL;
    return is[n] == '=' ? is + n + 1 : is[n] ? NULL : "";
}

static PJRT_Error *fail(PJRT_Error_Code code, const char *text) {
    PJRT_Error *e = malloc(sizeof *e);
    *e = (PJRT_Error){text, code};
    return e;
}

/* ---- errors and events ---- */

static void error_destroy(PJRT_Error_Destroy_Args *a) {
    free(a->error);
}
static void error_message(PJRT_Error_Message_Args *a) {
    a->message = a->error->text;
    a->message_size = strlen(a->error->text);
}
static PJRT_Error *error_code(PJRT_Error_GetCode_Args *a) {
    a->code = a->error->code;
    return NULL;
}
static PJRT_Error *event_destroy(PJRT_Event_Destroy_Args *a) {
    free(a->event);
    return NULL;
}
static PJRT_Error *event_await(PJRT_Event_Await_Args *a) {
    return a->event->fails ? fail(PJRT_Error_Code_INTERNAL, "the chip\nhas halted") : NULL;
}
static PJRT_Event *new_event(int fails) {
    PJRT_Event *e = malloc(sizeof *e);
    e->fails = fails;
    return e;
}

/* ---- what it is ---- */

static PJRT_Error *initialize(PJRT_Plugin_Initialize_Args *a) {
    (void)a;
    return NULL;
}
static PJRT_Error *attributes(PJRT_Plugin_Attributes_Args *a) {
    static int64_t version[3] = {1, 9, 5};
    static PJRT_NamedValue value = {.struct_size = sizeof value,
                                    .name = "stablehlo_current_version",
                                    .name_size = 25,
                                    .type = PJRT_NamedValue_kInt64List,
                                    .int64_array_value = version,
                                    .value_size = 3};
    if (setting("old_stablehlo")) version[0] = 0;
    a->attributes = &value;
    a->num_attributes = 1;
    return NULL;
}
static PJRT_Error *client_create(PJRT_Client_Create_Args *a) {
    a->client = (PJRT_Client *)(void *)&client;
    return setting("no_client") ? fail(PJRT_Error_Code_UNAVAILABLE, "no chip is free") : NULL;
}
static PJRT_Error *client_destroy(PJRT_Client_Destroy_Args *a) {
    (void)a;
    return NULL;
}
static PJRT_Error *platform_name(PJRT_Client_PlatformName_Args *a) {
    a->platform_name = "fake";
    a->platform_name_size = 4;
    return NULL;
}
static PJRT_Error *platform_version(PJRT_Client_PlatformVersion_Args *a) {
    a->platform_version = setting("newer") ? "2" : "1";
    a->platform_version_size = 1;
    return NULL;
}
static PJRT_Error *addressable(PJRT_Client_AddressableDevices_Args *a) {
    a->addressable_devices = devices;
    a->num_addressable_devices = setting("no_device") ? 0 : 1;
    return NULL;
}
static PJRT_Error *device_description(PJRT_Device_GetDescription_Args *a) {
    a->device_description = (PJRT_DeviceDescription *)(void *)&description;
    return NULL;
}
static PJRT_Error *device_kind(PJRT_DeviceDescription_Kind_Args *a) {
    a->device_kind = "nothing at all";
    a->device_kind_size = 14;
    return NULL;
}
static PJRT_Error *device_id(PJRT_DeviceDescription_Id_Args *a) {
    a->id = setting("chip") ? 300 : 0;
    return NULL;
}
static PJRT_Error *memory_stats(PJRT_Device_MemoryStats_Args *a) {
    a->bytes_in_use = 0;
    a->bytes_limit = INT64_C(1) << 34;
    a->bytes_limit_is_set = true;
    return NULL;
}

/* ---- programs ---- */

static size_t size_of(const char *type) {
    size_t n = 1;
    for (;;) {
        char *end;
        const unsigned long long k = strtoull(type, &end, 10);
        if (*end != 'x' || end == type) break;
        n *= k;
        type = end + 1;
    }
    return n * (strchr("fi", *type) && type[1] == '6'                         ? 8
                : strncmp(type, "i8", 2) == 0 || strncmp(type, "ui8", 3) == 0 ? 1
                                                                              : 4);
}

/* Where the options end with the device's number: field 1 of the last message, 300 in seven bits a byte. */
static int is_for_chip(const PJRT_Client_Compile_Args *a) {
    const size_t n = a->compile_options_size;
    return n > 3 && memcmp(a->compile_options + n - 3, "\x08\xac\x02", 3) == 0;
}

static PJRT_Error *compile(PJRT_Client_Compile_Args *a) {
    if (setting("chip") && !is_for_chip(a)) return fail(PJRT_Error_Code_INVALID_ARGUMENT, "for another chip");
    char *text = malloc(a->program->code_size + 1);
    const char *word = setting("compile");
    PJRT_LoadedExecutable *p = calloc(1, sizeof *p);
    if (setting("slow") || setting("newer") || setting("garbage")) (void)usleep(600000);
    memcpy(text, a->program->code, a->program->code_size);
    text[a->program->code_size] = '\0';
    const int fails = word && strstr(text, word);
    for (const char *at = strstr(strstr(text, "@main("), "-> ("); *at != '{'; at++)
        if (strncmp(at, "tensor<", 7) == 0) p->bytes[p->n++] = size_of(at + 7);
    free(text);
    if (!fails) {
        a->executable = p;
        return NULL;
    }
    free(p);
    return fail(PJRT_Error_Code_INVALID_ARGUMENT, "this is beyond me");
}
static PJRT_Error *loaded_destroy(PJRT_LoadedExecutable_Destroy_Args *a) {
    free(a->executable);
    return NULL;
}
static PJRT_Error *get_executable(PJRT_LoadedExecutable_GetExecutable_Args *a) {
    a->executable = (PJRT_Executable *)(void *)a->loaded_executable;
    return NULL;
}
static PJRT_Error *executable_destroy(PJRT_Executable_Destroy_Args *a) {
    (void)a;
    return NULL;
}
static PJRT_Error *num_outputs(PJRT_Executable_NumOutputs_Args *a) {
    a->num_outputs = ((const PJRT_LoadedExecutable *)(const void *)a->executable)->n;
    return NULL;
}
static void forget(PJRT_SerializedExecutable *bytes) {
    free(bytes);
}
static PJRT_Error *serialize(PJRT_Executable_Serialize_Args *a) {
    PJRT_LoadedExecutable *copy = malloc(sizeof *copy);
    memcpy(copy, a->executable, sizeof *copy);
    if (setting("garbage")) copy->n = SIZE_MAX;
    a->serialized_bytes = (const char *)copy;
    a->serialized_bytes_size = sizeof *copy;
    a->serialized_executable = (PJRT_SerializedExecutable *)(void *)copy;
    a->serialized_executable_deleter = forget;
    return NULL;
}
static PJRT_Error *deserialize(PJRT_Executable_DeserializeAndLoad_Args *a) {
    PJRT_LoadedExecutable *p = calloc(1, sizeof *p);
    if (a->serialized_executable_size == sizeof *p) memcpy(p, a->serialized_executable, sizeof *p);
    a->loaded_executable = p;
    if (p->n && p->n <= sizeof p->bytes / sizeof *p->bytes) return NULL;
    free(p);
    return fail(PJRT_Error_Code_INVALID_ARGUMENT, "this is no program of mine");
}
static PJRT_Error *compiled_memory(PJRT_Executable_GetCompiledMemoryStats_Args *a) {
    a->temp_size_in_bytes = setting("memory") ? INT64_C(1) << 40 : 0;
    return NULL;
}
static PJRT_Error *execute(PJRT_LoadedExecutable_Execute_Args *a) {
    const char *n = setting("execute"), *m = setting("await");
    if (n && ++executions >= atoi(n)) return fail(PJRT_Error_Code_INTERNAL, "the chip is on fire");
    for (size_t i = 0; i < a->executable->n; i++) {
        PJRT_Buffer *b = malloc(sizeof *b);
        *b = (PJRT_Buffer){calloc(1, a->executable->bytes[i] + 1), a->executable->bytes[i]};
        a->output_lists[0][i] = b;
    }
    a->device_complete_events[0] = new_event(m && ++awaits >= atoi(m));
    return NULL;
}

/* ---- buffers ---- */

static PJRT_Error *from_host(PJRT_Client_BufferFromHostBuffer_Args *a) {
    const size_t size = a->type == PJRT_Buffer_Type_S64 ? 8 : a->type == PJRT_Buffer_Type_U8 ? 1 : 4;
    PJRT_Buffer *b = malloc(sizeof *b);
    if (setting("upload")) {
        free(b);
        return fail(PJRT_Error_Code_RESOURCE_EXHAUSTED, "no room");
    }
    *b = (PJRT_Buffer){malloc((size_t)a->dims[0] * size + 1), (size_t)a->dims[0] * size};
    memcpy(b->bytes, a->data, b->n);
    a->buffer = b;
    a->done_with_host_buffer = new_event(0);
    return NULL;
}
static PJRT_Error *to_host(PJRT_Buffer_ToHostBuffer_Args *a) {
    memcpy(a->dst, a->src->bytes, a->src->n < a->dst_size ? a->src->n : a->dst_size);
    a->event = new_event(0);
    return NULL;
}
static PJRT_Error *buffer_destroy(PJRT_Buffer_Destroy_Args *a) {
    free(a->buffer->bytes);
    free(a->buffer);
    return NULL;
}

const PJRT_Api *GetPjrtApi(void);
__attribute__((visibility("default"))) const PJRT_Api *GetPjrtApi(void) {
    static PJRT_Api api = {.struct_size = PJRT_Api_STRUCT_SIZE,
                           .pjrt_api_version = {.struct_size = PJRT_Api_Version_STRUCT_SIZE,
                                                .major_version = PJRT_API_MAJOR,
                                                .minor_version = PJRT_API_MINOR},
                           .PJRT_Error_Destroy = error_destroy,
                           .PJRT_Error_Message = error_message,
                           .PJRT_Error_GetCode = error_code,
                           .PJRT_Plugin_Initialize = initialize,
                           .PJRT_Plugin_Attributes = attributes,
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
                           .PJRT_Executable_DeserializeAndLoad = deserialize,
                           .PJRT_Executable_GetCompiledMemoryStats = compiled_memory,
                           .PJRT_Buffer_Destroy = buffer_destroy,
                           .PJRT_Buffer_ToHostBuffer = to_host};
    if (setting("nothing")) return NULL;
    if (setting("major")) api.pjrt_api_version.major_version = PJRT_API_MAJOR + 1;
    if (setting("small")) api.struct_size = offsetof(PJRT_Api, PJRT_Client_Compile);
    if (setting("tiny")) api.struct_size = 8;
    if (setting("no_attributes")) api.PJRT_Plugin_Attributes = NULL;
    return &api;
}
