/*
 * Mapping a packed split and checking what it says of itself.
 */
#include "pack_file.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int32_t pack_file_fail(const pack_file *f, const char *what, cvr_error *err) {
    (void)cvr_fail(err, CVR_ERR_FORMAT, "%s; pack the data anew", what);
    return cvr_fail_at(err, f->path, 0, CVR_ERR_FORMAT);
}

static int32_t fail_system(const pack_file *f, cvr_error *err) {
    (void)cvr_fail(err, CVR_ERR_IO, "cannot open the pack: %s; check the path, or make it by `cvrun pack`",
                   strerror(errno));
    return cvr_fail_at(err, f->path, 0, CVR_ERR_IO);
}

static int32_t map(pack_file *f, cvr_error *err) {
    struct stat st;
    int32_t status = CVR_OK;
    const int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return fail_system(f, err);
    if (fstat(fd, &st) != 0) CVR_TRY_OUT(fail_system(f, err));
    if (!S_ISREG(st.st_mode)) CVR_TRY_OUT(pack_file_fail(f, "this is not a file", err));
    if ((uint64_t)st.st_size < PACK_HEADER + sizeof(pack_footer)) CVR_TRY_OUT(pack_file_fail(f, "not a pack", err));
    void *const p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) CVR_TRY_OUT(fail_system(f, err));
    f->bytes = p;
    f->size = (uint64_t)st.st_size;
out:
    (void)close(fd);
    return status;
}

static int32_t check_footer(pack_file *f, cvr_error *err) {
    pack_footer *const t = &f->footer;
    const uint64_t end = f->size - sizeof *t;
    memcpy(t, f->bytes + end, sizeof *t);
    if (memcmp(f->bytes, PACK_MAGIC, 8) != 0) return pack_file_fail(f, "not a pack", err);
    if (memcmp(t->magic, PACK_MAGIC, 8) != 0) return pack_file_fail(f, "a pack that ends too early", err);
    if (t->version != PACK_VERSION) return pack_file_fail(f, "a pack of another version", err);
    if (t->stored > PACK_FILES || t->shares > 1 || (t->channels != 1 && t->channels != 3) || t->n_samples < 1 ||
        t->n_classes < 1 || t->n_classes > PACK_MOST_CLASSES)
        return pack_file_fail(f, "a damaged pack", err);
    if (t->names_at < PACK_HEADER || t->names_at > end || t->index_at < t->names_at || t->index_at > end ||
        t->index_at % 8 || (end - t->index_at) % sizeof(pack_entry) ||
        (end - t->index_at) / sizeof(pack_entry) != t->n_samples)
        return pack_file_fail(f, "a damaged pack", err);
    if (pack_sum(f->bytes + t->names_at, f->size - t->names_at - sizeof t->sum) != t->sum)
        return pack_file_fail(f, "a damaged pack: the sum of its index differs", err);
    return CVR_OK;
}

static int32_t read_names(pack_file *f, cvr_error *err) {
    uint64_t at = f->footer.names_at;
    f->names = f->host->alloc(f->host, f->footer.n_classes * sizeof *f->names, 16);
    if (!f->names) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the names of classes");
    for (uint64_t i = 0; i < f->footer.n_classes; i++) {
        const uint8_t *const end = memchr(f->bytes + at, '\0', (size_t)(f->footer.index_at - at));
        if (!end) return pack_file_fail(f, "a damaged pack: names are missing", err);
        f->names[i] = at;
        at = (uint64_t)(end - f->bytes) + 1;
    }
    return CVR_OK;
}

static int32_t entry_is_right(const pack_file *f, const pack_entry *e) {
    const pack_footer *const t = &f->footer;
    const uint64_t shares = t->shares ? t->n_classes * sizeof(float) : 0;
    if (e->offset < PACK_HEADER || e->offset % PACK_ALIGN || e->offset > t->names_at ||
        e->bytes > t->names_at - e->offset)
        return 0;
    if (t->shares ? e->label != -1 : (e->label < 0 || (uint64_t)e->label >= t->n_classes)) return 0;
    if (e->height < 1 || e->width < 1 || e->height > PACK_MOST_SIDE || e->width > PACK_MOST_SIDE) return 0;
    if (t->stored == PACK_FILES) return e->bytes > shares;
    return (uint64_t)e->height * e->width * t->channels + shares == e->bytes;
}

int32_t pack_file_open(pack_file *f, const cvr_host *host, const char *path, cvr_error *err) {
    const uint64_t n = strlen(path) + 1;
    *f = (pack_file){.host = host, .path = host->alloc(host, n, 1)};
    if (!f->path) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for opening a pack");
    memcpy(f->path, path, n);
    CVR_TRY(map(f, err));
    CVR_TRY(check_footer(f, err));
    CVR_TRY(read_names(f, err));
    /* The mapping begins at a page, and the index at a multiple of 8. */
    f->entries = (const pack_entry *)(const void *)(f->bytes + f->footer.index_at);
    for (uint64_t i = 0; i < f->footer.n_samples; i++)
        if (!entry_is_right(f, &f->entries[i]))
            return pack_file_fail(f, "a damaged pack: a sample that cannot be", err);
    f->looked = host->alloc(host, f->footer.n_samples * sizeof *f->looked, 16);
    if (!f->looked) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for opening a pack");
    for (uint64_t i = 0; i < f->footer.n_samples; i++) atomic_init(&f->looked[i], 0);
    return CVR_OK;
}

void pack_file_close(pack_file *f) {
    if (f->bytes) (void)munmap((void *)(uintptr_t)f->bytes, (size_t)f->size);
    if (f->names) f->host->free(f->host, f->names);
    if (f->looked) f->host->free(f->host, (void *)(uintptr_t)f->looked);
    if (f->path) f->host->free(f->host, f->path);
    *f = (pack_file){0};
}

int32_t pack_file_record(const pack_file *f, int64_t index, const uint8_t **record, cvr_error *err) {
    const pack_entry *const e = &f->entries[index];
    *record = f->bytes + e->offset;
    if (atomic_load_explicit(&f->looked[index], memory_order_relaxed)) return CVR_OK;
    if (pack_sum(*record, e->bytes) != e->sum)
        return pack_file_fail(f, "a damaged pack: the sum of a sample differs", err);
    atomic_store_explicit(&f->looked[index], 1, memory_order_relaxed);
    return CVR_OK;
}
