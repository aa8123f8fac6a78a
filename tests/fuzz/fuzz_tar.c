/* Fuzz target: plugins/datasets/tar, the index of an archive. Of four inputs three have their headers' sums made right.
 */
#include "../../plugins/datasets/tar/tar_shards.h"
#include "fuzz.h"
#include <stdlib.h>

#define BLOCK 512u

static int32_t is_picture(const cvr_image_service *s, const char *name) {
    const char *const dot = strrchr(name, '.');
    (void)s;
    return dot && (strcmp(dot, ".jpg") == 0 || strcmp(dot, ".png") == 0);
}

/* The sum of each block, where a header has it; blocks of a file's bytes are changed, too, which does no harm. */
static void mend_sums(uint8_t *file, size_t n) {
    for (size_t at = 0; at + BLOCK <= n; at += BLOCK) {
        uint32_t sum = 0;
        if (memcmp(file + at + 257, "ustar", 5) != 0) continue;
        memset(file + at + 148, ' ', 8);
        for (uint32_t i = 0; i < BLOCK; i++) sum += file[at + i];
        char text[16];
        (void)snprintf(text, sizeof text, "%06o", (unsigned)sum & 0777777);
        memcpy(file + at + 148, text, 7);
    }
}

static void check_index(const tar_index *x, size_t n) {
    for (uint64_t i = 0; i < x->n; i++) {
        const tar_sample *const s = &x->samples[i];
        fuzz_check(s->offset <= n && s->size <= n - s->offset, "a picture outside of the archive");
        fuzz_check(s->label >= 0 && s->label <= x->highest && s->shard == 0, "a label of no class");
        fuzz_touch(x->text + s->key, strlen(x->text + s->key));
    }
    fuzz_check(x->n > 0 && x->n <= n / BLOCK, "%llu samples", (unsigned long long)x->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    const cvr_image_service image = {.struct_size = sizeof image, .is_picture = is_picture};
    uint8_t *const file = malloc(n ? n : 1);
    fuzz_host h;
    cvr_error err = CVR_ERROR_INIT;
    fuzz_check(file != NULL, "out of memory");
    if (n) memcpy(file, bytes, n);
    if (fuzz_number(bytes, n) % 4) mend_sums(file, n);
    fuzz_host_init(&h, (1u << 17) + 16 * (uint64_t)n);
    tar_index x = {.host = &h.host, .image = &image, .label_key = "label", .shards = {.host = &h.host}, .highest = -1};
    fuzz_check(tar_shards_find(&x, fuzz_file("train.tar", file, n), &err) == CVR_OK, "%s", err.message);
    const int32_t status = tar_index_make(&x, &err);
    fuzz_check_error(status, &err);
    if (status == CVR_OK) check_index(&x, n);
    tar_index_free(&x);
    fuzz_check(h.live == 0, "%lld blocks were left behind", (long long)h.live);
    free(file);
    return 0;
}
