/* A program from within: program_arena.c has its memory, record.c records its launches, host_segment.c runs what the
 * device cannot, program.c runs the whole. */
#ifndef CVR_BOUND_H
#define CVR_BOUND_H

#include "plan.h"

typedef struct bound_node {
    plan_node *plan;
    cvr_tensor tensors[2]; /* the usual few; `more` where a node has more */
    cvr_tensor *all;
    const cvr_tensor **in;
    cvr_tensor **out;
    cvr_kernel_args args;
    cvr_launch launch;
    cvr_range *ranges; /* what the launch touches */
    const cvr_range **touches;
} bound_node;

/* A value that nodes on the host work on: where they have it, and what is copied at the segment's edges. */
typedef struct host_value {
    cvr_value root;
    char *address;
    uint64_t bytes;
    bool comes, written, goes; /* from the device, by a node here, back to the device */
} host_value;

/* Nodes that are replayed together, or run on the host one after another. */
typedef struct segment {
    size_t first, n;
    void *recording; /* NULL: on the host */
    host_value *values;
    size_t n_values, capacity;
    char *memory; /* of the values and the largest workspace; NULL where the device's can be mapped */
} segment;

typedef struct arena_block {
    char *address; /* the margin's; what programs use begins behind it */
    uint64_t bytes;
} arena_block;

typedef struct arena_blocks {
    arena_block *all;
    size_t n;
} arena_blocks;

/* A landing zone: a block for the scalars, and one for each input. */
#define LANDINGS 2u
typedef struct landing {
    arena_blocks blocks;
    uint64_t taken; /* the ticket of the last copy out of it */
} landing;

struct cvr_arena {
    cvr_device *device;
    arena_blocks blocks;
    uint64_t margin;
    landing landings[LANDINGS];
    size_t landing;  /* where the next run's inputs go */
    uint64_t lander; /* the program whose inputs lie there */
};

struct cvr_program {
    cvr_graph *graph;
    cvr_device *device;
    const cvr_threadpool *pool;
    plan plan;
    cvr_arena *arena;
    bound_node *nodes;
    const cvr_launch **launches;
    segment *segments;
    cvr_range *kept_ranges; /* what a run leaves behind */
    const cvr_range **kept;
    size_t n_kept;
    size_t n_segments;
    cvr_launch *preparing; /* what kernels prepare, recorded apart */
    const cvr_launch **prepare_launches;
    size_t n_preparing;
    void *prepare_recording;
    uint64_t prepared_at; /* store_changes() + 1; 0: not */
    bool changes_store;
    bool asked, vetoed; /* whether the last run's vetoes have been read, and what they said */
    size_t updates;     /* the first segment that a veto skips; n_segments: there is none */
    char *scalars;      /* all of them as they are to be, on the host */
    bool scalars_changed;
    uint64_t scalars_up, inputs_up; /* d->uploads when the last of them was issued */
    cvr_value *inputs;              /* that something reads */
    size_t n_inputs;
    bool *landed; /* by landing block: the scalars, then the inputs: it has what the next run is to take */
    uint64_t id;
    cvr_value *slots;
    size_t n_slots;
    const char **slot_names;
};

/* The value whose memory a view is. */
cvr_value root_value(const cvr_program *p, cvr_value v);
/* Where a value lies; a view lies where its root does. */
void *root_address(const cvr_program *p, cvr_value v);
void *plan_block_address(const cvr_program *p, int64_t block);
/* Uploads what belongs into landing block i of the next run; copies all that has landed to where the run has it. */
int32_t landing_write(cvr_program *p, size_t i, const void *bytes, uint64_t n, cvr_error *err);
int32_t landing_take(cvr_program *p, cvr_error *err);
/* Gives the nodes of a segment on the host their memory; runs them. */
int32_t host_segment_bind(cvr_program *p, segment *s, cvr_error *err);
int32_t host_segment_run(cvr_program *p, const segment *s, cvr_error *err);
void host_segment_clear(segment *s);

#endif
