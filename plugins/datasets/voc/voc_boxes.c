/*
 * Objects of Pascal VOC: a picture and an XML file of the same name. Lists in ImageSets/Main name them; or they lie
 * beside each other in a folder, as tools for drawing boxes leave them.
 */
#include "../boxes/box_data.h"
#include "../csv_table.h"
#include "../folder/folder_list.h"
#include "../split_draw.h"
#include "voc.h"
#include "voc_xml.h"
#include <math.h>
#include <unistd.h>

#define PATH_ROOM 4096

typedef struct filling {
    box_data *d;
    const voc_attrs *a;
    uint64_t picture;
    int32_t closed; /* the classes are a file's; another is a mistake */
} filling;

/* ---- an XML file ---- */

static int32_t problem_of(const filling *f, const voc_object *o, cvr_error *err) {
    const uint32_t wrong = (o->given ^ 15u) | o->bad;
    for (uint32_t i = 0; i < 4; i++) {
        if (wrong >> i & 1)
            return box_data_problem(f->d, f->picture, o->line, err, "an object whose box has no %s that is a number",
                                    voc_corner_names[i]);
    }
    return box_data_problem(f->d, f->picture, o->line, err, "an object without a name");
}

static int32_t on_object(void *ctx, const voc_object *v, cvr_error *err) {
    filling *const f = ctx;
    const double shift = f->a->coordinates == 1, *const c = v->corners;
    char name[sizeof v->name];
    box_object o = {.id = BOX_NO_ID,
                    .box = {c[0] - shift, c[1] - shift, c[2] - c[0] + shift, c[3] - c[1] + shift},
                    .area = NAN,
                    .flags = v->difficult ? CVR_OBJECT_DIFFICULT : 0,
                    .picture = (uint32_t)f->picture,
                    .line = v->line};
    if (v->given != 15 || v->bad || !v->name[0]) return problem_of(f, v, err);
    (void)snprintf(name, sizeof name, "%s", v->name);
    if (f->closed) {
        o.klass = name_table_find(&f->d->classes, v->name);
        if (o.klass < 0)
            return box_data_problem(f->d, f->picture, o.line, err, "class `%.200s` is not among data.class_names",
                                    name);
    } else {
        CVR_TRY(name_table_put(&f->d->classes, v->name, &o.klass, err));
    }
    return box_data_object(f->d, &o, err);
}

/* What is wrong with the file is the picture's problem, so that the others are still looked at. */
static int32_t read_xml(filling *f, cvr_error *err) {
    box_picture *const p = &f->d->pictures[f->picture];
    voc_page page = {.ctx = f, .object = on_object};
    cvr_error why = CVR_ERROR_INIT;
    char path[PATH_ROOM];
    const uint64_t n_objects = f->d->n_objects;
    (void)snprintf(path, sizeof path, "%s", f->d->text + p->source);
    const int32_t status = voc_xml_read(f->d->host, path, &page, &why);
    if (page.height || page.width) box_data_say_size(p, page.height, page.width);
    if (status == CVR_ERR_FORMAT || status == CVR_ERR_IO) {
        f->d->n_objects = n_objects;
        return box_data_problem(f->d, f->picture, why.line, err, "%s", why.message);
    }
    if (status != CVR_OK && err) *err = why;
    return status;
}

/* ---- pictures ---- */

static int32_t add_picture(box_data *d, const char *picture, const char *xml, cvr_error *err) {
    uint64_t source;
    CVR_TRY(box_data_text(d, xml, &source, err));
    return box_data_picture(d, picture, source, err);
}

static int32_t make_path(char path[PATH_ROOM], const char *folder, const char *below, const char *name,
                         const char *ending, cvr_error *err) {
    const int n = snprintf(path, PATH_ROOM, "%s%s/%s%s", folder, below, name, ending);
    return n >= 0 && n < PATH_ROOM ? CVR_OK
                                   : cvr_fail(err, CVR_ERR_INVALID, "a path of over 4095 bytes; move the data");
}

/* JPEGImages/NAME with the ending that there is, .jpg if none. */
static int32_t add_named(box_data *d, const char *base, const char *name, cvr_error *err) {
    static const char *const endings[] = {".jpg", ".png", ".jpeg", ".JPG", ".webp", ".bmp", ".tif", ".tiff"};
    char picture[PATH_ROOM], xml[PATH_ROOM];
    CVR_TRY(make_path(xml, base, "/Annotations", name, ".xml", err));
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        CVR_TRY(make_path(picture, base, "/JPEGImages", name, endings[i], err));
        if (access(picture, F_OK) == 0) return add_picture(d, picture, xml, err);
    }
    CVR_TRY(make_path(picture, base, "/JPEGImages", name, ".jpg", err));
    return add_picture(d, picture, xml, err);
}

static int32_t add_list(box_data *d, const char *base, const char *path, cvr_error *err) {
    csv_table lines = {0};
    name_table seen = {.host = d->host};
    int32_t status;
    CVR_TRY_OUT(csv_table_read(d->host, path, CSV_LINES, &lines, err));
    for (uint64_t i = 0; i < lines.n_rows; i++) {
        char *const line = lines.text + lines.cells[lines.rows[i].first];
        line[strcspn(line, " \t\r")] = '\0';
        if (!*line) CVR_TRY_OUT(csv_table_fail(&lines, path, i, "not the name of a picture", err));
        CVR_TRY_OUT(add_named(d, base, line, err));
    }
    CVR_TRY_OUT(csv_table_names(&lines, path, 0, "a picture that was listed before; remove the line", &seen, err));
out:
    name_table_free(&seen);
    csv_table_free(&lines);
    return status;
}

/* All pictures of a folder; the XML file has the picture's name, beside it, or in Annotations where `base` says so. */
static int32_t add_folder(box_data *d, const char *folder, const char *base, int32_t warns, cvr_error *err) {
    folder_list l = {.host = d->host, .image = d->images.image};
    char xml[PATH_ROOM], name[PATH_ROOM];
    int32_t status;
    CVR_TRY_OUT(folder_list_flat(&l, folder, err));
    for (uint64_t i = 0; i < l.n; i++) {
        const char *const path = l.text + l.items[i].path;
        (void)snprintf(name, sizeof name, "%s", path + strlen(folder) + 1);
        char *const dot = strrchr(name, '.');
        if (dot) *dot = '\0';
        CVR_TRY_OUT(make_path(xml, base ? base : folder, base ? "/Annotations" : "", name, ".xml", err));
        CVR_TRY_OUT(add_picture(d, path, xml, err));
    }
    if (warns) folder_list_warn(&l, folder);
    if (d->n == 0) CVR_TRY_OUT(cvr_fail_at(err, folder, 0, cvr_fail(err, CVR_ERR_FORMAT, "not one picture is here")));
out:
    folder_list_free(&l);
    return status;
}

/* ---- where they are ---- */

/* The split's list, or one that has both splits. */
static int32_t find_list(const char *base, uint32_t split, int32_t both, char path[PATH_ROOM], cvr_error *err) {
    static const char *const names[2][3] = {{"train.txt", "trainval.txt", NULL}, {"val.txt", "test.txt", NULL}};
    for (int i = 0; i < 2; i++) {
        const char *const name = names[split][both ? 1 - i : i];
        CVR_TRY(make_path(path, base, "/ImageSets/Main", name, "", err));
        if (access(path, F_OK) == 0) return CVR_OK;
    }
    path[0] = '\0';
    return CVR_OK;
}

static int32_t add_standard(box_data *d, const cvr_dataset_args *args, uint32_t split, int32_t warns, cvr_error *err) {
    static const char *const beside[2][2] = {{"train", "train"}, {"val", "valid"}};
    const voc_attrs *const a = args->attrs;
    char base[PATH_ROOM], path[PATH_ROOM];
    CVR_TRY(voc_base(args, base, sizeof base, err));
    CVR_TRY(find_list(base, split, a->val_split > 0, path, err));
    if (path[0]) return add_list(d, base, path, err);
    for (int i = 0; i < 2; i++) {
        CVR_TRY(dataset_path(path, sizeof path, args->root, beside[split][i], err));
        if (folder_exists(path)) return add_folder(d, path, NULL, warns, err);
    }
    CVR_TRY(dataset_path(path, sizeof path, base, "JPEGImages", err));
    if (a->val_split > 0)
        return add_folder(d, folder_exists(path) ? path : base, folder_exists(path) ? base : NULL, warns, err);
    return cvr_fail_at(err, base, 0,
                       cvr_fail(err, CVR_ERR_IO,
                                "no ImageSets/Main/%s.txt and no folder %s; set data.%s to a list or a folder, or "
                                "data.val_split where all pictures are together",
                                split ? "val" : "train", split ? "val" : "train", split ? "val" : "train"));
}

static int32_t add_pictures(box_data *d, const cvr_dataset_args *args, uint32_t split, int32_t warns, cvr_error *err) {
    const char *const given = split == CVR_SPLIT_TRAIN ? args->train : args->val;
    char base[PATH_ROOM];
    if (!given[0]) return add_standard(d, args, split, warns, err);
    if (folder_exists(given)) return add_folder(d, given, NULL, warns, err);
    CVR_TRY(voc_base(args, base, sizeof base, err));
    return add_list(d, base, given, err);
}

/* ---- classes ---- */

/* data.class_names, or classes.txt in data.root. */
static int32_t read_names(filling *f, const cvr_dataset_args *args, cvr_error *err) {
    char path[PATH_ROOM];
    csv_table lines = {0};
    int32_t status;
    CVR_TRY(dataset_path(path, sizeof path, args->root, f->a->class_names[0] ? f->a->class_names : "classes.txt", err));
    if (!f->a->class_names[0] && (!args->root[0] || access(path, F_OK) != 0)) return CVR_OK;
    f->closed = 1;
    CVR_TRY_OUT(csv_table_read(f->d->host, path, CSV_LINES, &lines, err));
    status = csv_table_names(&lines, path, 0, "a class that was named before; remove the line", &f->d->classes, err);
out:
    csv_table_free(&lines);
    return status;
}

/*
 * Classes that no file names, in byte order, which is the order of VOC's twenty: all of these where training has only
 * such. Validation's are the names that are found, so that they fit whatever training has.
 */
static int32_t sort_names(box_data *d, uint32_t split, cvr_error *err) {
    name_table voc = {.host = d->host};
    int64_t *const map = d->host->alloc(d->host, (d->classes.n + 1) * sizeof *map, 16), number;
    int32_t status = map ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the names of classes");
    int32_t all = split == CVR_SPLIT_TRAIN || d->classes.n == 0;
    for (size_t i = 1; status == CVR_OK && i <= VOC_CLASSES; i++)
        status = name_table_put(&voc, voc_names[i], &number, err);
    for (int64_t i = 0; status == CVR_OK && i < (int64_t)d->classes.n; i++)
        all &= (map[i] = name_table_find(&voc, name_table_get(&d->classes, i))) >= 0;
    if (status == CVR_OK && all) {
        name_table_free(&d->classes);
        d->classes = voc;
    } else {
        name_table_free(&voc);
        if (status == CVR_OK) status = name_table_sort(&d->classes, map, err);
    }
    for (uint64_t i = 0; status == CVR_OK && i < d->n_objects; i++) d->objects[i].klass = map[d->objects[i].klass];
    if (map) d->host->free(d->host, map);
    return status;
}

/* ---- opening ---- */

static int32_t fill(box_data *d, const cvr_dataset_args *args, cvr_error *err) {
    filling f = {.d = d, .a = args->attrs};
    const uint32_t split = f.a->val_split > 0 ? CVR_SPLIT_TRAIN : args->split;
    const int32_t warns = args->split == CVR_SPLIT_TRAIN || f.a->val_split == 0;
    if (f.a->val_split > 0 && args->val[0])
        return cvr_fail(err, CVR_ERR_USAGE, "data.val_split and data.val exclude each other; drop one of the two");
    d->difficult = (int32_t)f.a->difficult;
    CVR_TRY(read_names(&f, args, err));
    CVR_TRY(add_pictures(d, args, split, warns, err));
    for (f.picture = 0; f.picture < d->n; f.picture++) CVR_TRY(read_xml(&f, err));
    if (!f.closed) CVR_TRY(sort_names(d, split, err));
    if (f.a->val_split > 0) CVR_TRY(box_data_split(d, args->split, f.a->val_split, args->seed, err));
    if (f.a->empty && args->split == CVR_SPLIT_TRAIN) CVR_TRY(box_data_drop_empty(d, err));
    return box_data_finish(d, args->root[0] ? args->root : args->train, warns, err);
}

static int32_t open_boxes(const cvr_dataset_args *args, void **self, cvr_error *err) {
    box_data *d = NULL;
    *self = NULL;
    int32_t status = box_data_create(args, &d, err);
    if (status == CVR_OK) status = fill(d, args, err);
    if (status == CVR_OK)
        *self = d;
    else
        box_data_close(d);
    return status;
}

const cvr_dataset_desc voc_boxes = {
    .struct_size = sizeof voc_boxes, .name = "voc", .open = open_boxes, BOX_DATA_FUNCTIONS};
