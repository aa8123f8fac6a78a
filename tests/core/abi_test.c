/*
 * The binary layout of the plugin ABI, field by field. A change here is a change of the ABI: it must be meant, it must
 * follow the rules of docs/abi.md, CVR_ABI_MINOR (cvr/plugin/abi.h) must rise, and tests/golden/abi_offsets.txt must be
 * written anew: run this test with CVR_WRITE_GOLDEN=1. While a minor is in the making, before anybody could build
 * against it, CVR_WRITE_GOLDEN=again writes the table of the same minor anew.
 */
#include "support/golden.h"
#include <criterion/criterion.h>
#include <ctype.h>
#include <cvr/base.h>
#include <cvr/plugin/ops/activation.h>
#include <cvr/plugin/ops/arith.h>
#include <cvr/plugin/ops/attention.h>
#include <cvr/plugin/ops/conv.h>
#include <cvr/plugin/ops/dropout.h>
#include <cvr/plugin/ops/elementwise.h>
#include <cvr/plugin/ops/linear.h>
#include <cvr/plugin/ops/loss.h>
#include <cvr/plugin/ops/norm.h>
#include <cvr/plugin/ops/optim.h>
#include <cvr/plugin/ops/peak.h>
#include <cvr/plugin/ops/pool.h>
#include <cvr/plugin/ops/resize.h>
#include <cvr/plugin/ops/shape.h>
#include <cvr/plugin/ops/stochastic_depth.h>
#include <stdlib.h>

typedef struct abi_row {
    const char *type, *field;
    size_t offset, size, whole;
} abi_row;

#define ROW(type, field)                                                                                               \
    { #type, #field, offsetof(type, field), sizeof(((type *)0)->field), sizeof(type) }

/* clang-format off */
static const abi_row rows[] = {
    ROW(cvr_error, struct_size),
    ROW(cvr_error, code),
    ROW(cvr_error, line),
    ROW(cvr_error, file),
    ROW(cvr_error, message),
    ROW(cvr_type, struct_size),
    ROW(cvr_type, dtype),
    ROW(cvr_type, rank),
    ROW(cvr_type, shape),
    ROW(cvr_type, order),
    ROW(cvr_tensor, struct_size),
    ROW(cvr_tensor, dtype),
    ROW(cvr_tensor, rank),
    ROW(cvr_tensor, shape),
    ROW(cvr_tensor, order),
    ROW(cvr_tensor, pixel_stride),
    ROW(cvr_tensor, data),
    ROW(cvr_attr_desc, struct_size),
    ROW(cvr_attr_desc, name),
    ROW(cvr_attr_desc, kind),
    ROW(cvr_attr_desc, count),
    ROW(cvr_attr_desc, flags),
    ROW(cvr_attr_desc, reserved),
    ROW(cvr_attr_desc, default_text),
    ROW(cvr_attr_desc, choices),
    ROW(cvr_attr_desc, min),
    ROW(cvr_attr_desc, max),
    ROW(cvr_attr_desc, doc),
    ROW(cvr_host, struct_size),
    ROW(cvr_host, ctx),
    ROW(cvr_host, log),
    ROW(cvr_host, alloc),
    ROW(cvr_host, free),
    ROW(cvr_host, get),
    ROW(cvr_threadpool, struct_size),
    ROW(cvr_threadpool, ctx),
    ROW(cvr_threadpool, n_workers),
    ROW(cvr_threadpool, reserved),
    ROW(cvr_threadpool, run),
    ROW(cvr_image, struct_size),
    ROW(cvr_image, width),
    ROW(cvr_image, height),
    ROW(cvr_image, channels),
    ROW(cvr_image, data),
    ROW(cvr_image_service, struct_size),
    ROW(cvr_image_service, ctx),
    ROW(cvr_image_service, decode),
    ROW(cvr_image_service, encode),
    ROW(cvr_image_service, decode_part),
    ROW(cvr_part, struct_size),
    ROW(cvr_part, height),
    ROW(cvr_part, width),
    ROW(cvr_part, top),
    ROW(cvr_part, left),
    ROW(cvr_part, rows),
    ROW(cvr_part, columns),
    ROW(cvr_part, reduce),
    ROW(cvr_part_request, struct_size),
    ROW(cvr_part_request, ctx),
    ROW(cvr_part_request, choose),
    ROW(cvr_part_request, given),
    ROW(cvr_picture_job, struct_size),
    ROW(cvr_picture_job, bytes),
    ROW(cvr_picture_job, n),
    ROW(cvr_picture_job, channels),
    ROW(cvr_picture_job, alloc),
    ROW(cvr_picture_job, alloc_ctx),
    ROW(cvr_picture_job, request),
    ROW(cvr_picture_job, out),
    ROW(cvr_config_service, struct_size),
    ROW(cvr_config_service, ctx),
    ROW(cvr_config_service, get),
    ROW(cvr_profiler, struct_size),
    ROW(cvr_profiler, ctx),
    ROW(cvr_profiler, enabled),
    ROW(cvr_profiler, begin),
    ROW(cvr_profiler, end),
    ROW(cvr_rng, key),
    ROW(cvr_rng, stream),
    ROW(cvr_rng, counter),
    ROW(cvr_rng, buffer),
    ROW(cvr_rng, used),
    ROW(cvr_init, struct_size),
    ROW(cvr_init, kind),
    ROW(cvr_init, reserved),
    ROW(cvr_init, a),
    ROW(cvr_init, b),
    ROW(cvr_param_decl, struct_size),
    ROW(cvr_param_decl, name),
    ROW(cvr_param_decl, dtype),
    ROW(cvr_param_decl, rank),
    ROW(cvr_param_decl, shape),
    ROW(cvr_param_decl, order),
    ROW(cvr_param_decl, flags),
    ROW(cvr_param_decl, reserved),
    ROW(cvr_param_decl, init),
    ROW(cvr_op_call, struct_size),
    ROW(cvr_op_call, op),
    ROW(cvr_op_call, attrs),
    ROW(cvr_op_call, attrs_size),
    ROW(cvr_op_call, inputs),
    ROW(cvr_op_call, outputs),
    ROW(cvr_op_call, n_inputs),
    ROW(cvr_op_call, n_outputs),
    ROW(cvr_layer_call, struct_size),
    ROW(cvr_layer_call, layer),
    ROW(cvr_layer_call, name),
    ROW(cvr_layer_call, settings),
    ROW(cvr_layer_call, inputs),
    ROW(cvr_layer_call, outputs),
    ROW(cvr_layer_call, n_inputs),
    ROW(cvr_layer_call, n_outputs),
    ROW(cvr_builder, struct_size),
    ROW(cvr_builder, ctx),
    ROW(cvr_builder, training),
    ROW(cvr_builder, reserved),
    ROW(cvr_builder, type),
    ROW(cvr_builder, emit),
    ROW(cvr_builder, layer),
    ROW(cvr_builder, param),
    ROW(cvr_builder, slot),
    ROW(cvr_builder, scalar),
    ROW(cvr_builder, scope),
    ROW(cvr_builder, param_flags),
    ROW(cvr_infer_args, struct_size),
    ROW(cvr_infer_args, attrs),
    ROW(cvr_infer_args, inputs),
    ROW(cvr_infer_args, outputs),
    ROW(cvr_infer_args, n_inputs),
    ROW(cvr_infer_args, n_outputs),
    ROW(cvr_grad_args, struct_size),
    ROW(cvr_grad_args, attrs),
    ROW(cvr_grad_args, inputs),
    ROW(cvr_grad_args, outputs),
    ROW(cvr_grad_args, grad_outputs),
    ROW(cvr_grad_args, needs),
    ROW(cvr_grad_args, grad_inputs),
    ROW(cvr_grad_args, n_inputs),
    ROW(cvr_grad_args, n_outputs),
    ROW(cvr_decompose_args, struct_size),
    ROW(cvr_decompose_args, attrs),
    ROW(cvr_decompose_args, inputs),
    ROW(cvr_decompose_args, outputs),
    ROW(cvr_decompose_args, n_inputs),
    ROW(cvr_decompose_args, n_outputs),
    ROW(cvr_op_desc, struct_size),
    ROW(cvr_op_desc, name),
    ROW(cvr_op_desc, version),
    ROW(cvr_op_desc, flags),
    ROW(cvr_op_desc, min_inputs),
    ROW(cvr_op_desc, max_inputs),
    ROW(cvr_op_desc, n_outputs),
    ROW(cvr_op_desc, n_attrs),
    ROW(cvr_op_desc, attrs),
    ROW(cvr_op_desc, mutates),
    ROW(cvr_op_desc, optional),
    ROW(cvr_op_desc, infer),
    ROW(cvr_op_desc, grad),
    ROW(cvr_op_desc, decompose),
    ROW(cvr_op_desc, flops),
    ROW(cvr_op_desc, doc),
    ROW(cvr_op_desc, follows),
    ROW(cvr_op_desc, again),
    ROW(cvr_op_desc, step),
    ROW(cvr_op_desc, steps),
    ROW(cvr_op_desc, many),
    ROW(cvr_op_desc, shared),
    ROW(cvr_step, code),
    ROW(cvr_step, a),
    ROW(cvr_step, b),
    ROW(cvr_step, reserved),
    ROW(cvr_step, constant),
    ROW(cvr_steps_args, struct_size),
    ROW(cvr_steps_args, attrs),
    ROW(cvr_steps_args, inputs),
    ROW(cvr_steps_args, operands),
    ROW(cvr_steps_args, steps),
    ROW(cvr_steps_args, n_inputs),
    ROW(cvr_steps_args, n_operands),
    ROW(cvr_steps_args, n_steps),
    ROW(cvr_steps_args, reserved),
    ROW(cvr_signature, struct_size),
    ROW(cvr_signature, attrs),
    ROW(cvr_signature, inputs),
    ROW(cvr_signature, outputs),
    ROW(cvr_signature, n_inputs),
    ROW(cvr_signature, n_outputs),
    ROW(cvr_signature, n_workers),
    ROW(cvr_signature, math),
    ROW(cvr_signature, prepared),
    ROW(cvr_signature, reserved),
    ROW(cvr_kernel_args, struct_size),
    ROW(cvr_kernel_args, attrs),
    ROW(cvr_kernel_args, inputs),
    ROW(cvr_kernel_args, outputs),
    ROW(cvr_kernel_args, workspace),
    ROW(cvr_kernel_args, workspace_size),
    ROW(cvr_kernel_args, pool),
    ROW(cvr_kernel_args, stream),
    ROW(cvr_kernel_args, n_inputs),
    ROW(cvr_kernel_args, n_outputs),
    ROW(cvr_kernel_args, prepared),
    ROW(cvr_kernel_args, prepared_size),
    ROW(cvr_cpu_fn, struct_size),
    ROW(cvr_cpu_fn, run),
    ROW(cvr_kernel_desc, struct_size),
    ROW(cvr_kernel_desc, op),
    ROW(cvr_kernel_desc, backend),
    ROW(cvr_kernel_desc, payload_kind),
    ROW(cvr_kernel_desc, payload),
    ROW(cvr_kernel_desc, isa),
    ROW(cvr_kernel_desc, op_version),
    ROW(cvr_kernel_desc, priority),
    ROW(cvr_kernel_desc, flags),
    ROW(cvr_kernel_desc, reserved),
    ROW(cvr_kernel_desc, inplace),
    ROW(cvr_kernel_desc, supports),
    ROW(cvr_kernel_desc, workspace),
    ROW(cvr_kernel_desc, prepares),
    ROW(cvr_kernel_desc, prepared_size),
    ROW(cvr_kernel_desc, prepare),
    ROW(cvr_layer_desc, struct_size),
    ROW(cvr_layer_desc, name),
    ROW(cvr_layer_desc, doc),
    ROW(cvr_layer_desc, n_attrs),
    ROW(cvr_layer_desc, min_inputs),
    ROW(cvr_layer_desc, max_inputs),
    ROW(cvr_layer_desc, n_outputs),
    ROW(cvr_layer_desc, attrs),
    ROW(cvr_layer_desc, build),
    ROW(cvr_model_args, struct_size),
    ROW(cvr_model_args, attrs),
    ROW(cvr_model_args, num_classes),
    ROW(cvr_model_args, in_channels),
    ROW(cvr_model_desc, struct_size),
    ROW(cvr_model_desc, name),
    ROW(cvr_model_desc, doc),
    ROW(cvr_model_desc, n_attrs),
    ROW(cvr_model_desc, reserved),
    ROW(cvr_model_desc, attrs),
    ROW(cvr_model_desc, build),
    ROW(cvr_update_args, struct_size),
    ROW(cvr_update_args, attrs),
    ROW(cvr_update_args, param),
    ROW(cvr_update_args, grad),
    ROW(cvr_update_args, lr),
    ROW(cvr_update_args, step),
    ROW(cvr_update_args, weight_decay),
    ROW(cvr_optimizer_desc, struct_size),
    ROW(cvr_optimizer_desc, name),
    ROW(cvr_optimizer_desc, doc),
    ROW(cvr_optimizer_desc, n_attrs),
    ROW(cvr_optimizer_desc, reserved),
    ROW(cvr_optimizer_desc, attrs),
    ROW(cvr_optimizer_desc, default_lr),
    ROW(cvr_optimizer_desc, default_weight_decay),
    ROW(cvr_optimizer_desc, emit),
    ROW(cvr_sched_args, struct_size),
    ROW(cvr_sched_args, attrs),
    ROW(cvr_sched_args, step),
    ROW(cvr_sched_args, total_steps),
    ROW(cvr_sched_args, steps_per_epoch),
    ROW(cvr_sched_args, lr_min_factor),
    ROW(cvr_scheduler_desc, struct_size),
    ROW(cvr_scheduler_desc, name),
    ROW(cvr_scheduler_desc, doc),
    ROW(cvr_scheduler_desc, n_attrs),
    ROW(cvr_scheduler_desc, reserved),
    ROW(cvr_scheduler_desc, attrs),
    ROW(cvr_scheduler_desc, factor),
    ROW(cvr_field, struct_size),
    ROW(cvr_field, name),
    ROW(cvr_field, kind),
    ROW(cvr_field, dtype),
    ROW(cvr_field, rank),
    ROW(cvr_field, reserved),
    ROW(cvr_field, shape),
    ROW(cvr_field, data),
    ROW(cvr_sample, struct_size),
    ROW(cvr_sample, ctx),
    ROW(cvr_sample, n_fields),
    ROW(cvr_sample, reserved),
    ROW(cvr_sample, fields),
    ROW(cvr_sample, alloc),
    ROW(cvr_sample, add),
    ROW(cvr_sample, request),
    ROW(cvr_dataset_args, struct_size),
    ROW(cvr_dataset_args, host),
    ROW(cvr_dataset_args, attrs),
    ROW(cvr_dataset_args, root),
    ROW(cvr_dataset_args, train),
    ROW(cvr_dataset_args, val),
    ROW(cvr_dataset_args, split),
    ROW(cvr_dataset_args, channels),
    ROW(cvr_dataset_args, img_size),
    ROW(cvr_dataset_args, seed),
    ROW(cvr_dataset_desc, struct_size),
    ROW(cvr_dataset_desc, name),
    ROW(cvr_dataset_desc, doc),
    ROW(cvr_dataset_desc, n_attrs),
    ROW(cvr_dataset_desc, reserved),
    ROW(cvr_dataset_desc, attrs),
    ROW(cvr_dataset_desc, open),
    ROW(cvr_dataset_desc, close),
    ROW(cvr_dataset_desc, count),
    ROW(cvr_dataset_desc, n_classes),
    ROW(cvr_dataset_desc, class_name),
    ROW(cvr_dataset_desc, read),
    ROW(cvr_dataset_desc, describe),
    ROW(cvr_dataset_desc, label),
    ROW(cvr_part_step, struct_size),
    ROW(cvr_part_step, attrs),
    ROW(cvr_part_step, params),
    ROW(cvr_part_step, in),
    ROW(cvr_part_step, out),
    ROW(cvr_augment_desc, struct_size),
    ROW(cvr_augment_desc, name),
    ROW(cvr_augment_desc, doc),
    ROW(cvr_augment_desc, n_attrs),
    ROW(cvr_augment_desc, n_params),
    ROW(cvr_augment_desc, attrs),
    ROW(cvr_augment_desc, check),
    ROW(cvr_augment_desc, make_params),
    ROW(cvr_augment_desc, apply),
    ROW(cvr_augment_desc, part_size),
    ROW(cvr_augment_desc, part_source),
    ROW(cvr_augment_desc, part_apply),
    ROW(cvr_codec_desc, struct_size),
    ROW(cvr_codec_desc, name),
    ROW(cvr_codec_desc, doc),
    ROW(cvr_codec_desc, probe),
    ROW(cvr_codec_desc, decode),
    ROW(cvr_codec_desc, encode),
    ROW(cvr_codec_desc, decode_part),
    ROW(cvr_weight, struct_size),
    ROW(cvr_weight, name),
    ROW(cvr_weight, dtype),
    ROW(cvr_weight, rank),
    ROW(cvr_weight, shape),
    ROW(cvr_weight, data),
    ROW(cvr_weight, bytes),
    ROW(cvr_weight, source_dtype),
    ROW(cvr_weights_desc, struct_size),
    ROW(cvr_weights_desc, name),
    ROW(cvr_weights_desc, extension),
    ROW(cvr_weights_desc, doc),
    ROW(cvr_weights_desc, probe),
    ROW(cvr_weights_desc, read),
    ROW(cvr_weights_desc, write),
    ROW(cvr_launch, struct_size),
    ROW(cvr_launch, kernel),
    ROW(cvr_launch, args),
    ROW(cvr_launch, name),
    ROW(cvr_launch, index),
    ROW(cvr_backend_desc, struct_size),
    ROW(cvr_backend_desc, name),
    ROW(cvr_backend_desc, doc),
    ROW(cvr_backend_desc, flags),
    ROW(cvr_backend_desc, n_runs),
    ROW(cvr_backend_desc, runs),
    ROW(cvr_backend_desc, device_count),
    ROW(cvr_backend_desc, open),
    ROW(cvr_backend_desc, close),
    ROW(cvr_backend_desc, describe),
    ROW(cvr_backend_desc, alloc),
    ROW(cvr_backend_desc, free),
    ROW(cvr_backend_desc, upload),
    ROW(cvr_backend_desc, download),
    ROW(cvr_backend_desc, record),
    ROW(cvr_backend_desc, replay),
    ROW(cvr_backend_desc, discard),
    ROW(cvr_backend_desc, sync),
    ROW(cvr_prediction_sink, struct_size),
    ROW(cvr_prediction_sink, ctx),
    ROW(cvr_prediction_sink, json),
    ROW(cvr_prediction_sink, csv),
    ROW(cvr_prediction_sink, line),
    ROW(cvr_task_info, struct_size),
    ROW(cvr_task_info, host),
    ROW(cvr_task_info, attrs),
    ROW(cvr_task_info, n_classes),
    ROW(cvr_task_info, class_names),
    ROW(cvr_task_desc, struct_size),
    ROW(cvr_task_desc, name),
    ROW(cvr_task_desc, doc),
    ROW(cvr_task_desc, n_attrs),
    ROW(cvr_task_desc, target_kind),
    ROW(cvr_task_desc, attrs),
    ROW(cvr_task_desc, target),
    ROW(cvr_task_desc, loss),
    ROW(cvr_task_desc, best_metric),
    ROW(cvr_task_desc, metrics_open),
    ROW(cvr_task_desc, metrics_update),
    ROW(cvr_task_desc, metrics_result),
    ROW(cvr_task_desc, metrics_matrix),
    ROW(cvr_task_desc, metrics_close),
    ROW(cvr_task_desc, predict),
    ROW(cvr_task_desc, csv_header),
    ROW(cvr_run_info, struct_size),
    ROW(cvr_run_info, host),
    ROW(cvr_run_info, folder),
    ROW(cvr_run_info, task),
    ROW(cvr_run_info, model),
    ROW(cvr_run_info, backend),
    ROW(cvr_run_info, precision),
    ROW(cvr_run_info, version),
    ROW(cvr_run_info, best_metric),
    ROW(cvr_run_info, params),
    ROW(cvr_run_info, epochs),
    ROW(cvr_run_info, steps_per_epoch),
    ROW(cvr_run_info, seed),
    ROW(cvr_run_info, planned_memory_bytes),
    ROW(cvr_run_info, n_classes),
    ROW(cvr_run_info, class_names),
    ROW(cvr_run_info, mean),
    ROW(cvr_run_info, std),
    ROW(cvr_run_info, n_channels),
    ROW(cvr_run_info, resume_step),
    ROW(cvr_run_info, resume_epoch),
    ROW(cvr_step_event, struct_size),
    ROW(cvr_step_event, step),
    ROW(cvr_step_event, epoch),
    ROW(cvr_step_event, loss),
    ROW(cvr_step_event, lr),
    ROW(cvr_step_event, images_per_s),
    ROW(cvr_step_event, data_wait_fraction),
    ROW(cvr_epoch_event, struct_size),
    ROW(cvr_epoch_event, epoch),
    ROW(cvr_epoch_event, step),
    ROW(cvr_epoch_event, seconds),
    ROW(cvr_epoch_event, images_per_s),
    ROW(cvr_epoch_event, lr),
    ROW(cvr_epoch_event, data_wait_fraction),
    ROW(cvr_epoch_event, n_metrics),
    ROW(cvr_epoch_event, is_best),
    ROW(cvr_epoch_event, names),
    ROW(cvr_epoch_event, values),
    ROW(cvr_epoch_event, matrix),
    ROW(cvr_batch_event, struct_size),
    ROW(cvr_batch_event, name),
    ROW(cvr_batch_event, n),
    ROW(cvr_batch_event, height),
    ROW(cvr_batch_event, width),
    ROW(cvr_batch_event, channels),
    ROW(cvr_batch_event, pixels),
    ROW(cvr_batch_event, labels),
    ROW(cvr_batch_event, predictions),
    ROW(cvr_end_event, struct_size),
    ROW(cvr_end_event, epochs),
    ROW(cvr_end_event, steps),
    ROW(cvr_end_event, train_seconds),
    ROW(cvr_end_event, images_per_second),
    ROW(cvr_end_event, data_wait_fraction),
    ROW(cvr_end_event, peak_memory_bytes),
    ROW(cvr_end_event, best_metric),
    ROW(cvr_end_event, best_value),
    ROW(cvr_end_event, best_epoch),
    ROW(cvr_end_event, n_metrics),
    ROW(cvr_end_event, finished),
    ROW(cvr_end_event, names),
    ROW(cvr_end_event, values),
    ROW(cvr_end_event, backend),
    ROW(cvr_reporter_desc, struct_size),
    ROW(cvr_reporter_desc, name),
    ROW(cvr_reporter_desc, doc),
    ROW(cvr_reporter_desc, open),
    ROW(cvr_reporter_desc, step),
    ROW(cvr_reporter_desc, epoch),
    ROW(cvr_reporter_desc, batch),
    ROW(cvr_reporter_desc, flush),
    ROW(cvr_reporter_desc, end),
    ROW(cvr_reporter_desc, close),
    ROW(cvr_registrar, struct_size),
    ROW(cvr_registrar, ctx),
    ROW(cvr_registrar, add),
    ROW(cvr_node_view, struct_size),
    ROW(cvr_node_view, op),
    ROW(cvr_node_view, attrs),
    ROW(cvr_node_view, attrs_size),
    ROW(cvr_node_view, inputs),
    ROW(cvr_node_view, outputs),
    ROW(cvr_node_view, n_inputs),
    ROW(cvr_node_view, n_outputs),
    ROW(cvr_node_view, backward),
    ROW(cvr_node_view, reserved),
    ROW(cvr_rewriter, struct_size),
    ROW(cvr_rewriter, ctx),
    ROW(cvr_rewriter, host),
    ROW(cvr_rewriter, builder),
    ROW(cvr_rewriter, n_nodes),
    ROW(cvr_rewriter, node),
    ROW(cvr_rewriter, producer),
    ROW(cvr_rewriter, uses),
    ROW(cvr_rewriter, current),
    ROW(cvr_rewriter, keep),
    ROW(cvr_rewriter, drop),
    ROW(cvr_rewriter, enter),
    ROW(cvr_rewriter, replace),
    ROW(cvr_pass_desc, struct_size),
    ROW(cvr_pass_desc, name),
    ROW(cvr_pass_desc, doc),
    ROW(cvr_pass_desc, stage),
    ROW(cvr_pass_desc, priority),
    ROW(cvr_pass_desc, run),
    ROW(cvr_cast_attrs, dtype),
#include "abi_rows_ops.h"
    ROW(cvr_plugin, magic),
    ROW(cvr_plugin, struct_size),
    ROW(cvr_plugin, abi_major),
    ROW(cvr_plugin, abi_minor),
    ROW(cvr_plugin, min_host_minor),
    ROW(cvr_plugin, reserved),
    ROW(cvr_plugin, id),
    ROW(cvr_plugin, version),
    ROW(cvr_plugin, sanitizer),
    ROW(cvr_plugin, requires_),
    ROW(cvr_plugin, load),
    ROW(cvr_plugin, shutdown),
};
/* clang-format on */
#define N_ROWS (sizeof rows / sizeof *rows)

/* Every struct is listed whole: each field begins where the one before ends, and the last ends with the struct. */
Test(abi, has_no_padding_and_is_listed_whole) {
    for (size_t i = 0; i < N_ROWS; i++) {
        const bool first = i == 0 || strcmp(rows[i - 1].type, rows[i].type) != 0;
        const bool last = i + 1 == N_ROWS || strcmp(rows[i + 1].type, rows[i].type) != 0;
        const size_t begins = first ? 0 : rows[i - 1].offset + rows[i - 1].size;
        cr_assert_eq(rows[i].offset, begins, "%s.%s begins at %zu, not %zu", rows[i].type, rows[i].field,
                     rows[i].offset, begins);
        if (last)
            cr_assert_eq(rows[i].offset + rows[i].size, rows[i].whole, "%s has a tail that is not listed",
                         rows[i].type);
    }
}

static bool is_listed(const char *type, size_t n) {
    for (size_t i = 0; i < N_ROWS; i++) {
        if (strncmp(rows[i].type, type, n) == 0 && rows[i].type[n] == '\0') return true;
    }
    return false;
}

/* What headers have for those who write plugins, and no call passes on. */
static bool is_private(const char *type, size_t n) {
    static const char *const all[] = {"cvr_shape_text", "cvr_window"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strlen(all[i]) == n && strncmp(all[i], type, n) == 0) return true;
    }
    return false;
}

/* Structs end in a line `} NAME;`. */
static size_t unlisted_in(const char *path) {
    uint8_t *bytes;
    uint64_t size;
    cvr_error err;
    size_t missing = 0;
    cvr_error_init(&err);
    cr_assert_eq(cvr_fs_read(path, 1u << 20, &bytes, &size, &err), CVR_OK, "%s: %s", path, err.message);
    for (const char *at = strstr((const char *)bytes, "\n} "); at; at = strstr(at + 1, "\n} ")) {
        size_t n = 0;
        while (isalnum((unsigned char)at[3 + n]) || at[3 + n] == '_') n++;
        if (at[3 + n] != ';' || is_listed(at + 3, n) || is_private(at + 3, n)) continue;
        cr_log_error("%s: %.*s has no row in tests/core/abi_test.c", path, (int)n, at + 3);
        missing++;
    }
    cvr_free(bytes);
    return missing;
}

Test(abi, every_public_struct_is_in_the_table) {
    static const char *const folders[] = {CVR_TEST_DIR "/../core/include/cvr/plugin",
                                          CVR_TEST_DIR "/../layers/include/cvr/plugin/ops"};
    size_t missing = 0;
    for (size_t f = 0; f < sizeof folders / sizeof *folders; f++) {
        size_t n;
        char **paths = files_like(folders[f], "", ".h", &n);
        cr_assert_gt(n, 0, "no headers in %s", folders[f]);
        for (size_t i = 0; i < n; i++) {
            missing += unlisted_in(paths[i]);
            free(paths[i]);
        }
        free(paths);
    }
    cr_assert_eq(missing, 0, "%zu structs are not in the table", missing);
}

static char *table_now(void) {
    cvr_text now = {0};
    cvr_text_add(&now, "ABI %u.%u\n", CVR_ABI_MAJOR, CVR_ABI_MINOR);
    for (size_t i = 0; i < N_ROWS; i++)
        cvr_text_add(&now, "%s.%s %zu %zu\n", rows[i].type, rows[i].field, rows[i].offset, rows[i].size);
    cr_assert(!now.failed);
    return now.s;
}

/* The first line of a table is its version. */
static bool same_version(const char *a, const char *b) {
    const size_t n = strcspn(a, "\n");
    return n == strcspn(b, "\n") && strncmp(a, b, n) == 0;
}

Test(abi, has_not_changed_by_accident) {
    static const char path[] = CVR_GOLDEN_DIR "/abi_offsets.txt";
    const char *write = getenv("CVR_WRITE_GOLDEN");
    char *now = table_now();
    uint8_t *golden = NULL;
    uint64_t n = 0;
    cvr_error err;
    cvr_error_init(&err);
    cr_assert_eq(cvr_fs_read(path, 1u << 20, &golden, &n, &err), CVR_OK, "%s", err.message);
    const bool changed = strcmp((const char *)golden, now) != 0, same = same_version((const char *)golden, now);
    const bool may_write = write && (!same || strcmp(write, "again") == 0);
    if (changed && may_write) {
        cr_assert_eq(cvr_fs_write(path, now, strlen(now), &err), CVR_OK, "%s", err.message);
    } else if (changed && same) {
        cr_assert_fail("the ABI's layout is no longer that of %.*s: raise CVR_ABI_MINOR in cvr/plugin/abi.h, then run "
                       "abi_test with CVR_WRITE_GOLDEN=1 (docs/abi.md)",
                       (int)strcspn(now, "\n"), now);
    } else {
        cr_assert(!changed,
                  "the table of tests/golden/abi_offsets.txt is that of %.*s, the headers are %.*s: run "
                  "abi_test with CVR_WRITE_GOLDEN=1 (docs/abi.md)",
                  (int)strcspn((const char *)golden, "\n"), (const char *)golden, (int)strcspn(now, "\n"), now);
    }
    cvr_free(golden);
    cvr_free(now);
}
