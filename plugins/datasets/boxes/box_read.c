/*
 * A picture with its objects as a sample, and what the data sets of boxes answer alike.
 */
#include "box_data.h"
#include <math.h>

/* ---- one box ---- */

#define OVERSHOOT 0.01 /* of the picture's side: what rounding and tools that count otherwise make */
#define BOX_FAR 1e9

int32_t box_is_right(const box_data *d, const box_object *o, int64_t height, int64_t width, char *why, uint64_t size) {
    const double w = d->shares ? 1 : (double)width, h = d->shares ? 1 : (double)height, *const b = o->box;
    const char *const unit = d->shares ? " of it" : " pixels";
    for (int k = 0; k < 4; k++) {
        if (b[k] >= -BOX_FAR && b[k] <= BOX_FAR) continue;
        (void)snprintf(why, size, "a box with the number %g; write it anew, or remove it", b[k]);
        return 0;
    }
    if (b[2] < 0 || b[3] < 0) {
        (void)snprintf(why, size,
                       "a box of %g x %g%s: no side can be negative (where corners are written, the smaller is first)",
                       b[2], b[3], d->shares ? "" : " pixels");
        return 0;
    }
    if (o->flags & CVR_OBJECT_CROWD) return 1;
    const double x = fmax(-b[0], b[0] + b[2] - w), y = fmax(-b[1], b[1] + b[3] - h);
    if (x < OVERSHOOT * w && y < OVERSHOOT * h) return 1;
    const int32_t pixels = d->shares && (fabs(b[0]) > 2 || fabs(b[1]) > 2 || b[2] > 2 || b[3] > 2);
    (void)snprintf(why, size, "a box from %g,%g to %g,%g reaches %g%s beyond the picture%s; %s", b[0], b[1],
                   b[0] + b[2], b[1] + b[3], x < OVERSHOOT * w ? y : x, unit, d->shares ? "" : "'s border",
                   pixels ? "are these pixels? Divide them by the picture's width and height" : "mend or remove it");
    return 0;
}

const char *box_name(const box_data *d, const box_object *o, char to[BOX_NAME_ROOM]) {
    to[0] = '\0';
    if (o->id != BOX_NO_ID)
        (void)snprintf(to, BOX_NAME_ROOM, "annotation %lld: ", (long long)o->id);
    else if (o->line)
        (void)snprintf(to, BOX_NAME_ROOM, d->one_file ? "annotation %u of the list: " : "line %u: ", o->line);
    return to;
}

/* torchvision's order of things, in f32: corners from sides, then the cut. */
int32_t box_corners(const box_data *d, const box_object *o, int64_t height, int64_t width, float corners[4]) {
    const double *const b = o->box;
    const float side[4] = {(float)width, (float)height, (float)width, (float)height};
    for (int k = 0; k < 2; k++) {
        corners[k] = d->shares ? (float)(b[k] * (double)side[k]) : (float)b[k];
        corners[k + 2] = d->shares ? (float)((b[k] + b[k + 2]) * (double)side[k]) : (float)b[k + 2] + (float)b[k];
    }
    for (int k = 0; k < 4; k++) corners[k] = fminf(fmaxf(corners[k], 0), side[k]);
    return corners[2] > corners[0] && corners[3] > corners[1];
}

/* ---- problems ---- */

static int32_t fail_problem(const box_data *d, const box_picture *p, cvr_error *err) {
    const struct box_problem *const problem = &d->problems[p->problem];
    const char *const text = d->text + problem->text, *const source = d->text + p->source;
    char more[80] = "", name[320] = "";
    if (problem->more)
        (void)snprintf(more, sizeof more, " (and %llu more of this picture)", (unsigned long long)problem->more);
    if (d->one_file) (void)snprintf(name, sizeof name, ", of %.300s", d->text + p->path);
    const int32_t status = cvr_fail(err, CVR_ERR_FORMAT, "%.500s%s%s", text, name, more);
    return cvr_fail_at(err, source, 0, status);
}

/* Boxes are judged by the size that was known when the data was opened. */
static int32_t check_late(const box_data *d, const box_picture *p, int64_t height, int64_t width, cvr_error *err) {
    if (p->height > 0 && (p->height != height || p->width != width)) {
        const int32_t turned = p->height == width && p->width == height;
        const int32_t status =
            cvr_fail(err, CVR_ERR_FORMAT, "the picture is %lld x %lld, its annotations are for %lld x %lld%s",
                     (long long)width, (long long)height, (long long)p->width, (long long)p->height,
                     turned ? "; it is turned by its EXIF orientation: turn the boxes likewise"
                            : "; are they of another picture?");
        return cvr_fail_at(err, d->text + p->path, 0, status);
    }
    if (d->shares || p->n == 0 || p->height > 0) return CVR_OK;
    return cvr_fail_at(err, d->text + p->path, 0,
                       cvr_fail(err, CVR_ERR_FORMAT,
                                "it could not be read when the data was opened, so that its boxes were not looked at; "
                                "start again"));
}

/* ---- a sample ---- */

static int32_t add(cvr_sample *s, const char *kind, uint32_t dtype, uint32_t rank, int64_t n, int64_t a, int64_t b,
                   void *out, cvr_error *err) {
    const cvr_field like = {
        .struct_size = sizeof like, .name = kind, .kind = kind, .dtype = dtype, .rank = rank, .shape = {n, a, b, 1}};
    cvr_field *field = NULL;
    CVR_TRY(s->add(s, &like, &field, err));
    memcpy(out, &field->data, sizeof field->data);
    return CVR_OK;
}

static int32_t fail_shape(const box_data *d, const box_picture *p, const box_object *o, int32_t status,
                          cvr_error *err) {
    char what[sizeof err->message], name[BOX_NAME_ROOM];
    if (status == CVR_ERR_NOMEM) return status;
    (void)snprintf(what, sizeof what, "%s", err->message);
    status = cvr_fail(err, status, "%sobject %llu of %.200s: %.600s", box_name(d, o, name),
                      (unsigned long long)(o - &d->objects[p->first]) + 1, d->text + p->path, what);
    return cvr_fail_at(err, d->text + p->source, 0, status);
}

static int32_t read_shape(const box_data *d, const box_picture *p, const box_object *o, int64_t height, int64_t width,
                          rle *r, cvr_error *err) {
    const int32_t status = o->n_shape && d->shape
                               ? d->shape(d, o, height, width, r, err)
                               : cvr_fail(err, CVR_ERR_FORMAT,
                                          "it has no outline, which data.masks = yes asks for; draw it, or remove it");
    return status == CVR_OK ? status : fail_shape(d, p, o, status, err);
}

/* The objects that count, as fields: boxes (object,4), box_labels (object), masks (object,H,W). */
static int32_t add_objects(const box_data *d, const box_picture *p, int64_t height, int64_t width, cvr_sample *s,
                           cvr_error *err) {
    float *boxes = NULL, corners[4];
    int64_t *labels = NULL, n = 0;
    uint8_t *masks = NULL;
    rle r = {.host = d->host};
    int32_t status = CVR_OK;
    for (uint64_t k = p->first; k < p->first + p->n; k++)
        n += box_counts(d, &d->objects[k]) && box_corners(d, &d->objects[k], height, width, corners);
    CVR_TRY(add(s, CVR_FIELD_BOXES, CVR_F32, 2, n, 4, 1, &boxes, err));
    CVR_TRY(add(s, CVR_FIELD_BOX_LABELS, CVR_I64, 1, n, 1, 1, &labels, err));
    if (d->masks) CVR_TRY(add(s, CVR_FIELD_MASKS, CVR_U8, 3, n, height, width, &masks, err));
    for (uint64_t k = p->first; k < p->first + p->n; k++) {
        const box_object *const o = &d->objects[k];
        if (!box_counts(d, o) || !box_corners(d, o, height, width, boxes)) continue;
        boxes += 4;
        *labels++ = o->klass;
        if (!d->masks) continue;
        CVR_TRY_OUT(read_shape(d, p, o, height, width, &r, err));
        rle_to_bitmap(rle_seen(&r), height, width, masks);
        masks += height * width;
    }
out:
    rle_free(&r);
    return status;
}

int32_t box_data_read(const void *self, int64_t index, cvr_sample *out, cvr_error *err) {
    const box_data *const d = self;
    const box_picture *const p = &d->pictures[index];
    const char *const path = d->text + p->path;
    uint8_t *bytes = NULL;
    uint64_t n = 0;
    if (p->problem >= 0) return fail_problem(d, p, err);
    int32_t status = dataset_picture_read(path, out, &bytes, &n, err);
    if (status == CVR_OK) status = dataset_picture_add(&d->images, bytes, n, out, err);
    if (status != CVR_OK) return cvr_fail_at(err, path, 0, status);
    const cvr_field *const image = cvr_sample_find(out, CVR_FIELD_IMAGE);
    const int64_t height = image->shape[0], width = image->shape[1];
    CVR_TRY(check_late(d, p, height, width, err));
    out->origin->id = p->id;
    out->origin->path = path;
    out->origin->height = height;
    out->origin->width = width;
    return add_objects(d, p, height, width, out, err);
}

/* ---- answers ---- */

int64_t box_data_count(const void *self) {
    return (int64_t)((const box_data *)self)->n;
}

int64_t box_data_n_classes(const void *self) {
    return (int64_t)((const box_data *)self)->classes.n;
}

const char *box_data_class_name(const void *self, int64_t i) {
    return name_table_get(&((const box_data *)self)->classes, i);
}

void box_data_describe(const void *self, int64_t index, char *buf, uint64_t size) {
    (void)snprintf(buf, size, "%s", box_data_path(self, (uint64_t)index));
}

int64_t box_data_label(const void *self, int64_t index) {
    (void)self;
    (void)index;
    return -1;
}

const char *box_data_kind(const void *self, uint32_t i) {
    static const char *const kinds[] = {CVR_FIELD_IMAGE, CVR_FIELD_BOXES, CVR_FIELD_BOX_LABELS, CVR_FIELD_MASKS};
    return i < (((const box_data *)self)->masks ? 4u : 3u) ? kinds[i] : NULL;
}

int64_t box_data_rows(const void *self, int64_t index, const char *axis) {
    return strcmp(axis, "object") == 0 ? ((const box_data *)self)->pictures[index].kept : -1;
}

int32_t box_data_size(const void *self, int64_t index, int64_t *height, int64_t *width, cvr_error *err) {
    const box_data *const d = self;
    const box_picture *const p = &d->pictures[index];
    if (p->height <= 0) return dataset_picture_size(&d->images, d->host, d->text + p->path, height, width, err);
    *height = p->height;
    *width = p->width;
    return CVR_OK;
}

int64_t box_data_class_id(const void *self, int64_t klass) {
    const box_data *const d = self;
    return d->class_id ? d->class_id(d, klass) : klass + 1;
}

/* The object in pixels. */
static void fill_object(const box_data *d, const box_picture *p, const box_object *o, int64_t height, int64_t width,
                        cvr_object *out) {
    const double sx = d->shares ? (double)width : 1, sy = d->shares ? (double)height : 1;
    *out = (cvr_object){.struct_size = sizeof *out,
                        .id = o->id != BOX_NO_ID ? o->id : (o - &d->objects[p->first]) + 1,
                        .klass = o->klass,
                        .box = {o->box[0] * sx, o->box[1] * sy, o->box[2] * sx, o->box[3] * sy},
                        .flags = o->flags};
    out->area = isnan(o->area) ? out->box[2] * out->box[3] : o->area;
}

int32_t box_data_objects(const void *self, int64_t index, cvr_object_fn each, void *ctx, cvr_error *err) {
    const box_data *const d = self;
    const box_picture *const p = &d->pictures[index];
    rle r = {.host = d->host};
    int64_t height = 0, width = 0;
    int32_t status = CVR_OK;
    if (p->problem >= 0) return fail_problem(d, p, err);
    if (p->n && (d->shares || d->masks)) CVR_TRY(box_data_size(d, index, &height, &width, err));
    for (uint64_t k = p->first; k < p->first + p->n; k++) {
        const box_object *const o = &d->objects[k];
        cvr_object told;
        fill_object(d, p, o, height, width, &told);
        /* one that is in no field, a crowd say, was never asked for its outline before */
        if (d->masks && (o->n_shape || box_counts(d, o))) {
            CVR_TRY_OUT(read_shape(d, p, o, height, width, &r, err));
            told.runs = r.runs;
            told.n_runs = (uint32_t)r.n;
        }
        CVR_TRY_OUT(each(ctx, &told, err));
    }
out:
    rle_free(&r);
    return status;
}
