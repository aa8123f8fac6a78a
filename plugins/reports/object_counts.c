/* Counting objects. */
#include "object_counts.h"
#include <math.h>

/* What is looked at now. */
typedef struct counting {
    object_counts *to;
    int64_t height, width; /* of the picture; 0: not known */
    int64_t n;             /* its objects so far */
} counting;

static int64_t bin(double v, int64_t n) {
    if (!(v > 0)) return 0;
    return v < (double)n ? (int64_t)v : n - 1;
}

static void count_extent(counting *t, const cvr_object *o) {
    object_counts *const to = t->to;
    const double w = o->box[2], h = o->box[3];
    if (!(w > 0) || !(h > 0) || !isfinite(w) || !isfinite(h)) {
        to->no_size++;
        return;
    }
    to->ratio[bin(4 * (log2(w / h) + 3), OBJECT_RATIOS)]++;
    if (t->height <= 0 || t->width <= 0) {
        to->no_size++;
        return;
    }
    const double wide = (double)t->width, high = (double)t->height, side = sqrt(w / wide * (h / high));
    const double x = (o->box[0] + w / 2) / wide, y = (o->box[1] + h / 2) / high;
    to->side[bin(4 * (log2(side) + 8), OBJECT_SIDES)]++;
    to->centre[bin(y * OBJECT_CELLS, OBJECT_CELLS) * OBJECT_CELLS + bin(x * OBJECT_CELLS, OBJECT_CELLS)]++;
}

static int32_t count_object(void *ctx, const cvr_object *o, cvr_error *err) {
    counting *const t = ctx;
    object_counts *const to = t->to;
    (void)err;
    if (o->klass < 0 || o->klass >= to->n_classes) {
        to->unknown++;
    } else if (o->flags & CVR_OBJECT_CROWD) {
        to->crowds++;
    } else {
        to->of_class[o->klass]++;
        to->objects++;
        t->n++;
        count_extent(t, o);
    }
    return CVR_OK;
}

static int32_t count_picture(object_counts *t, const cvr_run_info *info, int64_t index, cvr_error *err) {
    counting c = {.to = t};
    const int32_t known = info->size ? info->size(info->data, index, &c.height, &c.width, err) : CVR_ERR_NOTFOUND;
    if (known == CVR_ERR_NOTFOUND) c.height = c.width = 0;
    if (known != CVR_OK && known != CVR_ERR_NOTFOUND) return known;
    CVR_TRY(info->objects(info->data, index, count_object, &c, err));
    t->of_picture[t->pictures++] = c.n;
    t->empty += c.n == 0;
    t->most = c.n > t->most ? c.n : t->most;
    return CVR_OK;
}

int32_t object_counts_open(object_counts *t, const cvr_run_info *info, cvr_error *err) {
    const int64_t n = info->n_samples < OBJECT_PICTURES ? info->n_samples : OBJECT_PICTURES;
    int32_t status = CVR_OK;
    *t = (object_counts){.n_classes = info->n_classes, .samples = info->n_samples};
    if (n <= 0 || info->n_classes <= 0 || !info->objects)
        return cvr_fail(err, CVR_ERR_NOTFOUND, "the data does not tell of objects");
    t->of_class = report_calloc(info->host, (uint64_t)t->n_classes * sizeof *t->of_class);
    t->of_picture = report_calloc(info->host, (uint64_t)n * sizeof *t->of_picture);
    if (!t->of_class || !t->of_picture) status = cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a report");
    for (int64_t i = 0; i < n && status == CVR_OK; i++)
        status = count_picture(t, info, (int64_t)((double)i * (double)t->samples / (double)n), err);
    if (status != CVR_OK) object_counts_close(t, info->host);
    return status;
}

void object_counts_close(object_counts *t, const cvr_host *host) {
    if (t->of_class) host->free(host, t->of_class);
    if (t->of_picture) host->free(host, t->of_picture);
    t->of_class = t->of_picture = NULL;
}

int64_t object_counts_rows(const object_counts *t, int64_t rows[OBJECT_ROWS]) {
    const int64_t step = t->most / OBJECT_ROWS + 1;
    memset(rows, 0, OBJECT_ROWS * sizeof *rows);
    for (int64_t i = 0; i < t->pictures; i++) rows[t->of_picture[i] / step]++;
    return step;
}
