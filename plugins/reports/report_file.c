/*
 * Files of the reports. Whatever fails, the file holds whole rows: new bytes go through a temporary file, or are cut
 * off again. POSIX.1-2008: fsync before rename, then fsync of the folder.
 */
#include "report_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int32_t report_path(char path[REPORT_PATH], const char *folder, const char *name, cvr_error *err) {
    const int n = snprintf(path, REPORT_PATH, "%s/%s", folder, name);
    if (n > 0 && n < REPORT_PATH - 8) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "the path of the run folder is too long; choose a shorter one");
}

/* 0, or errno. */
static int write_all(int fd, const text *t, uint64_t offset) {
    for (uint64_t done = 0; done < t->n;) {
        const ssize_t n = pwrite(fd, t->bytes + done, t->n - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        if (n == 0) return ENOSPC;
        done += (uint64_t)n;
    }
    return 0;
}

/* 0, or errno; what cannot be synchronised (a pipe, a device) need not be. */
static int to_disk(int fd) {
    return fsync(fd) == 0 || errno == EINVAL || errno == EROFS ? 0 : errno;
}

static int close_after(int fd, int error) {
    const int closed = close(fd) == 0 || errno == EINTR ? 0 : errno;
    return error ? error : closed;
}

int32_t report_read(const char *path, text *t, int32_t *exists, cvr_error *err) {
    char block[1 << 14];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    int error = fd < 0 ? errno : 0;
    *exists = fd >= 0;
    if (error == ENOENT) return CVR_OK;
    while (!error) {
        const ssize_t n = read(fd, block, sizeof block);
        if (n == 0) break;
        if (n > 0) text_add(t, block, (uint64_t)n);
        if (n < 0 && errno != EINTR) error = errno;
    }
    if (fd >= 0) error = close_after(fd, error);
    return error ? report_io_error(path, "read", error, err) : text_check(t, err);
}

/* The rename itself must reach the disk, too. */
static int folder_to_disk(const char *path) {
    char folder[REPORT_PATH];
    (void)snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? errno : close_after(fd, to_disk(fd));
}

int32_t report_replace(const char *path, const text *t, cvr_error *err) {
    char temporary[REPORT_PATH + 8];
    CVR_TRY(text_check(t, err));
    (void)snprintf(temporary, sizeof temporary, "%s.tmp", path);
    const int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int error = fd < 0 ? errno : write_all(fd, t, 0);
    if (!error) error = to_disk(fd);
    if (fd >= 0) error = close_after(fd, error);
    if (!error && rename(temporary, path) != 0) error = errno;
    if (error && fd >= 0) (void)unlink(temporary);
    if (!error) error = folder_to_disk(path);
    return error ? report_io_error(path, "write", error, err) : CVR_OK;
}

int32_t report_append(const char *path, uint64_t size, const text *t, cvr_error *err) {
    CVR_TRY(text_check(t, err));
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (size == 0 ? O_TRUNC : 0), 0666);
    int error = fd < 0 ? errno : write_all(fd, t, size);
    if (!error) error = to_disk(fd);
    if (error && fd >= 0) {
        const int cut = ftruncate(fd, (off_t)size); /* should this fail, too, the first error is the one to tell of */
        (void)cut;
    }
    if (fd >= 0) error = close_after(fd, error);
    return error ? report_io_error(path, "write", error, err) : CVR_OK;
}

int32_t report_cut(const char *path, uint64_t size, cvr_error *err) {
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    int error = fd < 0 ? errno : 0;
    if (!error && ftruncate(fd, (off_t)size) != 0) error = errno;
    if (!error) error = to_disk(fd);
    if (fd >= 0) error = close_after(fd, error);
    return error ? report_io_error(path, "write", error, err) : CVR_OK;
}

int32_t report_set_aside(const cvr_host *host, const char *path, cvr_error *err) {
    char to[REPORT_PATH + 8], said[REPORT_PATH + 64];
    if (access(path, F_OK) != 0) return CVR_OK;
    for (int i = 1; i < 1000; i++) {
        (void)snprintf(to, sizeof to, "%s.%d", path, i);
        if (access(to, F_OK) == 0) continue;
        if (rename(path, to) != 0) return report_io_error(path, "rename", errno, err);
        (void)snprintf(said, sizeof said, "%s is kept as %s", strrchr(path, '/') + 1, strrchr(to, '/') + 1);
        host->log(host, CVR_LOG_INFO, said);
        return CVR_OK;
    }
    return report_io_error(path, "rename", EEXIST, err);
}

int32_t report_remove(const char *path, cvr_error *err) {
    if (unlink(path) == 0 || errno == ENOENT) return CVR_OK;
    return report_io_error(path, "remove", errno, err);
}

static int32_t to_text(void *ctx, const void *bytes, uint64_t n, cvr_error *err) {
    text_add(ctx, bytes, n);
    return text_check(ctx, err);
}

int32_t report_save_png(const canvas *c, const char *folder, const char *name, cvr_error *err) {
    char file[REPORT_NAME + 8], path[REPORT_PATH];
    const cvr_image_service *const images = c->host->get(c->host, CVR_SERVICE_IMAGE);
    (void)snprintf(file, sizeof file, "%s.png", name);
    int32_t status;
    CVR_TRY(report_path(path, folder, file, err));
    if (!images) {
        status = cvr_fail(err, CVR_ERR_NOTFOUND, "nothing here writes PNG pictures; build the plugin codec_png");
        return report_fail_at(err, path, status);
    }
    text bytes;
    text_open(&bytes, c->host);
    status = images->encode(images, "png", &c->image, to_text, &bytes, err);
    status = status == CVR_OK ? report_replace(path, &bytes, err) : report_fail_at(err, path, status);
    text_close(&bytes);
    return status;
}

void *report_calloc(const cvr_host *host, uint64_t bytes) {
    void *const p = host->alloc(host, bytes, 16);
    if (p) memset(p, 0, bytes);
    return p;
}

char *report_copy(const cvr_host *host, const char *s) {
    const uint64_t n = (s ? strlen(s) : 0) + 1;
    char *const copy = report_calloc(host, n);
    if (copy && s) memcpy(copy, s, n);
    return copy;
}

int32_t report_classes_copy(report_classes *c, const cvr_host *host, int64_t n, const char *const *names,
                            cvr_error *err) {
    *c = (report_classes){n > 0 ? n : 0, NULL};
    if (!names || n <= 0) return CVR_OK;
    c->names = report_calloc(host, (uint64_t)n * sizeof *c->names);
    for (int64_t i = 0; c->names && i < n; i++) {
        c->names[i] = report_copy(host, names[i]);
        if (c->names[i]) continue;
        report_classes_free(c, host);
        break;
    }
    return c->names ? CVR_OK
                    : cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the names of %lld classes", (long long)n);
}

void report_classes_free(report_classes *c, const cvr_host *host) {
    for (int64_t i = 0; c->names && i < c->n; i++) {
        if (c->names[i]) host->free(host, c->names[i]);
    }
    if (c->names) host->free(host, c->names);
    c->names = NULL;
}

void report_class_name(const report_classes *c, int64_t i, char name[REPORT_NAME]) {
    if (c->names && i >= 0 && i < c->n) {
        (void)snprintf(name, REPORT_NAME, "%s", c->names[i]);
    } else {
        (void)snprintf(name, REPORT_NAME, "%lld", (long long)i);
    }
}

void report_class_label(const report_classes *c, int64_t i, char name[REPORT_NAME]) {
    report_class_name(c, i, name);
    if (!canvas_can_draw(name)) (void)snprintf(name, REPORT_NAME, "class %lld", (long long)i);
}

double report_now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#define PAUSE 2.0 /* seconds between drawings */

int32_t report_may_draw(double drawn) {
    return drawn <= 0 || report_now() - drawn >= PAUSE;
}
