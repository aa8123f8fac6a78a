/*
 * Elementwise programs on the CPU (see <cvr/plugin/ops/elementwise.h>): every step runs over a block of elements that
 * stays in the first-level cache, so that only inputs and the last result meet memory. The sums of the result's columns
 * are taken in the same sweep, in column_sum.c's order.
 */
#include "cpu_steps.h"
#include "dense.h"

/* An input: element i of the result is made of its element i / inner % size. */
typedef struct operand {
    const void *data;
    int64_t inner, size;
    int bf16, whole; /* whole: has the result's elements, one for one */
} operand;

typedef struct program {
    cpu_loops_program loops;
    operand in[CVR_ELEMENTWISE_INPUTS];
    uint32_t n_inputs;
    int bf16; /* the result is */
    void *y;
    int64_t n, columns;
    float *sums;     /* (workers, columns in whole lines): of a few rows */
    double *partial; /* (tasks, columns): of a task's */
} program;

/* Whole lines, and a line more than needed: rows a power of two apart would share a set of the first-level cache. */
#define ROW_FLOATS (CPU_ROW + CPU_LINE_FLOATS)

/* Rows of a block: inputs that are not read in place, results, and constants over and over. */
typedef struct block_rows {
    _Alignas(CPU_LINE_FLOATS * sizeof(float)) float in[CVR_ELEMENTWISE_INPUTS][ROW_FLOATS];
    float results[CVR_MOST_STEPS][ROW_FLOATS];
    float constants[CVR_MOST_STEPS][ROW_FLOATS];
} block_rows;

/* ---- one block ---- */

/* row[k] = x[(at + k) % size]: x again and again. */
static void repeat_whole(const operand *o, int64_t at, int64_t n, float *row) {
    int64_t from = at % o->size;
    for (int64_t k = 0; k < n; from = 0) {
        const int64_t run = cpu_min(o->size - from, n - k);
        const float *x = cpu_row_read(o->data, o->bf16, from, run, row + k);
        if (!o->bf16) memcpy(row + k, x, (size_t)run * sizeof *row);
        k += run;
    }
}

/* row[k] = x[(at + k) / inner % size]: each element `inner` times. */
static void repeat_each(const operand *o, int64_t at, int64_t n, float *row) {
    int64_t from = at / o->inner % o->size, left = o->inner - at % o->inner;
    for (int64_t k = 0; k < n; left = o->inner) {
        const int64_t end = k + cpu_min(left, n - k);
        const float x = cpu_row_at(o->data, o->bf16, from);
        for (; k < end; k++) row[k] = x;
        from = from + 1 < o->size ? from + 1 : 0;
    }
}

static const float *operand_row(const operand *o, int64_t at, int64_t n, float *row) {
    if (o->whole) return cpu_row_read(o->data, o->bf16, at, n, row);
    (o->inner == 1 ? repeat_whole : repeat_each)(o, at, n, row);
    return row;
}

/* Once a task: no loop writes to these. */
static void fill_constants(const program *p, block_rows *rows) {
    for (uint32_t i = 0; i < p->loops.n_constants; i++)
        for (int64_t k = 0; k < CPU_ROW && (p->loops.constants_read >> i & 1); k++)
            rows->constants[i][k] = p->loops.constants[i];
}

/* Elements at..at+n-1 of the result, n <= CPU_ROW; returns where they are as f32. */
static const float *run_block(const program *p, int64_t at, int64_t n, block_rows *rows) {
    const float *values[CVR_STEP_CONSTANT + CVR_MOST_STEPS];
    const cpu_loop *last = &p->loops.loops[p->loops.n - 1];
    float *y = cpu_row_space(p->y, p->bf16, at, rows->results[last->slot]);
    for (uint32_t i = 0; i < p->n_inputs; i++) values[i] = operand_row(&p->in[i], at, n, rows->in[i]);
    for (uint32_t i = 0; i < p->loops.n_constants; i++) values[CVR_STEP_CONSTANT + i] = rows->constants[i];
    for (const cpu_loop *l = p->loops.loops; l <= last; l++) {
        float *to = l == last ? y : rows->results[l->slot];
        const float *v[4] = {values[l->operands[0]], values[l->operands[1]]};
        if (l->known) {
            l->known(l->attrs ? l->attrs : &l->constant, v[0], v[1], to, n);
        } else {
            for (uint32_t i = 0; i < cvr_step_operands(l->code); i++) v[i] = values[l->operands[i]];
            cpu_step_run(l->code, v, to, n);
        }
        values[CVR_STEP_RESULT + l->step] = to;
    }
    cpu_row_store(p->y, p->bf16, at, n, y);
    return y;
}

/* ---- all of them ---- */

static void span_task(void *ctx, uint64_t task, uint32_t worker) {
    const program *p = ctx;
    const int64_t end = cpu_min(((int64_t)task + 1) * CPU_SPAN, p->n);
    block_rows rows;
    (void)worker;
    fill_constants(p, &rows);
    for (int64_t at = (int64_t)task * CPU_SPAN; at < end; at += CPU_ROW)
        (void)run_block(p, at, cpu_min(CPU_ROW, end - at), &rows);
}

/* sum[j] += the columns' elements of rows first..end-1. */
static void sum_rows(const program *p, int64_t first, int64_t end, float *sum, block_rows *rows) {
    const int64_t columns = p->columns, whole = CPU_ROW / columns; /* rows of a block, or 0 */
    for (int64_t at = first * columns; at < end * columns;) {
        const int64_t column = at % columns;
        const int64_t n = whole ? cpu_min(whole * columns, end * columns - at) : cpu_min(CPU_ROW, columns - column);
        const int64_t width = cpu_min(n, columns);
        const float *y = run_block(p, at, n, rows);
        for (const float *row = y; row < y + n; row += width)
            for (int64_t j = 0; j < width; j++) sum[column + j] += row[j];
        at += n;
    }
}

/* A task's rows, one after another: float sums of a few, then doubles. */
static void sum_task(void *ctx, uint64_t task, uint32_t worker) {
    const program *p = ctx;
    const int64_t columns = p->columns, start = (int64_t)task * CPU_SUM_TASK_ROWS;
    const int64_t end = cpu_min(start + CPU_SUM_TASK_ROWS, p->n / columns);
    double *partial = p->partial + (int64_t)task * columns;
    float *sum = p->sums + worker * cpu_line_up(columns);
    block_rows rows;
    fill_constants(p, &rows);
    for (int64_t j = 0; j < columns; j++) partial[j] = 0;
    for (int64_t row = start; row < end; row += CPU_SUM_FLOAT_ROWS) {
        for (int64_t j = 0; j < columns; j++) sum[j] = 0;
        sum_rows(p, row, cpu_min(row + CPU_SUM_FLOAT_ROWS, end), sum, &rows);
        for (int64_t j = 0; j < columns; j++) partial[j] += (double)sum[j];
    }
}

static void program_of(program *p, const cvr_kernel_args *a) {
    const cvr_tensor *y = a->outputs[0];
    cvr_steps steps;
    *p = (program){.n_inputs = a->n_inputs, .bf16 = y->dtype == CVR_BF16, .y = y->data};
    p->n = cpu_numel(y);
    cvr_elementwise_steps(a->attrs, &steps);
    cpu_steps_compile(&p->loops, &steps);
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        const cvr_tensor *x = a->inputs[i];
        operand *o = &p->in[i];
        o->data = x->data;
        o->bf16 = x->dtype == CVR_BF16;
        o->whole = cpu_numel(x) == p->n;
        (void)cvr_elementwise_repeat(y->rank, y->shape, x->rank, x->shape, &o->inner, &o->size);
    }
}

static int32_t program_run(const cvr_kernel_args *a, cvr_error *err) {
    program p;
    (void)err;
    program_of(&p, a);
    cpu_run(a->pool, cpu_spans(p.n), span_task, &p);
    return CVR_OK;
}

static int64_t columns_of(const cvr_tensor *t) {
    return t->shape[t->rank == 4 ? 1 : t->rank - 1];
}

static int64_t sum_tasks(const cvr_tensor *t) {
    const int64_t columns = columns_of(t);
    return columns ? cpu_ceil_div(cpu_numel(t) / columns, CPU_SUM_TASK_ROWS) : 0;
}

static uint64_t sum_workspace(const cvr_signature *sig) {
    const int64_t columns = columns_of(sig->inputs[0]);
    return (uint64_t)(cpu_line_up(columns) * sig->n_workers) * sizeof(float) +
           (uint64_t)(sum_tasks(sig->inputs[0]) * columns) * sizeof(double);
}

static int32_t sum_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t tasks = sum_tasks(a->inputs[0]);
    program p;
    (void)err;
    program_of(&p, a);
    p.columns = columns_of(a->inputs[0]);
    p.sums = a->workspace;
    p.partial = (double *)(void *)(p.sums + cpu_line_up(p.columns) * a->pool->n_workers);
    cpu_run(a->pool, tasks, sum_task, &p);
    cpu_column_combine(p.partial, tasks, p.columns, a->outputs[1]->data);
    return CVR_OK;
}

/* The result may be written over any input, so what has as many bytes must lie as the result does: an f32 vector beside
 * a result in bf16 may not. */
static int may_lie_under(const cvr_tensor *x, const cvr_tensor *y) {
    const int64_t x_bytes = cpu_numel(x) * (int64_t)cvr_dtype_size(x->dtype);
    return x->dtype == y->dtype || x_bytes != cpu_numel(y) * (int64_t)cvr_dtype_size(y->dtype);
}

/* f32 or bf16; operands may be of the one type or the other, as parameters stay f32. */
static int32_t program_supports(const cvr_signature *sig, cvr_error *reason) {
    const cvr_tensor *y = sig->outputs[0];
    int fits = y->dtype == CVR_F32 || y->dtype == CVR_BF16;
    for (uint32_t i = 0; i < sig->n_inputs; i++) {
        const cvr_tensor *x = sig->inputs[i];
        fits = fits && (x->dtype == CVR_F32 || x->dtype == CVR_BF16) && may_lie_under(x, y);
    }
    return fits ? CVR_OK : cvr_fail(reason, CVR_ERR_UNSUPPORTED, "element types that do not go together");
}

#define PROGRAM_FLAGS (CPU_KERNEL_FLAGS | CVR_KERNEL_BF16)
#define ANY_INPUT ((1u << CVR_ELEMENTWISE_INPUTS) - 1)
static const cpu_kernel kernels[] = {
    {"elementwise", program_run, NULL, program_supports, ANY_INPUT, PROGRAM_FLAGS, NULL},
    {"elementwise_sum", sum_run, sum_workspace, program_supports, ANY_INPUT, PROGRAM_FLAGS, NULL},
};
const cpu_kernel_table cpu_elementwise_kernels = {kernels, sizeof kernels / sizeof *kernels};
