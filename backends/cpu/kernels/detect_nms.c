/*
 * Non-maximum suppression on the CPU (see <cvr/plugin/ops/detect.h>), with the reference's decisions to the bit.
 *
 * Candidates come in falling order of score; each is tested against the boxes that are kept so far. Two things make
 * that fast. Kept boxes lie in blocks of LANES, one array a coordinate, and a block is tested at once by a product,
 * inter > share * union with a share a little below the threshold; only where that holds does the division decide. And
 * the blocks hang on the cells of a grid, by their boxes' centres, as most cells need not be looked at: where the IoU
 * exceeds t, so does that of the sides along each axis, and then the centres are less than
 *     w * (1 - t) / (2 * t)
 * apart, w being either side. (Sides that overlap in part: overlap = (w + v)/2 - d > t * (w + v - overlap), and v <
 * w/t; one within the other: d <= |w - v| / 2.) Rounding is allowed for by margins of a thousand times its size.
 *
 * A picture is a task. A worker's part of the workspace: keys of the candidates and room to sort them, the blocks, and
 * the last block of each cell.
 */
#include "detect_keys.h"

#include <cvr/plugin/ops/detect_math.h>

#define GROUP 2
#define VALID 3
#define MOST_OFFSET 1000 /* candidates, for which CVR_NMS_AUTO takes the offset */

#define LANES 16
#define PER_CELL 32           /* candidates */
#define MOST_SIDE 64          /* cells along an axis */
#define LEAST_THRESHOLD 0.02f /* below it the grid would be looked at as a whole */
#define LEAST_AREA 1e-25f     /* below it products leave the normal numbers */

typedef struct nms_block {
    float x1[LANES], y1[LANES], x2[LANES], y2[LANES], area[LANES];
    int32_t group[LANES];
    int32_t fill, next; /* the block before in this cell; -1: none */
} nms_block;

/* One picture. */
typedef struct nms_picture {
    const cvr_nms_attrs *attrs;
    const float *boxes, *scores;
    const int32_t *group;
    int64_t rows;           /* that are valid */
    int32_t moved, grouped; /* groups are kept apart: by an offset, or by comparing them */
    float offset;
    uint64_t *keys, *other; /* (P) */
    nms_block *blocks;
    int32_t *cells; /* (side, side): the last block of each, or -1 */
    int32_t n_blocks, side;
    int32_t exact;                 /* no product decides */
    float share;                   /* of the union */
    float reach, slack;            /* how far centres may be apart: reach * side + slack */
    float left, top, across, down; /* cells: (x - left) * across, (y - top) * down */
} nms_picture;

typedef struct nms_box {
    float at[4], area;
    int32_t group;
} nms_box;

/* ---- candidates ---- */

static int32_t group_of(const nms_picture *p, int64_t row) {
    if (p->group) return p->group[row];
    return p->attrs->n_groups ? (int32_t)(row % p->attrs->n_groups) : 0;
}

static int is_candidate(const nms_picture *p, int64_t row, float from, float least) {
    const float *b = p->boxes + 4 * row;
    if (!(p->attrs->inclusive ? p->scores[row] >= from : p->scores[row] > from)) return 0;
    if (!(b[2] - b[0] >= least && b[3] - b[1] >= least)) return 0;
    return p->group || !p->attrs->n_groups || !p->attrs->background || group_of(p, row) != 0;
}

static int64_t list_candidates(const nms_picture *p) {
    const float from = (float)p->attrs->score_threshold, least = (float)p->attrs->min_size;
    int64_t n = 0;
    for (int64_t row = 0; row < p->rows; row++)
        if (is_candidate(p, row, from, least)) p->keys[n++] = cvr_score_key(p->scores[row], (uint32_t)row);
    cpu_keys_sort(p->keys, p->other, n);
    return n;
}

/* How the groups of n candidates are kept apart. The offset is their largest coordinate + 1. */
static void choose_method(nms_picture *p, int64_t n) {
    const int groups = p->group || p->attrs->n_groups, few = n <= MOST_OFFSET;
    float largest = -INFINITY;
    p->moved = groups && (p->attrs->method == CVR_NMS_OFFSET || (p->attrs->method == CVR_NMS_AUTO && few));
    p->grouped = groups && !p->moved;
    for (int64_t i = 0; p->moved && i < n; i++)
        for (int k = 0; k < 4; k++) {
            const float x = p->boxes[4 * cvr_score_key_row(p->keys[i]) + k];
            largest = x > largest ? x : largest;
        }
    p->offset = largest + 1;
}

static nms_box box_of(const nms_picture *p, int64_t row) {
    const int32_t group = p->moved || p->grouped ? group_of(p, row) : 0;
    const float by = p->moved ? (float)group * p->offset : 0;
    nms_box b = {.group = p->grouped ? group : 0};
    for (int k = 0; k < 4; k++) b.at[k] = p->boxes[4 * row + k] + by;
    b.area = cvr_box_area(b.at);
    return b;
}

/* Others have an IoU of 0 or NaN with everything, which exceeds no threshold from 0 on. */
static int is_solid(const nms_box *b) {
    return b->at[2] - b->at[0] > 0 && b->at[3] - b->at[1] > 0 && b->area < INFINITY;
}

/* ---- the grid ---- */

static int32_t grid_side(int64_t n) {
    int32_t side = 1;
    while (side < MOST_SIDE && (int64_t)(side + 1) * (side + 1) * PER_CELL <= n) side++;
    return side;
}

/* What the centres of the solid candidates lie between, and the largest coordinate. */
typedef struct nms_extent {
    float from[2], to[2], largest, least_area;
} nms_extent;

static nms_extent extent_of(const nms_picture *p, int64_t n) {
    nms_extent e = {{INFINITY, INFINITY}, {-INFINITY, -INFINITY}, 0, INFINITY};
    for (int64_t i = 0; i < n; i++) {
        const nms_box b = box_of(p, cvr_score_key_row(p->keys[i]));
        if (!is_solid(&b)) continue;
        for (int k = 0; k < 2; k++) {
            const float centre = 0.5f * b.at[k] + 0.5f * b.at[k + 2];
            e.from[k] = centre < e.from[k] ? centre : e.from[k];
            e.to[k] = centre > e.to[k] ? centre : e.to[k];
            e.largest = fabsf(b.at[k]) > e.largest ? fabsf(b.at[k]) : e.largest;
            e.largest = fabsf(b.at[k + 2]) > e.largest ? fabsf(b.at[k + 2]) : e.largest;
        }
        e.least_area = b.area < e.least_area ? b.area : e.least_area;
    }
    return e;
}

/* One cell where the margins would not hold. */
static void lay_grid(nms_picture *p, int64_t n) {
    const float threshold = (float)p->attrs->iou_threshold, t = threshold * 0.9999f;
    p->n_blocks = 0;
    p->exact = 1;
    p->side = 1;
    if (threshold >= 0) {
        const nms_extent e = extent_of(p, n);
        const float wide = e.to[0] - e.from[0], high = e.to[1] - e.from[1];
        const int plain = e.least_area >= LEAST_AREA && e.largest < 1e15f;
        p->exact = !plain;
        p->share = threshold * 0.999999f;
        if (plain && threshold >= LEAST_THRESHOLD && wide > 0 && high > 0) p->side = grid_side(n);
        p->left = e.from[0];
        p->top = e.from[1];
        p->across = (float)p->side / wide;
        p->down = (float)p->side / high;
        p->reach = t < 1 ? 1.001f * (1 - t) / (2 * t) : 0;
        p->slack = e.largest * 1e-6f;
    }
    for (int32_t i = 0; i < p->side * p->side; i++) p->cells[i] = -1;
}

/* The cell along one axis; rises with x. */
static int32_t cell_of(float x, float from, float scale, int32_t side) {
    const float at = (x - from) * scale;
    return side == 1 || !(at > 0) ? 0 : at < (float)side ? (int32_t)at : side - 1;
}

static void keep_box(nms_picture *p, const nms_box *b) {
    const int32_t x = cell_of(0.5f * b->at[0] + 0.5f * b->at[2], p->left, p->across, p->side);
    const int32_t y = cell_of(0.5f * b->at[1] + 0.5f * b->at[3], p->top, p->down, p->side);
    int32_t *last = &p->cells[y * p->side + x];
    if (*last < 0 || p->blocks[*last].fill == LANES) {
        nms_block *fresh = &p->blocks[p->n_blocks];
        memset(fresh, 0, sizeof *fresh); /* an empty lane overlaps nothing */
        fresh->next = *last;
        *last = p->n_blocks++;
    }
    nms_block *to = &p->blocks[*last];
    const int32_t k = to->fill++;
    to->x1[k] = b->at[0];
    to->y1[k] = b->at[1];
    to->x2[k] = b->at[2];
    to->y2[k] = b->at[3];
    to->area[k] = b->area;
    to->group[k] = b->group;
}

/* ---- tests ---- */

/* Whether inter > share * union for any lane. */
static int any_near(const nms_block *k, const nms_box *b, float share) {
    const float x1 = b->at[0], y1 = b->at[1], x2 = b->at[2], y2 = b->at[3], area = b->area;
    const int32_t group = b->group;
    int32_t near = 0;
    for (int i = 0; i < LANES; i++) {
        const float left = k->x1[i] > x1 ? k->x1[i] : x1, right = k->x2[i] < x2 ? k->x2[i] : x2;
        const float top = k->y1[i] > y1 ? k->y1[i] : y1, bottom = k->y2[i] < y2 ? k->y2[i] : y2;
        const float w = right - left, h = bottom - top;
        const float inter = (w > 0 ? w : 0) * (h > 0 ? h : 0);
        near |= (inter > share * (k->area[i] + area - inter)) & (k->group[i] == group);
    }
    return near;
}

/* IoU > threshold, as torchvision compares: the IoU in f32, the threshold in double. NaN is not. */
static int any_exceeds(const nms_block *k, const nms_box *b, double threshold) {
    for (int32_t i = 0; i < k->fill; i++) {
        const float kept[4] = {k->x1[i], k->y1[i], k->x2[i], k->y2[i]};
        if (k->group[i] == b->group && (double)cvr_box_iou(kept, k->area[i], b->at, b->area) > threshold) return 1;
    }
    return 0;
}

static int cell_suppresses(const nms_picture *p, int32_t cell, const nms_box *b) {
    for (int32_t i = p->cells[cell]; i >= 0; i = p->blocks[i].next) {
        const nms_block *k = &p->blocks[i];
        if (!p->exact && !any_near(k, b, p->share)) continue;
        if (any_exceeds(k, b, p->attrs->iou_threshold)) return 1;
    }
    return 0;
}

static int is_suppressed(const nms_picture *p, const nms_box *b) {
    const float x = 0.5f * b->at[0] + 0.5f * b->at[2], y = 0.5f * b->at[1] + 0.5f * b->at[3];
    const float dx = p->reach * (b->at[2] - b->at[0]) + p->slack, dy = p->reach * (b->at[3] - b->at[1]) + p->slack;
    const int32_t left = cell_of(x - dx, p->left, p->across, p->side);
    const int32_t right = cell_of(x + dx, p->left, p->across, p->side);
    const int32_t bottom = cell_of(y + dy, p->top, p->down, p->side);
    for (int32_t row = cell_of(y - dy, p->top, p->down, p->side); row <= bottom; row++)
        for (int32_t column = left; column <= right; column++)
            if (cell_suppresses(p, row * p->side + column, b)) return 1;
    return 0;
}

static int32_t suppress(nms_picture *p, int64_t n, int32_t *index) {
    const int64_t most = p->attrs->max_out;
    int64_t kept = 0;
    for (int64_t i = 0; i < n && kept < most; i++) {
        const int32_t row = (int32_t)cvr_score_key_row(p->keys[i]);
        const nms_box b = box_of(p, row);
        const int takes_part = p->attrs->iou_threshold < 0 || is_solid(&b);
        if (takes_part && is_suppressed(p, &b)) continue;
        if (takes_part) keep_box(p, &b);
        index[kept++] = row;
    }
    for (int64_t i = kept; i < most; i++) index[i] = -1;
    return (int32_t)kept;
}

/* ---- the kernel ---- */

typedef struct nms_job {
    const cvr_kernel_args *a;
    int64_t rows;
    uint64_t stride; /* bytes of a worker's scratch */
} nms_job;

/* Every cell may have a block that is not full. */
static int64_t most_blocks(int64_t rows, int64_t max_out) {
    const int64_t kept = cpu_min(rows, max_out), side = grid_side(rows);
    return cpu_min(side * side, kept) + cpu_ceil_div(kept, LANES);
}

static uint64_t scratch(int64_t rows, int64_t max_out) {
    const uint64_t cells = (uint64_t)grid_side(rows) * (uint64_t)grid_side(rows);
    const uint64_t bytes = (uint64_t)rows * 2 * sizeof(uint64_t) + cells * sizeof(int32_t) +
                           (uint64_t)most_blocks(rows, max_out) * sizeof(nms_block);
    return (bytes + 63) / 64 * 64;
}

static void nms_task(void *ctx, uint64_t task, uint32_t worker) {
    const nms_job *job = ctx;
    const cvr_kernel_args *a = job->a;
    const cvr_nms_attrs *attrs = a->attrs;
    const int64_t n = (int64_t)task, rows = job->rows;
    const int32_t *group = detect_optional(a, GROUP), *valid = detect_optional(a, VALID);
    nms_picture p = {.attrs = attrs,
                     .boxes = detect_picture(a->inputs[0], n),
                     .scores = (const float *)a->inputs[1]->data + n * rows,
                     .group = group ? group + n * rows : NULL,
                     .rows = valid ? valid[n] : rows,
                     .keys = (uint64_t *)(void *)((char *)a->workspace + worker * job->stride)};
    p.other = p.keys + rows;
    p.blocks = (nms_block *)(void *)(p.other + rows);
    p.cells = (int32_t *)(void *)(p.blocks + most_blocks(rows, attrs->max_out));
    const int64_t candidates = list_candidates(&p);
    choose_method(&p, candidates);
    lay_grid(&p, candidates);
    ((int32_t *)a->outputs[1]->data)[n] = suppress(&p, candidates, (int32_t *)a->outputs[0]->data + n * attrs->max_out);
}

static int32_t nms_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t pictures = a->inputs[1]->shape[0], rows = a->inputs[1]->shape[1];
    const int32_t *valid = detect_optional(a, VALID);
    nms_job job = {a, rows, scratch(rows, ((const cvr_nms_attrs *)a->attrs)->max_out)};
    for (int64_t n = 0; valid && n < pictures; n++) CVR_TRY(detect_check_count("nms", n, valid[n], rows, err));
    cpu_run(a->pool, pictures, nms_task, &job);
    return CVR_OK;
}

static uint64_t nms_workspace(const cvr_signature *sig) {
    const int64_t rows = sig->inputs[1]->shape[1];
    return sig->n_workers * scratch(rows, ((const cvr_nms_attrs *)sig->attrs)->max_out);
}

static const cpu_kernel kernels[] = {
    {"nms", nms_run, nms_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_detect_nms_kernels = {kernels, sizeof kernels / sizeof *kernels};
