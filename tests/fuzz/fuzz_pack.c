/* Fuzz target: plugins/datasets/pack, a packed split. Of four inputs three have their sums made right. */
#include "../../plugins/datasets/pack/pack_file.h"
#include "fuzz.h"
#include <stdlib.h>

static void mend_sums(uint8_t *file, size_t n) {
    pack_footer t;
    if (n < PACK_HEADER + sizeof t) return;
    const uint64_t end = n - sizeof t;
    memcpy(&t, file + end, sizeof t);
    if (t.names_at > end || t.index_at > end) return;
    for (uint64_t at = t.index_at; end - at >= sizeof(pack_entry); at += sizeof(pack_entry)) {
        pack_entry e;
        memcpy(&e, file + at, sizeof e);
        if (e.offset <= n && e.bytes <= n - e.offset) e.sum = pack_sum(file + e.offset, e.bytes);
        memcpy(file + at, &e, sizeof e);
    }
    t.sum = pack_sum(file + t.names_at, n - t.names_at - sizeof t.sum);
    memcpy(file + n - sizeof t.sum, &t.sum, sizeof t.sum);
}

static void read_all(const pack_file *f) {
    for (uint64_t i = 0; i < f->footer.n_classes; i++)
        fuzz_touch(f->bytes + f->names[i], strlen((const char *)f->bytes + f->names[i]));
    for (uint64_t i = 0; i < f->footer.n_samples; i++) {
        const pack_entry *const e = &f->entries[i];
        const uint8_t *record = NULL;
        cvr_error err = CVR_ERROR_INIT;
        const int32_t status = pack_file_record(f, (int64_t)i, &record, &err);
        fuzz_check_error(status, &err);
        fuzz_check(e->label < (int64_t)f->footer.n_classes, "a label of no class");
        if (status != CVR_OK) continue;
        fuzz_touch(record, e->bytes);
        fuzz_check(f->footer.stored == PACK_FILES || (uint64_t)e->height * e->width * f->footer.channels <= e->bytes,
                   "a picture that is larger than its record");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    uint8_t *const file = malloc(n ? n : 1);
    fuzz_host h;
    pack_file f;
    cvr_error err = CVR_ERROR_INIT;
    fuzz_check(file != NULL, "out of memory");
    if (n) memcpy(file, bytes, n);
    if (fuzz_number(bytes, n) % 4) mend_sums(file, n);
    fuzz_host_init(&h, 8192 + 16 * (uint64_t)n);
    const int32_t status = pack_file_open(&f, &h.host, fuzz_file("train.pack", file, n), &err);
    fuzz_check_error(status, &err);
    if (status == CVR_OK) read_all(&f);
    pack_file_close(&f);
    fuzz_check(h.live == 0, "%lld blocks were left behind", (long long)h.live);
    free(file);
    return 0;
}
