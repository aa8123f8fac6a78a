/*
 * Convolution backward-weight: dweight[k] = sum over pixels of grad[pixel,k] * im2col[pixel]. The pixels are cut into
 * chunks by shape; each chunk has a partial sum of its own in the workspace, and the chunks are added in order, in
 * double.
 */
#include "conv2d.h"

#define CHUNKS_MAX 32
#define CHUNKS_MIN 2
#define PARTIAL_FLOATS 1048576 /* of all chunks together (4 MiB), about, as far as CHUNKS_MIN allows */
#define CHUNK_PIXELS 256       /* a chunk is no smaller */
#define BLOCK_OUTPUTS 128      /* output channels of a task, where the weight is big */
#define REDUCE_FLOATS 4096     /* elements of a task of the final sum */

typedef struct weight_job {
    const conv_job *conv;
    conv_axis h, w;
    const float *grad;
    float *dweight, *partial, *scratch;
    int64_t pixels, tile, chunks, blocks; /* blocks: of a group's output channels */
    int64_t taps, row, weight_floats;     /* row: taps * src_c */
    int64_t partial_stride, scratch_floats;
} weight_job;

static void weight_plan(weight_job *job, const conv_job *conv) {
    memset(job, 0, sizeof *job);
    job->conv = conv;
    conv_axis_of(&job->h, conv, 0, 0);
    conv_axis_of(&job->w, conv, 1, 0);
    job->pixels = conv->n * conv->dst_size[0] * conv->dst_size[1];
    job->tile = conv->tile;
    job->taps = conv->kernel[0] * conv->kernel[1];
    job->row = job->taps * conv->src_c;
    job->weight_floats = conv->groups * conv->dst_c * job->row;
    job->partial_stride = cpu_line_up(job->weight_floats);
    /* A power of two: as many for each of two, four, ... cores. */
    job->chunks = CHUNKS_MIN;
    while (job->chunks < CHUNKS_MAX && job->chunks * job->partial_stride < PARTIAL_FLOATS) job->chunks *= 2;
    job->chunks = cpu_max(1, cpu_min(job->chunks, job->pixels / CHUNK_PIXELS));
    job->blocks = job->chunks < CHUNKS_MAX ? cpu_max(1, conv->dst_c / BLOCK_OUTPUTS) : 1;
    if (conv->depthwise) job->blocks = 1;
    if (!conv->depthwise && conv->gather_pixels) job->scratch_floats = cpu_line_up(job->tile * job->row);
}

uint64_t conv_weight_workspace(const conv_job *conv, uint32_t n_workers) {
    weight_job job;
    weight_plan(&job, conv);
    const uint64_t partials = (uint64_t)job.chunks * (uint64_t)job.partial_stride;
    return (partials + (uint64_t)job.scratch_floats * n_workers) * sizeof(float);
}

/* partial[outputs o0..o1 of every group] += the pixels of one tile. */
static void weight_tile(const weight_job *job, conv_cols *tile, int64_t o0, int64_t o1, float *cols, float *partial) {
    const conv_job *conv = job->conv;
    const int64_t all_k = conv->groups * conv->dst_c;
    for (int64_t g = 0; g < conv->groups; g++) {
        cpu_gemm p = {.m = o1 - o0, .n = job->row, .k = tile->end - tile->first, .trans_a = 1, .beta = 1};
        p.a = job->grad + tile->first * all_k + g * conv->dst_c + o0;
        p.lda = all_k;
        p.c = partial + (g * conv->dst_c + o0) * job->row;
        p.ldc = job->row;
        tile->channel = g * conv->src_c;
        if (conv->gather_pixels) {
            conv_im2col(tile, &job->h, &job->w, cols);
            p.b = cols;
            p.ldb = job->row;
        } else {
            p.b = conv->src + tile->first * tile->src_stride + tile->channel;
            p.ldb = tile->src_stride;
        }
        cpu_gemm_run(&p);
    }
}

/* Task (chunk, block of output channels). */
static void weight_task(void *ctx, uint64_t task, uint32_t worker) {
    const weight_job *job = ctx;
    const conv_job *conv = job->conv;
    const int64_t chunk = (int64_t)task / job->blocks, block = (int64_t)task % job->blocks;
    const int64_t o0 = cpu_part(conv->dst_c, job->blocks, block), o1 = cpu_part(conv->dst_c, job->blocks, block + 1);
    const int64_t first = cpu_part(job->pixels, job->chunks, chunk),
                  end = cpu_part(job->pixels, job->chunks, chunk + 1);
    float *partial = job->partial + chunk * job->partial_stride;
    for (int64_t g = 0; g < conv->groups; g++)
        memset(partial + (g * conv->dst_c + o0) * job->row, 0, (size_t)((o1 - o0) * job->row) * sizeof(float));
    if (conv->depthwise) {
        conv_depthwise_weight_tile(conv, &job->h, &job->w, job->grad, first, end, partial);
        return;
    }
    conv_cols tile = {.src = conv->src,
                      .src_size = {conv->src_size[0], conv->src_size[1]},
                      .src_stride = conv->groups * conv->src_c,
                      .channels = conv->src_c};
    for (tile.first = first; tile.first < end; tile.first = tile.end) {
        tile.end = cpu_min(tile.first + job->tile, end);
        weight_tile(job, &tile, o0, o1, job->scratch + worker * job->scratch_floats, partial);
    }
}

/* dweight = the sum of the chunks. Depthwise partials are (taps, groups), the weight is (groups, taps). */
static void reduce_task(void *ctx, uint64_t task, uint32_t worker) {
    const weight_job *job = ctx;
    const int64_t first = (int64_t)task * REDUCE_FLOATS, end = cpu_min(first + REDUCE_FLOATS, job->weight_floats);
    (void)worker;
    for (int64_t i = first; i < end; i++) {
        double sum = 0;
        for (int64_t c = 0; c < job->chunks; c++) sum += (double)job->partial[c * job->partial_stride + i];
        const int64_t groups = job->conv->groups;
        job->dweight[job->conv->depthwise ? i % groups * job->taps + i / groups : i] = (float)sum;
    }
}

void conv_weight_run(const conv_job *conv, const cvr_threadpool *pool, const float *grad, float *dweight,
                     float *workspace) {
    weight_job job;
    weight_plan(&job, conv);
    job.grad = grad;
    job.dweight = dweight;
    job.partial = workspace;
    job.scratch = workspace + job.chunks * job.partial_stride;
    pool->run(pool, (uint64_t)(job.chunks * job.blocks), weight_task, &job);
    if (job.weight_floats > 0)
        pool->run(pool, (uint64_t)cpu_ceil_div(job.weight_floats, REDUCE_FLOATS), reduce_task, &job);
}
