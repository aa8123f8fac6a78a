/*
 * Pictures in folders: what the data sets "folder" and "imagenet" share.
 */
#ifndef CVR_FOLDER_H
#define CVR_FOLDER_H

#include "../dataset_picture.h"
#include "../name_table.h"
#include "folder_list.h"

typedef struct folder {
    const cvr_host *host;
    dataset_pictures pictures;
    folder_list list;
    name_table shown; /* what the classes are called, where that is not their folders' names; else empty */
} folder;

int32_t folder_new(const cvr_dataset_args *args, folder **out, cvr_error *err);
/* Lists the class folders in `root` under the numbers that the classes have. */
int32_t folder_list_tree(folder *d, const char *root, cvr_error *err);
/* -1 where no class has this folder. */
int64_t folder_class_of(const folder_list *l, const char *name);

/* The functions of the descriptors. */
void folder_close(void *self);
int64_t folder_count(const void *self);
int64_t folder_n_classes(const void *self);
const char *folder_class_name(const void *self, int64_t i);
int64_t folder_label(const void *self, int64_t index);
int32_t folder_read(const void *self, int64_t index, cvr_sample *out, cvr_error *err);
void folder_describe(const void *self, int64_t index, char *buf, uint64_t size);

extern const cvr_dataset_desc folder_imagenet;

#endif
