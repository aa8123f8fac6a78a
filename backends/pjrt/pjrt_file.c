/*
 * What can be told of a vendor's library before any of its code runs: that it is a whole ELF file, and that nobody else
 * may have written it. cvrun's own plugins are looked at in the same way.
 */
#define _DEFAULT_SOURCE
#include "pjrt_plugin.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int32_t check_mode(const char *path, const struct stat *st, cvr_error *err) {
    const char *slash = strrchr(path, '/');
    char folder[4096] = ".";
    struct stat around;
    if (!S_ISREG(st->st_mode))
        return cvr_fail(err, CVR_ERR_IO, "pjrt: %.400s: is %s; backend.plugin names a library, a file", path,
                        S_ISDIR(st->st_mode) ? "a folder" : "not a regular file");
    if (st->st_mode & S_IWOTH)
        return cvr_fail(err, CVR_ERR_IO, "pjrt: %.400s: is not loaded: anyone may write to it; run chmod o-w on it",
                        path);
    if (slash) (void)snprintf(folder, sizeof folder, "%.*s", (int)(slash > path ? slash - path : 1), path);
    if (stat(folder, &around) == 0 && (around.st_mode & S_IWOTH))
        return cvr_fail(
            err, CVR_ERR_IO,
            "pjrt: %.400s: is not loaded: anyone may write to its folder; run chmod o-w on that, or move it", path);
    return CVR_OK;
}

/* A part that would be mapped and is not in the file ends in SIGBUS, as with a download that broke off. */
static int32_t check_segments(int fd, const char *path, const Elf64_Ehdr *h, uint64_t size, cvr_error *err) {
    for (uint64_t i = 0; i < h->e_phnum; i++) {
        Elf64_Phdr p;
        const uint64_t at = h->e_phoff + i * sizeof p;
        const int whole = h->e_phentsize == sizeof p && h->e_phoff < size && at + sizeof p <= size &&
                          pread(fd, &p, sizeof p, (off_t)at) == (ssize_t)sizeof p && p.p_offset <= size &&
                          p.p_filesz <= size - p.p_offset;
        if (!whole)
            return cvr_fail(err, CVR_ERR_FORMAT, "pjrt: %.400s: the file is cut short (%llu bytes); fetch it again",
                            path, (unsigned long long)size);
    }
    return CVR_OK;
}

static int32_t check_elf(int fd, const char *path, uint64_t size, cvr_error *err) {
    Elf64_Ehdr h;
    if (pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0)
        return cvr_fail(err, CVR_ERR_FORMAT, "pjrt: %.400s: is no library (it has no ELF header)", path);
    if (h.e_ident[EI_CLASS] != ELFCLASS64) return CVR_OK; /* dlopen() says what is wrong with it */
    return check_segments(fd, path, &h, size, err);
}

int32_t pjrt_file_check(const char *path, pjrt_file *file, cvr_error *err) {
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would wait for who writes */
    if (fd < 0) return cvr_fail(err, CVR_ERR_IO, "pjrt: %.400s: cannot be opened: %s", path, strerror(errno));
    int32_t status = fstat(fd, &st) == 0
                         ? CVR_OK
                         : cvr_fail(err, CVR_ERR_IO, "pjrt: %.400s: cannot be looked at: %s", path, strerror(errno));
    if (status == CVR_OK) status = check_mode(path, &st, err);
    if (status == CVR_OK) status = check_elf(fd, path, (uint64_t)st.st_size, err);
    (void)close(fd);
    if (status == CVR_OK) *file = (pjrt_file){(uint64_t)st.st_size, (int64_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
    return status;
}
