/* A layer's or an op's gradients against central differences. */
#ifndef CVR_GRADIENT_CHECK_H
#define CVR_GRADIENT_CHECK_H

#include "layer_case.h"

/* One input or parameter. */
typedef struct gradient_tensor {
    char name[64]; /* "gin0", "gparam.weight" */
    bool strong;   /* rounding could not have hidden a factor of 1.01 */
    double worst;  /* the largest difference that rounding does not explain, as a part of the gradient's own size */
} gradient_tensor;

typedef struct gradient_report {
    gradient_tensor all[CASE_MOST_IO + CASE_MOST_PARAMS];
    uint32_t n;
    size_t directions, undecided; /* undecided: with a kink at every step */
} gradient_report;

/* `why` is empty afterwards, or says what is wrong. Leaves c->backward false. */
void gradient_check(const case_machine *m, layer_case *c, gradient_report *out, char *why, size_t size);

#endif
