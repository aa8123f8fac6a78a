/*
 * The outline of an object: a list of polygons, [[x, y, x, y, ...], ...], which are united; or run lengths,
 * {"size": [height, width], "counts": "..." or [n, n, ...]}. It is read from the file when it is asked for, so that a
 * file of annotations takes no memory for what nobody looks at.
 */
#include "coco.h"
#include "json_stream.h"
#include <errno.h>
#include <unistd.h>

#define MOST_PARTS 1024u

typedef struct outline_text {
    const cvr_host *host;
    int64_t height, width;
    rle *out, part, both;
    double *numbers; /* of a polygon, or of the list of counts */
    uint64_t n, room;
    char *string;
    uint64_t n_string;
    int64_t size[2];
    uint32_t n_size, parts;
    int32_t is_map, in_size, in_counts, has_counts;
} outline_text;

static int32_t add_number(outline_text *t, const json_event *e, cvr_error *err) {
    double *const numbers = dataset_grow(t->host, t->numbers, t->n, 1, &t->room, sizeof *numbers);
    if (!numbers) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for an outline");
    t->numbers = numbers;
    if (!json_number(e, &numbers[t->n++]))
        return cvr_fail(err, CVR_ERR_FORMAT, "its outline has something that is no number");
    return CVR_OK;
}

/* Corners may be outside, but not so far that the polygon cannot be of this picture. */
static int32_t check_corners(const outline_text *t, cvr_error *err) {
    for (uint64_t i = 0; i < t->n; i++) {
        const double side = (double)(i % 2 ? t->height : t->width);
        if (t->numbers[i] < -side || t->numbers[i] > 2 * side)
            return cvr_fail(err, CVR_ERR_FORMAT, "its polygon has a corner at %g, in a picture of %lld x %lld",
                            t->numbers[i], (long long)t->width, (long long)t->height);
    }
    if (t->n % 2 == 0 && t->n >= 6) return CVR_OK;
    return cvr_fail(err, CVR_ERR_FORMAT, "its polygon has %llu numbers; it needs x and y of three corners or more",
                    (unsigned long long)t->n);
}

static int32_t add_polygon(outline_text *t, cvr_error *err) {
    CVR_TRY(check_corners(t, err));
    if (t->parts++ == MOST_PARTS) return cvr_fail(err, CVR_ERR_FORMAT, "it has more than %u polygons", MOST_PARTS);
    CVR_TRY(rle_from_polygon(&t->part, t->height, t->width, t->numbers, t->n / 2, err));
    if (t->parts == 1) return rle_copy(t->out, rle_seen(&t->part), err);
    CVR_TRY(rle_union(&t->both, rle_seen(t->out), rle_seen(&t->part), err));
    return rle_copy(t->out, rle_seen(&t->both), err);
}

static int32_t in_polygons(outline_text *t, const json_event *e, cvr_error *err) {
    if (e->kind == JSON_BEGIN_LIST && e->depth == 1) t->n = 0;
    if (e->kind == JSON_END_LIST && e->depth == 1) return add_polygon(t, err);
    if (e->kind == JSON_BEGIN_LIST || (e->kind == JSON_END_LIST && e->depth == 0)) return CVR_OK;
    if (e->depth == 1)
        return cvr_fail(err, CVR_ERR_FORMAT, "its outline is one list; polygons are a list of lists, [[x, y, ...]]");
    return add_number(t, e, err);
}

static int32_t take_string(outline_text *t, const json_event *e, cvr_error *err) {
    if (t->string) t->host->free(t->host, t->string);
    t->string = t->host->alloc(t->host, e->n + 1, 1);
    if (!t->string) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for an outline");
    memcpy(t->string, e->text, e->n);
    t->n_string = e->n;
    return CVR_OK;
}

static int32_t in_runs(outline_text *t, const json_event *e, cvr_error *err) {
    if (e->kind == JSON_KEY && e->depth == 1) {
        t->in_size = json_is(e, "size");
        t->in_counts = json_is(e, "counts");
        t->has_counts |= t->in_counts;
        if (t->in_counts) t->n = 0;
        return CVR_OK;
    }
    if (e->kind == JSON_STRING && e->depth == 1 && t->in_counts) return take_string(t, e, err);
    if (e->kind == JSON_NUMBER && e->depth == 2 && t->in_counts) return add_number(t, e, err);
    if (e->kind == JSON_NUMBER && e->depth == 2 && t->in_size && t->n_size < 2)
        return json_whole(e, &t->size[t->n_size++]) ? CVR_OK : cvr_fail(err, CVR_ERR_FORMAT, "its mask has no size");
    return CVR_OK;
}

static int32_t on_event(void *ctx, const json_event *e, cvr_error *err) {
    outline_text *const t = ctx;
    if (e->depth == 0 && e->kind == JSON_BEGIN_MAP) t->is_map = 1;
    if (e->depth == 0 && e->kind != JSON_BEGIN_MAP && e->kind != JSON_END_MAP && e->kind != JSON_BEGIN_LIST &&
        e->kind != JSON_END_LIST)
        return cvr_fail(err, CVR_ERR_FORMAT, "it has no outline, which data.masks = yes asks for");
    return t->is_map ? in_runs(t, e, err) : in_polygons(t, e, err);
}

static int32_t finish_runs(outline_text *t, cvr_error *err) {
    if (t->n_size != 2 || !t->has_counts)
        return cvr_fail(err, CVR_ERR_FORMAT, "its mask has no size or no counts; write the mask anew");
    if (t->size[0] != t->height || t->size[1] != t->width)
        return cvr_fail(err, CVR_ERR_FORMAT, "its mask is for a picture of %lld x %lld, and this one is %lld x %lld",
                        (long long)t->size[1], (long long)t->size[0], (long long)t->width, (long long)t->height);
    if (t->string) return rle_from_string(t->out, t->height, t->width, t->string, t->n_string, err);
    int64_t *const counts = t->host->alloc(t->host, (t->n + 1) * sizeof *counts, 16);
    if (!counts) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for an outline");
    for (uint64_t i = 0; i < t->n; i++) {
        const double x = t->numbers[i];
        counts[i] = x >= 0 && x <= UINT32_MAX && x == (double)(int64_t)x ? (int64_t)x : -1;
    }
    const int32_t status = rle_from_counts(t->out, t->height, t->width, counts, t->n, err);
    t->host->free(t->host, counts);
    return status;
}

int32_t coco_shape_text(const cvr_host *host, const char *json, uint64_t n, int64_t height, int64_t width, rle *out,
                        cvr_error *err) {
    outline_text t = {
        .host = host, .height = height, .width = width, .out = out, .part = {.host = host}, .both = {.host = host}};
    int32_t status;
    CVR_TRY_OUT(json_stream_bytes(host, json, n, on_event, &t, err));
    if (t.is_map) CVR_TRY_OUT(finish_runs(&t, err));
    if (!t.is_map && t.parts == 0)
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_FORMAT, "it has no outline, which data.masks = yes asks for"));
out:
    rle_free(&t.part);
    rle_free(&t.both);
    if (t.numbers) host->free(host, t.numbers);
    if (t.string) host->free(host, t.string);
    return status;
}

int32_t coco_shape(const box_data *d, const box_object *o, int64_t height, int64_t width, rle *out, cvr_error *err) {
    const coco_own *const own = d->own;
    char *const text = d->host->alloc(d->host, o->n_shape, 1);
    int32_t status = text ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory for an outline");
    for (uint64_t at = 0; status == CVR_OK && at < o->n_shape;) {
        const ssize_t got = pread(own->fd, text + at, o->n_shape - at, (off_t)(o->shape + at));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) status = cvr_fail(err, CVR_ERR_IO, "its outline cannot be read any more; was the file changed?");
        at += got > 0 ? (uint64_t)got : 0;
    }
    if (status == CVR_OK) status = coco_shape_text(d->host, text, o->n_shape, height, width, out, err);
    if (text) d->host->free(d->host, text);
    return status;
}
