/*
 * Tiles: a picture that is much larger than what the network looks at is cut into squares that overlap. Each is made
 * ready as if it were a picture of its own, several go through the network at once, and the task merges what was found.
 *
 * All tiles of a picture have one size, so that one program does for them: of a picture of 1500 pixels in tiles of 640
 * with an overlap of 0.2 there are three, 430 pixels apart, the last of which ends where the picture does.
 */
#include "session_parts.h"
#include <math.h>

/* ---- the grid ---- */

static int64_t tiles_along(int64_t side, int64_t tile, double overlap) {
    const double step = fmax(1, floor((double)tile * (1 - overlap)));
    return side > tile ? (int64_t)ceil((double)(side - tile) / step) + 1 : 1;
}

/* Evenly from the first pixel to the last. */
static int64_t tile_start(int64_t i, int64_t n, int64_t side, int64_t tile) {
    return n > 1 ? (int64_t)floor((double)i * (double)(side - tile) / (double)(n - 1) + 0.5) : 0;
}

static int64_t fewer(int64_t a, int64_t b) {
    return a < b ? a : b;
}

int32_t cvr_session_check_tiles(const cvr_session *s, int64_t side, double overlap, cvr_error *err) {
    const cvr_task_desc *task = s->set.task;
    if (side == 0) return CVR_OK;
    if (!task->merge_tiles)
        cvr_fail(err, CVR_ERR_USAGE, "predict.tile: task %s cannot put together what it finds in tiles; leave it out",
                 task->name);
    else if (side < 16 || !(overlap >= 0 && overlap < 1))
        cvr_fail(err, CVR_ERR_USAGE,
                 "predict.tile = %lld, predict.overlap = %g: a tile has 16 pixels or more, and shares less than all of "
                 "them with the next",
                 (long long)side, overlap);
    else
        return CVR_OK;
    return cvr_config_blame(s->set.config, "predict", "tile", CVR_ERR_USAGE, err);
}

static int32_t lay_out(tiles *t, const cvr_image *p, cvr_error *err) {
    const int64_t width = fewer(t->side, p->width), height = fewer(t->side, p->height);
    t->columns = tiles_along(p->width, t->side, t->overlap);
    t->rows = tiles_along(p->height, t->side, t->overlap);
    if (t->columns > MOST_TILES || t->rows > MOST_TILES || t->columns * t->rows > MOST_TILES)
        return cvr_fail(
            err, CVR_ERR_USAGE,
            "predict.tile = %lld makes %lld x %lld tiles of %lld x %lld pixels, more than %d; set it higher",
            (long long)t->side, (long long)t->columns, (long long)t->rows, (long long)p->width, (long long)p->height,
            MOST_TILES);
    t->n = t->columns * t->rows;
    const int64_t batches = (t->n + MOST_TILES_AT_ONCE - 1) / MOST_TILES_AT_ONCE;
    t->at_once = (t->n + batches - 1) / batches;
    t->edges = cvr_calloc((size_t)t->n * 4, sizeof *t->edges);
    t->origins = cvr_calloc((size_t)t->n, sizeof *t->origins);
    t->origin_views = cvr_calloc((size_t)(t->n + t->at_once), sizeof *t->origin_views);
    t->pixels = cvr_alloc_aligned((size_t)(width * height * p->channels), 64);
    if (!t->edges || !t->origins || !t->origin_views || !t->pixels)
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for tiles");
    for (int64_t i = 0; i < t->n; i++) {
        const int64_t x = tile_start(i % t->columns, t->columns, p->width, width),
                      y = tile_start(i / t->columns, t->rows, p->height, height);
        const double edges[4] = {(double)x, (double)y, (double)(x + width), (double)(y + height)};
        memcpy(t->edges + 4 * i, edges, sizeof edges);
    }
    for (int64_t i = 0; i < t->n + t->at_once; i++) t->origin_views[i] = &t->origins[fewer(i, t->n - 1)];
    return CVR_OK;
}

/* ---- rows on each other ---- */

static uint64_t row_bytes(const cvr_tensor *t) {
    return (uint64_t)cvr_numel(t->rank, t->shape) / (uint64_t)t->shape[0] * cvr_dtype_size(t->dtype);
}

static void stack_free(tile_stack *s) {
    for (size_t i = 0; i < s->n; i++) cvr_free(s->fields[i].tensor.data);
    cvr_free(s->fields);
    cvr_free(s->views);
    *s = (tile_stack){0};
}

/* Room for `rows` of everything that a view has; with `longer` axis 1 is that many times as long. */
static int32_t stack_open(tile_stack *s, const cvr_batch_view *like, int64_t rows, int64_t longer, cvr_error *err) {
    s->fields = cvr_calloc(like->n_fields + 1u, sizeof *s->fields);
    s->views = cvr_calloc(like->n_fields + 1u, sizeof *s->views);
    if (!s->fields || !s->views) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for tiles");
    for (uint32_t i = 0; i < like->n_fields; i++) {
        cvr_named_tensor *f = &s->fields[s->n];
        *f = *like->fields[i];
        if (f->tensor.rank < 1 || (longer > 1 && (f->tensor.rank < 2 || f->tensor.rank > 3)))
            return cvr_fail(err, CVR_ERR_INVALID, "`%s` has no axis of what was found, so that tiles cannot be merged",
                            f->name);
        f->tensor.shape[0] = rows;
        if (longer > 1) f->tensor.shape[1] *= longer;
        f->tensor.data = cvr_alloc_aligned((size_t)(row_bytes(&f->tensor) * (uint64_t)rows) + 8, 64);
        if (!f->tensor.data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for tiles");
        s->views[s->n++] = f;
    }
    return CVR_OK;
}

/* Rows from `first` on of a view, n of them, to rows from `to` on. */
static int32_t stack_put(tile_stack *s, const cvr_batch_view *v, int64_t to, int64_t n, cvr_error *err) {
    for (size_t i = 0; i < s->n; i++) {
        const cvr_named_tensor *from = cvr_batch_find(v, s->fields[i].name);
        const uint64_t bytes = row_bytes(&s->fields[i].tensor);
        if (!from || row_bytes(&from->tensor) != bytes)
            return cvr_fail(err, CVR_ERR_INVALID, "the tiles' `%s` differ in size", s->fields[i].name);
        memcpy((char *)s->fields[i].tensor.data + (uint64_t)to * bytes, from->tensor.data, (uint64_t)n * bytes);
    }
    return CVR_OK;
}

static cvr_batch_view stack_view(const tile_stack *s, int64_t rows, const cvr_origin *const *origins) {
    return (cvr_batch_view){.struct_size = sizeof(cvr_batch_view),
                            .n = rows,
                            .n_fields = (uint32_t)s->n,
                            .fields = s->views,
                            .origins = origins};
}

/* ---- looking ---- */

typedef struct looking {
    cvr_session *s;
    const cvr_image *picture;
    const cvr_origin *origin; /* the picture's */
} looking;

/* The origin of a tile's sample, as the picture's: its geometry leads from there, by way of the tile. */
static void place_origin(tiles *t, int64_t i, const cvr_origin *picture, const cvr_origin *tile) {
    const double x = t->edges[4 * i], y = t->edges[4 * i + 1];
    cvr_origin *o = &t->origins[i];
    *o = *picture;
    memcpy(o->geometry, tile->geometry, sizeof o->geometry);
    for (int k = 0; k < 3; k++) o->geometry[3 * k + 2] -= o->geometry[3 * k] * x + o->geometry[3 * k + 1] * y;
}

/* Puts tile i into row `row` of the batch. */
static int32_t make_tile(const looking *l, int64_t i, int64_t row, cvr_error *err) {
    const cvr_image *p = l->picture;
    tiles *t = &l->s->tiles;
    const double *e = t->edges + 4 * i;
    const int64_t x = (int64_t)e[0], y = (int64_t)e[1], width = (int64_t)e[2] - x, height = (int64_t)e[3] - y;
    const size_t line = (size_t)(width * p->channels);
    const cvr_image tile = {
        .struct_size = sizeof tile, .width = width, .height = height, .channels = p->channels, .data = t->pixels};
    cvr_batch b;
    for (int64_t k = 0; k < height; k++)
        memcpy(t->pixels + (size_t)k * line, p->data + ((y + k) * p->width + x) * p->channels, line);
    CVR_TRY(cvr_batches_show(l->s->data.pictures, &tile, l->origin->path, &b, err));
    if (!t->batch.n) {
        t->canvas = b.canvas;
        CVR_TRY(stack_open(&t->batch, &b.view, t->at_once, 1, err));
    }
    place_origin(t, i, l->origin, b.view.origins[0]);
    return stack_put(&t->batch, &b.view, row, 1, err);
}

/* Tiles from `first` on; the last batch of a picture shows its last tile again where it has room. */
static int32_t look(const looking *l, int64_t first, cvr_error *err) {
    cvr_session *s = l->s;
    tiles *t = &s->tiles;
    const net_scalars scalars = {.loss_scale = 1, .seed = s->set.run->seed};
    const int64_t n = fewer(t->at_once, t->n - first);
    cvr_batch_view results;
    net_program *p;
    for (int64_t i = 0; i < t->at_once; i++) CVR_TRY(make_tile(l, first + fewer(i, n - 1), i, err));
    const program_key key = {.purpose = PROGRAM_PREDICT, .batch = t->at_once, .canvas = t->canvas};
    const cvr_batch_view batch = stack_view(&t->batch, t->at_once, t->origin_views + first);
    if (!s->net.store) CVR_TRY(session_open_network(s, &key, 1, err));
    CVR_TRY(network_program(&s->net, &key, &p, err));
    CVR_TRY(net_program_run(p, &batch, &scalars, err));
    CVR_TRY(net_program_results(p, &batch, &results, err));
    if (!t->found.n) CVR_TRY(stack_open(&t->found, &results, t->n, 1, err));
    return stack_put(&t->found, &results, first, n, err);
}

static int32_t merge(const looking *l, bool predicts, cvr_batch_view *out, cvr_error *err) {
    static const double same[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    tiles *t = &l->s->tiles;
    const cvr_batch_view found = stack_view(&t->found, t->n, t->origin_views);
    const cvr_tiles all = {.struct_size = sizeof all, .found = &found, .edges = t->edges, .predicts = predicts};
    t->whole = *l->origin;
    memcpy(t->whole.geometry, same, sizeof same);
    t->whole_view = &t->whole;
    CVR_TRY(stack_open(&t->merged, &found, 1, t->n, err));
    *out = stack_view(&t->merged, 1, &t->whole_view);
    return CVR_CALL(l->s->set.task, merge_tiles, NULL, err, &l->s->data.task, &all, out);
}

void tiles_free(tiles *t) {
    stack_free(&t->batch);
    stack_free(&t->found);
    stack_free(&t->merged);
    cvr_free(t->edges);
    cvr_free(t->origins);
    cvr_free(t->origin_views);
    cvr_free(t->pixels);
    *t = (tiles){.side = t->side, .overlap = t->overlap};
}

int32_t session_run_tiles(cvr_session *s, const cvr_image *picture, const cvr_origin *origin, bool predicts,
                          cvr_batch_view *out, cvr_error *err) {
    const looking l = {s, picture, origin};
    tiles *t = &s->tiles;
    tiles_free(t);
    CVR_TRY(lay_out(t, picture, err));
    for (int64_t first = 0; first < t->n; first += t->at_once) CVR_TRY(look(&l, first, err));
    return merge(&l, predicts, out, err);
}
