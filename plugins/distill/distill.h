/* What the distillers share: sums, divergences and masks, composed of ops that have gradients and run everywhere. */
#ifndef CVR_PLUGINS_DISTILL_H
#define CVR_PLUGINS_DISTILL_H

#include <cvr/plugin/ops/activation.h>
#include <cvr/plugin/ops/arith.h>
#include <cvr/plugin/plugin.h>

extern const cvr_distiller_desc distill_hinton, distill_dkd, distill_deit, distill_hints, distill_attention;

/* Scores of classes of both networks, f32: (N, classes), or (N, classes, H, W). */
typedef struct distill_scores {
    const char *name; /* of the result */
    cvr_value student, teacher;
    double positions; /* of which each has scores: N, or N * H * W */
} distill_scores;

/* The student's i-th result beside the teacher's of the same name; `found` 0: there are no more. Anything but scores of
 * classes is refused. */
int32_t distill_result(const cvr_distillation *d, uint32_t i, distill_scores *out, int32_t *found, cvr_error *err);

/* scale * x */
int32_t distill_scale(const cvr_builder *b, double scale, cvr_value x, cvr_value *out, cvr_error *err);
/* x + y, of one shape */
int32_t distill_add(const cvr_builder *b, cvr_value x, cvr_value y, cvr_value *out, cvr_error *err);
/* x * y, of one shape */
int32_t distill_mul(const cvr_builder *b, cvr_value x, cvr_value y, cvr_value *out, cvr_error *err);
/* x in f32 */
int32_t distill_f32(const cvr_builder *b, cvr_value x, cvr_value *out, cvr_error *err);
/* The sum of x over axis 1, which stays with size 1; over everything, (). */
int32_t distill_sum_classes(const cvr_builder *b, cvr_value x, cvr_value *out, cvr_error *err);
int32_t distill_sum(const cvr_builder *b, cvr_value x, cvr_value *out, cvr_error *err);

/* scale * sum over all positions of KL(softmax(teacher) || softmax(student)), softmax over axis 1. Nothing flows back
 * to the teacher. */
int32_t distill_divergence(const cvr_builder *b, cvr_value student, cvr_value teacher, double scale, cvr_value *out,
                           cvr_error *err);
/* The number 1, (1,1) */
int32_t distill_one(const cvr_builder *b, cvr_value *out, cvr_error *err);
/* 1 where x (N, classes) is the largest of its row, else 0; several that are equal share it. No gradient. */
int32_t distill_largest(const cvr_builder *b, cvr_value x, cvr_value *out, cvr_error *err);
/* 1 in the column of each row's class, else 0. `label`: (N) i64, or shares (N, classes) f32, of which the largest is
 * meant. `like`: (N, classes) f32. */
int32_t distill_class_mask(const cvr_builder *b, cvr_value label, cvr_value like, cvr_value *out, cvr_error *err);

#endif
