/* The numbers that follow from the size of Swin's windows. */
#ifndef CVR_MODEL_WINDOW_TABLES_H
#define CVR_MODEL_WINDOW_TABLES_H

#include "../model_net.h"

/* A picture of height x width in windows of window x window, moved by shift[0] down and shift[1] to the right. */
typedef struct window_grid {
    int64_t window, height, width, shift[2];
} window_grid;

int64_t grid_rows(const window_grid *g);
int64_t grid_columns(const window_grid *g);

/* NAME.relative_position_index, a buffer (L*L) i64 with L = window^2: for each pair of a window's pixels, the row of
 * the table of biases that their distance has. */
cvr_value relative_position_index(net *n, const char *name, int64_t window);

/* A constant (1,windows,1,L,L) f32: 0 for two pixels of a window that were neighbours before the roll, else -100. */
cvr_value shift_mask(net *n, const window_grid *g);

#endif
