/* IDX files. What a file declares is compared with what it could hold before memory is asked for. */
#include "idx_file.h"

static uint32_t big_u32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int32_t read_header(dataset_file *f, idx_header *h, cvr_error *err) {
    uint8_t raw[16];
    uint64_t got = 0, total = 1;
    const uint64_t size = 4 + 4 * (uint64_t)h->rank;
    CVR_TRY(dataset_file_read(f, raw, size, &got, err));
    if (got < size) return dataset_file_fail(f, err, "too short for an IDX file; download it again");
    if (big_u32(raw) != h->magic) {
        char what[160];
        (void)snprintf(what, sizeof what,
                       "not an IDX file of %s: it begins with 0x%08x, 0x%08x is expected; check the path",
                       h->rank == 3 ? "pictures" : "labels", (unsigned)big_u32(raw), (unsigned)h->magic);
        return dataset_file_fail(f, err, what);
    }
    for (uint32_t i = 0; i < h->rank; i++) {
        h->shape[i] = big_u32(raw + 4 + 4 * i);
        if (h->shape[i] == 0) return dataset_file_fail(f, err, "it declares that it is empty; download it again");
        /* Three numbers of 32 bits overflow 64: divide. */
        if ((uint64_t)h->shape[i] > dataset_file_limit(f) / total)
            return dataset_file_fail(f, err, "it declares more than it could hold; download it again");
        total *= (uint64_t)h->shape[i];
    }
    return CVR_OK;
}

int32_t idx_file_read(const cvr_host *host, const char *path, idx_header *h, uint8_t **out, cvr_error *err) {
    dataset_file *f = NULL;
    uint64_t got = 0, rest = 0, total = 1;
    uint8_t extra;
    int32_t status;
    CVR_TRY_OUT(dataset_file_open(host, path, &f, err));
    CVR_TRY_OUT(read_header(f, h, err));
    for (uint32_t i = 0; i < h->rank; i++) total *= (uint64_t)h->shape[i];
    *out = host->alloc(host, total, 64);
    if (!*out) {
        status =
            cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the %llu bytes of %s", (unsigned long long)total, path);
        goto out;
    }
    CVR_TRY_OUT(dataset_file_read(f, *out, total, &got, err));
    CVR_TRY_OUT(dataset_file_read(f, &extra, 1, &rest, err));
    if (got < total) status = dataset_file_fail(f, err, "it ends before what it declares; download it again");
    if (rest > 0) status = dataset_file_fail(f, err, "it goes on after what it declares; download it again");
out:
    dataset_file_close(f);
    return status;
}

int64_t idx_file_highest(const uint8_t *labels, int64_t n) {
    int64_t top = 0;
    for (int64_t i = 0; i < n; i++) top = labels[i] > top ? labels[i] : top;
    return top;
}
