/*
 * The layouts that cvrun pack writes of data with boxes:
 *   coco    SPLIT/NNNNNN.png, annotations/instances_SPLIT.json (https://cocodataset.org/#format-data); masks of
 *           instances as uncompressed run lengths, column by column
 *   yolo    images/SPLIT/NNNNNN.png, labels/SPLIT/NNNNNN.txt, data.yaml
 *
 * Where the data tells its objects as the annotations have them, they are written so, with crowds and areas; else boxes
 * and masks of the samples' fields are.
 */
#include "pack.h"

static int32_t no_memory(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

static int64_t has_background(const pack_source *p) {
    return p->n_classes && strcmp(p->class_names[0], "background") == 0;
}

/* The data's own number where it has one from 1 on; else categories are counted from 1, and the background is none. */
static int64_t category(const pack_source *p, int64_t klass) {
    if (p->desc->class_id && p->desc->class_id(p->self, 0) > 0) return p->desc->class_id(p->self, klass);
    return klass + 1 - has_background(p);
}

/* ---- coco ---- */

/* Run lengths of a mask (H, W), column by column: zeros first, then ones, in turn. `runs` has room for H * W + 1.
 * Returns how many there are. */
static uint32_t find_runs(const uint8_t *mask, int64_t height, int64_t width, uint32_t *runs) {
    uint32_t n = 0;
    runs[0] = 0;
    for (int64_t x = 0; x < width; x++) {
        for (int64_t y = 0; y < height; y++) {
            if ((mask[y * width + x] != 0) != (n & 1)) runs[++n] = 0;
            runs[n]++;
        }
    }
    return n + 1;
}

/* Fields of a sample with boxes; `masks` may be NULL. */
typedef struct objects {
    const cvr_field *image, *boxes, *labels, *masks;
} objects;

static int32_t find_objects(const pack_source *p, const pack_sample *s, objects *o, cvr_error *err) {
    o->image = cvr_sample_find(&s->sample, CVR_FIELD_IMAGE);
    o->boxes = cvr_sample_find(&s->sample, CVR_FIELD_BOXES);
    o->labels = cvr_sample_find(&s->sample, CVR_FIELD_BOX_LABELS);
    o->masks = cvr_sample_find(&s->sample, CVR_FIELD_MASKS);
    if (!o->boxes || o->boxes->dtype != CVR_F32 || o->boxes->rank != 2 || o->boxes->shape[1] != 4)
        return pack_fail_field("it has no boxes of four f32", err);
    const int64_t n = o->boxes->shape[0], *labels = o->labels ? o->labels->data : NULL;
    if (!labels || o->labels->dtype != CVR_I64 || o->labels->rank != 1 || o->labels->shape[0] != n)
        return pack_fail_field("it does not have a label for each box", err);
    if (o->masks && (o->masks->dtype != CVR_U8 || o->masks->rank != 3 || o->masks->shape[0] != n ||
                     o->masks->shape[1] != o->image->shape[0] || o->masks->shape[2] != o->image->shape[1]))
        return pack_fail_field("it does not have a mask of the picture's size for each box", err);
    for (int64_t i = 0; i < n; i++) {
        if (labels[i] < 0 || labels[i] >= p->n_classes)
            return cvr_fail(err, CVR_ERR_FORMAT, "box %lld has class %lld of %lld", (long long)i, (long long)labels[i],
                            (long long)p->n_classes);
    }
    return CVR_OK;
}

/* What an object is added to. */
typedef struct telling {
    const pack_source *p;
    pack_record *out;
    int64_t image_id, height, width;
} telling;

static int32_t tell_object(void *ctx, const cvr_object *o, cvr_error *err) {
    telling *w = ctx;
    cvr_text *t = &w->out->objects;
    cvr_text_add(t,
                 "\"image_id\": %lld, \"category_id\": %lld, \"iscrowd\": %d, \"bbox\": [%.17g, %.17g, %.17g, %.17g], ",
                 (long long)w->image_id, (long long)category(w->p, o->klass), (o->flags & CVR_OBJECT_CROWD) != 0,
                 o->box[0], o->box[1], o->box[2], o->box[3]);
    if (o->n_runs == 0) {
        cvr_text_add(t, "\"segmentation\": []");
    } else {
        cvr_text_add(t, "\"segmentation\": {\"size\": [%lld, %lld], \"counts\": [", (long long)w->height,
                     (long long)w->width);
        for (uint32_t i = 0; i < o->n_runs; i++) cvr_text_add(t, "%s%u", i ? ", " : "", o->runs[i]);
        cvr_text_add(t, "]}");
    }
    cvr_text_add(t, ", \"area\": %.17g}\n", o->area);
    w->out->n_objects++;
    return t->failed ? no_memory(err) : CVR_OK;
}

/* Of data that does not tell its objects: what the fields have. The area is the mask's, where there is one. */
static int32_t tell_fields(telling *w, const objects *o, pack_sample *s, cvr_error *err) {
    const int64_t pixels = w->height * w->width;
    uint32_t *const runs = o->masks ? s->sample.alloc(&s->sample, ((uint64_t)pixels + 1) * sizeof *runs) : NULL;
    if (o->masks && !runs) return no_memory(err);
    for (int64_t i = 0; i < o->boxes->shape[0]; i++) {
        const float *b = (const float *)o->boxes->data + 4 * i;
        const double width = (double)b[2] - b[0], height = (double)b[3] - b[1];
        cvr_object told = {.struct_size = sizeof told,
                           .klass = ((const int64_t *)o->labels->data)[i],
                           .box = {b[0], b[1], width, height},
                           .area = runs ? 0 : width * height,
                           .runs = runs};
        if (runs) told.n_runs = find_runs((const uint8_t *)o->masks->data + i * pixels, w->height, w->width, runs);
        for (uint32_t k = 1; k < told.n_runs; k += 2) told.area += runs[k];
        CVR_TRY(tell_object(w, &told, err));
    }
    return CVR_OK;
}

static int32_t coco_begin(const pack_source *p, cvr_writer *w, cvr_error *err) {
    static const char start[] = "{\"annotations\": [";
    char name[64];
    int32_t status;
    CVR_TRY(pack_make_folder(p, p->split, NULL, err));
    CVR_TRY(pack_make_folder(p, "annotations", NULL, err));
    (void)snprintf(name, sizeof name, "instances_%s.json", p->split);
    char *path = pack_path(p->folder, "annotations", name);
    status = path ? cvr_writer_open(w, path, err) : no_memory(err);
    cvr_free(path);
    return status == CVR_OK ? cvr_writer_put(w, start, sizeof start - 1, err) : status;
}

static int32_t coco_sample(const pack_source *p, pack_sample *s, int64_t number, pack_record *out, cvr_error *err) {
    objects o;
    CVR_TRY(pack_write_picture(p, s, p->split, NULL, number, err));
    CVR_TRY(find_objects(p, s, &o, err));
    telling w = {p, out, s->origin.id, o.image->shape[0], o.image->shape[1]};
    if (p->desc->objects)
        CVR_TRY(CVR_CALL(p->desc, objects, NULL, err, p->self, s->origin.index, tell_object, &w));
    else
        CVR_TRY(tell_fields(&w, &o, s, err));
    cvr_text_add(&out->image, "{\"id\": %lld, \"file_name\": \"%06lld.png\", \"height\": %lld, \"width\": %lld}",
                 (long long)s->origin.id, (long long)number, (long long)o.image->shape[0],
                 (long long)o.image->shape[1]);
    return out->image.failed ? no_memory(err) : CVR_OK;
}

/* Annotations get their ids here, from 1, as their order is known only here. */
static int32_t coco_record(const pack_record *r, cvr_writer *w, cvr_text *images, int64_t *n_objects, cvr_error *err) {
    const char *line = r->objects.s;
    char id[64];
    for (int64_t i = 0; i < r->n_objects; i++) {
        const size_t length = strcspn(line, "\n");
        const int n = snprintf(id, sizeof id, "%s\n{\"id\": %lld, ", *n_objects ? "," : "", (long long)*n_objects + 1);
        CVR_TRY(cvr_writer_put(w, id, (uint64_t)n, err));
        CVR_TRY(cvr_writer_put(w, line, length, err));
        line += length + 1;
        ++*n_objects;
    }
    cvr_text_add(images, "%s\n", images->n ? "," : "");
    cvr_text_add_bytes(images, r->image.s, r->image.n);
    return images->failed ? no_memory(err) : CVR_OK;
}

static int32_t coco_end(const pack_source *p, cvr_writer *w, const cvr_text *images, cvr_error *err) {
    cvr_text t = {0};
    cvr_text_add(&t, "\n],\n\"images\": [");
    cvr_text_add_bytes(&t, images->s, images->n);
    cvr_text_add(&t, "\n],\n\"categories\": [");
    for (int64_t i = has_background(p); i < p->n_classes; i++) {
        cvr_text_add(&t, "%s\n{\"id\": %lld, \"name\": ", i > has_background(p) ? "," : "", (long long)category(p, i));
        cvr_text_add_json(&t, p->class_names[i]);
        cvr_text_add(&t, "}");
    }
    cvr_text_add(&t, "\n]}\n");
    const int32_t status = t.failed ? no_memory(err) : cvr_writer_put(w, t.s, t.n, err);
    cvr_text_clear(&t);
    return status == CVR_OK ? cvr_writer_commit(w, false, err) : status;
}

const pack_layout pack_coco = {.name = "coco",
                               .needs = CVR_FIELD_BOXES,
                               .begin = coco_begin,
                               .sample = coco_sample,
                               .record = coco_record,
                               .end = coco_end};

/* ---- yolo ---- */

/* A class as YAML's double-quoted text, which JSON's is. */
static int32_t write_yaml(const pack_source *p, cvr_error *err) {
    cvr_text t = {0};
    cvr_text_add(&t, "path: .\ntrain: images/train\nval: images/val\nnames:\n");
    for (int64_t i = has_background(p); i < p->n_classes; i++) {
        cvr_text_add(&t, "  %lld: ", (long long)(i - has_background(p)));
        cvr_text_add_json(&t, p->class_names[i]);
        cvr_text_add(&t, "\n");
    }
    char *path = cvr_fs_join(p->folder, "data.yaml");
    const int32_t status = t.failed || !path ? no_memory(err) : cvr_fs_write(path, t.s, t.n, err);
    cvr_text_clear(&t);
    cvr_free(path);
    return status;
}

static int32_t yolo_begin(const pack_source *p, cvr_writer *w, cvr_error *err) {
    (void)w;
    CVR_TRY(pack_make_folder(p, "images", p->split, err));
    CVR_TRY(pack_make_folder(p, "labels", p->split, err));
    return write_yaml(p, err);
}

/* A row: class, centre, width, height, in shares of the picture. */
static void add_row(const pack_source *p, const objects *o, int64_t i, cvr_text *t) {
    const float *b = (const float *)o->boxes->data + 4 * i;
    const double h = (double)o->image->shape[0], w = (double)o->image->shape[1];
    cvr_text_add(t, "%lld %.9g %.9g %.9g %.9g\n",
                 (long long)(((const int64_t *)o->labels->data)[i] - has_background(p)),
                 ((double)b[0] + (double)b[2]) / 2 / w, ((double)b[1] + (double)b[3]) / 2 / h,
                 ((double)b[2] - (double)b[0]) / w, ((double)b[3] - (double)b[1]) / h);
}

static int32_t yolo_sample(const pack_source *p, pack_sample *s, int64_t number, pack_record *out, cvr_error *err) {
    objects o;
    char name[32];
    cvr_text rows = {0};
    CVR_TRY(find_objects(p, s, &o, err));
    CVR_TRY(pack_write_picture(p, s, "images", p->split, number, err));
    (void)snprintf(name, sizeof name, "%06lld.txt", (long long)number);
    out->n_objects = o.boxes->shape[0];
    for (int64_t i = 0; i < out->n_objects; i++) add_row(p, &o, i, &rows);
    char *folder = pack_path(p->folder, "labels", p->split), *path = folder ? cvr_fs_join(folder, name) : NULL;
    const int32_t status =
        rows.failed || !path ? no_memory(err) : cvr_fs_write_unsynced(path, rows.s ? rows.s : "", rows.n, err);
    cvr_free(folder);
    cvr_free(path);
    cvr_text_clear(&rows);
    return status;
}

static int32_t yolo_record(const pack_record *r, cvr_writer *w, cvr_text *images, int64_t *n_objects, cvr_error *err) {
    (void)w;
    (void)images;
    (void)err;
    *n_objects += r->n_objects;
    return CVR_OK;
}

const pack_layout pack_yolo = {
    .name = "yolo", .needs = CVR_FIELD_BOXES, .begin = yolo_begin, .sample = yolo_sample, .record = yolo_record};
