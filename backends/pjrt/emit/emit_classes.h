/* Scores of classes with a target each, as losses of classification and segmentation have them: rows of classes. */
#ifndef PJRT_EMIT_CLASSES_H
#define PJRT_EMIT_CLASSES_H

#include "../hlo.h"

typedef struct class_rows {
    int64_t rows, classes;
    hlo_value x;                /* (rows, classes) */
    hlo_value target;           /* (rows) i64 */
    hlo_value is_target;        /* (rows, classes): which class the target is */
    hlo_value ignored;          /* (rows): the target is ignore_index */
    hlo_value is_wrong;         /* (rows): it is no class, nor ignored */
    hlo_value weight;           /* (classes); rank 0: there is none */
    hlo_value weight_of_target; /* (rows); 1 without weights */
} class_rows;

/* x (N,C,...), target (N,...) and weight (C) are these inputs; a weight that is not there is 1. */
class_rows class_rows_of(hlo *h, uint32_t x, uint32_t target, uint32_t weight, int64_t ignore_index);
/* (N,C,...) in the order of memory as rows, and rows as a tensor of this type. */
hlo_value class_rows_from(hlo *h, hlo_value x);
hlo_value class_rows_back(hlo *h, hlo_value rows, const cvr_tensor *like);
/* (rows): of the target's class; 0 where there is none. */
hlo_value class_pick(hlo *h, const class_rows *r, hlo_value x);
/* (rows): log of the sum of exp(x) over classes. */
hlo_value class_logsumexp(hlo *h, hlo_value x);
/* v (rows), 0 where the target is ignored, and NaN where it is no class. */
hlo_value class_counted(hlo *h, const class_rows *r, hlo_value v);

#endif
