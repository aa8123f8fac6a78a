/*
 * Data files as streams: POSIX reads, and zlib's inflate for gzip (RFC 1952), members concatenated or not.
 */
#include "dataset_file.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* Deflate cannot do better than 1032 to 1. */
#define MAX_RATIO 1100u
#define INPUT 65536u

struct dataset_file {
    const cvr_host *host;
    int fd;
    int32_t gzip;
    int32_t in_member; /* a gzip member has begun and not ended */
    int32_t at_end;    /* the operating system has no more */
    uint64_t size;     /* on disk */
    z_stream z;
    char *path;
    uint8_t input[INPUT];
};

int32_t dataset_file_fail_path(const char *path, cvr_error *err, int32_t code, const char *what) {
    (void)cvr_fail(err, code, "%s", what);
    return cvr_fail_at(err, path, 0, code);
}

int32_t dataset_file_fail(const dataset_file *f, cvr_error *err, const char *what) {
    return dataset_file_fail_path(f->path, err, CVR_ERR_FORMAT, what);
}

static int32_t fail_system(const char *path, const char *what, int code, cvr_error *err) {
    (void)cvr_fail(err, CVR_ERR_IO, "cannot %s: %s; check the path and its permissions", what, strerror(code));
    return cvr_fail_at(err, path, 0, CVR_ERR_IO);
}

static void *z_get(void *host, unsigned n, unsigned size) {
    const cvr_host *const h = host;
    return h->alloc(h, (uint64_t)n * size, 16);
}

static void z_put(void *host, void *p) {
    const cvr_host *const h = host;
    h->free(h, p);
}

/* Keeps what is left of the input and reads more behind it. */
static int32_t fill(dataset_file *f, cvr_error *err) {
    if (f->at_end || f->z.avail_in == INPUT) return CVR_OK;
    if (f->z.avail_in) memmove(f->input, f->z.next_in, f->z.avail_in);
    f->z.next_in = f->input;
    ssize_t n;
    do n = read(f->fd, f->input + f->z.avail_in, INPUT - f->z.avail_in);
    while (n < 0 && errno == EINTR);
    if (n < 0) return fail_system(f->path, "read the file", errno, err);
    f->at_end = n == 0;
    f->z.avail_in += (unsigned)n;
    return CVR_OK;
}

static int32_t open_file(dataset_file *f, cvr_error *err) {
    struct stat st;
    f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0) return fail_system(f->path, "open the file", errno, err);
    if (fstat(f->fd, &st) != 0) return fail_system(f->path, "open the file", errno, err);
    if (!S_ISREG(st.st_mode)) return dataset_file_fail(f, err, "this is not a file; give the path of a data file");
    f->size = (uint64_t)st.st_size;
    CVR_TRY(fill(f, err));
    f->gzip = f->z.avail_in >= 2 && f->input[0] == 0x1f && f->input[1] == 0x8b;
    if (!f->gzip) return CVR_OK;
    f->z.zalloc = z_get;
    f->z.zfree = z_put;
    /* zlib gives the pointer back as it got it; the host itself is never written through it. */
    memcpy(&f->z.opaque, &f->host, sizeof f->host);
    f->in_member = 1;
    /* 16: a gzip header is demanded, and its checksum checked. */
    if (inflateInit2(&f->z, 15 + 16) == Z_OK) return CVR_OK;
    f->gzip = 0;
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for reading a gzip file");
}

int32_t dataset_file_open(const cvr_host *host, const char *path, dataset_file **out, cvr_error *err) {
    const size_t length = strlen(path) + 1;
    *out = NULL;
    dataset_file *const f = host->alloc(host, sizeof *f, 64);
    if (f) memset(f, 0, sizeof *f);
    if (f) f->path = host->alloc(host, length, 1);
    if (!f || !f->path) {
        if (f) host->free(host, f);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for reading %s", path);
    }
    memcpy(f->path, path, length);
    f->host = host;
    f->fd = -1;
    const int32_t status = open_file(f, err);
    if (status == CVR_OK)
        *out = f;
    else
        dataset_file_close(f);
    return status;
}

void dataset_file_close(dataset_file *f) {
    if (!f) return;
    if (f->gzip) (void)inflateEnd(&f->z);
    if (f->fd >= 0) (void)close(f->fd);
    f->host->free(f->host, f->path);
    f->host->free(f->host, f);
}

uint64_t dataset_file_limit(const dataset_file *f) {
    return f->gzip ? (f->size > UINT64_MAX / MAX_RATIO ? UINT64_MAX : f->size * MAX_RATIO) : f->size;
}

/* After a member's end: another one, or the end of the file. */
static int32_t next_member(dataset_file *f, int32_t *more, cvr_error *err) {
    *more = 0;
    const int32_t status = fill(f, err);
    if (status != CVR_OK || f->z.avail_in == 0) return status;
    if (f->z.next_in[0] != 0x1f || inflateReset(&f->z) != Z_OK) {
        return dataset_file_fail(f, err, "bytes after the end of the gzip data; download the file again");
    }
    *more = f->in_member = 1;
    return CVR_OK;
}

/* One step of inflate; `done` where the file has no more to give. */
static int32_t inflate_some(dataset_file *f, int32_t *done, cvr_error *err) {
    int32_t more = 1;
    if (!f->in_member) CVR_TRY(next_member(f, &more, err));
    *done = !more;
    if (!more) return CVR_OK;
    if (f->z.avail_in == 0) CVR_TRY(fill(f, err));
    if (f->z.avail_in == 0) return dataset_file_fail(f, err, "the gzip data end too early; download the file again");
    const int z = inflate(&f->z, Z_NO_FLUSH);
    if (z == Z_STREAM_END) f->in_member = 0;
    if (z == Z_MEM_ERROR) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for reading a gzip file");
    if (z != Z_OK && z != Z_STREAM_END && z != Z_BUF_ERROR) {
        return dataset_file_fail(f, err, "the gzip data are damaged; download the file again");
    }
    return CVR_OK;
}

static int32_t read_gzip(dataset_file *f, uint8_t *to, uint64_t n, uint64_t *got, cvr_error *err) {
    int32_t status = CVR_OK, done = 0;
    while (*got < n && !done && status == CVR_OK) {
        const unsigned want = n - *got > 1u << 30 ? 1u << 30 : (unsigned)(n - *got);
        f->z.next_out = to + *got;
        f->z.avail_out = want;
        status = inflate_some(f, &done, err);
        *got += want - f->z.avail_out;
    }
    return status;
}

int32_t dataset_file_read(dataset_file *f, void *to, uint64_t n, uint64_t *got, cvr_error *err) {
    *got = 0;
    if (f->gzip) return read_gzip(f, to, n, got, err);
    while (*got < n) {
        if (f->z.avail_in == 0) {
            CVR_TRY(fill(f, err));
            if (f->z.avail_in == 0) return CVR_OK;
        }
        const uint64_t part = n - *got < f->z.avail_in ? n - *got : f->z.avail_in;
        memcpy((uint8_t *)to + *got, f->z.next_in, part);
        f->z.next_in += part;
        f->z.avail_in -= (unsigned)part;
        *got += part;
    }
    return CVR_OK;
}

int32_t dataset_file_find(const char *dir, const char *name, char *buf, uint64_t size) {
    static const char *const endings[] = {"", ".gz"};
    for (int i = 0; i < 2; i++) {
        const int n = snprintf(buf, size, "%s/%s%s", dir, name, endings[i]);
        if (n > 0 && (uint64_t)n < size && access(buf, F_OK) == 0) return 1;
    }
    return 0;
}

const char *dataset_file_base(const char *path) {
    const char *const slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}
