/*
 * The data path: "cvr.dataset/1" gives samples, "cvr.augment/1" changes them. A sample is a set of named fields.
 */
#ifndef CVR_PLUGIN_DATA_H
#define CVR_PLUGIN_DATA_H

#include "attr.h"
#include "host.h"
#include "rng.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_FIELD_IMAGE 1u /* (H, W, C) interleaved, u8 in 0..255, or f32 in 0..1 (as torchvision's float images) */
#define CVR_FIELD_LABEL 2u /* rank 0, i64: index of the class */
#define CVR_FIELD_MASK 3u  /* (H, W), u8: class of each pixel of the picture; 255: none, it does not count */

typedef struct cvr_field {
    uint64_t struct_size;
    const char *name; /* "image", "label" */
    uint32_t kind;
    uint32_t dtype;
    uint32_t rank;
    uint32_t reserved;
    int64_t shape[4]; /* axes at and past `rank` hold 1 */
    void *data;
} cvr_field;

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
    /* 64-byte aligned, not zeroed; NULL when memory is out. */
    void *(*alloc)(struct cvr_sample *s, uint64_t bytes);
    /* Adds a field of this name with dense memory, which the caller then fills. `name` must outlive the sample. */
    int32_t (*add)(struct cvr_sample *s, const cvr_field *like, cvr_field **out, cvr_error *err);
    /* Where the transforms need only a part of the picture: for a data set that decodes pictures to hand on to the
     * image service's decode_part, and else to leave alone. NULL: the whole picture is wanted. */
    const cvr_part_request *request;
} cvr_sample;

/* The first field of this kind, or NULL. */
static inline cvr_field *cvr_sample_find(const cvr_sample *s, uint32_t kind) {
    for (uint32_t i = 0; i < s->n_fields; i++) {
        if (s->fields[i]->kind == kind) return s->fields[i];
    }
    return NULL;
}

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
    /* Adds the fields "image" (u8) and "label" to an empty sample. Called by several threads at once. */
    int32_t (*read)(const void *self, int64_t index, cvr_sample *out, cvr_error *err);
    /* What a person would call sample `index`: a path, or "train-images-idx3-ubyte.gz[17]". */
    void (*describe)(const void *self, int64_t index, char *buf, uint64_t size);
    /* Class of sample `index` without decoding it, or -1 where that is not known. */
    int64_t (*label)(const void *self, int64_t index);
} cvr_dataset_desc;

/* Numbers that one transform draws for one sample. */
#define CVR_AUGMENT_PARAMS 32u

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
    /* What the schema cannot say (min <= max); NULL: nothing. */
    int32_t (*check)(const void *attrs, cvr_error *err);
    /* NULL where nothing is random. */
    int32_t (*make_params)(const void *attrs, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err);
    int32_t (*apply)(const void *attrs, const double *params, cvr_sample *s, cvr_error *err);
    /*
     * All three or none. A transform that has them only moves pixels of the image, and its make_params looks at the
     * image's shape alone: it may be called before there are pixels (data is NULL).
     * part_size: out's height and width from in's. part_source: the part of the input that `out` is made from, and how
     * far it may be reduced. part_apply: the sample's image holds `in`, which covers what part_source said and may be
     * more; it is to hold `out` (never reduced), with the pixels that apply() would have put there.
     */
    int32_t (*part_size)(const cvr_part_step *step, cvr_error *err);
    int32_t (*part_source)(const cvr_part_step *step, cvr_error *err);
    int32_t (*part_apply)(const cvr_part_step *step, cvr_sample *s, cvr_error *err);
} cvr_augment_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_field) == 72, "cvr_field has padding");
CVR_STATIC_ASSERT(sizeof(cvr_sample) == 56, "cvr_sample has padding");
CVR_STATIC_ASSERT(sizeof(cvr_dataset_args) == 72, "cvr_dataset_args has padding");
CVR_STATIC_ASSERT(sizeof(cvr_dataset_desc) == 104, "cvr_dataset_desc has padding");
CVR_STATIC_ASSERT(sizeof(cvr_part_step) == 40, "cvr_part_step has padding");
CVR_STATIC_ASSERT(sizeof(cvr_augment_desc) == 88, "cvr_augment_desc has padding");

#endif
