/*
 * Headers of a tar archive, 512 bytes each, with a file's bytes behind them in whole blocks. No number that stands in
 * the archive is trusted.
 */
#include "tar_file.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 512u
/* What a pax header or a long name may take; real ones take less than a block. */
#define MOST_EXTRA (64u << 10)

/* Offsets of a header's fields. */
#define AT_SIZE 124
#define AT_SUM 148
#define AT_TYPE 156
#define AT_MAGIC 257
#define AT_PREFIX 345

/* What headers before a file's own say of it. */
typedef struct extras {
    char name[TAR_MOST_NAME];
    uint64_t size;
    int32_t has_size;
} extras;

static const char sparse[] = "a sparse file in the archive; make it without --sparse";

int32_t tar_file_fail(const tar_file *f, const char *what, cvr_error *err) {
    (void)cvr_fail(err, CVR_ERR_FORMAT, "%s", what);
    return cvr_fail_at(err, f->path, 0, CVR_ERR_FORMAT);
}

static int32_t fail_system(const tar_file *f, const char *what, cvr_error *err) {
    (void)cvr_fail(err, CVR_ERR_IO, "cannot %s the archive: %s; check the path and its permissions", what,
                   strerror(errno));
    return cvr_fail_at(err, f->path, 0, CVR_ERR_IO);
}

int32_t tar_file_open(tar_file *f, const char *path, cvr_error *err) {
    struct stat st;
    *f = (tar_file){.path = path, .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (f->fd < 0 || fstat(f->fd, &st) != 0) return fail_system(f, "open", err);
    if (!S_ISREG(st.st_mode)) return tar_file_fail(f, "this is not a file; give the path of an archive", err);
    f->size = (uint64_t)st.st_size;
    return CVR_OK;
}

void tar_file_close(tar_file *f) {
    if (f->fd >= 0) (void)close(f->fd);
    f->fd = -1;
}

int32_t tar_file_read(const tar_file *f, uint64_t offset, void *to, uint64_t n, cvr_error *err) {
    if (offset > f->size || n > f->size - offset)
        return tar_file_fail(f, "the archive ends too early; download or make it anew", err);
    for (uint64_t at = 0; at < n;) {
        const ssize_t got = pread(f->fd, (char *)to + at, n - at, (off_t)(offset + at));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_system(f, "read", err);
        if (got == 0) return tar_file_fail(f, "the archive became shorter while it was read", err);
        at += (uint64_t)got;
    }
    return CVR_OK;
}

/* Digits of base 8 between spaces and NULs, or, with the first bit set, a number of base 256 (GNU). */
static int32_t number(const uint8_t *field, uint32_t n, uint64_t *value) {
    uint32_t i = 0;
    *value = 0;
    if (field[0] & 0x80) {
        for (i = 0; i < n; i++) {
            if (*value >> 55) return 0;
            *value = *value << 8 | (i ? field[i] : field[0] & 0x7fu);
        }
        return 1;
    }
    while (i < n && field[i] == ' ') i++;
    for (; i < n && field[i] >= '0' && field[i] <= '7'; i++) *value = *value << 3 | (uint64_t)(field[i] - '0');
    return i == n || field[i] == ' ' || field[i] == '\0';
}

/* The sum of all bytes, its own field taken as spaces. */
static int32_t sum_is_right(const uint8_t *h) {
    uint64_t want, sum = 0;
    for (uint32_t i = 0; i < BLOCK; i++) sum += i >= AT_SUM && i < AT_SUM + 8 ? ' ' : h[i];
    return number(h + AT_SUM, 8, &want) && want == sum;
}

static int32_t is_zero(const uint8_t *h) {
    for (uint32_t i = 0; i < BLOCK; i++)
        if (h[i]) return 0;
    return 1;
}

/* "LENGTH KEY=VALUE\n", one after the other; LENGTH counts all of the record. */
static int32_t read_pax(const tar_file *f, const char *text, uint64_t n, extras *x, cvr_error *err) {
    static const char damaged[] = "a damaged pax header; make the archive anew";
    for (uint64_t at = 0; at < n;) {
        uint64_t length = 0, i = at;
        while (i < n && text[i] >= '0' && text[i] <= '9' && length <= n)
            length = 10 * length + (uint64_t)(text[i++] - '0');
        if (i >= n || text[i] != ' ' || length > n - at || at + length < i + 3 || text[at + length - 1] != '\n')
            return tar_file_fail(f, damaged, err);
        const char *const key = text + i + 1, *const end = text + at + length - 1,
                          *const equals = memchr(key, '=', (size_t)(end - key));
        if (!equals) return tar_file_fail(f, damaged, err);
        const uint64_t value = (uint64_t)(end - equals - 1);
        if (strncmp(key, "GNU.sparse.", 11) == 0) return tar_file_fail(f, sparse, err);
        if (equals - key == 4 && memcmp(key, "path", 4) == 0) {
            if (value >= sizeof x->name || memchr(equals + 1, '\0', value)) return tar_file_fail(f, damaged, err);
            memcpy(x->name, equals + 1, value);
            x->name[value] = '\0';
        }
        if (equals - key == 4 && memcmp(key, "size", 4) == 0) {
            x->size = 0;
            x->has_size = 1;
            for (const char *c = equals + 1; c < end; c++) {
                if (*c < '0' || *c > '9' || x->size > UINT64_MAX / 16) return tar_file_fail(f, damaged, err);
                x->size = 10 * x->size + (uint64_t)(*c - '0');
            }
        }
        at += length;
    }
    return CVR_OK;
}

/* A header that speaks of the next one: pax (x), or GNU's long name (L). */
static int32_t read_extra(const tar_file *f, uint8_t type, uint64_t offset, uint64_t size, extras *x, cvr_error *err) {
    char text[MOST_EXTRA];
    if (size > sizeof text) return tar_file_fail(f, "a header of over 64 KiB; make the archive anew", err);
    CVR_TRY(tar_file_read(f, offset, text, size, err));
    if (type == 'x') return read_pax(f, text, size, x, err);
    const uint64_t n = strnlen(text, size);
    if (n >= sizeof x->name) return tar_file_fail(f, "a name of over 4095 bytes; make the archive anew", err);
    memcpy(x->name, text, n);
    x->name[n] = '\0';
    return CVR_OK;
}

/* The name in a header: 100 bytes, and in ustar 155 of folders before them. */
static void read_name(const uint8_t *h, char *name, uint64_t room) {
    const int32_t ustar = memcmp(h + AT_MAGIC, "ustar\0", 6) == 0 && h[AT_PREFIX];
    (void)snprintf(name, room, "%.*s%s%.*s", ustar ? 155 : 0, (const char *)h + AT_PREFIX, ustar ? "/" : "", 100,
                   (const char *)h);
}

/* One header at f->at, which is left behind its bytes. */
static int32_t read_header(tar_file *f, uint8_t *h, uint64_t *size, int32_t *done, const extras *x, cvr_error *err) {
    *done = f->at == f->size;
    if (*done) return CVR_OK;
    CVR_TRY(tar_file_read(f, f->at, h, BLOCK, err));
    *done = is_zero(h);
    if (*done) return CVR_OK;
    if (!sum_is_right(h) || !number(h + AT_SIZE, 12, size))
        return tar_file_fail(f, "not a tar archive, or a damaged one; compressed ones are not read", err);
    if (x->has_size && h[AT_TYPE] != 'x' && h[AT_TYPE] != 'L') *size = x->size;
    f->at += BLOCK;
    if (*size > f->size - f->at) return tar_file_fail(f, "the archive ends too early; download or make it anew", err);
    return CVR_OK;
}

int32_t tar_file_next(tar_file *f, tar_member *m, int32_t *done, cvr_error *err) {
    uint8_t h[BLOCK];
    extras x;
    x.name[0] = '\0';
    x.has_size = 0;
    for (;;) {
        uint64_t size = 0;
        CVR_TRY(read_header(f, h, &size, done, &x, err));
        if (*done) return CVR_OK;
        const uint8_t type = h[AT_TYPE];
        const uint64_t offset = f->at, blocks = size / BLOCK + (size % BLOCK != 0);
        /* The last file's padding may be missing. */
        f->at = blocks > (f->size - f->at) / BLOCK ? f->size : f->at + blocks * BLOCK;
        if (type == 'S') return tar_file_fail(f, sparse, err);
        if (type == 'x' || type == 'L') {
            CVR_TRY(read_extra(f, type, offset, size, &x, err));
            continue;
        }
        const int32_t is_link = type == '1' || type == '2';
        if (type == '0' || type == '\0' || type == '7' || is_link) {
            m->offset = offset;
            m->size = size;
            m->is_link = is_link;
            if (x.name[0])
                memcpy(m->name, x.name, sizeof m->name);
            else
                read_name(h, m->name, sizeof m->name);
            return CVR_OK;
        }
        if (type == 'g' || type == 'K') continue; /* of the whole archive, or of a link: nothing that is needed */
        x.name[0] = '\0';
        x.has_size = 0;
    }
}
