/*
 * The file of annotations, in one pass: elements of images, annotations and categories as they come; then ids are
 * resolved. Of an outline only the place in the file is kept.
 */
#include "coco.h"
#include "json_stream.h"
#include <math.h>
#include <stdlib.h>

#define MOST_AS_IS 65536
#define LONGEST_SHAPE UINT32_MAX

enum section { NONE, IMAGES, ANNOTATIONS, CATEGORIES, SECTIONS };
static const char *const section_names[SECTIONS] = {"", "images", "annotations", "categories"};

enum field {
    OTHER,
    ID,
    FILE_NAME,
    HEIGHT,
    WIDTH,
    IMAGE_ID,
    CATEGORY_ID,
    BBOX,
    AREA,
    ISCROWD,
    SEGMENTATION,
    NAME,
    FIELDS
};
static const char *const field_names[FIELDS] = {"",      "id",       "file_name",    "height",
                                                "width", "image_id", "category_id",  "bbox",
                                                "area",  "iscrowd",  "segmentation", "name"};

/* One {...} of a list, as far as it was read. */
typedef struct element {
    uint32_t given; /* bit i: field i is there */
    uint32_t bad;   /* the first field that is not what it should be; 0: none */
    uint32_t n_box;
    int64_t whole[FIELDS];
    double box[4], area;
    uint64_t shape, n_shape;
    char text[4096];
} element;

/* Of an annotation, until ids are resolved. */
typedef struct reference {
    int64_t image, category;
    uint32_t bad, missing; /* a field; 0: none */
} reference;

typedef struct reading {
    box_data *d;
    coco_own *own;
    enum section section;
    uint32_t field, seen; /* bit i: section i was there */
    element e;
    reference *refs; /* one an object */
    uint64_t room;
    uint64_t source; /* the file's name in the text */
} reading;

static int32_t has(const element *e, enum field f) {
    return (int32_t)(e->given >> f & 1);
}

static int32_t out_of_memory(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the annotations");
}

/* ---- elements ---- */

static int32_t end_image(reading *r, cvr_error *err) {
    const element *const e = &r->e;
    if (!has(e, ID) || e->bad == ID)
        return cvr_fail(err, CVR_ERR_FORMAT, "picture %llu of `images` has no `id` that is a whole number",
                        (unsigned long long)r->d->n + 1);
    if (!has(e, FILE_NAME) || !e->text[0] || e->bad)
        return cvr_fail(err, CVR_ERR_FORMAT, "picture %lld has no usable `%s`", (long long)e->whole[ID],
                        e->bad ? field_names[e->bad] : "file_name");
    CVR_TRY(box_data_picture(r->d, e->text, r->source, err));
    box_picture *const p = &r->d->pictures[r->d->n - 1];
    p->id = e->whole[ID];
    if (has(e, HEIGHT) || has(e, WIDTH)) box_data_say_size(p, e->whole[HEIGHT], e->whole[WIDTH]);
    return CVR_OK;
}

static uint32_t missing_field(const element *e) {
    if (!has(e, CATEGORY_ID)) return CATEGORY_ID;
    return !has(e, BBOX) || e->n_box != 4 ? BBOX : 0;
}

static int32_t end_annotation(reading *r, cvr_error *err) {
    const element *const e = &r->e;
    reference *const refs = dataset_grow(r->d->host, r->refs, r->d->n_objects, 1, &r->room, sizeof *refs);
    if (!refs) return out_of_memory(err);
    r->refs = refs;
    if (!has(e, IMAGE_ID) || e->bad == IMAGE_ID)
        return cvr_fail(err, CVR_ERR_FORMAT, "annotation %llu of the list has no `image_id` that is a whole number",
                        (unsigned long long)r->d->n_objects + 1);
    refs[r->d->n_objects] = (reference){e->whole[IMAGE_ID], e->whole[CATEGORY_ID], e->bad, missing_field(e)};
    const box_object o = {.id = has(e, ID) ? e->whole[ID] : BOX_NO_ID,
                          .box = {e->box[0], e->box[1], e->box[2], e->box[3]},
                          .area = has(e, AREA) ? e->area : NAN,
                          .shape = e->shape,
                          .n_shape = e->n_shape <= LONGEST_SHAPE ? (uint32_t)e->n_shape : 0,
                          .flags = e->whole[ISCROWD] ? CVR_OBJECT_CROWD : 0,
                          .line = (uint32_t)(r->d->n_objects + 1)};
    return box_data_object(r->d, &o, err);
}

static int32_t end_category(reading *r, cvr_error *err) {
    coco_own *const own = r->own;
    const element *const e = &r->e;
    coco_category c = {.id = e->whole[ID]};
    if (!has(e, ID) || !has(e, NAME) || e->bad || !e->text[0])
        return cvr_fail(err, CVR_ERR_FORMAT, "category %llu of the list has no usable `%s`",
                        (unsigned long long)own->n + 1, !has(e, ID) || e->bad == ID ? "id" : "name");
    coco_category *const all = dataset_grow(own->host, own->categories, own->n, 1, &own->room, sizeof *all);
    if (!all) return out_of_memory(err);
    own->categories = all;
    CVR_TRY(box_data_text(r->d, e->text, &c.name, err));
    all[own->n++] = c;
    return CVR_OK;
}

/* ---- values ---- */

static void take_text(element *e, uint32_t field, const json_event *v) {
    if (v->kind != JSON_STRING || v->n >= sizeof e->text || memchr(v->text, '\0', v->n)) {
        e->bad = e->bad ? e->bad : field;
        return;
    }
    memcpy(e->text, v->text, v->n);
    e->text[v->n] = '\0';
}

static void take_number(element *e, uint32_t field, int32_t good) {
    if (!good && !e->bad) e->bad = field;
}

/* What a field of an element is. A null is as if it were not there. */
static void take_value(reading *r, const json_event *v) {
    element *const e = &r->e;
    const uint32_t f = r->field;
    const int32_t ends = v->kind == JSON_END_LIST || v->kind == JSON_END_MAP;
    if (f == OTHER || v->kind == JSON_NULL) return;
    e->given |= 1u << f;
    if (f == FILE_NAME || f == NAME)
        take_text(e, f, v);
    else if (f == AREA)
        take_number(e, f, json_number(v, &e->area));
    else if (f == SEGMENTATION && ends)
        e->n_shape = v->end - e->shape;
    else if (f == SEGMENTATION)
        e->shape = v->end - 1;
    else if (f == BBOX)
        e->n_box = v->kind == JSON_BEGIN_LIST ? 0 : ends ? e->n_box : 5;
    else
        take_number(e, f, json_whole(v, &e->whole[f]));
}

static uint32_t field_of(enum section section, const json_event *key) {
    static const uint32_t of[SECTIONS] = {0, 1u << ID | 1u << FILE_NAME | 1u << HEIGHT | 1u << WIDTH,
                                          1u << ID | 1u << IMAGE_ID | 1u << CATEGORY_ID | 1u << BBOX | 1u << AREA |
                                              1u << ISCROWD | 1u << SEGMENTATION,
                                          1u << ID | 1u << NAME};
    for (uint32_t f = 1; f < FIELDS; f++)
        if (of[section] >> f & 1 && json_is(key, field_names[f])) return f;
    return OTHER;
}

static int32_t in_element(reading *r, const json_event *v) {
    element *const e = &r->e;
    if (v->depth == 3 && v->kind == JSON_KEY)
        r->field = field_of(r->section, v);
    else if (v->depth == 3)
        take_value(r, v);
    else if (v->depth == 4 && r->field == BBOX) {
        double x = 0;
        take_number(e, BBOX, json_number(v, &x));
        if (e->n_box < 4) e->box[e->n_box] = x;
        e->n_box += e->n_box < 5;
    }
    return CVR_OK;
}

static int32_t at_element(reading *r, const json_event *v, cvr_error *err) {
    if (v->kind == JSON_BEGIN_MAP) {
        memset(&r->e, 0, offsetof(element, text));
        r->e.text[0] = '\0';
        r->field = OTHER;
        return CVR_OK;
    }
    if (v->kind != JSON_END_MAP)
        return cvr_fail(err, CVR_ERR_FORMAT, "the list `%s` holds something that is no {...}",
                        section_names[r->section]);
    return r->section == IMAGES        ? end_image(r, err)
           : r->section == ANNOTATIONS ? end_annotation(r, err)
                                       : end_category(r, err);
}

static int32_t at_top(reading *r, const json_event *v, cvr_error *err) {
    if (v->kind == JSON_KEY) {
        r->section = NONE;
        for (int i = 1; i < SECTIONS; i++)
            if (json_is(v, section_names[i])) r->section = (enum section)i;
        if (r->section && r->seen >> r->section & 1)
            return cvr_fail(err, CVR_ERR_FORMAT, "`%s` is there twice; unite the two", section_names[r->section]);
        r->seen |= 1u << r->section;
    } else if (r->section != NONE && v->kind != JSON_BEGIN_LIST && v->kind != JSON_END_LIST) {
        return cvr_fail(err, CVR_ERR_FORMAT, "`%s` is no list", section_names[r->section]);
    }
    return CVR_OK;
}

static int32_t on_event(void *ctx, const json_event *v, cvr_error *err) {
    reading *const r = ctx;
    if (v->depth == 0 && v->kind != JSON_BEGIN_MAP && v->kind != JSON_END_MAP)
        return cvr_fail(err, CVR_ERR_FORMAT,
                        "no {...} with images, annotations and categories; a list is for results, not for annotations");
    if (v->depth == 1) return at_top(r, v, err);
    if (r->section == NONE) return CVR_OK;
    if (v->depth == 2) return at_element(r, v, err);
    return v->depth > 2 ? in_element(r, v) : CVR_OK;
}

/* ---- ids ---- */

static int by_category(const void *a, const void *b) {
    const coco_category *const x = a, *const y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int32_t name_class(box_data *d, const char *name, cvr_error *err) {
    int64_t number;
    const uint64_t n = d->classes.n;
    CVR_TRY(name_table_put(&d->classes, name, &number, err));
    if (d->classes.n > n) return CVR_OK;
    return cvr_fail(err, CVR_ERR_FORMAT, "two categories are called `%.200s`; rename one of them", name);
}

/* as_is: ids that are missing get a name, so that class k is category k + 1. */
static int32_t fill_gaps(box_data *d, const coco_category *c, cvr_error *err) {
    char name[32];
    if (c->id < 1 || c->id > MOST_AS_IS)
        return cvr_fail(err, CVR_ERR_FORMAT,
                        "a category with id %lld; data.category_ids = as_is takes 1 to %d, rank takes any",
                        (long long)c->id, MOST_AS_IS);
    while ((int64_t)d->classes.n < c->id - 1) {
        (void)snprintf(name, sizeof name, "N/A-%llu", (unsigned long long)d->classes.n + 1);
        CVR_TRY(name_class(d, name, err));
    }
    return CVR_OK;
}

static int32_t number_classes(box_data *d, coco_own *own, int32_t as_is, cvr_error *err) {
    char name[4096];
    if (own->n) qsort(own->categories, own->n, sizeof *own->categories, by_category);
    for (uint64_t i = 0; i < own->n; i++) {
        coco_category *const c = &own->categories[i];
        if (i && c->id == c[-1].id)
            return cvr_fail(err, CVR_ERR_FORMAT, "two categories have the id %lld", (long long)c->id);
        if (as_is) CVR_TRY(fill_gaps(d, c, err));
        (void)snprintf(name, sizeof name, "%s", d->text + c->name);
        c->klass = (int64_t)d->classes.n;
        CVR_TRY(name_class(d, name, err));
    }
    if (own->n) return CVR_OK;
    return cvr_fail(err, CVR_ERR_FORMAT, "it has no categories; without them boxes have no names");
}

/* An id, and which picture or object has it. */
typedef struct numbered {
    int64_t id;
    uint64_t place;
} numbered;

static int by_id(const void *a, const void *b) {
    const numbered *const x = a, *const y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int by_id_and_place(const void *a, const void *b) {
    const numbered *const x = a, *const y = b;
    const int order = by_id(a, b);
    return order ? order : x->place < y->place ? -1 : x->place > y->place;
}

static int32_t number_images(const box_data *d, numbered *ids, cvr_error *err) {
    for (uint64_t i = 0; i < d->n; i++) ids[i] = (numbered){d->pictures[i].id, i};
    qsort(ids, d->n, sizeof *ids, by_id_and_place);
    for (uint64_t i = 1; i < d->n; i++) {
        if (ids[i].id == ids[i - 1].id)
            return cvr_fail(err, CVR_ERR_FORMAT,
                            "two pictures have the id %lld: %.200s and %.200s; give one another id",
                            (long long)ids[i].id, box_data_path(d, ids[i - 1].place), box_data_path(d, ids[i].place));
    }
    return CVR_OK;
}

/* pycocotools keeps the last annotation of an id, and takes it as often as the id is there. */
static int32_t notice_same_ids(box_data *d, cvr_error *err) {
    uint64_t n = 0;
    numbered *const ids = d->host->alloc(d->host, (d->n_objects + 1) * sizeof *ids, 16);
    if (!ids) return out_of_memory(err);
    for (uint64_t i = 0; i < d->n_objects; i++)
        if (d->objects[i].id != BOX_NO_ID) ids[n++] = (numbered){d->objects[i].id, i};
    qsort(ids, n, sizeof *ids, by_id_and_place);
    for (uint64_t i = 1; i < n; i++)
        if (ids[i].id == ids[i - 1].id)
            box_data_notice(d, BOX_SAME_ID, "id %lld, of %.300s", (long long)ids[i].id,
                            box_data_path(d, d->objects[ids[i].place].picture));
    d->host->free(d->host, ids);
    return CVR_OK;
}

static const coco_category *find_category(const coco_own *own, int64_t id) {
    const coco_category key = {.id = id};
    return own->n ? bsearch(&key, own->categories, own->n, sizeof key, by_category) : NULL;
}

/* An annotation whose picture is known: its class, or what is wrong with it. */
static int32_t settle(reading *r, box_object *o, const reference *ref, cvr_error *err) {
    const coco_category *const c = find_category(r->own, ref->category);
    char name[BOX_NAME_ROOM];
    if (ref->bad || ref->missing)
        return box_data_problem(r->d, o->picture, 0, err, "%sit has no `%s` that can be used%s",
                                box_name(r->d, o, name), field_names[ref->missing ? ref->missing : ref->bad],
                                ref->missing == BBOX || ref->bad == BBOX ? ": four numbers x, y, width, height" : "");
    if (!c)
        return box_data_problem(r->d, o->picture, 0, err, "%sit is of category %lld, which the file does not have",
                                box_name(r->d, o, name), (long long)ref->category);
    if (o->id == 0) box_data_notice(r->d, BOX_ZERO_ID, "of %.300s", box_data_path(r->d, o->picture));
    o->klass = c->klass;
    return CVR_OK;
}

static int32_t resolve(reading *r, const numbered *ids, cvr_error *err) {
    box_data *const d = r->d;
    char name[BOX_NAME_ROOM];
    uint64_t n = 0;
    for (uint64_t i = 0; i < d->n_objects; i++) {
        box_object o = d->objects[i];
        const numbered key = {r->refs[i].image, 0}, *const image = bsearch(&key, ids, d->n, sizeof key, by_id);
        if (!image) {
            box_data_notice(d, BOX_ORPHAN, "%simage_id %lld", box_name(d, &o, name), (long long)r->refs[i].image);
            continue;
        }
        o.picture = (uint32_t)image->place;
        CVR_TRY(settle(r, &o, &r->refs[i], err));
        if (r->refs[i].bad || r->refs[i].missing) continue; /* its picture's problem now */
        d->objects[n++] = o;
    }
    d->n_objects = n;
    return notice_same_ids(d, err);
}

static int32_t check_sections(const reading *r, cvr_error *err) {
    for (int i = 1; i < SECTIONS; i++) {
        if (r->seen >> i & 1) continue;
        return cvr_fail(err, CVR_ERR_FORMAT, "it has no `%s`; are these COCO's annotations of instances?",
                        section_names[i]);
    }
    return r->d->n ? CVR_OK : cvr_fail(err, CVR_ERR_FORMAT, "not one picture is listed");
}

/* What is said of the file as a whole, once all of it is read. */
static int32_t settle_file(reading *r, int32_t as_is, cvr_error *err) {
    box_data *const d = r->d;
    CVR_TRY(check_sections(r, err));
    CVR_TRY(number_classes(d, r->own, as_is, err));
    numbered *const ids = d->host->alloc(d->host, d->n * sizeof *ids, 16);
    if (!ids) return out_of_memory(err);
    int32_t status = number_images(d, ids, err);
    if (status == CVR_OK) status = resolve(r, ids, err);
    d->host->free(d->host, ids);
    return status;
}

int32_t coco_read_file(box_data *d, const char *path, int32_t as_is, cvr_error *err) {
    reading *const r = d->host->alloc(d->host, sizeof *r, 16);
    int32_t status;
    if (!r) return out_of_memory(err);
    memset(r, 0, sizeof *r);
    r->d = d;
    r->own = d->own;
    CVR_TRY_OUT(box_data_text(d, path, &r->source, err));
    CVR_TRY_OUT(json_stream_file(d->host, path, on_event, r, err));
    status = settle_file(r, as_is, err);
    if (status != CVR_OK) (void)cvr_fail_at(err, path, 0, status);
out:
    if (r->refs) d->host->free(d->host, r->refs);
    d->host->free(d->host, r);
    return status;
}
