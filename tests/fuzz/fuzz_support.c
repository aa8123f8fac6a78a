/*
 * What every fuzz target uses, whether the driver here or libFuzzer calls it.
 */
#include "fuzz.h"
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void count_log(const cvr_host *host, uint32_t level, const char *text) {
    fuzz_host *const h = host->ctx;
    (void)level;
    h->logs++;
    fuzz_touch(text, strlen(text));
}

static void *count_alloc(const cvr_host *host, uint64_t bytes, uint64_t align) {
    fuzz_host *const h = host->ctx;
    void *p = NULL;
    h->used += bytes;
    if (bytes > h->most || posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, bytes ? bytes : 1) != 0)
        return NULL;
    h->live++;
    return p;
}

static void count_free(const cvr_host *host, void *p) {
    fuzz_host *const h = host->ctx;
    if (!p) return;
    h->live--;
    free(p);
}

static const void *no_service(const cvr_host *host, const char *service) {
    (void)host, (void)service;
    return NULL;
}

void fuzz_host_init(fuzz_host *h, uint64_t most) {
    *h = (fuzz_host){{sizeof h->host, h, count_log, count_alloc, count_free, no_service}, 0, 0, most, 0};
}

void fuzz_check(int ok, const char *format, ...) {
    va_list ap;
    if (ok) return;
    va_start(ap, format);
    fputs("fuzz: ", stderr);
    (void)vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    abort();
}

void fuzz_check_line(int32_t status, const cvr_error *err) {
    if (status == CVR_OK) return;
    fuzz_check(status == err->code, "status %d, but the error says %d", status, err->code);
    fuzz_check(err->message[0] && !strchr(err->message, '\n'), "not one line: '%s'", err->message);
}

void fuzz_check_error(int32_t status, const cvr_error *err) {
    fuzz_check_line(status, err);
    if (status == CVR_OK) return;
    fuzz_check(strlen(err->message) < sizeof err->message - 1, "a message that was cut: '%s'", err->message);
    for (const char *s = err->message; *s; s++)
        fuzz_check((uint8_t)*s >= 0x20 && *s != 0x7f, "a message with byte 0x%02x", (unsigned)(uint8_t)*s);
}

void fuzz_touch(const void *bytes, uint64_t n) {
    volatile uint8_t sum = 0;
    for (uint64_t i = 0; i < n; i++) sum = (uint8_t)(sum + ((const uint8_t *)bytes)[i]);
}

uint64_t fuzz_number(const uint8_t *bytes, size_t n) {
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < n; i++) h = (h ^ bytes[i]) * 0x100000001b3u;
    return h ^ h >> 32;
}

void *fuzz_alloc_one(void *ctx, uint64_t n) {
    fuzz_block *const b = ctx;
    free(b->p);
    b->n = n;
    return b->p = n > 1u << 30 ? NULL : malloc(n ? n : 1);
}

/* ---- files ---- */

static struct {
    char folder[256];
    char *paths[16];
    size_t n;
} files;

static void remove_files(void) {
    for (size_t i = 0; i < files.n; i++) {
        (void)unlink(files.paths[i]);
        *strrchr(files.paths[i], '/') = '\0';
        (void)rmdir(files.paths[i]); /* a folder in it, once it is empty */
        free(files.paths[i]);
    }
    (void)rmdir(files.folder);
}

const char *fuzz_folder(void) {
    const char *const tmp = getenv("TMPDIR");
    if (files.folder[0]) return files.folder;
    /* In memory where there is such a folder: ten thousand files on a disk that others write to take what they like. */
    const char *const usual = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(files.folder, sizeof files.folder, "%.200s/cvr_fuzz_XXXXXX", tmp ? tmp : usual);
    fuzz_check(mkdtemp(files.folder) != NULL && atexit(remove_files) == 0, "cannot make %s", files.folder);
    return files.folder;
}

static char *path_of(const char *name) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%.200s", fuzz_folder(), name);
    for (size_t i = 0; i < files.n; i++)
        if (strcmp(files.paths[i], path) == 0) return files.paths[i];
    fuzz_check(files.n < sizeof files.paths / sizeof *files.paths, "too many files");
    char *const slash = strrchr(path, '/');
    *slash = '\0';
    (void)mkdir(path, 0755);
    *slash = '/';
    return files.paths[files.n++] = strdup(path);
}

const char *fuzz_file(const char *name, const void *bytes, size_t n) {
    const char *const path = path_of(name);
    /* A new file each time: some file systems write one to the disk at once that was cut to nothing and filled. */
    (void)unlink(path);
    if (!bytes) return path;
    FILE *const f = fopen(path, "wb");
    fuzz_check(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0, "cannot write %s", path);
    return path;
}
