/*
 * What cvrun pack is made of: pack.c goes through the data and makes the folder appear at once, pack_source.c opens the
 * data, pack_sample.c is a sample to read into, pack_files.c and
 * pack_boxes.c write the layouts of files, pack_cache.c that for training.
 */
#ifndef CVRUN_PACK_H
#define CVRUN_PACK_H

#include "cvrun.h"

#define PACK_MOST_FIELDS 16u

/* A split's data set, open, and what is known of it. */
typedef struct pack_source {
    cvr_session *session;
    const cvr_dataset_desc *desc;
    void *self;
    const cvr_image_service *images;
    const cvr_field_kind *kinds[PACK_MOST_FIELDS]; /* of the data's fields */
    uint32_t n_kinds;
    const char *split;  /* "train", "val": the name of its folder */
    char **class_names; /* n_classes of them */
    int64_t n_classes;
    const char *folder; /* that everything goes to */
    /* Of the layout "pack": pictures whose shorter side is longer than `size` are made smaller, by this transform; or
     * `files` are stored as they are. */
    const cvr_augment_desc *resize;
    void *resize_attrs;
    int64_t size;
    bool files;
} pack_source;

/* Opens a split of the session's data. After an error, too, it wants pack_source_close(). */
int32_t pack_source_open(pack_source *d, uint32_t split, cvr_error *err);
void pack_source_close(pack_source *d);
/* An effective setting that is a whole number. */
int64_t pack_number(const pack_source *d, const char *section, const char *key);
/* data.on_error = skip. */
bool pack_skips(const pack_source *d);

/* A sample in memory of its own, that is kept from one sample to the next. Wants pack_sample_free(). */
typedef struct pack_sample {
    cvr_sample sample;
    const pack_source *source;
    cvr_origin origin;
    cvr_field fields[PACK_MOST_FIELDS];
    cvr_field *pointers[PACK_MOST_FIELDS];
    void **blocks;
    size_t n_blocks, capacity;
} pack_sample;

/* Reads sample `index`; the error names it. */
int32_t pack_sample_read(pack_sample *s, const pack_source *source, int64_t index, cvr_error *err);
void pack_sample_free(pack_sample *s);

/* What a sample adds to the split's annotations. */
typedef struct pack_record {
    cvr_text image;   /* an element of "images" */
    cvr_text objects; /* a line each: an element of "annotations" without its id */
    int64_t n_objects;
} pack_record;

/* A layout of files. Which kind of field it needs beside the picture decides whether it can be written. */
typedef struct pack_layout {
    const char *name, *needs;
    /* Before the first sample of a split, and after the last; NULL: nothing to do. */
    int32_t (*begin)(const pack_source *source, cvr_writer *w, cvr_error *err);
    /* The files of a sample, the `number`th of its split. Called by several threads at once. */
    int32_t (*sample)(const pack_source *source, pack_sample *s, int64_t number, pack_record *out, cvr_error *err);
    /* In the order of the samples. `images` collects; `n_objects` counts. */
    int32_t (*record)(const pack_record *r, cvr_writer *w, cvr_text *images, int64_t *n_objects, cvr_error *err);
    int32_t (*end)(const pack_source *source, cvr_writer *w, const cvr_text *images, cvr_error *err);
} pack_layout;

extern const pack_layout *const pack_layouts[];
extern const pack_layout pack_cache, pack_coco, pack_yolo;
extern const size_t n_pack_layouts;

/* The picture as PNG into a/b/NNNNNN.png of the folder; `b` may be NULL. */
int32_t pack_write_picture(const pack_source *p, const pack_sample *s, const char *a, const char *b, int64_t number,
                           cvr_error *err);
/* The folder a/b in it. */
int32_t pack_make_folder(const pack_source *p, const char *a, const char *b, cvr_error *err);
/* That a sample cannot be written, and why. */
int32_t pack_fail_field(const char *what, cvr_error *err);

/* "a/b/c" of up to three parts; NULL when memory is out. Free with cvr_free. */
char *pack_path(const char *a, const char *b, const char *c);

#endif
