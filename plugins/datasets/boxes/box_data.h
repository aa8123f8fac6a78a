/*
 * Pictures with objects: what the data sets coco, voc and yolo share. Each fills a `box_data` when it is opened, from
 * whatever its annotations are, and has the other functions in common.
 *
 * Nothing that is wrong is left out in silence. What cannot be trained on is kept as its picture's problem, which
 * whoever reads the picture is told; what can be put right is put right, and counted in one warning.
 */
#ifndef CVR_BOX_DATA_H
#define CVR_BOX_DATA_H

#include "../../rle/rle.h"
#include "../dataset_picture.h"
#include "../name_table.h"

#define BOX_NO_ID INT64_MIN
#define BOX_BAD_SIZE (-1)

/* An object as the annotations have it. */
typedef struct box_object {
    int64_t id;       /* the annotation's own, or BOX_NO_ID: its place in the picture, from 1 */
    int64_t klass;    /* index */
    double box[4];    /* x, y, width, height: pixels, or shares of the picture where box_data.shares says so */
    double area;      /* NaN: nothing is said of it */
    uint64_t shape;   /* where its outline is; the data set's own business */
    uint32_t n_shape; /* 0: it has none */
    uint32_t flags;   /* CVR_OBJECT_* */
    uint32_t picture;
    uint32_t line; /* of the annotations' file, or place in its list, from 1; 0: not known */
} box_object;

typedef struct box_picture {
    uint64_t path, source; /* in the text: the picture's file, the annotations' */
    int64_t id;
    int64_t height, width; /* 0: nothing is said of it, BOX_BAD_SIZE: nothing that can be */
    uint64_t first, n;     /* its objects */
    int64_t problem;       /* place in the list of them, -1: there is none */
    int64_t kept;          /* objects that its fields will have, or at most have */
} box_picture;

/* Things that are put right, or are fine and yet worth a word. */
enum box_notice {
    BOX_CLIPPED, /* beyond the border, by less than a hundredth of the picture */
    BOX_EMPTY,   /* without area: no field has it */
    BOX_TWICE,   /* the same class and box as another */
    BOX_ORPHAN,  /* of a picture that is not there */
    BOX_ZERO_ID, /* whose id is 0 */
    BOX_SAME_ID, /* whose id another has */
    BOX_NO_SIZE, /* pictures of which the annotations say a size that is none */
    BOX_NOTICES
};

typedef struct box_data {
    const cvr_host *host;
    dataset_pictures images;
    name_table classes;
    char *text;
    uint64_t text_n, text_room;
    box_picture *pictures;
    uint64_t n, room;
    box_object *objects;
    uint64_t n_objects, objects_room;
    struct box_problem {
        uint64_t text;
        uint64_t more; /* others that the same picture has */
    } * problems;
    uint64_t n_problems, problems_room;
    struct {
        uint64_t n;
        char first[400];
    } notices[BOX_NOTICES];
    int32_t one_file;  /* that has the annotations of all pictures, as a list */
    int32_t shares;    /* boxes are shares of the picture */
    int32_t masks;     /* samples have the field "masks" */
    int32_t difficult; /* difficult objects are among the fields */
    /* The outline of an object, of a picture of this size; NULL: objects have none. */
    int32_t (*shape)(const struct box_data *d, const box_object *o, int64_t height, int64_t width, rle *out,
                     cvr_error *err);
    void (*free_own)(struct box_data *d);
    int64_t (*class_id)(const struct box_data *d, int64_t klass);
    void *own;
} box_data;

/* An empty one, for the data set to fill. */
int32_t box_data_create(const cvr_dataset_args *args, box_data **out, cvr_error *err);
void box_data_close(void *self);

/* ---- filling ---- */

/* Keeps a copy of the text; `at` gets its place. */
int32_t box_data_text(box_data *d, const char *s, uint64_t *at, cvr_error *err);
/* `id` and sizes may be changed later; `source` is a place in the text. */
int32_t box_data_picture(box_data *d, const char *path, uint64_t source, cvr_error *err);
int32_t box_data_object(box_data *d, const box_object *o, cvr_error *err);
/* Says what is wrong with a picture's annotations, in which line (0: not known). */
int32_t box_data_problem(box_data *d, uint64_t picture, uint32_t line, cvr_error *err, const char *format, ...)
    CVR_PRINTF(5, 6);
void box_data_notice(box_data *d, enum box_notice what, const char *format, ...) CVR_PRINTF(3, 4);
/* Height and width as the annotations say them: from 1 to INT32_MAX both, or BOX_BAD_SIZE. */
void box_data_say_size(box_picture *p, int64_t height, int64_t width);
/* Once all is there: puts objects to their pictures, looks at every box, and says what was put right. Sizes that the
 * annotations do not say are those of the pictures' files. `file` names the data in messages. `warns`: 0, nothing is
 * said. */
int32_t box_data_finish(box_data *d, const char *file, int32_t warns, cvr_error *err);
/* Leaves out pictures that nothing can be learned from, as torchvision's references do: without objects, or all of
 * them with a side of a pixel or less. Before box_data_finish(). */
int32_t box_data_drop_empty(box_data *d, cvr_error *err);
/* Keeps the part that a seeded draw gives to this split. */
int32_t box_data_split(box_data *d, uint32_t split, double val_split, uint64_t seed, cvr_error *err);

static inline const char *box_data_path(const box_data *d, uint64_t i) {
    return d->text + d->pictures[i].path;
}

/* ---- one box ---- */

/* "annotation 7: ", "line 3: ", or "" where nothing is known, for messages. Returns `to`. */
#define BOX_NAME_ROOM 48
const char *box_name(const box_data *d, const box_object *o, char to[BOX_NAME_ROOM]);
/* Corners (x1, y1, x2, y2) cut to the picture. 1: it can be used; 0: it has no area. */
int32_t box_corners(const box_data *d, const box_object *o, int64_t height, int64_t width, float corners[4]);
/* Whether the box is one: numbers, sides that are not negative, in the picture but for a hundredth of it. `why` gets
 * the reason where it is not. */
int32_t box_is_right(const box_data *d, const box_object *o, int64_t height, int64_t width, char *why, uint64_t size);
/* Whether the fields have the object, its box aside. */
static inline int32_t box_counts(const box_data *d, const box_object *o) {
    return !(o->flags & CVR_OBJECT_CROWD) && (d->difficult || !(o->flags & CVR_OBJECT_DIFFICULT));
}

/* ---- the functions of descriptors ---- */

int64_t box_data_count(const void *self);
int64_t box_data_n_classes(const void *self);
const char *box_data_class_name(const void *self, int64_t i);
int32_t box_data_read(const void *self, int64_t index, cvr_sample *out, cvr_error *err);
void box_data_describe(const void *self, int64_t index, char *buf, uint64_t size);
int64_t box_data_label(const void *self, int64_t index);
const char *box_data_kind(const void *self, uint32_t i);
int64_t box_data_rows(const void *self, int64_t index, const char *axis);
int32_t box_data_size(const void *self, int64_t index, int64_t *height, int64_t *width, cvr_error *err);
int32_t box_data_objects(const void *self, int64_t index, cvr_object_fn each, void *ctx, cvr_error *err);
int64_t box_data_class_id(const void *self, int64_t klass);

#define BOX_DATA_FUNCTIONS                                                                                             \
    .close = box_data_close, .count = box_data_count, .n_classes = box_data_n_classes,                                 \
    .class_name = box_data_class_name, .read = box_data_read, .describe = box_data_describe, .label = box_data_label,  \
    .kind = box_data_kind, .rows = box_data_rows, .size = box_data_size, .objects = box_data_objects,                  \
    .class_id = box_data_class_id

#endif
