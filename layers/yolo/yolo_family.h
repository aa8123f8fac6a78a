/* What the files of the plugin "layer_yolo" share. */
#ifndef CVR_LAYERS_YOLO_FAMILY_H
#define CVR_LAYERS_YOLO_FAMILY_H

#include <cvr/plugin/formats/onnx.h>

extern const cvr_onnx_trait yolo_boxes_onnx;

#endif
