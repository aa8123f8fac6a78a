/* What the files of the plugin "layer_detections" share. */
#ifndef CVR_LAYERS_DETECTIONS_FAMILY_H
#define CVR_LAYERS_DETECTIONS_FAMILY_H

/* For cvr_op_desc.trait: detections_onnx.c */
const void *detections_split_traits(const char *name);
const void *detections_pick_traits(const char *name);
const void *detections_joint_traits(const char *name);
const void *detections_best_traits(const char *name);

#endif
