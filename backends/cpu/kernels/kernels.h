/*
 * What the CPU's kernel files share: tables of kernels, and how a pack registers them.
 *
 * Every file here is compiled once a pack (cpu_base, cpu_avx2, cpu_avx512: see backends/CMakeLists.txt), with nothing
 * different but the compiler's flags. To add kernels: write `const cpu_kernel_table cpu_FAMILY_kernels` at the end of a
 * file, declare it below, list it in cpu_tables.c, and add the file to CPU_KERNEL_FILES in backends/CMakeLists.txt.
 */
#ifndef CVR_BACKENDS_CPU_KERNELS_H
#define CVR_BACKENDS_CPU_KERNELS_H

#include <cvr/plugin/plugin.h>

/* What a kernel keeps of some inputs, in the terms of cvr_kernel_desc. */
typedef struct cpu_preparation {
    uint64_t inputs;
    uint64_t (*size)(const cvr_signature *sig);
    int32_t (*run)(const cvr_kernel_args *a, cvr_error *err);
} cpu_preparation;

/* One kernel; the pack adds the backend's name, its instruction set and its priority. */
typedef struct cpu_kernel {
    const char *op;
    int32_t (*run)(const cvr_kernel_args *a, cvr_error *err);
    uint64_t (*workspace)(const cvr_signature *sig);                  /* NULL: none */
    int32_t (*supports)(const cvr_signature *sig, cvr_error *reason); /* NULL: all that infer allows */
    uint64_t inplace;                                                 /* as in cvr_kernel_desc */
    uint32_t flags;                     /* CPU_KERNEL_FLAGS, or fewer where one does not hold */
    const cpu_preparation *preparation; /* NULL: none */
} cpu_kernel;

#define CPU_KERNEL_FLAGS (CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE)

typedef struct cpu_kernel_table {
    const cpu_kernel *kernels;
    uint64_t n_kernels;
} cpu_kernel_table;

/* What a pack registers, NULL at its end: cpu_tables.c has all that stand below. */
extern const cpu_kernel_table *const cpu_pack_tables[];

/* Whom to tell; set when the pack is loaded. */
extern const cvr_host *cpu_pack_host;

/* One table a family of ops. */
extern const cpu_kernel_table cpu_conv_kernels;
extern const cpu_kernel_table cpu_conv_act_kernels;
extern const cpu_kernel_table cpu_conv_stats_kernels;
extern const cpu_kernel_table cpu_conv_norm_kernels;
extern const cpu_kernel_table cpu_linear_kernels;
extern const cpu_kernel_table cpu_pool_kernels;
extern const cpu_kernel_table cpu_pool_max_kernels;
extern const cpu_kernel_table cpu_resize_kernels;
extern const cpu_kernel_table cpu_activation_unary_kernels;
extern const cpu_kernel_table cpu_activation_softmax_kernels;
extern const cpu_kernel_table cpu_elementwise_kernels;
extern const cpu_kernel_table cpu_norm_batch_kernels;
extern const cpu_kernel_table cpu_norm_rows_kernels;
extern const cpu_kernel_table cpu_norm_group_kernels;
extern const cpu_kernel_table cpu_norm_l2_kernels;
extern const cpu_kernel_table cpu_cast_kernels;
extern const cpu_kernel_table cpu_shape_kernels;
extern const cpu_kernel_table cpu_window_kernels;
extern const cpu_kernel_table cpu_detections_kernels;
extern const cpu_kernel_table cpu_yolo_kernels;
extern const cpu_kernel_table cpu_arith_broadcast_kernels;
extern const cpu_kernel_table cpu_arith_reduce_kernels;
extern const cpu_kernel_table cpu_dropout_kernels;
extern const cpu_kernel_table cpu_stochastic_depth_kernels;
extern const cpu_kernel_table cpu_attention_kernels;
extern const cpu_kernel_table cpu_loss_entropy_kernels;
extern const cpu_kernel_table cpu_loss_focal_kernels;
extern const cpu_kernel_table cpu_loss_hard_kernels;
extern const cpu_kernel_table cpu_loss_lovasz_kernels;
extern const cpu_kernel_table cpu_loss_overlap_kernels;
extern const cpu_kernel_table cpu_loss_pointwise_kernels;
extern const cpu_kernel_table cpu_anchor_focal_kernels;
extern const cpu_kernel_table cpu_roi_kernels;
extern const cpu_kernel_table cpu_optim_kernels;
extern const cpu_kernel_table cpu_image_kernels;
extern const cpu_kernel_table cpu_detect_anchors_kernels;
extern const cpu_kernel_table cpu_detect_boxes_kernels;
extern const cpu_kernel_table cpu_detect_entropy_kernels;
extern const cpu_kernel_table cpu_detect_masks_kernels;
extern const cpu_kernel_table cpu_detect_match_kernels;
extern const cpu_kernel_table cpu_detect_nms_kernels;
extern const cpu_kernel_table cpu_detect_points_kernels;
extern const cpu_kernel_table cpu_detect_rows_kernels;
extern const cpu_kernel_table cpu_detect_row_losses_kernels;
extern const cpu_kernel_table cpu_detect_sample_kernels;
extern const cpu_kernel_table cpu_detect_sim_ota_kernels;
extern const cpu_kernel_table cpu_detect_top_k_kernels;
extern const cpu_kernel_table cpu_optim_norms_kernels;
extern const cpu_kernel_table cpu_optim_running_kernels;
extern const cpu_kernel_table cpu_int8_attention_kernels;
extern const cpu_kernel_table cpu_int8_conv_kernels;
extern const cpu_kernel_table cpu_int8_resize_kernels;
extern const cpu_kernel_table cpu_int8_simple_kernels;
extern const cpu_kernel_table cpu_int8_transpose_kernels;
extern const cpu_kernel_table cpu_peak_kernels;
extern const cpu_kernel_table cpu_peak_bf16_kernels;

/* Floats of a cache line: shared scratch is cut at multiples of it, so that two workers never write one line. */
#define CPU_LINE_FLOATS 16

static inline int64_t cpu_min(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t cpu_max(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static inline int64_t cpu_ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* n rounded up to whole cache lines of floats. */
static inline int64_t cpu_line_up(int64_t n) {
    return cpu_ceil_div(n, CPU_LINE_FLOATS) * CPU_LINE_FLOATS;
}

/* First element of part i when n elements are cut into `parts` nearly equal parts. */
static inline int64_t cpu_part(int64_t n, int64_t parts, int64_t i) {
    return n / parts * i + cpu_min(i, n % parts);
}

#endif
