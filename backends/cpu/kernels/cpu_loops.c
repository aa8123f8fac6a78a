/* Sums in fixed lanes, and nests of strided loops (see cpu_loops.h). */
#include "cpu_loops.h"
#include "cpu_math.h"

static void sum_block(const float *x, int64_t n, float *lanes) {
    int64_t i = 0;
    for (; i + CPU_LANES <= n; i += CPU_LANES)
        for (int k = 0; k < CPU_LANES; k++) lanes[k] += x[i + k];
    for (int k = 0; i < n; i++, k++) lanes[k] += x[i];
}

static void dot_block(const float *x, const float *y, int64_t n, float *lanes) {
    int64_t i = 0;
    for (; i + CPU_LANES <= n; i += CPU_LANES)
        for (int k = 0; k < CPU_LANES; k++) lanes[k] += x[i + k] * y[i + k];
    for (int k = 0; i < n; i++, k++) lanes[k] += x[i] * y[i];
}

static void square_block(const float *x, float mean, int64_t n, float *lanes) {
    int64_t i = 0;
    for (; i + CPU_LANES <= n; i += CPU_LANES)
        for (int k = 0; k < CPU_LANES; k++) lanes[k] += (x[i + k] - mean) * (x[i + k] - mean);
    for (int k = 0; i < n; i++, k++) lanes[k] += (x[i] - mean) * (x[i] - mean);
}

double cpu_sum(const float *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i += CPU_SUM_BLOCK) {
        float lanes[CPU_LANES] = {0};
        sum_block(x + i, cpu_min(CPU_SUM_BLOCK, n - i), lanes);
        sum += cpu_fold(lanes);
    }
    return sum;
}

double cpu_dot(const float *x, const float *y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i += CPU_SUM_BLOCK) {
        float lanes[CPU_LANES] = {0};
        dot_block(x + i, y + i, cpu_min(CPU_SUM_BLOCK, n - i), lanes);
        sum += cpu_fold(lanes);
    }
    return sum;
}

double cpu_sum_square(const float *x, float mean, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i += CPU_SUM_BLOCK) {
        float lanes[CPU_LANES] = {0};
        square_block(x + i, mean, cpu_min(CPU_SUM_BLOCK, n - i), lanes);
        sum += cpu_fold(lanes);
    }
    return sum;
}

float cpu_max_of(const float *x, int64_t n) {
    float lanes[CPU_LANES], best;
    int64_t i = 0;
    for (int k = 0; k < CPU_LANES; k++) lanes[k] = x[0];
    for (; i + CPU_LANES <= n; i += CPU_LANES)
        for (int k = 0; k < CPU_LANES; k++) lanes[k] = x[i + k] > lanes[k] ? x[i + k] : lanes[k];
    best = lanes[0];
    for (; i < n; i++) best = x[i] > best ? x[i] : best;
    for (int k = 1; k < CPU_LANES; k++) best = lanes[k] > best ? lanes[k] : best;
    return best;
}

double cpu_sum_exp(const float *x, float shift, int64_t n) {
    float e[CPU_SUM_BLOCK];
    double sum = 0;
    for (int64_t i = 0; i < n; i += CPU_SUM_BLOCK) {
        const int64_t m = cpu_min(CPU_SUM_BLOCK, n - i);
        for (int64_t k = 0; k < m; k++) e[k] = cpu_exp(x[i + k] - shift);
        sum += cpu_sum(e, m);
    }
    return sum;
}

/* ---- nests ---- */

void cpu_steps(uint32_t rank, const int64_t *shape, int64_t *step) {
    int64_t at = 1;
    for (uint32_t i = rank; i-- > 0;) {
        step[i] = at;
        at *= shape[i];
    }
    if (rank != 4) return;
    step[1] = 1;
    step[2] = shape[1] * shape[3];
    step[3] = shape[1];
}

void cpu_broadcast_steps(const cvr_tensor *x, uint32_t rank, int64_t *step) {
    int64_t own[CVR_MAX_RANK];
    const uint32_t missing = rank - x->rank;
    cpu_steps(x->rank, x->shape, own);
    for (uint32_t i = 0; i < rank; i++) step[i] = i < missing || x->shape[i - missing] == 1 ? 0 : own[i - missing];
}

/* Whether loop `inner` continues loop `outer` for every operand. */
static int continues(const cpu_nest *nest, int64_t outer, int64_t inner) {
    for (int k = 0; k < CPU_NEST_OPERANDS; k++)
        if (nest->step[k][outer] != nest->step[k][inner] * nest->size[inner]) return 0;
    return 1;
}

void cpu_nest_init(cpu_nest *nest, uint32_t rank, const int64_t *shape, const int64_t *const *steps, int n_operands,
                   uint32_t cut) {
    uint32_t order[CVR_MAX_RANK], sides[CVR_MAX_RANK];
    uint32_t n = 0;
    /* By falling step of operand 0 (insertion: there are at most six). */
    for (uint32_t i = 0; i < rank; i++) {
        uint32_t place = n;
        if (shape[i] == 1) continue;
        for (; place > 0 && steps[0][order[place - 1]] < steps[0][i]; place--) order[place] = order[place - 1];
        order[place] = i;
        n++;
    }
    memset(nest, 0, sizeof *nest);
    for (uint32_t i = 0; i < n; i++) {
        const int64_t at = nest->n;
        nest->size[at] = shape[order[i]];
        for (int k = 0; k < n_operands; k++) nest->step[k][at] = steps[k][order[i]];
        sides[at] = cut >> order[i] & 1;
        if (at > 0 && sides[at] == sides[at - 1] && continues(nest, at - 1, at)) {
            nest->size[at - 1] *= nest->size[at];
            for (int k = 0; k < n_operands; k++) nest->step[k][at - 1] = nest->step[k][at];
        } else {
            nest->n++;
        }
    }
    if (nest->n == 0) nest->size[nest->n++] = 1;
}

void cpu_nest_at(const cpu_nest *nest, int64_t n_loops, int64_t i, int64_t at[CPU_NEST_OPERANDS]) {
    for (int k = 0; k < CPU_NEST_OPERANDS; k++) at[k] = 0;
    for (int64_t l = n_loops; l-- > 0;) {
        const int64_t index = i % nest->size[l];
        i /= nest->size[l];
        for (int k = 0; k < CPU_NEST_OPERANDS; k++) at[k] += index * nest->step[k][l];
    }
}

typedef struct nest_job {
    const cpu_nest *nest;
    cpu_row_fn row;
    void *ctx;
    int64_t rows, pieces, rows_per_task; /* pieces: parts of CPU_SPAN elements that a long row is cut into */
} nest_job;

static void nest_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const nest_job *job = ctx;
    const cpu_nest *nest = job->nest;
    const int64_t inner = nest->n - 1, block = (int64_t)task / job->pieces, piece = (int64_t)task % job->pieces;
    const int64_t first = piece * CPU_SPAN,
                  n = job->pieces > 1 ? cpu_min(CPU_SPAN, nest->size[inner] - first) : nest->size[inner];
    const int64_t end = cpu_min((block + 1) * job->rows_per_task, job->rows);
    for (int64_t r = block * job->rows_per_task; r < end; r++) {
        int64_t at[CPU_NEST_OPERANDS];
        cpu_nest_at(nest, inner, r, at);
        for (int k = 0; k < CPU_NEST_OPERANDS; k++) at[k] += first * nest->step[k][inner];
        job->row(job->ctx, at, n);
    }
}

void cpu_nest_run(const cpu_nest *nest, const cvr_threadpool *pool, cpu_row_fn row, void *ctx) {
    const int64_t length = nest->size[nest->n - 1];
    nest_job job = {.nest = nest, .row = row, .ctx = ctx, .rows = 1, .pieces = cpu_spans(length)};
    for (int64_t i = 0; i < nest->n - 1; i++) job.rows *= nest->size[i];
    if (length == 0 || job.rows == 0) return;
    job.rows_per_task = job.pieces > 1 ? 1 : cpu_max(1, CPU_SPAN / length);
    cpu_run(pool, cpu_ceil_div(job.rows, job.rows_per_task) * job.pieces, nest_task, &job);
}
