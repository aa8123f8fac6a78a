/*
 * A TIFF file in memory as libtiff sees it: reads, seeks, errors and warnings.
 */
#include "tiff_codec.h"
#include <ctype.h>

/* libtiff's own blocks: what it holds at once of a directory or a compressed strip. */
#define MOST_AT_ONCE (64 << 20)

static tmsize_t on_read(thandle_t handle, void *to, tmsize_t n) {
    tiff_job *const job = handle;
    const uint64_t left = job->at < job->asked->n ? job->asked->n - job->at : 0,
                   take = (uint64_t)n < left ? (uint64_t)n : left;
    if (take) memcpy(to, job->asked->bytes + job->at, take);
    job->at += take;
    return (tmsize_t)take;
}

static tmsize_t on_write(thandle_t handle, void *from, tmsize_t n) {
    (void)handle, (void)from, (void)n;
    return 0;
}

static toff_t on_seek(thandle_t handle, toff_t offset, int whence) {
    tiff_job *const job = handle;
    const uint64_t base = whence == SEEK_CUR ? job->at : whence == SEEK_END ? job->asked->n : 0;
    if (offset > UINT64_MAX - base) return (toff_t)-1;
    return job->at = base + offset;
}

static int on_close(thandle_t handle) {
    (void)handle;
    return 0;
}

static toff_t on_size(thandle_t handle) {
    return ((tiff_job *)handle)->asked->n;
}

/* The bytes are in memory: libtiff need not copy a strip to decode it. It does not write to them. */
static int on_map(thandle_t handle, void **base, toff_t *size) {
    const tiff_job *const job = handle;
    memcpy(base, &job->asked->bytes, sizeof *base);
    *size = job->asked->n;
    return 1;
}

static void on_unmap(thandle_t handle, void *base, toff_t size) {
    (void)handle, (void)base, (void)size;
}

/* One line of printable characters, whatever the file's tags hold. */
static void print_line(char *line, size_t size, const char *format, va_list ap) {
    (void)vsnprintf(line, size, format, ap);
    for (char *c = line; *c; c++)
        if (!isprint((unsigned char)*c)) *c = '?';
    const size_t n = strlen(line);
    if (n && line[n - 1] == '.') line[n - 1] = '\0';
}

/* The first error says what is wrong, the others what follows from it. */
static int on_error(TIFF *tiff, void *ctx, const char *module, const char *format, va_list ap) {
    tiff_job *const job = ctx;
    char line[200];
    (void)tiff, (void)module;
    if (job->failed) return 1;
    job->failed = 1;
    print_line(line, sizeof line, format, ap);
    (void)cvr_fail(job->err, CVR_ERR_FORMAT, "tiff: %s; the file is damaged, make it anew", line);
    return 1;
}

static int on_warning(TIFF *tiff, void *ctx, const char *module, const char *format, va_list ap) {
    tiff_job *const job = ctx;
    char line[200], text[216];
    (void)tiff, (void)module;
    if (job->warned) return 1;
    job->warned = 1;
    print_line(line, sizeof line, format, ap);
    (void)snprintf(text, sizeof text, "tiff: %s", line);
    job->host->log(job->host, CVR_LOG_WARNING, text);
    return 1;
}

int32_t tiff_damaged(tiff_job *job, const char *what) {
    if (job->failed) return CVR_ERR_FORMAT;
    return cvr_fail(job->err, CVR_ERR_FORMAT, "tiff: %s; the file is damaged, make it anew", what);
}

int32_t tiff_open(tiff_job *job) {
    TIFFOpenOptions *const options = TIFFOpenOptionsAlloc();
    if (!options) return cvr_fail(job->err, CVR_ERR_NOMEM, "tiff: out of memory for a picture");
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, MOST_AT_ONCE);
    TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, job);
    TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, job);
    /* r: read; C: strips are not cut to smaller ones, as their number is checked here. */
    job->tiff = TIFFClientOpenExt("picture", "rC", job, on_read, on_write, on_seek, on_close, on_size, on_map, on_unmap,
                                  options);
    TIFFOpenOptionsFree(options);
    return job->tiff ? CVR_OK : tiff_damaged(job, "not a TIFF file");
}
