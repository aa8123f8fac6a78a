/* How losses of rows are summed: by pictures, each over its norm (emit_row_loss.c). */
#ifndef PJRT_EMIT_ROW_LOSS_H
#define PJRT_EMIT_ROW_LOSS_H

#include "../hlo.h"

/* (N,A): rows whose number is at least this. */
hlo_value row_at_least(hlo *h, hlo_value v, int64_t least);
/* (N): what each picture's sum is divided by, CVR_NORM_*, of the rows that count (N,A). */
hlo_value row_norm(hlo *h, int64_t kind, hlo_value counts);
/* The results of a loss: sum of the rows that count, by pictures and then all; and the norm. */
void row_loss_results(hlo *h, hlo_value rows, hlo_value counts, hlo_value norm);
/* Input `norm` + 1, the gradient, over input `norm` of each row's picture, in the shape of `like`; 0 where the row does
 * not count. */
hlo_value row_scale(hlo *h, uint32_t norm, hlo_value counts, hlo_value like);

#endif
