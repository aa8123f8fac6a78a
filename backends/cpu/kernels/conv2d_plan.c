/*
 * How a convolution's gather is cut into tasks and blocks (see conv2d.h): a panel of weights and a task's part of the
 * source should fit into the second-level cache together, and tasks are cut smaller until there are TASKS_WANTED of
 * them, as far as that goes. Only the shape and the sizes of caches decide, never the number of threads, so that sums
 * have one order.
 */
#include "conv2d_depthwise.h"

/* A panel of weights, and a task's part of the source, as they should be to live together in a second-level cache. */
#define PANEL_FLOATS 65536
#define SOURCE_FLOATS ((CPU_AMX ? 3 : 1) * 81920 * 4 / (CPU_PARTS * (int64_t)sizeof(cpu_operand)))
#define BLOCK_CHANNELS 512
/* Weights that stay in a second-level cache while pixels pass by, of several panels: a tile of pixels meets all of
 * them, and a pixel's results are written together. */
#define PASSED_BYTES (CPU_AMX ? 524288 : 196608)
#define CPU_LINE_ELEMENTS (64 / (int64_t)sizeof(cpu_operand))
/* AMX multiplies so fast that the weights, which every task reads, have to meet more pixels. Its processors have 2 MiB.
 */
#define TASKS_WANTED (CPU_AMX ? 16 : 32)
/* Pixels of a task: few enough to give many cores work; and fewer only when panels cannot be cut any more. */
#define PIXELS_SMALL (CPU_AMX ? 448 : 112)
#define PIXELS_LEAST 28
/* taps * destination channels of a task that copies its source: fewer would make the copy cost over a fiftieth. */
#define COPY_PAYS 400
/* Pixels that are a multiple of this apart (in bytes) compete for one set of a first-level cache, which has fewer ways
 * than a tile has rows; at half of it they share two, and fit. By AMX, products took as long at any distance. */
#define BAD_STEP 4096

/* Largest of the phases. */
typedef struct plan_sizes {
    int64_t taps;
    int64_t grid[2];
    int64_t extent[2]; /* source rows or columns that the whole grid sees, as they are copied */
    int padded;
} plan_sizes;

/* Source rows or columns that up to `points` points of a phase's grid see, at most. */
static int64_t extent_of(const conv_shape *s, int axis, int64_t points) {
    int64_t extent = 0;
    for (int64_t phase = 0; phase < s->phases[axis]; phase++) {
        conv_axis a;
        conv_axis_of(&a, s, axis, phase);
        if (a.grid > 0 && a.taps > 0) extent = cpu_max(extent, conv_axis_extent(&a, cpu_min(points, a.grid)));
    }
    return extent;
}

static void sizes_of(plan_sizes *out, const conv_shape *s) {
    memset(out, 0, sizeof *out);
    out->taps = 1;
    for (int axis = 0; axis < 2; axis++) {
        int64_t taps = 1;
        for (int64_t phase = 0; phase < s->phases[axis]; phase++) {
            conv_axis a;
            conv_axis_of(&a, s, axis, phase);
            out->grid[axis] = cpu_max(out->grid[axis], a.grid);
            taps = cpu_max(taps, a.taps);
            out->padded |= !conv_axis_inside(&a, s->src_size[axis]);
        }
        out->extent[axis] = extent_of(s, axis, out->grid[axis]);
        out->taps *= taps;
    }
}

/* Channels summed at once: all of them, or even parts. */
static void plan_blocks(conv_job *job, const plan_sizes *z) {
    const conv_shape *s = &job->shape;
    const int64_t most = cpu_max(16, cpu_min(BLOCK_CHANNELS, PANEL_FLOATS / (z->taps * cpu_micro.columns)));
    /* bf16 would be rounded between blocks. */
    job->blocks = CPU_LOW ? 1 : cpu_ceil_div(s->src_c, most);
    job->block_c = s->src_c;
    if (job->blocks > 1) job->block_c = cpu_line_up(cpu_ceil_div(s->src_c, job->blocks));
    job->blocks = cpu_ceil_div(s->src_c, job->block_c);
    job->pixel = job->block_c % 128 == 0 ? job->block_c + CPU_LINE_ELEMENTS : cpu_depth(job->block_c);
}

static int64_t tasks_of(conv_job *job, const plan_sizes *z) {
    const conv_shape *s = &job->shape;
    job->image_parts = cpu_ceil_div(s->n, job->images);
    job->row_parts = cpu_ceil_div(z->grid[0], job->rows);
    job->panel_parts = cpu_ceil_div(job->panels, job->part_panels);
    return s->phases[0] * s->phases[1] * s->groups * job->image_parts * job->row_parts * job->panel_parts;
}

/* Images and rows that fit a cache, then fewer, then fewer panels, until there are enough tasks. */
static void plan_parts(conv_job *job, const plan_sizes *z) {
    const conv_shape *s = &job->shape;
    const int64_t image = z->extent[0] * z->extent[1] * job->pixel, width = cpu_max(1, z->grid[1]);
    const int copies = z->padded || job->spread;
    const int64_t pays = cpu_ceil_div(COPY_PAYS, z->taps * cpu_micro.columns);
    const int64_t least = cpu_min(job->panels, copies ? pays : 1);
    job->rows = cpu_max(1, z->grid[0]);
    job->images = 1;
    if (image <= SOURCE_FLOATS)
        job->images = cpu_max(1, cpu_min(s->n, SOURCE_FLOATS / cpu_max(1, image)));
    else
        job->rows = cpu_max(1, SOURCE_FLOATS * job->rows / image);
    job->part_panels = job->panels;
    while (tasks_of(job, z) < TASKS_WANTED) {
        const int64_t pixels = job->images * job->rows * width;
        if (pixels / 2 < PIXELS_SMALL && job->part_panels > least)
            job->part_panels = cpu_max(least, cpu_ceil_div(job->part_panels, 2));
        else if (pixels / 2 >= PIXELS_LEAST && job->images > 1)
            job->images = cpu_ceil_div(job->images, 2);
        else if (pixels / 2 >= PIXELS_LEAST && job->rows > 1)
            job->rows = cpu_ceil_div(job->rows, 2);
        else
            break;
    }
}

static int64_t line_up(int64_t elements) {
    return cpu_ceil_div(elements, CPU_LINE_ELEMENTS) * CPU_LINE_ELEMENTS;
}

void conv_job_plan(conv_job *job) {
    const conv_shape *shape = &job->shape;
    plan_sizes z;
    const int64_t taps = shape->kernel[0] * shape->kernel[1];
    if (!CPU_BF16 && conv_is_depthwise(shape)) {
        job->prepacked = 0;
        job->packed_floats = cpu_line_up((taps + DEPTHWISE_VECTORS) * depthwise_places(shape->groups, job->bf16));
        return;
    }
    job->winograd = !CPU_BF16 && conv_winograd_pays(shape, job->bf16, job->prepacked);
    if (job->winograd) return;
    sizes_of(&z, shape);
    job->panels = cpu_panels(shape->dst_c);
    plan_blocks(job, &z);
    const int64_t step = shape->transposed ? 1 : shape->stride[1];
    job->spread = !CPU_AMX && job->panels > 1 &&
                  shape->groups * shape->src_c * step * (int64_t)sizeof(cpu_element) % BAD_STEP == 0;
    job->spread = job->spread || cpu_depth(shape->src_c) != shape->src_c || CPU_PARTS > 1;
    plan_parts(job, &z);
    const int64_t panel = CPU_PARTS * taps * cpu_depth(shape->src_c) * cpu_micro.columns * cpu_micro.element;
    job->panels_at_once = cpu_max(1, cpu_min(CONV_PANELS_AT_ONCE, PASSED_BYTES / cpu_max(1, panel)));
    job->packed_low = line_up(shape->groups * job->panels * taps * cpu_depth(shape->src_c) * cpu_micro.columns);
    job->packed_floats = CPU_PARTS * job->packed_low;
    if (z.padded || job->spread) {
        const int64_t rows = extent_of(shape, 0, job->rows);
        job->scratch_low = line_up(job->images * rows * z.extent[1] * job->pixel);
        job->scratch_floats = CPU_PARTS * job->scratch_low;
    }
}

int64_t conv_most_steps(const conv_job *job) {
    const conv_shape *s = &job->shape;
    int64_t most = 0;
    for (int64_t phase = 0; phase < s->phases[0] * s->phases[1]; phase++) {
        conv_axis h, w;
        conv_axis_of(&h, s, 0, phase / s->phases[1]);
        conv_axis_of(&w, s, 1, phase % s->phases[1]);
        const int inside = !job->spread && conv_axis_inside(&h, s->src_size[0]) && conv_axis_inside(&w, s->src_size[1]);
        const int joined = conv_column_inc(job, &w, inside) == cpu_depth(job->block_c);
        most = cpu_max(most, h.taps * (joined ? 1 : w.taps));
    }
    return most;
}

uint64_t conv_job_workspace(const conv_job *job, uint32_t n_workers) {
    if (!CPU_BF16 && job->winograd) return conv_winograd_workspace(job, n_workers);
    const int64_t packed = job->prepacked ? 0 : job->packed_floats;
    return (uint64_t)(packed + job->scratch_floats * n_workers) * sizeof(cpu_operand) +
           conv_moments_bytes(job, conv_slots(job));
}

uint64_t conv_job_prepacked(const conv_job *job) {
    if (!job->prepacked) return 0;
    if (!CPU_BF16 && job->winograd) return conv_winograd_prepacked(job);
    return (uint64_t)job->packed_floats * sizeof(cpu_operand);
}

int64_t conv_slots(const conv_job *job) {
    return job->shape.phases[0] * job->shape.phases[1] * job->image_parts * job->row_parts;
}

int64_t conv_slot_pixels(const conv_job *job, int64_t slot) {
    const conv_shape *s = &job->shape;
    const int64_t rows = slot % job->row_parts, images = slot / job->row_parts % job->image_parts;
    const int64_t phase = slot / job->row_parts / job->image_parts;
    conv_axis h, w;
    conv_axis_of(&h, s, 0, phase / s->phases[1]);
    conv_axis_of(&w, s, 1, phase % s->phases[1]);
    return (cpu_part(s->n, job->image_parts, images + 1) - cpu_part(s->n, job->image_parts, images)) *
           (cpu_part(h.grid, job->row_parts, rows + 1) - cpu_part(h.grid, job->row_parts, rows)) * w.grid;
}
