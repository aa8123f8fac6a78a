/*
 * One layer as a program of its own: built from its name, settings and inputs through the public API, run on a named
 * backend, and everything that comes out read back in logical order. What `cvrun conform` and the tests of
 * layers share.
 */
#ifndef CVR_LAYER_CASE_H
#define CVR_LAYER_CASE_H

#include <cvr/program.h>

#define CASE_MOST_IO 12u
#define CASE_MOST_PARAMS 16u
#define CASE_MOST_RESULTS 64u

/* Elements in logical order, row-major. `data` NULL: not given. */
typedef struct case_tensor {
    char name[64];
    cvr_type type;
    void *data;
    bool constant;   /* no gradient is asked for */
    bool activation; /* constant, and yet cast in a program of low precision */
} case_tensor;

typedef struct layer_case {
    char label[200]; /* for messages: which case this is */
    char layer[64];
    char settings[256];
    bool training;
    bool backward;
    bool keep_inputs;   /* inputs are outputs too, so that nothing is computed in place of them */
    uint32_t low;       /* CVR_BF16 or CVR_F16: f32 inputs are cast to it, outputs back; 0: all is f32 */
    uint32_t math;      /* CVR_MATH_* */
    const char *passes; /* as in backend.passes; NULL: none */
    uint32_t n_inputs, n_params, n_gradients;
    case_tensor inputs[CASE_MOST_IO];
    case_tensor params[CASE_MOST_PARAMS]; /* "weight", "running_mean": what the store starts with */
    case_tensor gradients[CASE_MOST_IO];  /* fed in for out0, out1, ... */
} layer_case;

/* "out0", "gin0", "gparam.weight", "after.running_mean", "kept0" */
typedef struct case_result {
    case_tensor all[CASE_MOST_RESULTS];
    uint32_t n;
} case_result;

/* A backend with its plugins and threads. */
typedef struct case_machine {
    char label[64];
    cvr_plugins *plugins;
    cvr_threadpool *pool;
    cvr_device *device;
    uint32_t fallback; /* CVR_FALLBACK_*: what cases do about nodes that the backend cannot run; they are allowed */
    /* Sees each case's graph when all is built and nothing planned; NULL: nobody does. */
    void (*built)(void *ctx, const cvr_graph *g);
    void *built_ctx;
} case_machine;

/* `isa` NULL: all that this machine has; "base"; or the id of a kernel pack ("cpu_avx2"), whose features are the limit.
 */
int32_t machine_open(case_machine *m, const char *backend, const char *isa, uint32_t threads, cvr_error *err);
/* The same on plugins that the caller opened (and offered services to); they are the machine's from here on. */
int32_t machine_open_on(case_machine *m, cvr_plugins *plugins, const char *backend, const char *isa, uint32_t threads,
                        cvr_error *err);
void machine_close(case_machine *m);
/* False where the pack needs a CPU feature that this machine lacks, the first such in `missing`; or was not built, ""
 * there. "base" is everywhere. */
bool machine_has_pack(const char *pack, char *missing, size_t size);

/* Bytes of a tensor of this type. */
size_t case_bytes(const cvr_type *t);
/* Copies; `data` NULL leaves the memory zeroed. */
bool case_tensor_set(case_tensor *t, const char *name, const cvr_type *type, const void *data);
void layer_case_clear(layer_case *c);
void case_result_clear(case_result *r);
const case_tensor *case_result_find(const case_result *r, const char *name);

/* A stored value, 0 at first, in the place of an input: only stored values can be updated in place. */
int32_t case_stored_input(const cvr_builder *b, const char *name, const cvr_type *type, cvr_value *out, cvr_error *err);

/* A case built and planned. Its arena has guard bytes on both sides. */
typedef struct case_run case_run;
int32_t case_open(case_run **out, const case_machine *m, const layer_case *c, cvr_error *err);
void case_close(case_run **run);
/* Writes the inputs, parameters and gradients that `c` has now, runs, reads all outputs; looks at the guard bytes. */
int32_t case_execute(case_run *run, const layer_case *c, case_result *out, cvr_error *err);
uint32_t case_outputs(const case_run *run);
const cvr_type *case_output_type(const case_run *run, uint32_t i);
cvr_store *case_store(const case_run *run);
const cvr_program *case_program(const case_run *run);
/* All at once. */
int32_t case_result_of(const case_machine *m, const layer_case *c, case_result *out, cvr_error *err);

/* The largest |a - b| in units of what is allowed, `relative` * (|b| + max |b|); NaN equals NaN. Not f32: 0 or
 * infinity. */
double case_distance(const case_tensor *a, const case_tensor *b, double relative);
/* The same in units of relative * sum, a tensor of what each element's terms add up to without their signs. */
double case_distance_by_terms(const case_tensor *a, const case_tensor *b, const case_tensor *sum, double relative);
/*
 * The same for a random case, whose parameter gradients are sums over all of the output gradient that may cancel: there
 * the rounding of such a sum is allowed besides, 2^-22 sqrt(n) max |gradient|.
 */
double case_distance_in(const layer_case *c, const case_tensor *a, const case_tensor *b, double relative);
/* The same with 2^-bits in place of 2^-22: 9 where each term was rounded to bf16 before it was added. */
double case_distance_rounded(const layer_case *c, const case_tensor *a, const case_tensor *b, double relative,
                             int bits);

#endif
