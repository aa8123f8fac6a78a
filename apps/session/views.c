/*
 * Views of a picture: at several sizes, as it is and mirrored, whole or in windows. The rules are mmsegmentation's:
 * - windows lie `stride` apart, the last of a row and of a column is moved back inside; what the network says of a
 * pixel in several windows is averaged as logits;
 * - each view's logits are brought to the size that is asked for, bilinear, and then the views' softmaxes are averaged.
 * The answer holds logits again: those of one view as they are, of several the logarithm of the mean. Unlike there, a
 * picture that is smaller than a window is padded with what batches are padded with, so that one program serves all
 * windows.
 */
#include "views.h"
#include "resample.h"
#include <math.h>

static int32_t reserve(view_memory *m, int64_t height, int64_t width, int64_t depth, uint64_t size, cvr_error *err) {
    const double wanted = (double)height * (double)width * (double)depth * (double)size;
    const uint64_t bytes = wanted < 0x1p60 ? (uint64_t)(height * width * depth) * size : UINT64_MAX;
    if (bytes <= m->bytes) return CVR_OK;
    cvr_free(m->data);
    *m = (view_memory){bytes < UINT64_MAX ? cvr_alloc_aligned(bytes + 64, 64) : NULL, bytes};
    if (m->data) return CVR_OK;
    m->bytes = 0;
    return cvr_fail(err, CVR_ERR_NOMEM,
                    "out of memory for what the network says of %lld x %lld pixels, %lld numbers each; set "
                    "val.resize_size, or val.protocol = resized",
                    (long long)width, (long long)height, (long long)depth);
}

void views_free(views *v) {
    view_memory *const all[] = {&v->input, &v->scaled, &v->sum, &v->times, &v->total, &v->row};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) cvr_free(all[i]->data);
    memset(v, 0, sizeof *v);
}

/* ---- sizes ---- */

static int64_t scaled(int64_t side, double scale) {
    const double x = (double)side * scale + 0.5;
    return x >= 2 ? (int64_t)x : 1;
}

static int64_t round_up(int64_t x, int64_t stride) {
    return (x + stride - 1) / stride * stride;
}

static cvr_canvas canvas_for(const settings *s, cvr_canvas picture, double scale) {
    const int64_t stride = data_stride(s), window = s->protocol.window;
    const cvr_canvas c = {window ? window : scaled(picture.height, scale),
                          window ? window : scaled(picture.width, scale)};
    return (cvr_canvas){round_up(c.height, stride), round_up(c.width, stride)};
}

bool views_canvas(const settings *s, cvr_canvas picture, size_t i, cvr_canvas *out) {
    if (i >= (s->protocol.window ? 1 : s->protocol.n_scales)) return false;
    *out = canvas_for(s, picture, s->protocol.scales[i]);
    return true;
}

/* The picture as the data has it ends where the geometry takes its lower right corner. */
cvr_canvas views_picture_size(const cvr_batch *b) {
    const cvr_origin *o = b->view.origins[0];
    const double *g = o->geometry, x = (double)o->width, y = (double)o->height, w = g[6] * x + g[7] * y + g[8];
    const int64_t width = (int64_t)floor((g[0] * x + g[1] * y + g[2]) / w + 0.5),
                  height = (int64_t)floor((g[3] * x + g[4] * y + g[5]) / w + 0.5);
    return (cvr_canvas){height > 0 && height < b->canvas.height ? height : b->canvas.height,
                        width > 0 && width < b->canvas.width ? width : b->canvas.width};
}

/* What a view's canvas is made of: a picture's own size where its canvas is the least that holds it, so that it is not
 * padded twice; else the canvas, which others have as well. */
static cvr_canvas size_to_scale(const settings *s, const cvr_batch *b) {
    const int64_t stride = data_stride(s);
    const cvr_canvas size = views_picture_size(b);
    const bool least =
        round_up(size.height, stride) == b->canvas.height && round_up(size.width, stride) == b->canvas.width;
    return least ? size : b->canvas;
}

/* ---- one look ---- */

/* A picture at one of the scales: (height, width, channels) with `pitch` pixels from row to row. */
typedef struct view {
    const run_network *net;
    const cvr_named_tensor *field; /* the batch's, whose name and element type it has */
    const char *data;
    int64_t height, width, pitch, channels;
    bool mirrored;
    double scale;
} view;

static uint8_t level_of(double mean) {
    return (uint8_t)(255 * fmin(fmax(mean, 0), 1) + 0.5);
}

/* What pixels are padded with: 0 once they are normalised. */
static void pad(const view *v, char *to, int64_t n) {
    const double *mean = v->net->settings->mean;
    const uint64_t size = cvr_dtype_size(v->field->tensor.dtype);
    if (v->field->tensor.dtype != CVR_U8) {
        memset(to, 0, (uint64_t)(n * v->channels) * size);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < v->channels; c++) *(uint8_t *)to++ = level_of(mean[c < 4 ? c : 3]);
}

/* What the network looks at once: a window of a view, or all of it. */
typedef struct window {
    int64_t top, left, height, width; /* may reach past the view */
    cvr_canvas canvas;                /* that it lies on, at the upper left */
} window;

static int64_t fewer(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* The window on its canvas; what lies outside of it or of the view is padded. */
static void fill_input(const view *v, const window *w, char *to) {
    const uint64_t pixel = (uint64_t)v->channels * cvr_dtype_size(v->field->tensor.dtype);
    const int64_t rows = fewer(v->height - w->top, w->height), columns = fewer(v->width - w->left, w->width);
    for (int64_t y = 0; y < w->canvas.height; y++, to += (uint64_t)w->canvas.width * pixel) {
        const int64_t n = y < rows ? columns : 0;
        pad(v, to + (uint64_t)n * pixel, w->canvas.width - n);
        if (n == 0) continue;
        const char *from = v->data + (uint64_t)((w->top + y) * v->pitch) * pixel;
        if (!v->mirrored) memcpy(to, from + (uint64_t)w->left * pixel, (uint64_t)n * pixel);
        for (int64_t x = 0; x < n && v->mirrored; x++)
            memcpy(to + (uint64_t)x * pixel, from + (uint64_t)(v->width - 1 - w->left - x) * pixel, pixel);
    }
}

/* Runs the network on the input; `out` gets what it says of each pixel: (1, classes, H, W). */
static int32_t look(views *v, run_network *n, const cvr_batch *b, cvr_canvas canvas, const cvr_tensor **out,
                    cvr_error *err) {
    const net_scalars scalars = {.loss_scale = 1, .seed = n->settings->run->seed};
    const program_key key = {.purpose = PROGRAM_PREDICT, .batch = 1, .canvas = canvas};
    cvr_named_tensor image = *b->view.fields[0];
    const cvr_named_tensor *const fields[] = {&image};
    const cvr_batch_view input = {
        .struct_size = sizeof input, .n = 1, .n_fields = 1, .fields = fields, .origins = b->view.origins};
    const char *name = n->settings->task->dense;
    cvr_batch_view results;
    net_program *p;
    image.tensor.data = v->input.data;
    image.tensor.shape[2] = canvas.height;
    image.tensor.shape[3] = canvas.width;
    CVR_TRY(network_program(n, &key, &p, err));
    CVR_TRY(net_program_run(p, &input, &scalars, err));
    CVR_TRY(net_program_results(p, &input, &results, err));
    const cvr_named_tensor *result = cvr_batch_find(&results, name);
    const cvr_tensor *t = result ? &result->tensor : NULL;
    if (!t || t->rank != 4 || t->dtype != CVR_F32)
        return cvr_fail(err, CVR_ERR_INVALID, "the network has no result `%s` (N, classes, H, W) in f32", name);
    if (t->shape[2] != canvas.height || t->shape[3] != canvas.width)
        return cvr_fail(
            err, CVR_ERR_INVALID,
            "the network's `%s` is %lld x %lld for a picture of %lld x %lld; bring it to the picture's size "
            "with resize",
            name, (long long)t->shape[3], (long long)t->shape[2], (long long)canvas.width, (long long)canvas.height);
    *out = t;
    return CVR_OK;
}

/* Adds what was said of a window to the sums, at the place that it has in the picture. */
static void add_window(views *v, const view *w, const cvr_tensor *said, const window *at) {
    const int64_t rows = fewer(w->height - at->top, at->height), columns = fewer(w->width - at->left, at->width);
    float *sum = v->sum.data;
    int32_t *times = v->times.data;
    for (int64_t y = 0; y < rows; y++) {
        const float *from = (const float *)said->data + y * said->shape[3] * said->pixel_stride;
        for (int64_t x = 0; x < columns; x++, from += said->pixel_stride) {
            const int64_t column = w->mirrored ? w->width - 1 - at->left - x : at->left + x;
            const int64_t pixel = (at->top + y) * w->width + column;
            for (int64_t k = 0; k < v->channels; k++) sum[pixel * v->channels + k] += from[k];
            times[pixel]++;
        }
    }
}

/* Windows of a length along a side, and where window i begins. */
static int64_t windows(int64_t side, int64_t length, int64_t stride) {
    return (side > length ? side - length + stride - 1 : 0) / stride + 1;
}
static int64_t window_at(int64_t i, int64_t side, int64_t length, int64_t stride) {
    const int64_t last = side > length ? side - length : 0;
    return fewer(i * stride, last);
}

/* Room for the sums, once the number of classes is known. */
static int32_t begin_sums(views *v, const view *w, const cvr_tensor *said, cvr_error *err) {
    v->channels = said->shape[1];
    CVR_TRY(reserve(&v->sum, w->height, w->width, v->channels, sizeof(float), err));
    CVR_TRY(reserve(&v->times, w->height, w->width, 1, sizeof(int32_t), err));
    memset(v->sum.data, 0, (uint64_t)(w->height * w->width * v->channels) * sizeof(float));
    memset(v->times.data, 0, (uint64_t)(w->height * w->width) * sizeof(int32_t));
    return CVR_OK;
}

/* The network on all windows of a view, or on the whole of it; v->sum then has the mean: (h, w, classes). */
static int32_t look_at_view(views *v, run_network *n, const cvr_batch *b, const view *w, cvr_error *err) {
    const protocol *p = &n->settings->protocol;
    const cvr_canvas canvas = canvas_for(n->settings, size_to_scale(n->settings, b), w->scale);
    const int64_t height = p->window ? p->window : w->height, width = p->window ? p->window : w->width;
    const int64_t stride = p->window ? p->stride : 1, rows = windows(w->height, height, stride),
                  columns = windows(w->width, width, stride);
    const cvr_tensor *said = NULL;
    CVR_TRY(reserve(&v->input, canvas.height, canvas.width, w->channels, sizeof(float), err));
    for (int64_t i = 0; i < rows * columns; i++) {
        const window at = {window_at(i / columns, w->height, height, stride),
                           window_at(i % columns, w->width, width, stride), height, width, canvas};
        fill_input(w, &at, v->input.data);
        CVR_TRY(look(v, n, b, canvas, &said, err));
        if (i == 0) CVR_TRY(begin_sums(v, w, said, err));
        add_window(v, w, said, &at);
    }
    float *sum = v->sum.data;
    const int32_t *times = v->times.data;
    for (int64_t i = 0; rows * columns > 1 && i < w->height * w->width; i++)
        for (int64_t k = 0; k < v->channels; k++) sum[i * v->channels + k] /= (float)times[i];
    return CVR_OK;
}

/* ---- merging ---- */

/* x becomes softmax(x), and is added to `to`. */
static void add_softmax(float *to, float *x, int64_t n) {
    float most = x[0], sum = 0;
    for (int64_t k = 1; k < n; k++) most = x[k] > most ? x[k] : most;
    for (int64_t k = 0; k < n; k++) sum += x[k] = expf(x[k] - most);
    for (int64_t k = 0; k < n; k++) to[k] += x[k] / sum;
}

/* v->sum at the target's size goes into v->total, rows at a time. */
#define ROWS_AT_A_TIME 16
typedef struct merging {
    const views *v;
    const view *w;
    const view_target *to;
    bool alone; /* the only view: its logits are the answer */
} merging;

static void merge_rows(void *ctx, uint64_t task, uint32_t worker) {
    const merging *m = ctx;
    const int64_t c = m->v->channels, width = m->to->width, first = (int64_t)task * ROWS_AT_A_TIME;
    const plane from = {m->v->sum.data, m->w->height, m->w->width, c};
    float *row = (float *)m->v->row.data + (int64_t)worker * width * c;
    for (int64_t y = first; y < first + ROWS_AT_A_TIME && y < m->to->height; y++) {
        float *total = (float *)m->v->total.data + y * m->to->canvas.width * c;
        resample_row(&from, m->to->height, width, y, m->alone ? total : row);
        for (int64_t x = 0; x < width && !m->alone; x++) add_softmax(total + x * c, row + x * c, c);
    }
}

static int32_t merge(views *v, const view *w, const view_target *to, size_t n_views, cvr_error *err) {
    const cvr_threadpool *pool = w->net->pool;
    merging m = {v, w, to, n_views == 1};
    CVR_TRY(reserve(&v->row, pool->n_workers, to->width, v->channels, sizeof(float), err));
    pool->run(pool, (uint64_t)((to->height + ROWS_AT_A_TIME - 1) / ROWS_AT_A_TIME), merge_rows, &m);
    return CVR_OK;
}

static int32_t begin_total(views *v, const view_target *to, cvr_error *err) {
    CVR_TRY(reserve(&v->total, to->canvas.height, to->canvas.width, v->channels, sizeof(float), err));
    memset(v->total.data, 0, (uint64_t)(to->canvas.height * to->canvas.width * v->channels) * sizeof(float));
    return CVR_OK;
}

/* The mean's logarithm: logits whose softmax the mean is. */
static void end_total(views *v, const view_target *to, size_t n_views) {
    float *total = v->total.data;
    for (int64_t y = 0; y < to->height && n_views > 1; y++) {
        float *row = total + y * to->canvas.width * v->channels;
        for (int64_t i = 0; i < to->width * v->channels; i++) {
            const float share = row[i] / (float)n_views;
            row[i] = logf(share < 1e-30f ? 1e-30f : share); /* what is no number stays so, for the task to see */
        }
    }
}

static void show(views *v, const view_target *to, const char *name, cvr_batch_view *out) {
    v->output = (cvr_named_tensor){.struct_size = sizeof v->output, .name = name, .kind = ""};
    v->output.tensor = (cvr_tensor){.struct_size = sizeof v->output.tensor,
                                    .dtype = CVR_F32,
                                    .rank = 4,
                                    .shape = {1, v->channels, to->canvas.height, to->canvas.width, 1, 1},
                                    .pixel_stride = v->channels,
                                    .data = v->total.data};
    v->fields[0] = &v->output;
    v->origins[0] = to->origin;
    *out =
        (cvr_batch_view){.struct_size = sizeof *out, .n = 1, .n_fields = 1, .fields = v->fields, .origins = v->origins};
}

/* The picture at a scale, in v->scaled, or where the batch has it. */
static int32_t make_view(views *v, const run_network *n, const cvr_batch *b, double scale, view *w, cvr_error *err) {
    const cvr_named_tensor *image = b->view.fields[0];
    const cvr_canvas size = views_picture_size(b);
    *w = (view){.net = n,
                .field = image,
                .data = image->tensor.data,
                .height = size.height,
                .width = size.width,
                .pitch = b->canvas.width,
                .channels = image->tensor.shape[1],
                .scale = scale};
    if (scale == 1) return CVR_OK;
    const pixels from = {image->tensor.dtype, w->data, size.height, size.width, w->pitch, w->channels};
    w->height = scaled(size.height, scale);
    w->width = w->pitch = scaled(size.width, scale);
    CVR_TRY(reserve(&v->scaled, w->height, w->width, w->channels, cvr_dtype_size(from.dtype), err));
    resample_pixels(&from, v->scaled.data, w->height, w->width);
    w->data = v->scaled.data;
    return CVR_OK;
}

int32_t views_run(views *v, run_network *n, const cvr_batch *b, const view_target *to, cvr_batch_view *out,
                  cvr_error *err) {
    const protocol *p = &n->settings->protocol;
    const size_t turns = p->flip ? 2 : 1, n_views = p->n_scales * turns;
    for (size_t i = 0; i < n_views; i++) {
        view w;
        CVR_TRY(make_view(v, n, b, p->scales[i / turns], &w, err));
        w.mirrored = i % turns == 1;
        CVR_TRY(look_at_view(v, n, b, &w, err));
        if (i == 0) CVR_TRY(begin_total(v, to, err));
        CVR_TRY(merge(v, &w, to, n_views, err));
    }
    end_total(v, to, n_views);
    show(v, to, n->settings->task->dense, out);
    return CVR_OK;
}
