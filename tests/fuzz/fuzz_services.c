/* Fuzz target: what a run reads of files that others may have written: choices by timing, and the cache folder. */
#include "fuzz.h"
#include "services.h"
#include <stdlib.h>

static void *take(void *ctx, uint64_t n) {
    return fuzz_alloc_one(ctx, n);
}

/* Whatever the lines are: a choice that is put is found, and the lines can be read once more. */
static void check_tuning(const uint8_t *bytes, size_t n) {
    tuning t, again;
    cvr_error err = CVR_ERROR_INIT;
    tuning_open(&t, (const char *)bytes, n);
    fuzz_check(t.service.put(&t.service, "acme/key", "7", &err) == CVR_OK, "%s", err.message);
    const char *choice = t.service.get(&t.service, "acme/key");
    fuzz_check(choice && strcmp(choice, "7") == 0, "a choice is lost");
    fuzz_check(!t.service.get(&t.service, "acme\tkey"), "a key with a tab");
    tuning_open(&again, t.lines.s, t.lines.n);
    fuzz_check(again.lines.n == t.lines.n, "the same lines are read otherwise");
    cvr_text_clear(&again.lines);
    cvr_text_clear(&t.lines);
}

static void check_cache(const uint8_t *bytes, size_t n) {
    fuzz_block b = {NULL, 0};
    uint64_t got;
    cvr_error err = CVR_ERROR_INIT;
    fuzz_check(cache_put("acme.blob", bytes, n, &err) == CVR_OK, "%s", err.message);
    fuzz_check(cache_get("acme.blob", take, &b, &got, &err) == CVR_OK && got == n, "%llu bytes of %zu",
               (unsigned long long)got, n);
    fuzz_check(n == 0 || memcmp(b.p, bytes, n) == 0, "other bytes");
    free(b.p);
    b = (fuzz_block){NULL, 0};
    (void)fuzz_file("cvrun/acme.raw", bytes, n); /* as somebody else may have written it */
    fuzz_check(cache_get("acme.raw", take, &b, &got, &err) == CVR_OK && got <= n, "%s", err.message);
    fuzz_touch(b.p, b.p ? got : 0);
    free(b.p);
    fuzz_check(cache_get("../acme.raw", take, &b, &got, &err) == CVR_ERR_PLUGIN, "a file outside of the folder");
    fuzz_check_error(CVR_ERR_PLUGIN, &err);
}

static void quiet(void *ctx, uint32_t level, const char *text) {
    (void)ctx, (void)level, (void)text;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    cvr_set_log(quiet, NULL);
    (void)fuzz_file("cvrun/acme.blob", NULL, 0); /* so that it goes at the end */
    (void)setenv("XDG_CACHE_HOME", fuzz_folder(), 1);
    check_tuning(bytes, n);
    check_cache(bytes, n);
    return 0;
}
