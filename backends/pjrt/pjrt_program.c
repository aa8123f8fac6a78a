/*
 * Compiling a program. One text is compiled once: recordings of equal texts share it, and what took long is kept in the
 * cache folder, with the text and the versions that it was made of, which are compared before it is used.
 */
#include "../host/host_backend.h"
#include "pjrt_device.h"
#include <errno.h>
#include <time.h>

#define WORTH_KEEPING_S 0.5
#define TAKES_LONG 20u /* functions: nothing else is said for seconds, or minutes */

static double now_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* FNV-1a, twice, from two starts. */
static void hash_bytes(uint64_t h[2], const void *bytes, uint64_t n) {
    const uint8_t *p = (const uint8_t *)bytes;
    for (uint64_t i = 0; i < n; i++) {
        h[0] = (h[0] ^ p[i]) * UINT64_C(0x100000001b3);
        h[1] = (h[1] ^ p[i]) * UINT64_C(0x100000001b5) + 1;
    }
}

void pjrt_program_versions(const pjrt_device *d, char *line, size_t size) {
    const pjrt_file *is = &d->plugin.is;
    (void)snprintf(line, size, "%s; %llu bytes of %lld.%09lld; %s; %s %lld; %s", d->driver,
                   (unsigned long long)is->bytes, (long long)is->changed_s, (long long)is->changed_ns, d->features,
                   d->name, (long long)d->id, d->is_cpu ? host_info()->name : "");
}

/* ---- compiling ---- */

static int32_t compile(pjrt_device *d, char *text, uint64_t n, PJRT_LoadedExecutable **out, cvr_error *err) {
    char format[] = "mlir", options[PJRT_OPTIONS];
    PJRT_Program program = {.struct_size = PJRT_Program_STRUCT_SIZE,
                            .code = text,
                            .code_size = n,
                            .format = format,
                            .format_size = sizeof format - 1};
    PJRT_ARGS(PJRT_Client_Compile, c, .client = d->client, .program = &program, .compile_options = options,
              .compile_options_size = pjrt_compile_options(d, options));
    CVR_TRY(pjrt_check(&d->plugin, d->plugin.api->PJRT_Client_Compile(&c), "compiling", err));
    *out = c.executable;
    return c.executable ? CVR_OK : cvr_fail(err, CVR_ERR_PLUGIN, "pjrt: %s: compiling gives nothing", d->plugin.file);
}

static void destroy(pjrt_device *d, PJRT_LoadedExecutable *executable) {
    PJRT_ARGS(PJRT_LoadedExecutable_Destroy, e, .executable = executable);
    if (executable) pjrt_forget(&d->plugin, d->plugin.api->PJRT_LoadedExecutable_Destroy(&e));
}

/* Whether the function of one layer compiles by itself. */
static int32_t compile_part(pjrt_device *d, const pjrt_trace *t, const pjrt_part *part, cvr_error *err) {
    pjrt_text text = {.host = d->host};
    PJRT_LoadedExecutable *executable = NULL;
    pjrt_text_print(&text, "module @cvrun {\n  func.func public @main");
    (void)pjrt_text_write(&text, t->functions.s + part->at, part->n);
    pjrt_text_print(&text, "}\n");
    const int32_t status = text.failed ? CVR_ERR_NOMEM : compile(d, text.s, text.n, &executable, err);
    destroy(d, executable);
    d->host->free(d->host, text.s);
    return status;
}

/* Why the whole did not compile, with the name of the layer that does not by itself. */
static int32_t blame(pjrt_device *d, const pjrt_trace *t, const cvr_error *whole, cvr_error *err) {
    for (uint64_t i = 0; i < t->n_parts; i++) {
        cvr_error why = CVR_ERROR_INIT;
        const int32_t status = compile_part(d, t, &t->parts[i], &why);
        if (status != CVR_OK) return cvr_fail(err, status, "%.100s: %.850s", t->parts[i].name, why.message);
    }
    return cvr_fail(err, whole->code, "%.900s; each of its %llu layers compiles by itself", whole->message,
                    (unsigned long long)t->n_parts);
}

/* ---- the cache folder ---- */

typedef struct blob {
    const cvr_host *host;
    uint8_t *bytes;
    uint64_t n;
} blob;

static void *blob_alloc(void *ctx, uint64_t bytes) {
    blob *b = (blob *)ctx;
    b->bytes = (uint8_t *)b->host->alloc(b->host, bytes + 1, 16);
    return b->bytes;
}

static const cvr_cache_service *cache_of(const pjrt_device *d) {
    const PJRT_Api *api = d->plugin.api;
    if (!d->caches || !PJRT_KNOWS(api, PJRT_Executable_Serialize) ||
        !PJRT_KNOWS(api, PJRT_Executable_DeserializeAndLoad) || !PJRT_KNOWS(api, PJRT_LoadedExecutable_GetExecutable))
        return NULL;
    return (const cvr_cache_service *)d->host->get(d->host, CVR_SERVICE_CACHE);
}

/* A file has the sizes of versions and text, both of them, and the executable. */
static uint64_t head_of(const char *versions, const pjrt_trace *t) {
    return 2 * sizeof(uint64_t) + strlen(versions) + t->text.n;
}

static int fits(const blob *b, const char *versions, const pjrt_trace *t) {
    uint64_t sizes[2];
    if (b->n <= head_of(versions, t)) return 0;
    memcpy(sizes, b->bytes, sizeof sizes);
    return sizes[0] == strlen(versions) && sizes[1] == t->text.n &&
           memcmp(b->bytes + sizeof sizes, versions, sizes[0]) == 0 &&
           memcmp(b->bytes + sizeof sizes + sizes[0], t->text.s, sizes[1]) == 0;
}

/* What was compiled before, or NULL. Whatever is wrong with it, compiling it again is right. */
static PJRT_LoadedExecutable *from_cache(pjrt_device *d, const char *name, const char *versions, const pjrt_trace *t) {
    const cvr_cache_service *cache = cache_of(d);
    blob b = {.host = d->host};
    PJRT_LoadedExecutable *executable = NULL;
    if (cache && cache->get(cache, name, blob_alloc, &b, &b.n, NULL) == CVR_OK && b.n && fits(&b, versions, t)) {
        const uint64_t head = head_of(versions, t);
        PJRT_ARGS(PJRT_Executable_DeserializeAndLoad, l, .client = d->client,
                  .serialized_executable = (const char *)b.bytes + head, .serialized_executable_size = b.n - head);
        PJRT_Error *e = d->plugin.api->PJRT_Executable_DeserializeAndLoad(&l);
        if (!e) executable = l.loaded_executable;
        pjrt_forget(&d->plugin, e);
    }
    d->host->free(d->host, b.bytes);
    return executable;
}

static PJRT_Executable *executable_of(pjrt_device *d, PJRT_LoadedExecutable *loaded) {
    PJRT_ARGS(PJRT_LoadedExecutable_GetExecutable, g, .loaded_executable = loaded);
    PJRT_Error *e = d->plugin.api->PJRT_LoadedExecutable_GetExecutable(&g);
    pjrt_forget(&d->plugin, e);
    return e ? NULL : g.executable;
}

static void executable_free(pjrt_device *d, PJRT_Executable *executable) {
    if (!executable || !PJRT_KNOWS(d->plugin.api, PJRT_Executable_Destroy)) return;
    PJRT_ARGS(PJRT_Executable_Destroy, e, .executable = executable);
    pjrt_forget(&d->plugin, d->plugin.api->PJRT_Executable_Destroy(&e));
}

/* Not being able to is no failure of the run; it is said once. */
static void keep(pjrt_device *d, const cvr_cache_service *cache, const char *name, const pjrt_text *file) {
    cvr_error why = CVR_ERROR_INIT;
    char line[1100];
    if (cache->put(cache, name, file->s, file->n, &why) == CVR_OK || d->told_unkept) return;
    (void)snprintf(line, sizeof line, "pjrt: a compiled program is not kept in the cache folder: %.1000s", why.message);
    d->host->log(d->host, CVR_LOG_WARNING, line);
    d->told_unkept = 1;
}

static void to_cache(pjrt_device *d, const char *name, const char *versions, const pjrt_trace *t,
                     PJRT_LoadedExecutable *loaded) {
    const cvr_cache_service *cache = cache_of(d);
    PJRT_Executable *executable = cache ? executable_of(d, loaded) : NULL;
    pjrt_text file = {.host = d->host};
    if (!executable) return;
    PJRT_ARGS(PJRT_Executable_Serialize, s, .executable = executable);
    PJRT_Error *e = d->plugin.api->PJRT_Executable_Serialize(&s);
    if (!e && s.serialized_bytes) {
        const uint64_t sizes[2] = {strlen(versions), t->text.n};
        (void)pjrt_text_write(&file, (const char *)sizes, sizeof sizes);
        (void)pjrt_text_write(&file, versions, sizes[0]);
        (void)pjrt_text_write(&file, t->text.s, sizes[1]);
        (void)pjrt_text_write(&file, s.serialized_bytes, s.serialized_bytes_size);
        if (!file.failed) keep(d, cache, name, &file);
    }
    if (!e && s.serialized_executable_deleter) s.serialized_executable_deleter(s.serialized_executable);
    pjrt_forget(&d->plugin, e);
    d->host->free(d->host, file.s);
    executable_free(d, executable);
}

/* ---- before the first step ---- */

/* How much a plugin says, if it can be true. */
static int64_t held(int64_t bytes) {
    const int64_t most = INT64_C(1) << 60;
    return bytes < 0 ? 0 : bytes < most ? bytes : most;
}

static int32_t check_memory(pjrt_device *d, PJRT_Executable *executable, cvr_error *err) {
    uint64_t used, available;
    if (!PJRT_KNOWS(d->plugin.api, PJRT_Executable_GetCompiledMemoryStats)) return CVR_OK;
    PJRT_ARGS(PJRT_Executable_GetCompiledMemoryStats, m, .executable = executable);
    PJRT_Error *e = d->plugin.api->PJRT_Executable_GetCompiledMemoryStats(&m);
    pjrt_forget(&d->plugin, e);
    if (e) return CVR_OK;
    CVR_TRY(pjrt_memory_left(d, &used, &available, err));
    const int64_t wanted = held(m.temp_size_in_bytes) + held(m.output_size_in_bytes) - held(m.alias_size_in_bytes);
    if (wanted <= 0 || (uint64_t)wanted <= available) return CVR_OK;
    return cvr_fail(err, CVR_ERR_NOMEM,
                    "pjrt: a step needs %.1f MB of %s's memory beside its parameters, and %.1f MB are free; take a "
                    "smaller batch",
                    (double)wanted * 1e-6, d->name, (double)available * 1e-6);
}

/* It writes as many buffers as there is room for. */
static int32_t check_outputs(pjrt_device *d, PJRT_Executable *executable, uint64_t n, cvr_error *err) {
    if (!PJRT_KNOWS(d->plugin.api, PJRT_Executable_NumOutputs)) return CVR_OK;
    PJRT_ARGS(PJRT_Executable_NumOutputs, o, .executable = executable);
    CVR_TRY(pjrt_check(&d->plugin, d->plugin.api->PJRT_Executable_NumOutputs(&o), "PJRT_Executable_NumOutputs", err));
    return o.num_outputs == n ? CVR_OK
                              : cvr_fail(err, CVR_ERR_PLUGIN, "pjrt: %s: a program of %llu results has %zu of them",
                                         d->plugin.file, (unsigned long long)n, o.num_outputs);
}

static int32_t check_program(pjrt_device *d, PJRT_LoadedExecutable *loaded, uint64_t n_outputs, cvr_error *err) {
    PJRT_Executable *executable =
        PJRT_KNOWS(d->plugin.api, PJRT_LoadedExecutable_GetExecutable) ? executable_of(d, loaded) : NULL;
    if (!executable) return CVR_OK;
    int32_t status = check_outputs(d, executable, n_outputs, err);
    if (status == CVR_OK) status = check_memory(d, executable, err);
    executable_free(d, executable);
    return status;
}

/* ---- the list of programs ---- */

static void dump(const pjrt_device *d, const char *name, const pjrt_trace *t) {
    char path[1200], line[1400];
    if (!*d->dump) return;
    (void)snprintf(path, sizeof path, "%s/%s.mlir", d->dump, name);
    FILE *f = fopen(path, "we");
    int failed = !f || fwrite(t->text.s, 1, t->text.n, f) != t->text.n;
    if (f && fclose(f) != 0) failed = 1;
    if (!failed) return;
    (void)snprintf(line, sizeof line, "pjrt: %.1100s cannot be written: %s", path, strerror(errno));
    d->host->log(d->host, CVR_LOG_WARNING, line);
}

static int32_t build(pjrt_device *d, const char *name, const char *versions, const pjrt_trace *t,
                     PJRT_LoadedExecutable **out, cvr_error *err) {
    cvr_error why = CVR_ERROR_INIT;
    char text[200];
    dump(d, name, t);
    *out = from_cache(d, name, versions, t);
    if (*out) return CVR_OK;
    if (t->n_parts >= TAKES_LONG) {
        (void)snprintf(text, sizeof text, "pjrt: compiling a program of %llu functions",
                       (unsigned long long)t->n_parts);
        d->host->log(d->host, CVR_LOG_INFO, text);
    }
    const double start = now_s();
    const int32_t status = compile(d, t->text.s, t->text.n, out, &why);
    if (status != CVR_OK) return blame(d, t, &why, err);
    const double spent = now_s() - start;
    (void)snprintf(text, sizeof text, "pjrt: compiled %llu functions in %.1f s", (unsigned long long)t->n_parts, spent);
    d->host->log(d->host, CVR_LOG_DEBUG, text);
    if (spent > WORTH_KEEPING_S) to_cache(d, name, versions, t, *out);
    return CVR_OK;
}

/* One that nobody uses, the longest ago, makes place. */
static void make_place(pjrt_device *d) {
    uint64_t oldest = UINT64_MAX, n = 0;
    for (uint64_t i = 0; i < d->n_programs; i++) {
        if (d->programs[i]->refs) continue;
        n++;
        if (oldest == UINT64_MAX || d->programs[i]->used < d->programs[oldest]->used) oldest = i;
    }
    if (n < PJRT_KEPT) return;
    destroy(d, d->programs[oldest]->executable);
    d->host->free(d->host, d->programs[oldest]);
    d->programs[oldest] = d->programs[--d->n_programs];
}

static int32_t add(pjrt_device *d, const uint64_t hash[2], PJRT_LoadedExecutable *executable, pjrt_program **out,
                   cvr_error *err) {
    make_place(d);
    pjrt_program **more =
        (pjrt_program **)host_grow(d->host, (void *)d->programs, d->n_programs, &d->programs_capacity, sizeof *more);
    if (more) d->programs = more;
    pjrt_program *p = more ? (pjrt_program *)d->host->alloc(d->host, sizeof *p, 16) : NULL;
    if (!p) {
        destroy(d, executable);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    *p = (pjrt_program){.hash = {hash[0], hash[1]}, .refs = 1, .used = ++d->count, .executable = executable};
    more[d->n_programs++] = p;
    *out = p;
    return CVR_OK;
}

int32_t pjrt_program_get(pjrt_device *d, const pjrt_trace *t, pjrt_program **out, cvr_error *err) {
    uint64_t hash[2] = {UINT64_C(0xcbf29ce484222325), UINT64_C(0x6376722e706a7274)};
    char name[64], versions[1024];
    PJRT_LoadedExecutable *executable = NULL;
    pjrt_program_versions(d, versions, sizeof versions);
    hash_bytes(hash, versions, strlen(versions));
    hash_bytes(hash, t->text.s, t->text.n);
    for (uint64_t i = 0; i < d->n_programs; i++) {
        if (memcmp(d->programs[i]->hash, hash, sizeof hash) != 0) continue;
        *out = d->programs[i];
        (*out)->refs++;
        return CVR_OK;
    }
    (void)snprintf(name, sizeof name, "pjrt-%016llx%016llx", (unsigned long long)hash[0], (unsigned long long)hash[1]);
    CVR_TRY(build(d, name, versions, t, &executable, err));
    const int32_t status = check_program(d, executable, t->n_outputs, err);
    if (status != CVR_OK) {
        destroy(d, executable);
        return status;
    }
    return add(d, hash, executable, out, err);
}

void pjrt_program_release(pjrt_device *d, pjrt_program *p) {
    if (!p) return;
    p->refs--;
    p->used = ++d->count;
}

void pjrt_programs_close(pjrt_device *d) {
    for (uint64_t i = 0; i < d->n_programs; i++) {
        destroy(d, d->programs[i]->executable);
        d->host->free(d->host, d->programs[i]);
    }
    d->host->free(d->host, (void *)d->programs);
}
