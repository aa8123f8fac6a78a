/* Fuzz target: plugins/compress/quant, the plan of a quantised network. */
#include "../../plugins/compress/quant/quant.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    fuzz_host h;
    cvr_error err = CVR_ERROR_INIT;
    quant_plan p;
    fuzz_host_init(&h, (1u << 16) + 64 * (uint64_t)n);
    char *text = h.host.alloc(&h.host, n + 1, 16);
    fuzz_check(text != NULL, "no memory for the input");
    memcpy(text, bytes, n);
    text[n] = '\0';
    const int32_t status = quant_plan_read(&p, &h.host, text, &err);
    h.host.free(&h.host, text);
    fuzz_check_line(status, &err);
    for (uint64_t i = 0; status == CVR_OK && i < p.n; i++) {
        const quant_entry *e = &p.entries[i];
        fuzz_check(e->scale > 0 && e->zero >= 0 && e->zero <= 255 && *e->key, "an entry that makes no sense");
        fuzz_check(quant_plan_find(&p, e->kind, e->key) == e, "an entry that is not found");
    }
    if (status == CVR_OK) quant_plan_close(&p);
    fuzz_check(h.live == 0, "%lld blocks are left", (long long)h.live);
    return 0;
}
