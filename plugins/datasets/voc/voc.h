/*
 * Pascal VOC's data (Everingham et al., 2010), of which a recipe takes either the masks or the boxes.
 */
#ifndef CVR_VOC_H
#define CVR_VOC_H

#include <cvr/plugin/plugin.h>

typedef struct voc_attrs {
    int64_t annotations;
    const char *masks;
    const char *class_names;
    double val_split;
    int64_t coordinates, difficult, empty;
} voc_attrs;

/* VOC's twenty classes, behind the background, which only masks have. */
#define VOC_CLASSES 20
extern const char *const voc_names[1 + VOC_CLASSES];

/* The ways to read it. Their names and attributes are the data set's, which chooses. */
extern const cvr_dataset_desc voc_masks, voc_boxes;

/* Whether there are masks: the folder of them, and lists for them. */
int32_t voc_has_masks(const cvr_dataset_args *args);
/* The folder that holds JPEGImages: data.root, or one in it. */
int32_t voc_base(const cvr_dataset_args *args, char *base, uint64_t size, cvr_error *err);

#endif
