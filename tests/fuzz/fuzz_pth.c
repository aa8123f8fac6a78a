/* Fuzz target: plugins/weights/pth. */
#include "../../plugins/weights/pth/pth.h"
#include "fuzz.h"

typedef struct seen {
    uint64_t bytes;
} seen;

static int32_t each(void *ctx, const cvr_weight *w, cvr_error *err) {
    seen *const s = ctx;
    (void)err;
    fuzz_touch(w->name, strlen(w->name));
    fuzz_touch(w->data, w->bytes);
    fuzz_check(w->rank <= PTH_MAX_RANK && w->source_dtype[0], "a tensor that makes no sense");
    s->bytes += w->bytes;
    return CVR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    fuzz_host h;
    seen s = {0};
    cvr_error err;
    cvr_error_init(&err);
    fuzz_host_init(&h, (64u << 20) + 64 * n);
    const int32_t status = pth_read(&h.host, bytes, n, each, &s, &err);
    fuzz_check_error(status, &err);
    fuzz_check(h.live == 0, "%lld blocks were left behind", (long long)h.live);
    /* What the file's size allows: the arena with its chunks' last halves, and one tensor's copy. */
    fuzz_check(h.used <= 200 * n + (4u << 20), "%llu bytes for a file of %zu", (unsigned long long)h.used, n);
    fuzz_check(s.bytes <= 16 * n + (1u << 20), "%llu bytes of tensors in a file of %zu", (unsigned long long)s.bytes,
               n);
    return 0;
}
