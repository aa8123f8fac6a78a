/* A file that appears whole or not at all: write to a temporary, sync, rename, sync the folder. Or sync later, where
 * nothing depends on the file yet: a disk may take milliseconds for each. */
#include <cvr/writer.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define WRITER_BUFFER (1u << 20)

static int32_t writer_error(cvr_writer *w, const char *what, cvr_error *err) {
    const int code = errno;
    cvr_fail(err, CVR_ERR_IO, "%s: %s; what was saved before is whole", what, strerror(code));
    return cvr_fail_at(err, w->path, 0, CVR_ERR_IO);
}

int32_t cvr_writer_open_as(cvr_writer *w, const char *path, const char *ending, cvr_error *err) {
    memset(w, 0, sizeof *w);
    w->fd = -1;
    cvr_text tmp = {0};
    cvr_text_add(&tmp, "%s%s", path, ending);
    w->tmp = tmp.s;
    w->path = cvr_strdup(path);
    w->buffer = cvr_alloc_aligned(WRITER_BUFFER, 64);
    if (tmp.failed || !w->path || !w->buffer) {
        cvr_writer_abandon(w);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory writing %s", path);
    }
    /* What a killed process left goes; a link or a pipe of that name is not written through. */
    (void)unlink(w->tmp);
    w->fd = open(w->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (w->fd >= 0) return CVR_OK;
    const int32_t status = writer_error(w, "cannot write it", err);
    cvr_writer_abandon(w);
    return status;
}

int32_t cvr_writer_open(cvr_writer *w, const char *path, cvr_error *err) {
    return cvr_writer_open_as(w, path, ".tmp", err);
}

static int32_t writer_flush(cvr_writer *w, cvr_error *err) {
    for (size_t done = 0; done < w->used;) {
        const ssize_t n = write(w->fd, w->buffer + done, w->used - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return writer_error(w, "cannot write it", err);
        done += (size_t)n;
    }
    w->used = 0;
    return CVR_OK;
}

int32_t cvr_writer_put(cvr_writer *w, const void *bytes, uint64_t n, cvr_error *err) {
    const uint8_t *p = bytes;
    while (n) {
        const size_t room = WRITER_BUFFER - w->used, part = n < room ? (size_t)n : room;
        memcpy(w->buffer + w->used, p, part);
        w->used += part;
        p += part;
        n -= part;
        if (w->used == WRITER_BUFFER) CVR_TRY(writer_flush(w, err));
    }
    return CVR_OK;
}

/* Waits until a file, or a folder with the names in it, is on the disk. */
static int sync_path(const char *path, int flags) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
    const int failed = fd < 0 || (fsync(fd) != 0 && errno != EINVAL);
    const int code = errno;
    if (fd >= 0) close(fd);
    errno = code;
    return failed;
}

/* A rename is only durable when its folder is. */
static int32_t sync_folder(cvr_writer *w, cvr_error *err) {
    char *folder = cvr_fs_dirname(w->path);
    if (!folder) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory writing %s", w->path);
    const int32_t status = sync_path(folder, O_DIRECTORY) ? writer_error(w, "cannot sync its folder", err) : CVR_OK;
    cvr_free(folder);
    return status;
}

static int32_t keep_previous(cvr_writer *w, cvr_error *err) {
    cvr_text previous = {0};
    cvr_text_add(&previous, "%s.1", w->path);
    int32_t status = CVR_OK;
    if (previous.failed)
        status = cvr_fail(err, CVR_ERR_NOMEM, "out of memory writing %s", w->path);
    else if (rename(w->path, previous.s) != 0 && errno != ENOENT)
        status = writer_error(w, "cannot keep the old one", err);
    cvr_text_clear(&previous);
    return status;
}

static int32_t commit(cvr_writer *w, bool keep, bool sync, cvr_error *err) {
    int32_t status;
    CVR_TRY_OUT(writer_flush(w, err));
    if (sync && fsync(w->fd) != 0) CVR_TRY_OUT(writer_error(w, "cannot write it", err));
    const int closed = close(w->fd);
    w->fd = -1;
    if (closed != 0) CVR_TRY_OUT(writer_error(w, "cannot write it", err));
    if (keep) CVR_TRY_OUT(keep_previous(w, err));
    if (rename(w->tmp, w->path) != 0) CVR_TRY_OUT(writer_error(w, "cannot put it in place", err));
    if (sync) CVR_TRY_OUT(sync_folder(w, err));
out:
    cvr_writer_abandon(w);
    return status;
}

int32_t cvr_writer_commit(cvr_writer *w, bool keep, cvr_error *err) {
    return commit(w, keep, true, err);
}

void cvr_writer_abandon(cvr_writer *w) {
    if (w->fd >= 0) close(w->fd);
    if (w->tmp) unlink(w->tmp);
    cvr_free(w->tmp);
    cvr_free(w->path);
    cvr_free(w->buffer);
    memset(w, 0, sizeof *w);
    w->fd = -1;
}

static int32_t write_file(const char *path, const void *bytes, uint64_t n, bool sync, cvr_error *err) {
    cvr_writer w;
    int32_t status;
    CVR_TRY(cvr_writer_open(&w, path, err));
    CVR_TRY_OUT(cvr_writer_put(&w, bytes, n, err));
    return commit(&w, false, sync, err);
out:
    cvr_writer_abandon(&w);
    return status;
}

int32_t cvr_fs_write(const char *path, const void *bytes, uint64_t n, cvr_error *err) {
    return write_file(path, bytes, n, true, err);
}

int32_t cvr_fs_write_unsynced(const char *path, const void *bytes, uint64_t n, cvr_error *err) {
    return write_file(path, bytes, n, false, err);
}

int32_t cvr_fs_sync(const char *path, bool folder, cvr_error *err) {
    if (!sync_path(path, folder ? O_DIRECTORY : 0)) return CVR_OK;
    cvr_fail(err, CVR_ERR_IO, "cannot sync it: %s", strerror(errno));
    return cvr_fail_at(err, path, 0, CVR_ERR_IO);
}
