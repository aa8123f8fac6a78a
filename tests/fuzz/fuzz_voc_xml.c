/* Fuzz target: plugins/datasets/voc, an XML file of one picture. */
#include "../../plugins/datasets/voc/voc_xml.h"
#include "fuzz.h"
#include <math.h>

static int32_t on_object(void *ctx, const voc_object *o, cvr_error *err) {
    int64_t *const left = ctx;
    (void)err;
    fuzz_touch(o->name, strlen(o->name));
    for (int i = 0; i < 4; i++)
        fuzz_check((o->bad >> i & 1) || isfinite(o->corners[i]), "a corner that is no number and is not called bad");
    return --*left >= 0 ? CVR_OK : cvr_fail(err, CVR_ERR_FORMAT, "enough");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    int64_t left = (int64_t)(fuzz_number(bytes, n) % 64);
    const char *const path = fuzz_file("a.xml", bytes, n);
    voc_page page = {.ctx = &left, .object = on_object};
    fuzz_host h;
    cvr_error err = CVR_ERROR_INIT;
    fuzz_host_init(&h, (1u << 20) + 64 * (uint64_t)n);
    fuzz_check_error(voc_xml_read(&h.host, path, &page, &err), &err);
    fuzz_check(page.height >= -1 && page.width >= -1, "a size that is neither one, nor none");
    fuzz_check(h.live == 0, "%lld blocks were left behind", (long long)h.live);
    return 0;
}
