/*
 * Picture files and labels as the fields of a sample.
 */
#include "dataset_picture.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

char *dataset_printable(char *text) {
    for (char *c = text; *c; c++)
        if ((uint8_t)*c < 0x20 || *c == 0x7f) *c = '?';
    return text;
}

int32_t dataset_path(char *to, uint64_t size, const char *dir, const char *name, cvr_error *err) {
    const int whole = name[0] == '/' || dir[0] == '\0';
    const int n = snprintf(to, size, "%s%s%s", whole ? "" : dir, whole ? "" : "/", name);
    return n >= 0 && (uint64_t)n < size ? CVR_OK
                                        : cvr_fail(err, CVR_ERR_INVALID, "a path of over %llu bytes: %.100s...",
                                                   (unsigned long long)size - 1, name);
}

int32_t dataset_pictures_open(const cvr_dataset_args *args, dataset_pictures *out, cvr_error *err) {
    *out = (dataset_pictures){args->host->get(args->host, CVR_SERVICE_IMAGE), args->channels ? args->channels : 3};
    if (out->image) return CVR_OK;
    return cvr_fail(err, CVR_ERR_NOTFOUND, "this host decodes no pictures (%s)", CVR_SERVICE_IMAGE);
}

static int32_t fail_read(const char *path, const char *what, cvr_error *err) {
    (void)cvr_fail(err, CVR_ERR_IO, "cannot read the picture: %s; put it back or remove it from the data", what);
    return cvr_fail_at(err, path, 0, CVR_ERR_IO);
}

int32_t dataset_picture_read(const char *path, cvr_sample *s, uint8_t **bytes, uint64_t *n, cvr_error *err) {
    struct stat st;
    int32_t status = CVR_OK;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return fail_read(path, strerror(errno), err);
    *n = 0;
    if (fstat(fd, &st) != 0) CVR_TRY_OUT(fail_read(path, strerror(errno), err));
    if (!S_ISREG(st.st_mode)) CVR_TRY_OUT(fail_read(path, "not a file", err));
    *n = (uint64_t)st.st_size;
    *bytes = s->alloc(s, *n + 1);
    if (!*bytes) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory for reading %s", path));
    for (uint64_t at = 0; at < *n;) {
        const ssize_t got = read(fd, *bytes + at, *n - at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) CVR_TRY_OUT(fail_read(path, strerror(errno), err));
        if (got == 0) CVR_TRY_OUT(fail_read(path, "it became shorter while it was read", err));
        at += (uint64_t)got;
    }
out:
    (void)close(fd);
    return status;
}

static void *sample_alloc(void *ctx, uint64_t bytes) {
    cvr_sample *const s = ctx;
    return s->alloc(s, bytes);
}

/* The decoder asks the sample's arena for memory, so that the pixels are where they stay: the field is added with one
 * pixel, the least that a field can have, and then pointed at them. */
static int32_t add_image(cvr_sample *out, const cvr_image *pixels, cvr_error *err) {
    const cvr_field like = {.name = "image", .kind = CVR_FIELD_IMAGE, .dtype = CVR_U8, .rank = 3, .shape = {1, 1, 1}};
    cvr_field *field = NULL;
    CVR_TRY(out->add(out, &like, &field, err));
    field->shape[0] = pixels->height;
    field->shape[1] = pixels->width;
    field->shape[2] = pixels->channels;
    field->data = pixels->data; /* (H,W,C) */
    return CVR_OK;
}

int32_t dataset_picture_add(const dataset_pictures *p, const uint8_t *bytes, uint64_t n, cvr_sample *s,
                            cvr_error *err) {
    cvr_image pixels = {.struct_size = sizeof pixels};
    const cvr_picture_job job = {sizeof job, bytes, n, p->channels, sample_alloc, s, s->request, &pixels, 0, 0};
    CVR_TRY(p->image->decode_part(p->image, &job, err));
    return add_image(s, &pixels, err);
}

/* ---- the size alone ---- */

#define START 65536

/* Memory of a picture that nobody looks at. */
typedef struct sizing {
    const cvr_host *host;
    void *blocks[4];
    uint32_t n;
    int32_t known;
    int64_t height, width;
} sizing;

static void *sizing_take(sizing *z, uint64_t bytes) {
    void *const block = z->n < 4 ? z->host->alloc(z->host, bytes ? bytes : 1, 64) : NULL;
    if (block) z->blocks[z->n++] = block;
    return block;
}

static void *sizing_for_sample(cvr_sample *s, uint64_t bytes) {
    return sizing_take(s->ctx, bytes);
}

static void *sizing_for_picture(void *ctx, uint64_t bytes) {
    return sizing_take(ctx, bytes);
}

/* Of a decoder that does not ask which part is wanted. */
static void note_whole(sizing *z, const cvr_image *pixels) {
    z->known = 1;
    z->height = pixels->height;
    z->width = pixels->width;
}

/* Stops the decoder: all is known. */
static int32_t note_size(const cvr_part_request *r, int64_t height, int64_t width, int64_t channels, cvr_part *want,
                         cvr_error *err) {
    sizing *const z = r->ctx;
    (void)channels;
    (void)want;
    z->known = 1;
    z->height = height;
    z->width = width;
    return cvr_fail(err, CVR_ERR_INTERRUPTED, "the size is known");
}

static int32_t size_of_bytes(const dataset_pictures *p, const uint8_t *bytes, uint64_t n, sizing *z, cvr_error *err) {
    cvr_part given = {.struct_size = sizeof given};
    cvr_image pixels = {.struct_size = sizeof pixels};
    const cvr_part_request request = {sizeof request, z, note_size, &given};
    const cvr_picture_job job = {sizeof job, bytes, n, p->channels, sizing_for_picture, z, &request, &pixels, 0, 0};
    const int32_t status = p->image->decode_part(p->image, &job, err);
    if (status != CVR_OK && !z->known) return status;
    if (!z->known) note_whole(z, &pixels);
    return CVR_OK;
}

/* The beginning of a file mostly has its size: then the rest is not read. */
static int32_t size_of_start(const dataset_pictures *p, const char *path, sizing *z) {
    uint8_t *const bytes = sizing_take(z, START);
    const int fd = bytes ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    const ssize_t n = fd < 0 ? -1 : read(fd, bytes, START);
    if (fd >= 0) (void)close(fd);
    return n > 0 && size_of_bytes(p, bytes, (uint64_t)n, z, NULL) == CVR_OK;
}

static int32_t size_of_file(const dataset_pictures *p, const char *path, sizing *z, cvr_error *err) {
    cvr_sample s = {.struct_size = sizeof s, .ctx = z, .alloc = sizing_for_sample};
    uint8_t *bytes = NULL;
    uint64_t n = 0;
    CVR_TRY(dataset_picture_read(path, &s, &bytes, &n, err));
    return size_of_bytes(p, bytes, n, z, err);
}

static void sizing_free(sizing *z) {
    while (z->n) z->host->free(z->host, z->blocks[--z->n]);
}

int32_t dataset_picture_size(const dataset_pictures *p, const cvr_host *host, const char *path, int64_t *height,
                             int64_t *width, cvr_error *err) {
    sizing z = {.host = host};
    int32_t status = CVR_OK;
    if (!size_of_start(p, path, &z)) {
        sizing_free(&z);
        status = size_of_file(p, path, &z, err);
    }
    sizing_free(&z);
    if (status != CVR_OK) return cvr_fail_at(err, path, 0, status);
    if (err) cvr_error_init(err);
    *height = z.height;
    *width = z.width;
    return CVR_OK;
}

const char *dataset_picture_kind(const void *self, uint32_t i) {
    static const char *const kinds[] = {CVR_FIELD_IMAGE, CVR_FIELD_LABEL};
    (void)self;
    return i < 2 ? kinds[i] : NULL;
}

int32_t dataset_label_add(int64_t label, cvr_sample *s, cvr_error *err) {
    const cvr_field like = {.name = "label", .kind = CVR_FIELD_LABEL, .dtype = CVR_I64};
    cvr_field *field = NULL;
    CVR_TRY(s->add(s, &like, &field, err));
    *(int64_t *)field->data = label;
    return CVR_OK;
}

int32_t dataset_labels_add(int64_t n_classes, cvr_sample *s, float **out, cvr_error *err) {
    const cvr_field like = {
        .name = "label", .kind = CVR_FIELD_LABEL, .dtype = CVR_F32, .rank = 1, .shape = {n_classes}};
    cvr_field *field = NULL;
    CVR_TRY(s->add(s, &like, &field, err));
    *out = field->data;
    memset(*out, 0, (size_t)n_classes * sizeof **out);
    return CVR_OK;
}
