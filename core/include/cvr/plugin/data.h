/*
 * The data path: "cvr.dataset/1" gives samples, "cvr.augment/1" changes them, "cvr.field/1" says what a kind of field
 * is. A sample is a set of named fields; a batch stacks them.
 */
#ifndef CVR_PLUGIN_DATA_H
#define CVR_PLUGIN_DATA_H

#include "attr.h"
#include "graph.h"
#include "host.h"
#include "rng.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- fields ---- */

/*
 * What a field means to transforms and to whoever stacks samples into a batch. These kinds are cvrun's own; a plugin
 * registers others under a name with its prefix, "acme.keypoints".
 *
 * A batch puts an axis for the samples in front. Fields of rank 3 whose axes 0 and 1 are the picture's are interleaved
 * (H, W, C) and become (N, C, H, W); every other field keeps the order of its axes: masks become (N, object, H, W).
 */
#define CVR_FIELD_IMAGE "image"           /* (H, W, C) interleaved, u8 in 0..255, or f32 */
#define CVR_FIELD_LABEL "label"           /* (), i64: index of the class; or (classes), f32: a share for each class */
#define CVR_FIELD_MASK "mask"             /* (H, W), u8: class of each pixel; 255: none, it does not count */
#define CVR_FIELD_BOXES "boxes"           /* (object, 4), f32: x1, y1, x2, y2 in pixels of the picture */
#define CVR_FIELD_BOX_LABELS "box_labels" /* (object), i64: class of each box */
#define CVR_FIELD_MASKS "masks"           /* (object, H, W), u8: 1 where the object is */

#define CVR_NO_AXIS UINT32_MAX

/* "cvr.field/1". Fields of one sample whose kinds name the same ragged axis have the same number of rows. */
typedef struct cvr_field_kind {
    uint64_t struct_size;
    const char *name;
    const char *doc;
    uint32_t dtype;   /* of a sample's field; 0: more than one is possible */
    uint32_t rank;    /* of a sample's field; a batch has one axis more, in front */
    const char *axis; /* name of axis 0 where its length differs from sample to sample, "object"; NULL: it does not */
    uint32_t height_axis; /* axis that is the picture's height, its width is the next; CVR_NO_AXIS: none */
    uint32_t places;      /* 1: it says where something is in the picture, so that it must move with the pixels */
    uint32_t classes;     /* 1: its whole numbers are indices of classes; what is none of them is left as it is */
    uint32_t reserved;
    double pad; /* what rows and pixels hold that a batch adds */
} cvr_field_kind;

typedef struct cvr_field {
    uint64_t struct_size;
    const char *name; /* "image"; a data set may have several fields of one kind */
    const char *kind;
    uint32_t dtype;
    uint32_t rank;
    int64_t shape[4]; /* axes at and past `rank` hold 1 */
    void *data;
} cvr_field;

/* Where a sample comes from, and how its picture came to lie in the batch as it does. */
typedef struct cvr_origin {
    uint64_t struct_size;
    int64_t index;         /* in the data set */
    int64_t id;            /* the data set's own number for it (COCO's image_id); the index where it has none */
    const char *path;      /* of the picture's file, lives as long as the data set; NULL: it has none of its own */
    int64_t height, width; /* of the picture as the data has it, upright */
    /* Row-major 3x3: takes (x, y, 1) of that picture, in pixels with the corner of the first at 0, to the same of the
     * sample's picture (homogeneous: divide by the third). */
    double geometry[9];
} cvr_origin;

/*
 * Memory comes from an arena that lives as long as the sample: allocate, point the field at it, forget the old. A
 * field's struct is the sample's own and may be changed in place.
 */
typedef struct cvr_sample {
    uint64_t struct_size;
    void *ctx;
    uint32_t n_fields;
    uint32_t reserved;
    cvr_field *const *fields;
    cvr_origin *origin; /* `index` is set; a data set fills id, path, height and width */
    /* 64-byte aligned, not zeroed; NULL when memory is out. */
    void *(*alloc)(struct cvr_sample *s, uint64_t bytes);
    /* Adds a field of this name with dense memory, which the caller then fills. `name` and `kind` must outlive the
     * sample. */
    int32_t (*add)(struct cvr_sample *s, const cvr_field *like, cvr_field **out, cvr_error *err);
    /* Keeps the rows of a ragged axis for which `keep` is not 0, in every field that has the axis. `n` is their number,
     * as the caller knows it. */
    int32_t (*filter)(struct cvr_sample *s, const char *axis, const uint8_t *keep, int64_t n, cvr_error *err);
    /* What is known of a kind; NULL for one that nobody has registered. */
    const cvr_field_kind *(*kind)(const struct cvr_sample *s, const char *kind);
    /* Where the transforms need only a part of the picture: for a data set that decodes pictures to hand on to the
     * image service's decode_part, and else to leave alone. NULL: the whole picture is wanted. */
    const cvr_part_request *request;
} cvr_sample;

static inline int32_t cvr_field_is(const cvr_field *f, const char *kind) {
    return strcmp(f->kind, kind) == 0;
}

/* The first field of this kind, or NULL. */
static inline cvr_field *cvr_sample_find(const cvr_sample *s, const char *kind) {
    for (uint32_t i = 0; i < s->n_fields; i++) {
        if (cvr_field_is(s->fields[i], kind)) return s->fields[i];
    }
    return NULL;
}

/* Says that the picture's points moved by `m` (row-major 3x3, as cvr_origin.geometry), after all that moved before. */
static inline void cvr_sample_moved(cvr_sample *s, const double m[9]) {
    double was[9], *g = s->origin->geometry;
    memcpy(was, g, sizeof was);
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 3; k++)
            g[3 * i + k] = m[3 * i] * was[k] + m[3 * i + 1] * was[3 + k] + m[3 * i + 2] * was[6 + k];
    }
}

/* ---- batches ---- */

/* A named tensor in host memory: a field of a batch, an output of the network. */
typedef struct cvr_named_tensor {
    uint64_t struct_size;
    const char *name;
    const char *kind;         /* of the field; "" for what is none */
    cvr_tensor tensor;        /* axis 0 is the sample; laid out as abi.h says (rank 4: axis 1 innermost) */
    const cvr_tensor *counts; /* (N) i64: rows that count of the padded axis 1; NULL: all do */
} cvr_named_tensor;

typedef struct cvr_batch_view {
    uint64_t struct_size;
    int64_t n; /* samples */
    uint32_t n_fields;
    uint32_t reserved;
    const cvr_named_tensor *const *fields;
    const cvr_origin *const *origins; /* n of them */
} cvr_batch_view;

/* The tensor of this name, or NULL. */
static inline const cvr_named_tensor *cvr_batch_find(const cvr_batch_view *b, const char *name) {
    for (uint32_t i = 0; i < b->n_fields; i++) {
        if (strcmp(b->fields[i]->name, name) == 0) return b->fields[i];
    }
    return NULL;
}

/* ---- data sets ---- */

#define CVR_OBJECT_CROWD 1u     /* many objects in one region: found or not, it counts for nothing (COCO's iscrowd) */
#define CVR_OBJECT_DIFFICULT 2u /* found or not, it counts for nothing (VOC's difficult) */

/* An object as the annotations have it, for who measures what was found: not rounded, moved or left out, as the fields
 * of a sample may be. */
typedef struct cvr_object {
    uint64_t struct_size;
    int64_t id;      /* the annotation's own; where it has none its place among the sample's objects, from 1 on */
    int64_t klass;   /* index of the class */
    double box[4];   /* x, y, width, height in pixels of the picture as the data has it, upright */
    double area;     /* pixels, as the annotations say; where they do not, width * height */
    uint32_t flags;  /* CVR_OBJECT_* */
    uint32_t n_runs; /* 0: there is no mask */
    /* The mask of the picture's height x width, column by column: how many pixels are outside, inside, outside, ... */
    const uint32_t *runs;
} cvr_object;
typedef int32_t (*cvr_object_fn)(void *ctx, const cvr_object *object, cvr_error *err);

#define CVR_SPLIT_TRAIN 0u
#define CVR_SPLIT_VAL 1u

/* What every data set is opened with; the host reads it from [data]. Paths are absolute or "". */
typedef struct cvr_dataset_args {
    uint64_t struct_size;
    const cvr_host *host;
    const void *attrs;
    const char *root;  /* data.root */
    const char *train; /* data.train, or "" */
    const char *val;   /* data.val, or "" */
    uint32_t split;    /* CVR_SPLIT_* */
    uint32_t channels; /* of the images wanted: 1 or 3 (grey becomes RGB by repetition, RGB becomes grey by ITU-R 601-2
                          luma), 0: as they are */
    int64_t img_size;  /* data.img_size, or 0 */
    uint64_t seed;
} cvr_dataset_args;

/* A folder or file that somebody has pointed at without saying what it is. */
typedef struct cvr_guess_args {
    uint64_t struct_size;
    const cvr_host *host;
    const char *path;         /* absolute */
    const char *const *kinds; /* of the fields that task and network must have: CVR_FIELD_BOXES */
    uint32_t n_kinds;
    uint32_t is_folder; /* 1: a folder, 0: a file */
} cvr_guess_args;

/* Whether there must be a field of this kind. */
static inline int32_t cvr_guess_wants(const cvr_guess_args *g, const char *kind) {
    for (uint32_t i = 0; i < g->n_kinds; i++) {
        if (strcmp(g->kinds[i], kind) == 0) return 1;
    }
    return 0;
}

typedef struct cvr_dataset_desc {
    uint64_t struct_size;
    const char *name;
    const char *doc;
    uint32_t n_attrs;
    uint32_t reserved;
    const cvr_attr_desc *const *attrs;
    /* Reads what is needed to answer the rest. Errors name the file. */
    int32_t (*open)(const cvr_dataset_args *args, void **self, cvr_error *err);
    void (*close)(void *self);
    int64_t (*count)(const void *self);
    int64_t (*n_classes)(const void *self);
    /* Name of class i; lives as long as `self`. */
    const char *(*class_name)(const void *self, int64_t i);
    /* Adds the sample's fields to an empty sample, and fills its origin. Called by several threads at once. */
    int32_t (*read)(const void *self, int64_t index, cvr_sample *out, cvr_error *err);
    /* What a person would call sample `index`: a path, or "train-images-idx3-ubyte.gz[17]". */
    void (*describe)(const void *self, int64_t index, char *buf, uint64_t size);
    /* Class of sample `index` without decoding it, or -1 where that is not known. */
    int64_t (*label)(const void *self, int64_t index);
    /* The field kinds that its samples have, CVR_FIELD_IMAGE among them: the i-th, NULL past the end. So a transform or
     * a task that cannot go with them is refused before the first sample. */
    const char *(*kind)(const void *self, uint32_t i);
    /* Each may be NULL where the data does not know without decoding.
     * rows: length of a ragged axis of sample `index`, -1: not known; size: of its picture, upright. */
    int64_t (*rows)(const void *self, int64_t index, const char *axis);
    int32_t (*size)(const void *self, int64_t index, int64_t *height, int64_t *width, cvr_error *err);
    /* Tells every object of sample `index`, in the order of the annotations; stops with the status of `each`. NULL:
     * the data has no objects, or none that its fields do not tell as well. */
    int32_t (*objects)(const void *self, int64_t index, cvr_object_fn each, void *ctx, cvr_error *err);
    /* The data's own number for a class (COCO's category_id), for files that others read. NULL: the index and 1. */
    int64_t (*class_id)(const void *self, int64_t klass);
    /* How sure it is that the path is data of its own with fields of these kinds: 0, it is not, to 100; then it tells
     * the settings that it reads them with, "data.root" and whatever else of [data] it takes. Nothing but names is
     * looked at, and small files. NULL: it has to be named. */
    int32_t (*guess)(const cvr_guess_args *args, cvr_propose_fn each, void *ctx, int32_t *sure, cvr_error *err);
} cvr_dataset_desc;

/* ---- transforms ---- */

/* Numbers that one transform draws for one sample. */
#define CVR_AUGMENT_PARAMS 32u

/* Where in the data path a transform runs. */
#define CVR_STAGE_SAMPLE 0u     /* on one sample, or several: pictures are u8 as long as they can be */
#define CVR_STAGE_NORMALISE 1u  /* the one that makes f32 of pixels, (x / 255 - mean) / std; a pipeline has one */
#define CVR_STAGE_NORMALISED 2u /* on one sample whose picture is normalised */
#define CVR_STAGE_BATCH 3u      /* on a whole batch, normalised */

/*
 * A transform of geometry, seen part by part. A chain of them is asked from its end: which part of your input makes the
 * part of your output that is wanted? So a decoder decodes no more than is looked at. `in` and `out` are the whole
 * pictures' sizes and the parts of them.
 */
typedef struct cvr_part_step {
    uint64_t struct_size;
    const void *attrs;
    const double *params;
    cvr_part *in, *out;
} cvr_part_step;

/* A batch that a transform may change in place: tensors of `fields` are writable. Sample i goes with sample
 * (i + n - 1) % n, as torchvision rolls a batch; `params` were drawn once for the batch. */
typedef struct cvr_augment_batch {
    uint64_t struct_size;
    const cvr_batch_view *batch; /* without the image where the device does its part (`emit`) */
    int64_t n_classes;
} cvr_augment_batch;

/*
 * As in torchvision v2, drawing and doing are apart: `make_params` draws everything that is random, `apply` is a pure
 * function of what was drawn. Both are called by several threads at once.
 */
typedef struct cvr_augment_desc {
    uint64_t struct_size;
    const char *name; /* torchvision's class name in snake case: random_horizontal_flip */
    const char *doc;
    uint32_t n_attrs;
    uint32_t n_params; /* <= CVR_AUGMENT_PARAMS */
    const cvr_attr_desc *const *attrs;
    uint32_t stage;      /* CVR_STAGE_* */
    uint32_t n_samples;  /* samples that apply_many takes, this one first; 0 or 1: apply takes one */
    uint32_t multiplies; /* a ragged axis has at most this many times the rows of the largest sample; 0: as many */
    uint32_t n_kinds;
    /*
     * Field kinds beside the image that it moves along, or leaves as they are and right. A sample with any other is
     * refused in one line, but for two cases. n_kinds = 0 and `moves` = 0: pixels change where they are, and all kinds
     * go. One sample whose pixels move: kinds without places in the picture go.
     */
    const char *const *kinds;
    uint32_t moves;   /* 1: pixels move, so that other fields with places in them must move along */
    uint32_t softens; /* 1: fields of the kinds above that are one i64 are (classes) f32 in a batch: a share for each
                         class, which apply_batch finds there already */
    /* What the schema cannot say (min <= max); NULL: nothing. */
    int32_t (*check)(const void *attrs, cvr_error *err);
    /* NULL where nothing is random. For CVR_STAGE_BATCH `s` has the shape of the batch's pictures (H, W, C), and no
     * pixels. */
    int32_t (*make_params)(const void *attrs, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err);
    /* One sample: NULL where one of the next two is there. */
    int32_t (*apply)(const void *attrs, const double *params, cvr_sample *s, cvr_error *err);
    /* n_samples of them (see `alone`); the result is left in samples[0]. The others were drawn by the pipeline, from
     * the same numbers whatever the workers, read and changed by the transforms before this one (but see `fresh`). */
    int32_t (*apply_many)(const void *attrs, const double *params, cvr_sample *const *samples, uint32_t n,
                          cvr_error *err);
    /* CVR_STAGE_BATCH, on the host. */
    int32_t (*apply_batch)(const void *attrs, const double *params, const cvr_augment_batch *batch, cvr_error *err);
    /*
     * After normalisation, the same on the device: what becomes of `image` (N, C, H, W) f32, of `params`, an f32 input
     * of shape (N, n_params), or (n_params) for a batch; CVR_NONE where there are none. Where the one that normalises
     * and every transform after it have it, pictures travel as u8. NULL: the host does it, and they travel as f32. Of
     * several transforms of a batch one is chosen for each; the others get 0 for every number, which must leave the
     * batch as it is.
     */
    int32_t (*emit)(const cvr_builder *b, const void *attrs, cvr_value params, cvr_value image, cvr_value *out,
                    cvr_error *err);
    /*
     * All three or none. A transform that has them only moves pixels, and its make_params looks at the image's shape
     * alone: it may be called before there are pixels (data is NULL). They are used for samples that have no field
     * beside the image with places in it.
     * part_size: out's height and width from in's. part_source: the part of the input that `out` is made from, and how
     * far it may be reduced. part_apply: the sample's image holds `in`, which covers what part_source said and may be
     * more; it is to hold `out` (never reduced), with the pixels that apply() would have put there; it tells
     * cvr_sample_moved as apply() does.
     */
    int32_t (*part_size)(const cvr_part_step *step, cvr_error *err);
    int32_t (*part_source)(const cvr_part_step *step, cvr_error *err);
    int32_t (*part_apply)(const cvr_part_step *step, cvr_sample *s, cvr_error *err);
    /* 1 where what was drawn (a probability, most likely) needs no other sample: apply_many then gets one. NULL: never.
     */
    int32_t (*alone)(const void *attrs, const double *params);
    /* 1: it is left out in the last train.close_mosaic epochs. Only of CVR_STAGE_SAMPLE, and without part_size. */
    uint32_t closes;
    uint32_t fresh; /* 1: the others of apply_many come as the data has them, without the transforms before this one */
} cvr_augment_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_field_kind) == 64, "cvr_field_kind has padding");
CVR_STATIC_ASSERT(sizeof(cvr_field) == 72, "cvr_field has padding");
CVR_STATIC_ASSERT(sizeof(cvr_origin) == 120, "cvr_origin has padding");
CVR_STATIC_ASSERT(sizeof(cvr_sample) == 80, "cvr_sample has padding");
CVR_STATIC_ASSERT(sizeof(cvr_named_tensor) == 32 + sizeof(cvr_tensor), "cvr_named_tensor has padding");
CVR_STATIC_ASSERT(sizeof(cvr_batch_view) == 40, "cvr_batch_view has padding");
CVR_STATIC_ASSERT(sizeof(cvr_object) == 80, "cvr_object has padding");
CVR_STATIC_ASSERT(sizeof(cvr_dataset_args) == 72, "cvr_dataset_args has padding");
CVR_STATIC_ASSERT(sizeof(cvr_dataset_desc) == 152, "cvr_dataset_desc has padding");
CVR_STATIC_ASSERT(sizeof(cvr_guess_args) == 40, "cvr_guess_args has padding");
CVR_STATIC_ASSERT(sizeof(cvr_part_step) == 40, "cvr_part_step has padding");
CVR_STATIC_ASSERT(sizeof(cvr_augment_batch) == 24, "cvr_augment_batch has padding");
CVR_STATIC_ASSERT(sizeof(cvr_augment_desc) == 160, "cvr_augment_desc has padding");

#endif
