/* Files and paths. Every failure says which file and what the system said. */
#include <cvr/base.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int32_t io_error(cvr_error *err, const char *path, const char *what) {
    const int code = errno;
    cvr_fail(err, code == ENOMEM ? CVR_ERR_NOMEM : CVR_ERR_IO, "%s: %s", what, strerror(code));
    return cvr_fail_at(err, path, 0, CVR_ERR_IO);
}

/* Opens a regular file and tells its size. */
static int32_t open_regular(const char *path, int *fd, uint64_t *size, cvr_error *err) {
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return io_error(err, path, "cannot open it");
    int32_t status = CVR_OK;
    if (fstat(*fd, &st) != 0) {
        status = io_error(err, path, "cannot read it");
    } else if (!S_ISREG(st.st_mode)) {
        cvr_fail(err, CVR_ERR_IO, "not a regular file; give the path of a file");
        status = cvr_fail_at(err, path, 0, CVR_ERR_IO);
    } else {
        *size = (uint64_t)st.st_size;
    }
    if (status != CVR_OK) close(*fd);
    return status;
}

int32_t cvr_fs_read(const char *path, uint64_t max, uint8_t **bytes, uint64_t *n, cvr_error *err) {
    int fd;
    uint64_t size;
    int32_t status = CVR_OK;
    CVR_TRY(open_regular(path, &fd, &size, err));
    uint8_t *p = NULL;
    uint64_t have = 0;
    if (size > max) {
        cvr_fail(err, CVR_ERR_FORMAT, "has %llu bytes, more than the %llu that such a file may have",
                 (unsigned long long)size, (unsigned long long)max);
        CVR_TRY_OUT(cvr_fail_at(err, path, 0, CVR_ERR_FORMAT));
    }
    p = cvr_calloc(size + 1, 1);
    if (!p) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory reading %s", path));
    while (have < size) {
        const ssize_t got = read(fd, p + have, size - have);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) CVR_TRY_OUT(io_error(err, path, "cannot read it"));
        if (got == 0) break;
        have += (uint64_t)got;
    }
    *bytes = p;
    *n = have;
    p = NULL;
out:
    cvr_free(p);
    close(fd);
    return status;
}

int32_t cvr_fs_map(const char *path, cvr_mapping *m, cvr_error *err) {
    int fd;
    memset(m, 0, sizeof *m);
    int32_t status = CVR_OK;
    CVR_TRY(open_regular(path, &fd, &m->n, err));
    if (m->n) {
        void *p = mmap(NULL, m->n, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            status = io_error(err, path, "cannot map it");
        else
            m->bytes = p;
    }
    close(fd);
    return status;
}

void cvr_fs_unmap(cvr_mapping *m) {
    if (m->bytes) munmap((void *)(uintptr_t)m->bytes, m->n);
    memset(m, 0, sizeof *m);
}

bool cvr_fs_exists(const char *path) {
    return access(path, F_OK) == 0;
}

bool cvr_fs_is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int32_t mkdir_error(cvr_error *err, const char *path) {
    const int code = errno;
    const bool is_file = code == EEXIST || code == ENOTDIR;
    cvr_fail(err, CVR_ERR_IO, "cannot make this folder: %s; %s",
             is_file ? "there is a file of this name, or where a folder above it would be" : strerror(code),
             code == ENOSPC ? "free space" : "give a path where folders may be made");
    return cvr_fail_at(err, path, 0, CVR_ERR_IO);
}

int32_t cvr_fs_mkdirs(const char *path, cvr_error *err) {
    char *copy = cvr_strdup(path);
    if (!copy) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    int32_t status = CVR_OK;
    for (char *p = copy + 1; status == CVR_OK; p++) {
        if (*p != '/' && *p != '\0') continue;
        const char end = *p;
        *p = '\0';
        if (mkdir(copy, 0777) != 0 && !(errno == EEXIST && cvr_fs_is_folder(copy))) {
            status = mkdir_error(err, copy);
        }
        *p = end;
        if (end == '\0') break;
    }
    cvr_free(copy);
    return status;
}

char *cvr_fs_join(const char *folder, const char *name) {
    cvr_text t = {0};
    const size_t n = strlen(folder);
    cvr_text_add(&t, "%s%s%s", folder, n && folder[n - 1] == '/' ? "" : "/", name);
    if (t.failed) cvr_text_clear(&t);
    return t.s;
}

char *cvr_fs_dirname(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return cvr_strdup(".");
    return cvr_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* Removes "." and ".." and doubled slashes from an absolute path, in place. Symbolic links are left alone. */
static void normalise(char *path) {
    char *out = path;
    for (const char *p = path; *p;) {
        while (*p == '/') p++;
        const char *end = p;
        while (*end && *end != '/') end++;
        const size_t n = (size_t)(end - p);
        if (n == 2 && p[0] == '.' && p[1] == '.') {
            while (out > path && *--out != '/') continue;
        } else if (n && !(n == 1 && p[0] == '.')) {
            *out++ = '/';
            memmove(out, p, n);
            out += n;
        }
        p = end;
    }
    if (out == path) *out++ = '/';
    *out = '\0';
}

char *cvr_fs_absolute(const char *base, const char *path) {
    char *cwd = NULL, *joined = NULL;
    cvr_text t = {0};
    if (path[0] == '/') {
        cvr_text_add(&t, "%s", path);
    } else if (base[0] == '/') {
        cvr_text_add(&t, "%s/%s", base, path);
    } else {
        cwd = getcwd(NULL, 0);
        if (!cwd) return NULL;
        cvr_text_add(&t, "%s/%s/%s", cwd, base, path);
    }
    free(cwd);
    if (t.failed) {
        cvr_text_clear(&t);
        return NULL;
    }
    joined = t.s;
    normalise(joined);
    return joined;
}
