/*
 * What every fuzz target uses, whether the driver here or libFuzzer calls it.
 */
#include "fuzz.h"
#include <stdlib.h>

static void no_log(const cvr_host *host, uint32_t level, const char *text) {
    (void)host, (void)level, (void)text;
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
    *h = (fuzz_host){{sizeof h->host, h, no_log, count_alloc, count_free, no_service}, 0, 0, most};
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

void fuzz_check_error(int32_t status, const cvr_error *err) {
    if (status == CVR_OK) return;
    fuzz_check(status == err->code, "status %d, but the error says %d", status, err->code);
    fuzz_check(err->message[0] && !strchr(err->message, '\n'), "not one line: '%s'", err->message);
    fuzz_check(strlen(err->message) < sizeof err->message - 1, "a message that was cut: '%s'", err->message);
    for (const char *s = err->message; *s; s++)
        fuzz_check((uint8_t)*s >= 0x20 && *s != 0x7f, "a message with byte 0x%02x", (unsigned)(uint8_t)*s);
}

void fuzz_touch(const void *bytes, uint64_t n) {
    volatile uint8_t sum = 0;
    for (uint64_t i = 0; i < n; i++) sum = (uint8_t)(sum + ((const uint8_t *)bytes)[i]);
}
