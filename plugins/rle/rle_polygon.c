/*
 * A polygon as a mask, to the pixel as COCO's tools fill it.
 *
 * The outline is walked along a grid five times finer than the pixels, each edge in steps of one on its longer axis.
 * Where the walk goes from one fine column to the next in the middle of a pixel's column, the outline crosses that
 * column at the height where the walk is: from there down, inside and outside change places. Sorted crossings are the
 * ends of runs.
 */
#include "rle_build.h"
#include <math.h>
#include <stdlib.h>

#define FINE 5
#define FURTHEST 1e8 /* pixels; FINE times more still fits into an int */
#define MOST_STEPS (UINT64_C(1) << 24)

typedef struct outline {
    const cvr_host *host;
    int64_t height, width;
    uint64_t *ends; /* pixels before each crossing, column by column */
    uint64_t n, room;
    uint64_t steps;
    int64_t u, v; /* where the walk is */
    int32_t walking;
} outline;

static int32_t add_end(outline *o, uint64_t end, cvr_error *err) {
    if (o->n == o->room) {
        const uint64_t room = 2 * o->room + 64;
        uint64_t *const ends = o->host->alloc(o->host, room * sizeof *ends, 16);
        if (!ends) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a polygon");
        if (o->n) memcpy(ends, o->ends, o->n * sizeof *ends);
        if (o->ends) o->host->free(o->host, o->ends);
        o->ends = ends;
        o->room = room;
    }
    o->ends[o->n++] = end;
    return CVR_OK;
}

/* The walk's next point, in fine steps. */
static int32_t walk_to(outline *o, int64_t u, int64_t v, cvr_error *err) {
    const int64_t left = u < o->u ? u : u - 1, above = v < o->v ? v : o->v;
    const int32_t crosses = o->walking && u != o->u;
    o->u = u;
    o->v = v;
    o->walking = 1;
    /* (left + 0.5) / FINE - 0.5 is a whole number in the middle of a column */
    if (!crosses || left < 0 || left % FINE != FINE / 2 || left / FINE > o->width - 1) return CVR_OK;
    double y = ((double)above + 0.5) / FINE - 0.5;
    y = y < 0 ? 0 : y > (double)o->height ? (double)o->height : ceil(y);
    return add_end(o, (uint64_t)(left / FINE * o->height) + (uint64_t)y, err);
}

typedef struct corner {
    int64_t x, y;
} corner;

/* From one corner to the next, both ends included. An edge is looked at from its smaller end, whichever way it is
 * walked, so that two polygons that share it are cut alike. */
static int32_t walk_edge(outline *o, corner from, corner to, cvr_error *err) {
    const int64_t dx = llabs(to.x - from.x), dy = llabs(to.y - from.y), n = dx >= dy ? dx : dy;
    const int32_t turned = dx >= dy ? from.x > to.x : from.y > to.y;
    const corner a = turned ? to : from, b = turned ? from : to;
    const double slope = n == 0 ? 0 : (double)(dx >= dy ? b.y - a.y : b.x - a.x) / (double)n;
    o->steps += (uint64_t)n + 1;
    if (o->steps > MOST_STEPS)
        return cvr_fail(err, CVR_ERR_FORMAT, "a polygon of more than %llu pixels around; are its corners in pixels?",
                        (unsigned long long)(MOST_STEPS / FINE));
    for (int64_t d = 0; d <= n; d++) {
        const int64_t t = turned ? n - d : d;
        const int64_t other = (int64_t)((double)(dx >= dy ? a.y : a.x) + slope * (double)t + 0.5);
        CVR_TRY(dx >= dy ? walk_to(o, a.x + t, other, err) : walk_to(o, other, a.y + t, err));
    }
    return CVR_OK;
}

static corner corner_at(const double *xy) {
    return (corner){(int64_t)(FINE * xy[0] + 0.5), (int64_t)(FINE * xy[1] + 0.5)};
}

static int by_size(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int32_t fill_between(const outline *o, rle *r, cvr_error *err) {
    rle_build b = {0};
    uint64_t at = 0;
    CVR_TRY(rle_build_start(&b, r, o->height, o->width, err));
    if (o->n) qsort(o->ends, o->n, sizeof *o->ends, by_size);
    for (uint64_t i = 0; i < o->n; at = o->ends[i++]) CVR_TRY(rle_build_add(&b, o->ends[i] - at, i & 1, err));
    CVR_TRY(rle_build_add(&b, b.left, o->n & 1, err));
    return rle_build_end(&b, err);
}

int32_t rle_from_polygon(rle *r, int64_t height, int64_t width, const double *xy, uint64_t n_points, cvr_error *err) {
    outline o = {.host = r->host, .height = height, .width = width};
    int32_t status;
    for (uint64_t i = 0; i < 2 * n_points; i++) {
        if (!(xy[i] >= -FURTHEST && xy[i] <= FURTHEST))
            return cvr_fail(err, CVR_ERR_FORMAT, "a polygon has a corner at %g; are its corners in pixels?", xy[i]);
    }
    if (n_points < 3)
        return cvr_fail(err, CVR_ERR_FORMAT, "a polygon of %llu corners; it needs three", (unsigned long long)n_points);
    rle_build checked = {0};
    CVR_TRY(rle_build_start(&checked, r, height, width, err));
    for (uint64_t i = 0; i < n_points; i++)
        CVR_TRY_OUT(walk_edge(&o, corner_at(xy + 2 * i), corner_at(xy + 2 * (i + 1 < n_points ? i + 1 : 0)), err));
    status = fill_between(&o, r, err);
out:
    if (o.ends) r->host->free(r->host, o.ends);
    return status;
}
