/* See emit.h. */
#include "emit.h"

const hlo_op *const emit_families[] = {emit_elementwise_ops, emit_shape_ops,    emit_conv_ops,     emit_linear_ops,
                                       emit_norm_ops,        emit_row_norm_ops, emit_pool_ops,     emit_arith_ops,
                                       emit_softmax_ops,     emit_loss_ops,     emit_mask_ops,     emit_update_ops,
                                       emit_picture_ops,     emit_region_ops,   emit_int8_ops,     emit_box_ops,
                                       emit_row_ops,         emit_match_ops,    emit_row_loss_ops, emit_nms_ops,
                                       emit_ota_ops,         emit_entropy_ops,  emit_box_loss_ops, emit_yolo_ops,
                                       emit_yolo_loss_ops,   emit_roi_ops,      emit_roi_mask_ops, NULL};
