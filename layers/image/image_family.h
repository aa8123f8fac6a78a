/* What the files of the plugin "layer_image" share. */
#ifndef CVR_LAYERS_IMAGE_FAMILY_H
#define CVR_LAYERS_IMAGE_FAMILY_H

/* For cvr_op_desc.trait of normalize_pixels: how it is written for other runtimes. */
const void *image_normalize_traits(const char *name);

#endif
