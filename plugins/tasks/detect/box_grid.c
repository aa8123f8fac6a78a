/* See box_grid.h. A box stands in every cell that it touches; the boxes of a cell are chained. */
#include "box_grid.h"
#include <math.h>

/* The cells that a box touches, from the first to the last of each axis. */
typedef struct cells {
    int64_t column[2], row[2];
} cells;

typedef struct entry {
    int64_t box, next;   /* next: of the same cell; -1: none */
    int64_t column, row; /* of the first cell that the box touches */
} entry;

static int64_t cell_at(double x, double cell, int64_t n) {
    return (int64_t)fmin(fmax(floor(x / cell), 0), (double)(n - 1));
}

static cells cells_of(const box_grid *g, const double sides[4]) {
    cells c;
    for (int i = 0; i < 2; i++) {
        c.column[i] = cell_at(sides[2 * i], g->cell[0], g->columns);
        c.row[i] = cell_at(sides[2 * i + 1], g->cell[1], g->rows);
    }
    return c;
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

int32_t box_grid_begin(box_grid *g, const double cell[2], const cvr_origin *picture, cvr_error *err) {
    box_grid_free(g);
    for (int i = 0; i < 2; i++) g->cell[i] = fmax(cell[i], 1);
    g->columns = (int64_t)ceil((double)picture->width / g->cell[0]);
    g->rows = (int64_t)ceil((double)picture->height / g->cell[1]);
    g->last = g->host->alloc(g->host, (uint64_t)(g->columns * g->rows) * sizeof *g->last, 64);
    if (!g->last) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for what was found in tiles");
    for (int64_t i = 0; i < g->columns * g->rows; i++) g->last[i] = -1;
    return CVR_OK;
}

int32_t box_grid_add(box_grid *g, int64_t box, const double sides[4], cvr_error *err) {
    const cells c = cells_of(g, sides);
    for (int64_t row = c.row[0]; row <= c.row[1]; row++) {
        for (int64_t column = c.column[0]; column <= c.column[1]; column++) {
            int64_t *const last = &g->last[row * g->columns + column];
            entry *const e = host_array_add(&g->entries, g->host, sizeof *e, err);
            if (!e) return CVR_ERR_NOMEM;
            *e = (entry){box, *last, c.column[0], c.row[0]};
            *last = (int64_t)g->entries.n - 1;
        }
    }
    return CVR_OK;
}

/* Of the cells that two boxes share the first one tells. */
void box_grid_near(const box_grid *g, const double sides[4], void (*each)(void *ctx, int64_t box), void *ctx) {
    const cells c = cells_of(g, sides);
    const entry *const entries = g->entries.data;
    for (int64_t row = c.row[0]; row <= c.row[1]; row++) {
        for (int64_t column = c.column[0]; column <= c.column[1]; column++) {
            for (int64_t i = g->last[row * g->columns + column]; i >= 0; i = entries[i].next) {
                const entry *const e = &entries[i];
                if (row == larger(c.row[0], e->row) && column == larger(c.column[0], e->column)) each(ctx, e->box);
            }
        }
    }
}

void box_grid_free(box_grid *g) {
    if (g->last) g->host->free(g->host, g->last);
    g->last = NULL;
    host_array_free(&g->entries, g->host);
}
