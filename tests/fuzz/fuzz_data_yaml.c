/* Fuzz target: plugins/datasets/yolo, data.yaml. */
#include "../../plugins/datasets/yolo/yolo.h"
#include "fuzz.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    const char *const path = fuzz_file("data.yaml", bytes, n);
    fuzz_host h;
    cvr_error err = CVR_ERROR_INIT;
    yolo_plan *const p = calloc(1, sizeof *p);
    fuzz_check(p != NULL, "out of memory");
    fuzz_host_init(&h, (1u << 20) + 1100 * 64 * (uint64_t)n);
    p->host = p->names.host = &h.host;
    p->n_classes = -1;
    const int32_t status = yolo_yaml_read(p, path, &err);
    fuzz_check_error(status, &err);
    for (int i = 0; status == CVR_OK && i < 2; i++) {
        uint64_t length = 0;
        for (const char *at = p->splits[i]; at && *at; at += strlen(at) + 1) length += strlen(at) + 1;
        fuzz_check(length == p->splits_n[i], "a list of paths that does not end");
    }
    if (status == CVR_OK) fuzz_touch(p->path, strlen(p->path));
    fuzz_check(p->n_classes == -1 || status != CVR_OK || (p->n_classes > 0 && p->n_classes <= YOLO_MOST_CLASSES), "nc");
    yolo_plan_free(p);
    free(p);
    fuzz_check(h.live == 0, "%lld blocks were left behind", (long long)h.live);
    return 0;
}
