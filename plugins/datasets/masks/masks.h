/*
 * Pictures with a mask each: what the data sets masks, voc, cityscapes, ade20k and camvid share. Each of them opens a
 * `mask_data`, fills its list, its classes and its values, and has the other functions in common.
 */
#ifndef CVR_MASKS_H
#define CVR_MASKS_H

#include "../dataset_picture.h"
#include "mask_list.h"
#include "mask_values.h"

typedef struct mask_data {
    const cvr_host *host;
    dataset_pictures pictures;
    mask_list list;
    name_table classes;
    colour_table colours; /* empty where masks hold numbers */
    mask_values values;
    char table[4096]; /* the file of the colours */
} mask_data;

/* Finds the pictures, classes and values of an empty `mask_data`. */
typedef int32_t (*masks_fill_fn)(mask_data *d, const cvr_dataset_args *args, cvr_error *err);
/* cvr_dataset_desc.open by it: `self` is the data, or NULL after an error. */
int32_t masks_open(masks_fill_fn fill, const cvr_dataset_args *args, void **self, cvr_error *err);

/* The names of the classes in their order; numbers from 0 on stand for them, 255 for none. */
int32_t masks_name_classes(mask_data *d, const char *const *names, int64_t n, cvr_error *err);
/* Colours stand for classes, as the table at d->table says. */
int32_t masks_read_colours(mask_data *d, const cvr_dataset_args *args, const char *ignored, cvr_error *err);
/* Lists the pictures, and takes this split's share of them where val_split is not 0. */
int32_t masks_list(mask_data *d, const mask_trees *trees, const cvr_dataset_args *args, double val_split,
                   cvr_error *err);
/* Warns where masks of two classes hold 0 and 255 alone and 255 does not count. */
void masks_warn_of_white(const mask_data *d);
/* Refuses data.train and data.val, and data.root that is not set. `holds` says what the folder holds. */
int32_t masks_need_root(const cvr_dataset_args *args, const char *holds, cvr_error *err);

/* The first of the folders root/below that holds `inside` ("" is root itself); else root. NULL ends `below`. */
int32_t masks_find_base(const char *root, const char *const *below, const char *inside, char *base, uint64_t size,
                        cvr_error *err);
/* The first file of these names in the folder, or "". NULL ends them. */
int32_t masks_find_file(const char *folder, const char *const *names, char *path, uint64_t size, cvr_error *err);
/* CVR_ERR_IO about a folder. */
int32_t masks_fail_folder(const char *folder, const char *what, cvr_error *err);

/* The functions of the descriptors. */
void masks_close(void *self);
int64_t masks_count(const void *self);
int64_t masks_n_classes(const void *self);
const char *masks_class_name(const void *self, int64_t i);
int32_t masks_read(const void *self, int64_t index, cvr_sample *out, cvr_error *err);
void masks_describe(const void *self, int64_t index, char *buf, uint64_t size);
int64_t masks_label(const void *self, int64_t index);
const char *masks_kind(const void *self, uint32_t i);
int32_t masks_size(const void *self, int64_t index, int64_t *height, int64_t *width, cvr_error *err);

/* The fields of a descriptor that are the same for all of them. */
#define MASKS_FUNCTIONS                                                                                                \
    .close = masks_close, .count = masks_count, .n_classes = masks_n_classes, .class_name = masks_class_name,          \
    .read = masks_read, .describe = masks_describe, .label = masks_label, .kind = masks_kind

extern const cvr_dataset_desc masks_dataset, cityscapes_dataset, ade20k_dataset, camvid_dataset;

#endif
