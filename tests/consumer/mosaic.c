/*
 * acme.mosaic: four pictures in one, each shrunk into a quarter, with the boxes and masks of all of them (after
 * Bochkovskiy et al., "YOLOv4", 2020). The quarters meet at params [0], [1]: shares of the height and of the width.
 */
#include <cvr/plugin/plugin.h>

/* Where one of the pictures goes, and how large it is before. */
typedef struct tile {
    int64_t top, left, h, w, from_h, from_w;
} tile;

static int32_t mosaic_params(const void *attrs, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    (void)attrs, (void)s, (void)err;
    for (int i = 0; i < 2; i++) params[i] = 0.25 + 0.5 * cvr_rng_uniform(rng);
    return CVR_OK;
}

static const cvr_field *field_of(const cvr_sample *s, const char *name) {
    for (uint32_t i = 0; i < s->n_fields; i++) {
        if (strcmp(s->fields[i]->name, name) == 0) return s->fields[i];
    }
    return NULL;
}

/* from: (t->from_h, t->from_w) pixels; to: rows of `width` pixels. To the nearest, which is right for masks, too. */
static void paste(char *to, int64_t width, const char *from, const tile *t, int64_t pixel) {
    for (int64_t y = 0; y < t->h; y++) {
        for (int64_t x = 0; x < t->w; x++) {
            const int64_t source = y * t->from_h / t->h * t->from_w + x * t->from_w / t->w;
            memcpy(to + ((t->top + y) * width + t->left + x) * pixel, from + source * pixel, (size_t)pixel);
        }
    }
}

static void move_boxes(float *box, int64_t n, const tile *t) {
    const float sx = (float)t->w / (float)t->from_w, sy = (float)t->h / (float)t->from_h;
    for (int64_t i = 0; i < 2 * n; i++, box += 2) {
        box[0] = box[0] * sx + (float)t->left;
        box[1] = box[1] * sy + (float)t->top;
    }
}

/* A field of the four samples, and what it becomes. */
typedef struct joined {
    const cvr_field *from[4];
    const tile *tiles;
    int32_t ragged, is_picture, is_boxes;
    int64_t width;      /* of the picture that comes out */
    int64_t row, pixel; /* bytes of a row, or of the whole field where it is not ragged, and of a pixel */
} joined;

static int64_t rows_of(const joined *j, int i) {
    return j->ragged ? j->from[i]->shape[0] : 1;
}

/* Rows of a ragged axis follow one another; what is as large as the picture is pasted into its quarter. */
static void join_rows(const joined *j, char *to) {
    for (int i = 0; i < 4; i++) {
        const tile *const t = &j->tiles[i];
        const char *const from = j->from[i]->data;
        const int64_t n = rows_of(j, i);
        for (int64_t k = 0; k < n && j->is_picture; k++)
            paste(to + k * j->row, j->width, from + k * t->from_h * t->from_w * j->pixel, t, j->pixel);
        if (!j->is_picture) memcpy(to, from, (size_t)(n * j->row));
        if (j->is_boxes) move_boxes((float *)(void *)to, n, t);
        if (j->ragged) to += n * j->row;
    }
}

static int32_t join(cvr_sample *const *samples, cvr_field *f, const tile *tiles, cvr_error *err) {
    const cvr_field_kind *const kind = samples[0]->kind(samples[0], f->kind);
    const uint32_t ragged = kind->axis != NULL, at = kind->height_axis, is_picture = at != CVR_NO_AXIS;
    const int64_t size = (int64_t)cvr_dtype_size(f->dtype);
    joined j = {.tiles = tiles,
                .ragged = ragged != 0,
                .is_picture = is_picture != 0,
                .is_boxes = cvr_field_is(f, CVR_FIELD_BOXES),
                .width = is_picture ? f->shape[at + 1] : 0,
                .row = size * cvr_numel(f->rank - ragged, f->shape + ragged),
                .pixel = is_picture ? size * cvr_numel(f->rank - at - 2, f->shape + at + 2) : 0};
    int64_t rows = 0;
    for (int i = 0; i < 4; i++) {
        j.from[i] = field_of(samples[i], f->name);
        if (!j.from[i] || j.from[i]->dtype != f->dtype || j.from[i]->rank != f->rank)
            return cvr_fail(err, CVR_ERR_INVALID, "acme.mosaic: the samples' '%s' are not alike", f->name);
        rows += rows_of(&j, i);
    }
    if (!ragged) rows = 1;
    char *const to = samples[0]->alloc(samples[0], (uint64_t)(rows * j.row));
    if (!to) return cvr_fail(err, CVR_ERR_NOMEM, "acme.mosaic: out of memory");
    memset(to, 0, (size_t)(rows * j.row));
    join_rows(&j, to);
    if (ragged) f->shape[0] = rows;
    f->data = to;
    return CVR_OK;
}

static int32_t mosaic_apply(const void *attrs, const double *params, cvr_sample *const *samples, uint32_t n,
                            cvr_error *err) {
    const cvr_field *const first = cvr_sample_find(samples[0], CVR_FIELD_IMAGE);
    const int64_t h = first->shape[0], w = first->shape[1], c = first->shape[2];
    const int64_t y = (int64_t)(params[0] * (double)h), x = (int64_t)(params[1] * (double)w);
    tile tiles[4];
    (void)attrs;
    for (uint32_t i = 0; i < n; i++) {
        const cvr_field *const image = cvr_sample_find(samples[i], CVR_FIELD_IMAGE);
        if (image->shape[2] != c) return cvr_fail(err, CVR_ERR_INVALID, "acme.mosaic: grey and colour do not mix");
        const int down = i / 2 == 1, right = i % 2 == 1;
        tiles[i] =
            (tile){down ? y : 0, right ? x : 0, down ? h - y : y, right ? w - x : x, image->shape[0], image->shape[1]};
    }
    for (uint32_t i = 0; i < samples[0]->n_fields; i++) CVR_TRY(join(samples, samples[0]->fields[i], tiles, err));
    const double matrix[9] = {(double)x / (double)w, 0, 0, 0, (double)y / (double)h, 0, 0, 0, 1};
    cvr_sample_moved(samples[0], matrix);
    return CVR_OK;
}

/* No label: four pictures have four. */
static const char *const kinds[] = {CVR_FIELD_MASK, CVR_FIELD_BOXES, CVR_FIELD_BOX_LABELS, CVR_FIELD_MASKS};

static const cvr_augment_desc mosaic = {.struct_size = sizeof mosaic,
                                        .name = "acme.mosaic",
                                        .doc = "Four pictures in one",
                                        .n_params = 2,
                                        .stage = CVR_STAGE_SAMPLE,
                                        .n_samples = 4,
                                        .multiplies = 4,
                                        .n_kinds = 4,
                                        .kinds = kinds,
                                        .moves = 1,
                                        .make_params = mosaic_params,
                                        .apply_many = mosaic_apply};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_AUGMENT, &mosaic, err);
}

CVR_DEFINE_PLUGIN("com.acme.mosaic", "1.0.0", "", load)
