/*
 * A label file: `class cx cy width height`, or `class x1 y1 x2 y2 x3 y3 ...`, an outline; all but the class in shares
 * of the picture.
 */
#include "../dataset_file.h"
#include "yolo.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST_BYTES (UINT64_C(1) << 28)

static int32_t out_of_memory(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for labels");
}

/* The whole file with a NUL behind it, for the caller to free. */
static int32_t read_text(const cvr_host *host, const char *path, char **out, uint64_t *n, cvr_error *err) {
    dataset_file *f = NULL;
    uint64_t room = 0, got;
    int32_t status;
    *out = NULL;
    *n = 0;
    CVR_TRY_OUT(dataset_file_open(host, path, &f, err));
    do {
        char *const text = dataset_grow(host, *out, *n, 4096, &room, 1);
        if (!text) CVR_TRY_OUT(out_of_memory(err));
        *out = text;
        CVR_TRY_OUT(dataset_file_read(f, text + *n, room - *n - 1, &got, err));
        *n += got;
        if (*n > MOST_BYTES)
            CVR_TRY_OUT(
                cvr_fail_at(err, path, 0, cvr_fail(err, CVR_ERR_FORMAT, "over 256 MB of labels; is this the file?")));
    } while (got);
    (*out)[*n] = '\0';
out:
    dataset_file_close(f);
    return status;
}

/* One row while it is read. */
typedef struct row {
    box_data *d;
    uint64_t picture;
    uint32_t line;
    int64_t klass;
    double first[4];        /* the first numbers */
    uint64_t n;             /* how many there are behind the class */
    double low[2], high[2]; /* of corners */
    uint64_t corners;       /* where they begin */
} row;

static int32_t keep_corner(row *r, double x, cvr_error *err) {
    yolo_own *const own = r->d->own;
    if (!r->d->masks) return CVR_OK;
    float *const corners = dataset_grow(own->host, own->corners, own->n, 1, &own->room, sizeof *corners);
    if (!corners) return out_of_memory(err);
    own->corners = corners;
    corners[own->n++] = (float)x;
    return CVR_OK;
}

static int32_t problem(const row *r, cvr_error *err, const char *what) {
    return box_data_problem(r->d, r->picture, r->line, err, "%s", what);
}

/* The next number of the line; 0: there is none, -1: what stands there is no number. */
static int32_t next_number(const char **at, double *x) {
    char *end;
    *at += strspn(*at, " \t\r,");
    if (**at == '\n' || **at == '\0') return 0;
    if (**at != '-' && **at != '+' && **at != '.' && (**at < '0' || **at > '9')) return -1; /* no nan, no inf */
    *x = strtod(*at, &end);
    if (end == *at || !isfinite(*x) || !strchr(" \t\r\n,", *end)) return -1;
    if (memchr(*at, 'x', (size_t)(end - *at)) || memchr(*at, 'X', (size_t)(end - *at))) return -1; /* hexadecimal */
    *at = end;
    return 1;
}

/* 1: a row; 0: an empty line; -1: something else. */
static int32_t read_row(row *r, const char *at, cvr_error *err, int32_t *status) {
    double x = 0;
    int32_t got = next_number(&at, &x);
    *status = CVR_OK;
    if (got <= 0) return got;
    r->klass = x == floor(x) && fabs(x) < 1e15 ? (int64_t)x : -1;
    while ((got = next_number(&at, &x)) > 0) {
        const uint64_t k = r->n & 1;
        if (r->n < 4) r->first[r->n] = x;
        if (r->n < 2 || x < r->low[k]) r->low[k] = x;
        if (r->n < 2 || x > r->high[k]) r->high[k] = x;
        r->n++;
        *status = keep_corner(r, x, err);
        if (*status != CVR_OK) return -1;
    }
    return got < 0 ? -1 : 1;
}

static int32_t take_row(const row *r, int64_t n_classes, int64_t *highest, cvr_error *err) {
    const double *const v = r->first;
    const int32_t outline = r->n >= 6 && r->n % 2 == 0;
    box_object o = {.id = BOX_NO_ID,
                    .klass = r->klass,
                    .box = {v[0] - v[2] / 2, v[1] - v[3] / 2, v[2], v[3]},
                    .area = NAN,
                    .picture = (uint32_t)r->picture,
                    .line = r->line};
    if (r->n == 5)
        return problem(r, err, "six numbers: a class, a box and one more, as predictions have it; labels have five");
    if (r->n != 4 && !outline)
        return box_data_problem(r->d, r->picture, r->line, err,
                                "%llu numbers; a box has five (class, centre, width, height), an outline class and "
                                "three corners or more",
                                (unsigned long long)r->n + 1);
    if (r->klass < 0 || r->klass >= YOLO_MOST_CLASSES)
        return problem(r, err, "its class is no whole number from 0 on, as names are counted");
    if (n_classes >= 0 && r->klass >= n_classes)
        return box_data_problem(r->d, r->picture, r->line, err,
                                "class %lld of %lld, counted from 0; mend the row, or name more classes",
                                (long long)r->klass, (long long)n_classes);
    if (outline) {
        const double box[4] = {r->low[0], r->low[1], r->high[0] - r->low[0], r->high[1] - r->low[1]};
        memcpy(o.box, box, sizeof box);
        o.shape = r->corners;
        o.n_shape = r->d->masks ? (uint32_t)r->n : 0;
    }
    *highest = r->klass > *highest ? r->klass : *highest;
    return box_data_object(r->d, &o, err);
}

static int32_t read_rows(box_data *d, uint64_t picture, const char *text, int64_t n_classes, int64_t *highest,
                         cvr_error *err) {
    yolo_own *const own = d->own;
    if (strncmp(text, "\xef\xbb\xbf", 3) == 0) text += 3; /* a byte order mark */
    for (uint32_t line = 1; *text; line++) {
        row r = {.d = d, .picture = picture, .line = line, .corners = own->n};
        int32_t status;
        const int32_t got = read_row(&r, text, err, &status);
        CVR_TRY(status);
        if (got < 0)
            CVR_TRY(problem(&r, err, "something that is no number; a row is numbers with blanks between them"));
        if (got > 0) CVR_TRY(take_row(&r, n_classes, highest, err));
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    return CVR_OK;
}

int32_t yolo_label_read(box_data *d, uint64_t picture, int64_t n_classes, int64_t *highest, uint64_t *missing,
                        cvr_error *err) {
    char path[YOLO_PATH], *text = NULL;
    cvr_error why = CVR_ERROR_INIT;
    uint64_t n = 0;
    (void)snprintf(path, sizeof path, "%s", d->text + d->pictures[picture].source);
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        ++*missing;
        return CVR_OK;
    }
    int32_t status = read_text(d->host, path, &text, &n, &why);
    if (status == CVR_OK && memchr(text, '\0', n))
        status = box_data_problem(d, picture, 0, err, "bytes of 0: this is no text; save it as UTF-8");
    else if (status == CVR_OK)
        status = read_rows(d, picture, text, n_classes, highest, err);
    else if (status == CVR_ERR_FORMAT || status == CVR_ERR_IO)
        status = box_data_problem(d, picture, 0, err, "%s", why.message);
    else if (err)
        *err = why;
    if (text) d->host->free(d->host, text);
    return status;
}

int32_t yolo_shape(const box_data *d, const box_object *o, int64_t height, int64_t width, rle *out, cvr_error *err) {
    const float *const from = ((const yolo_own *)d->own)->corners + o->shape;
    double *const xy = d->host->alloc(d->host, o->n_shape * sizeof *xy, 16);
    if (!xy) return out_of_memory(err);
    for (uint32_t i = 0; i < o->n_shape; i++) xy[i] = (double)from[i] * (double)(i % 2 ? height : width);
    const int32_t status = rle_from_polygon(out, height, width, xy, o->n_shape / 2, err);
    d->host->free(d->host, xy);
    return status;
}
