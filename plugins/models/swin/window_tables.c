/* The numbers that follow from the size of Swin's windows: which pixels may look at each other, and with which bias. */
#include "window_tables.h"
#include <stdlib.h>

int64_t grid_rows(const window_grid *g) {
    return (g->height + g->window - 1) / g->window;
}

int64_t grid_columns(const window_grid *g) {
    return (g->width + g->window - 1) / g->window;
}

static void *room_for(net *n, uint64_t count, size_t size) {
    void *room = n->status == CVR_OK ? calloc(count, size) : NULL;
    if (n->status == CVR_OK && !room) n->status = cvr_fail(n->err, CVR_ERR_NOMEM, "out of memory");
    return room;
}

/* index[p * L + q] = (dy + w - 1) * (2w - 1) + dx + w - 1 of the distance (dy, dx) from q to p */
cvr_value relative_position_index(net *n, const char *name, int64_t window) {
    const int64_t pixels = window * window, w = window;
    int64_t *index = room_for(n, (uint64_t)(pixels * pixels), sizeof *index);
    if (!index) return CVR_NONE;
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t q = 0; q < pixels; q++)
            index[p * pixels + q] = (p / w - q / w + w - 1) * (2 * w - 1) + p % w - q % w + w - 1;
    const net_text full = net_print("%s.relative_position_index", name);
    const cvr_param_decl decl = {.struct_size = sizeof decl,
                                 .name = full.s,
                                 .dtype = CVR_I64,
                                 .rank = 1,
                                 .shape = {pixels * pixels, 1, 1, 1, 1, 1},
                                 .values = index};
    const cvr_value value = net_values(n, &decl);
    free(index);
    return value;
}

/*
 * Which of three bands row `i` of a rolled axis lies in: what was not rolled, the rest of the last window, and what
 * came around from the other end. Only pixels of one band were neighbours.
 */
static int64_t band(int64_t i, int64_t length, int64_t window, int64_t shift) {
    if (shift == 0) return 0;
    return i < length - window ? 0 : i < length - shift ? 1 : 2;
}

/* The part of the rolled picture that pixel `p` of a window lies in. */
static int64_t part_of(const window_grid *g, int64_t window, int64_t p) {
    const int64_t y = window / grid_columns(g) * g->window + p / g->window;
    const int64_t x = window % grid_columns(g) * g->window + p % g->window;
    return 3 * band(y, grid_rows(g) * g->window, g->window, g->shift[0]) +
           band(x, grid_columns(g) * g->window, g->window, g->shift[1]);
}

cvr_value shift_mask(net *n, const window_grid *g) {
    const int64_t pixels = g->window * g->window, windows = grid_rows(g) * grid_columns(g);
    float *mask = room_for(n, (uint64_t)(windows * pixels * pixels), sizeof *mask);
    if (!mask) return CVR_NONE;
    for (int64_t i = 0; i < windows * pixels * pixels; i++) {
        const int64_t window = i / (pixels * pixels), p = i / pixels % pixels, q = i % pixels;
        mask[i] = part_of(g, window, p) == part_of(g, window, q) ? 0.0f : -100.0f;
    }
    /* Pictures of one size share it: the name says which. */
    const net_text name = net_print("shift_mask.%lldx%lld_%lld_%lld_%lld", (long long)g->height, (long long)g->width,
                                    (long long)g->window, (long long)g->shift[0], (long long)g->shift[1]);
    const cvr_param_decl decl = {.struct_size = sizeof decl,
                                 .name = name.s,
                                 .dtype = CVR_F32,
                                 .rank = 5,
                                 .shape = {1, windows, 1, pixels, pixels, 1},
                                 .flags = CVR_PARAM_CONSTANT,
                                 .values = mask};
    const cvr_value value = net_values(n, &decl);
    free(mask);
    return value;
}
