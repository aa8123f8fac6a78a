/*
 * Filling: pictures, objects, what is wrong with them.
 */
#include "box_data.h"
#include "../split_draw.h"
#include <stdlib.h>

static int32_t out_of_memory(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the list of objects");
}

int32_t box_data_create(const cvr_dataset_args *args, box_data **out, cvr_error *err) {
    dataset_pictures images;
    *out = NULL;
    CVR_TRY(dataset_pictures_open(args, &images, err));
    box_data *const d = args->host->alloc(args->host, sizeof *d, 16);
    if (!d) return out_of_memory(err);
    memset(d, 0, sizeof *d);
    d->host = args->host;
    d->images = images;
    d->classes.host = args->host;
    d->difficult = 1;
    *out = d;
    return CVR_OK;
}

void box_data_close(void *self) {
    box_data *const d = self;
    if (!d) return;
    const cvr_host *const host = d->host;
    if (d->free_own) d->free_own(d);
    name_table_free(&d->classes);
    if (d->text) host->free(host, d->text);
    if (d->pictures) host->free(host, d->pictures);
    if (d->objects) host->free(host, d->objects);
    if (d->problems) host->free(host, d->problems);
    host->free(host, d);
}

int32_t box_data_text(box_data *d, const char *s, uint64_t *at, cvr_error *err) {
    const uint64_t n = strlen(s) + 1;
    char *const text = dataset_grow(d->host, d->text, d->text_n, n, &d->text_room, 1);
    if (!text) return out_of_memory(err);
    d->text = text;
    *at = d->text_n;
    memcpy(text + d->text_n, s, n);
    d->text_n += n;
    return CVR_OK;
}

int32_t box_data_picture(box_data *d, const char *path, uint64_t source, cvr_error *err) {
    box_picture p = {.source = source, .id = (int64_t)d->n, .problem = -1};
    box_picture *const all = dataset_grow(d->host, d->pictures, d->n, 1, &d->room, sizeof *all);
    if (!all) return out_of_memory(err);
    d->pictures = all;
    if (d->n >= UINT32_MAX) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "more than 4294967295 pictures");
    CVR_TRY(box_data_text(d, path, &p.path, err));
    d->pictures[d->n++] = p;
    return CVR_OK;
}

int32_t box_data_object(box_data *d, const box_object *o, cvr_error *err) {
    box_object *const all = dataset_grow(d->host, d->objects, d->n_objects, 1, &d->objects_room, sizeof *all);
    if (!all) return out_of_memory(err);
    d->objects = all;
    all[d->n_objects++] = *o;
    return CVR_OK;
}

int32_t box_data_problem(box_data *d, uint64_t picture, uint32_t line, cvr_error *err, const char *format, ...) {
    box_picture *const p = &d->pictures[picture];
    char what[512];
    struct box_problem problem = {0};
    va_list ap;
    if (p->problem >= 0) {
        d->problems[p->problem].more++;
        return CVR_OK;
    }
    int n = line ? snprintf(what, sizeof what, "line %u: ", line) : 0;
    va_start(ap, format);
    (void)vsnprintf(what + n, sizeof what - (size_t)n, format, ap);
    va_end(ap);
    CVR_TRY(box_data_text(d, dataset_printable(what), &problem.text, err));
    struct box_problem *const all =
        dataset_grow(d->host, d->problems, d->n_problems, 1, &d->problems_room, sizeof *all);
    if (!all) return out_of_memory(err);
    d->problems = all;
    d->pictures[picture].problem = (int64_t)d->n_problems;
    all[d->n_problems++] = problem;
    return CVR_OK;
}

void box_data_notice(box_data *d, enum box_notice what, const char *format, ...) {
    va_list ap;
    if (d->notices[what].n++) return;
    va_start(ap, format);
    (void)vsnprintf(d->notices[what].first, sizeof d->notices[what].first, format, ap);
    va_end(ap);
    (void)dataset_printable(d->notices[what].first);
}

void box_data_say_size(box_picture *p, int64_t height, int64_t width) {
    const int32_t good = height > 0 && height <= INT32_MAX && width > 0 && width <= INT32_MAX;
    p->height = good ? height : BOX_BAD_SIZE;
    p->width = good ? width : BOX_BAD_SIZE;
}

/* ---- objects to their pictures ---- */

/* Counting: the objects of a picture keep their order. */
static int32_t sort_objects(box_data *d, cvr_error *err) {
    uint64_t at = 0;
    for (uint64_t i = 0; i < d->n; i++) d->pictures[i].n = 0;
    for (uint64_t i = 0; i < d->n_objects; i++) d->pictures[d->objects[i].picture].n++;
    for (uint64_t i = 0; i < d->n; at += d->pictures[i++].n) d->pictures[i].first = at;
    if (d->n_objects == 0) return CVR_OK;
    box_object *const sorted = d->host->alloc(d->host, d->n_objects * sizeof *sorted, 16);
    if (!sorted) return out_of_memory(err);
    for (uint64_t i = 0; i < d->n_objects; i++) sorted[d->pictures[d->objects[i].picture].first++] = d->objects[i];
    for (uint64_t i = 0; i < d->n; i++) d->pictures[i].first -= d->pictures[i].n;
    d->host->free(d->host, d->objects);
    d->objects = sorted;
    d->objects_room = d->n_objects;
    return CVR_OK;
}

static int by_box(const void *a, const void *b) {
    const box_object *const x = *(const box_object *const *)a, *const y = *(const box_object *const *)b;
    if (x->klass != y->klass) return x->klass < y->klass ? -1 : 1;
    for (int k = 0; k < 4; k++)
        if (x->box[k] < y->box[k] || x->box[k] > y->box[k]) return x->box[k] < y->box[k] ? -1 : 1;
    return x < y ? -1 : x > y;
}

static int32_t same_box(const box_object *x, const box_object *y) {
    return x->klass == y->klass && memcmp(x->box, y->box, sizeof x->box) == 0;
}

static void notice_twins(box_data *d, const box_picture *p, const box_object **order) {
    for (uint64_t i = 0; i < p->n; i++) order[i] = &d->objects[p->first + i];
    qsort(order, p->n, sizeof *order, by_box);
    for (uint64_t i = 1; i < p->n; i++) {
        if (same_box(order[i - 1], order[i]))
            box_data_notice(d, BOX_TWICE, "%.300s: object %llu", d->text + p->path,
                            (unsigned long long)(order[i] - &d->objects[p->first]) + 1);
    }
}

static int32_t look_for_twins(box_data *d, cvr_error *err) {
    uint64_t most = 0;
    for (uint64_t i = 0; i < d->n; i++) most = d->pictures[i].n > most ? d->pictures[i].n : most;
    if (most < 2) return CVR_OK;
    const box_object **const order = d->host->alloc(d->host, most * sizeof *order, 16);
    if (!order) return out_of_memory(err);
    for (uint64_t i = 0; i < d->n; i++)
        if (d->pictures[i].problem < 0) notice_twins(d, &d->pictures[i], order);
    d->host->free(d->host, order);
    return CVR_OK;
}

/* ---- looking at boxes ---- */

static void notice_box(box_data *d, const box_picture *p, const box_object *o, int64_t height, int64_t width) {
    const double w = d->shares ? 1 : (double)width, h = d->shares ? 1 : (double)height;
    float corners[4];
    if (!box_corners(d, o, height, width, corners))
        box_data_notice(d, BOX_EMPTY, "%.300s: object %llu", d->text + p->path,
                        (unsigned long long)(o - &d->objects[p->first]) + 1);
    else if (o->box[0] < 0 || o->box[1] < 0 || o->box[0] + o->box[2] > w || o->box[1] + o->box[3] > h)
        box_data_notice(d, BOX_CLIPPED, "%.300s: object %llu", d->text + p->path,
                        (unsigned long long)(o - &d->objects[p->first]) + 1);
}

/* Boxes can be judged only where the size is known; of shares it does not matter. 0: it cannot be found, and whoever
 * reads the picture is told why. */
static int32_t find_size(box_data *d, box_picture *p) {
    if (p->height == BOX_BAD_SIZE) {
        box_data_notice(d, BOX_NO_SIZE, "%.300s", d->text + p->path);
        p->height = p->width = 0;
    }
    return d->shares || p->n == 0 || p->height > 0 ||
           dataset_picture_size(&d->images, d->host, d->text + p->path, &p->height, &p->width, NULL) == CVR_OK;
}

static int32_t look_at_picture(box_data *d, uint64_t i, cvr_error *err) {
    box_picture *const p = &d->pictures[i];
    char why[300], name[BOX_NAME_ROOM];
    float corners[4];
    p->kept = (int64_t)p->n;
    if (!find_size(d, p)) return CVR_OK;
    p->kept = 0;
    const int64_t height = d->shares ? 1 : p->height, width = d->shares ? 1 : p->width;
    for (uint64_t k = p->first; k < p->first + p->n; k++) {
        const box_object *const o = &d->objects[k];
        if (!box_is_right(d, o, height, width, why, sizeof why)) {
            CVR_TRY(box_data_problem(d, i, 0, err, "%s%s", box_name(d, o, name), why));
            continue;
        }
        if (!box_counts(d, o)) continue;
        notice_box(d, p, o, height, width);
        p->kept += box_corners(d, o, height, width, corners);
    }
    if (p->problem >= 0) p->kept = 0;
    return CVR_OK;
}

static void warn(const box_data *d, const char *file) {
    static const char *const texts[BOX_NOTICES] = {
        "objects that reach beyond the border of their picture by less than a hundredth of it, and are cut off there",
        "objects without area, which are left out",
        "objects with the class and the box of another, which count twice",
        "objects of pictures that are not listed, which are left out",
        "annotations with the id 0, which pycocotools takes for objects that are never found (number them from 1)",
        "annotations with the id of another, which pycocotools mixes up, so that its AP is another (number them anew)",
        "pictures whose annotations say a size that is none, so that it is taken from their files",
    };
    char line[1400];
    uint64_t kept = 0;
    for (int i = 0; i < BOX_NOTICES; i++) {
        if (!d->notices[i].n) continue;
        (void)snprintf(line, sizeof line, "%.700s: %s: %llu, the first: %s", file, texts[i],
                       (unsigned long long)d->notices[i].n, d->notices[i].first);
        d->host->log(d->host, CVR_LOG_WARNING, line);
    }
    for (uint64_t i = 0; i < d->n; i++) kept += d->pictures[i].problem >= 0 || d->pictures[i].kept;
    (void)snprintf(line, sizeof line, "%.700s: no picture of %llu has an object; are these the right annotations?",
                   file, (unsigned long long)d->n);
    if (!kept) d->host->log(d->host, CVR_LOG_WARNING, line);
}

int32_t box_data_finish(box_data *d, const char *file, int32_t warns, cvr_error *err) {
    CVR_TRY(sort_objects(d, err));
    for (uint64_t i = 0; i < d->n; i++) CVR_TRY(look_at_picture(d, i, err));
    CVR_TRY(look_for_twins(d, err));
    if (warns) warn(d, file);
    return CVR_OK;
}

/* ---- fewer pictures ---- */

/* Keeps the pictures whose `map` is not UINT32_MAX, and their objects. */
static void keep(box_data *d, uint32_t *map) {
    uint64_t n = 0, kept = 0;
    for (uint64_t i = 0; i < d->n; i++) {
        if (map[i] == UINT32_MAX) continue;
        map[i] = (uint32_t)n;
        d->pictures[n++] = d->pictures[i];
    }
    for (uint64_t i = 0; i < d->n_objects; i++) {
        box_object o = d->objects[i];
        if (map[o.picture] == UINT32_MAX) continue;
        o.picture = map[o.picture];
        d->objects[kept++] = o;
    }
    d->n = n;
    d->n_objects = kept;
}

static uint32_t *new_map(const box_data *d, uint8_t byte, cvr_error *err) {
    uint32_t *const map = d->host->alloc(d->host, (d->n + 1) * sizeof *map, 16);
    if (map)
        memset(map, byte, (d->n + 1) * sizeof *map);
    else
        (void)out_of_memory(err);
    return map;
}

int32_t box_data_drop_empty(box_data *d, cvr_error *err) {
    char line[128];
    const uint64_t all = d->n;
    uint32_t *const map = new_map(d, 0xff, err);
    if (!map) return CVR_ERR_NOMEM;
    for (uint64_t i = 0; i < d->n_objects; i++) {
        const box_object *const o = &d->objects[i];
        const box_picture *const p = &d->pictures[o->picture];
        const double w = d->shares && p->width ? (double)p->width : 1,
                     h = d->shares && p->height ? (double)p->height : 1;
        const double least = d->shares && !p->width ? 0 : 1;
        if (o->box[2] * w > least && o->box[3] * h > least) map[o->picture] = 0;
    }
    /* what is wrong is no reason to go unseen */
    for (uint64_t i = 0; i < d->n; i++)
        if (d->pictures[i].problem >= 0) map[i] = 0;
    keep(d, map);
    d->host->free(d->host, map);
    (void)snprintf(line, sizeof line, "data.empty = drop leaves out %llu of %llu training pictures",
                   (unsigned long long)(all - d->n), (unsigned long long)all);
    if (all > d->n) d->host->log(d->host, CVR_LOG_INFO, line);
    return d->n ? CVR_OK : cvr_fail(err, CVR_ERR_FORMAT, "not one training picture has an object; see data.empty");
}

int32_t box_data_split(box_data *d, uint32_t split, double val_split, uint64_t seed, cvr_error *err) {
    split_draw draw;
    uint32_t *const map = new_map(d, 0xff, err);
    if (!map) return CVR_ERR_NOMEM;
    split_draw_start(&draw, d->n, val_split, seed, "objects");
    for (uint64_t i = 0; i < d->n; i++)
        if (split_draw_next(&draw) == split) map[i] = 0;
    keep(d, map);
    d->host->free(d->host, map);
    return d->n ? CVR_OK
                : cvr_fail(err, CVR_ERR_USAGE,
                           "data.val_split leaves this split without pictures; add pictures or change it");
}
