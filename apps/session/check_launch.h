/*
 * One launch, run on copies of its tensors that lie between guard bytes, and what can be told from them afterwards.
 * check_memory.c lays the copies out and moves bytes, check_launch.c runs the kernel and judges it.
 */
#ifndef CVR_CHECK_LAUNCH_H
#define CVR_CHECK_LAUNCH_H

#include <cvr/check.h>

#pragma GCC visibility push(default)

/* Inputs, then outputs, then the workspace and what is prepared. */
#define CHECK_MOST_BLOCKS (2 * CVR_MAX_IO + 2)

/* How the copies lie. */
typedef enum check_placement {
    CHECK_GUARD_BYTES,  /* 64-byte aligned, guard bytes on both sides */
    CHECK_PAGE_BEHIND,  /* flush with a page behind that nobody may touch */
    CHECK_PAGE_IN_FRONT /* flush with one in front */
} check_placement;

/* A tensor or a workspace in the scratch: offsets in bytes. */
typedef struct check_block {
    uint64_t at, bytes;
    uint64_t from, to;  /* what belongs to it, page by page; guards lie before and after */
    int64_t shares;     /* the block that it lies in, or -1 */
    bool used, written; /* written: the kernel may write here */
    uint32_t dtype;     /* 0: a workspace */
} check_block;

/* What runs launches one by one, and the memory for it. */
typedef struct check_bench {
    cvr_plugins *plugins;
    const cvr_backend_desc *backend; /* the device's own; NULL: kernels are called on the host */
    void *self;
    uint32_t what; /* CVR_CHECK_* */
    uint8_t *scratch;
    uint64_t scratch_bytes;
    bool scratch_mapped;     /* of the host, by mmap */
    uint8_t *before, *after; /* the scratch as it was and as it is, on the host */
    check_block blocks[CHECK_MOST_BLOCKS];
    uint32_t n_blocks, n_inputs;
    uint64_t used_bytes;
    check_placement placement;
    uint64_t unit;         /* blocks begin at multiples of it, with guards of this size between them */
    bool remote;           /* the launch works in memory that the host cannot touch */
    bool host_args;        /* and yet the tensors of the launch, of which it works on copies, lie in the host's */
    char infinite_by[200]; /* the node that was the last to make an infinity of finite numbers */
} check_bench;

/* One kernel on the tensors of a launch. */
typedef struct check_run {
    const cvr_launch *launch;
    check_placement placement;
    int64_t in_place; /* the input whose memory output 0 takes over, or -1 */
    uint64_t id;      /* of the recording, for the profiler */
    bool prepares;    /* the kernel is a `prepare`, which fills what is prepared and no output */
    bool on_host;     /* a node that the device leaves to the host */
} check_run;

void check_bench_close(check_bench *b);
/* Runs and judges. After CVR_OK the results are in b->after, block by block. */
int32_t check_once(check_bench *b, const check_run *r, cvr_error *err);
/* Writes the results of the last run to where the launch has its outputs. */
int32_t check_take_results(check_bench *b, const check_run *r, cvr_error *err);
/* The launch as a program has it: in every way that b->what asks for; its results are where they belong. */
int32_t check_launch(check_bench *b, const cvr_launch *l, uint64_t id, bool on_host, cvr_error *err);
/* The input whose memory output 0 has in these arguments, or -1. */
int64_t check_in_place(const cvr_kernel_args *a);

/* Looks at a launch before it runs, while its inputs are what it will get. */
typedef int32_t (*check_observe_fn)(void *ctx, const cvr_launch *l, cvr_error *err);
/* As cvr_check_device, and `observe` sees every launch that the device runs itself. */
int32_t check_device_observed(cvr_device *d, const check_bench *bench, check_observe_fn observe, void *ctx,
                              cvr_error *err);

/* "c1/conv2d: kernel cpu/conv2d (avx2 fma) of plugin cpu_avx2 " and what is wrong. */
int32_t check_blame(const check_bench *b, const cvr_launch *l, int32_t status, cvr_error *err, const char *format, ...)
    CVR_PRINTF(5, 6);
/* An f32, bf16 or f16 as a number. */
float check_real(const uint8_t *at, uint32_t dtype);
/* "output 0, f32 (2, 3)" */
void check_tensor_text(const cvr_kernel_args *a, uint32_t block, char *buf, size_t size);

/* ---- memory ---- */

uint64_t check_tensor_bytes(const cvr_tensor *t);
/* Lays the copies out and makes room for them. */
int32_t check_lay_out(check_bench *b, const check_run *r, uint64_t mutates, cvr_error *err);
/* Fills the scratch: inputs, guard bytes, and the pattern where the kernel is to write. */
int32_t check_fill(check_bench *b, const check_run *r, cvr_error *err);
/* Reads it back. */
int32_t check_collect(check_bench *b, cvr_error *err);
int32_t check_copy_out(const check_bench *b, void *to, const void *from, uint64_t bytes, cvr_error *err);
/* What elements that nobody has written look like: a NaN as no kernel makes it. */
#define CHECK_PATTERN UINT64_C(0x7FA5C3E17FA5C3E1)
/* Of the first guard; the next CHECK_GUARD bytes have the next one, and so on in turn. */
#define CHECK_GUARD_BYTE 0x81
#define CHECK_GUARD_KINDS 61
/* Bytes of the guard on either side of a block, at least: a device may want a larger alignment. Also the page size of
 * every machine that guard pages are for; where pages are larger, mprotect refuses. */
#define CHECK_GUARD 4096u
bool check_is_pattern(const void *element, uint64_t size);

#pragma GCC visibility pop
#endif
