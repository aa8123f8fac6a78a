/*
 * The network on a device: one store of parameters, one arena, and a table of programs by what they are for. Device,
 * store and arena outlive programs; a program that needs more arena than there is makes it grow, and then all programs
 * are bound again.
 */
#ifndef CVR_NETWORK_H
#define CVR_NETWORK_H

#include "run_data.h"
#include <cvr/session.h>

/* What a program is for. */
enum {
    PROGRAM_TRAIN,      /* forward, backward, updates */
    PROGRAM_ACCUMULATE, /* forward, backward; gradients are added up */
    PROGRAM_APPLY,      /* updates from the gradients that were added up; reads no batch */
    PROGRAM_EVAL,       /* forward, and losses where there are targets */
    PROGRAM_TEACHER,    /* the teacher of [distill], forward */
    PROGRAM_PREDICT,    /* forward; also for views of pictures in validation */
    PROGRAM_FEATURES,   /* forward, up to the head: see [probe] */
    PROGRAM_SHOWN,      /* what the device does of the transforms: see first_batch.c */
    PROGRAM_EXPORT      /* forward, as it is built, in f32 and without passes: see export_network.c */
};

/* The value that is an output of PROGRAM_FEATURES, and an input of the others where [probe] trains the head alone. */
#define FEATURES "features"
/* The output of PROGRAM_SHOWN: pictures (N, C, H, W) f32 as the network gets them. */
#define SHOWN "shown"

/* Programs of PROGRAM_PREDICT that are kept: pictures come in any size. For tasks that are dense: MOST_VIEWS. */
#define MOST_PREDICTING 8u

typedef struct program_key {
    int64_t purpose; /* PROGRAM_* */
    int64_t batch;   /* samples */
    cvr_canvas canvas;
    size_t phase; /* of model.unfreeze; filled by network_open and network_program */
} program_key;

typedef struct program_input {
    const char *name;
    int32_t slot;
    uint64_t bytes;
} program_input;

typedef struct program_output {
    cvr_named_tensor tensor;
    const cvr_type *type;
    int32_t slot;
    void *host; /* its values, made when they are read first */
} program_output;

/* A graph with its program. Slots are looked up once, when it was planned. */
typedef struct net_program {
    program_key key;
    cvr_graph *graph;
    cvr_program *program;
    cvr_recompute recompute;
    cvr_value picture; /* the input `image`, before what the device does to it */
    bool bound;
    uint64_t used; /* when last; see run_network.uses */
    program_input *inputs;
    size_t n_inputs;
    int32_t scalars[11]; /* of net_scalars; -1: not there */
    int32_t thaw_updates[MOST_PHASES];
    int32_t total; /* the sum of all losses, likewise */
    program_output *results;
    const cvr_named_tensor **result_views;
    size_t n_results;
    const char **loss_names;
    int32_t *loss_slots;
    float sum, *losses; /* as they were read: the sum, and those that are not the sum */
    size_t n_losses;
    const void *begun; /* the batch whose inputs net_program_begin has begun to write; NULL: none */
} net_program;

/* What is done to the network as it is evaluated: a probe's changes, or what makes a compressed network of it. */
typedef struct network_rewriting {
    const cvr_probe *probe;                /* NULL: none; before the other */
    const cvr_compressor_desc *compressor; /* NULL: none */
    const cvr_compressor_desc *finetune;   /* whose finetune->rewrite training steps go through; NULL: none */
    const char *plan;
    bool alone; /* what it replaces needs no memory, and is in no file */
} network_rewriting;

typedef struct run_network {
    settings *settings;
    network_rewriting rewriting;
    const struct teacher *teacher; /* of [distill]; NULL: none */
    const run_data *data;
    cvr_plugins *plugins;
    const cvr_threadpool *pool;
    cvr_store *store;
    cvr_device *device;
    char backend[64];
    char chosen[sizeof((cvr_place *)0)->device]; /* its device, as a move named it; "": network_device says which */
    char home[64];                               /* the backend that backend.device is said of */
    cvr_arena *arena;
    int64_t precision; /* PRECISION_*; it and `recompute` are settled once and belong to the run */
    size_t recompute;  /* values of a training step to make again, at most */
    net_program **programs;
    size_t n, capacity;
    uint64_t uses;
    void **pins; /* memory of batches that is page-locked */
    size_t n_pins, pins_capacity;
    size_t phase;       /* that programs are looked up for */
    bool probes;        /* programs that train and validate read features in place of pictures */
    bool trains;        /* its programs are for training, and for validation on the way */
    const char *widths; /* a line a group (cvr_channels_read): those of a pruning that is under way; NULL: [widths] */
    const char *held;   /* names of masked weights, likewise; NULL: prune.held */
    bool told;          /* what the device leaves to the host was told: other programs have the same nodes */
} run_network;

/* Opens the device, sets the recipe's rules about parameters, and settles precision. With optim.layer_decay the graph
 * of `key` tells the names of the parameters. */
int32_t network_begin(run_network *n, const program_key *key, cvr_error *err);
/* Opens the device, settles precision and recomputation, plans the programs, for every phase, and then gives them
 * memory. */
int32_t network_open(run_network *n, const program_key *keys, size_t n_keys, cvr_error *err);
void network_close(run_network *n);
/* The program for a key in the present phase; makes it where it is not there yet. */
int32_t network_program(run_network *n, const program_key *key, net_program **out, cvr_error *err);
/* The first of this purpose, or NULL. */
const net_program *network_first(const run_network *n, int64_t purpose);
/* Gives all recordings up, so that the device can be replaced; records all programs anew, on the same device and
 * memory.
 */
void network_unbind(run_network *n);
int32_t network_bind_again(run_network *n, cvr_error *err);
const char *network_precision(const run_network *n);

/*
 * Moving to another backend, in two phases. After the first the network is there, with the store in both places, and
 * `before` is what it was; then either keep gives that up, or return goes back, and all is as it was.
 */
int32_t network_move(run_network *n, const cvr_place *to, run_network *before, cvr_error *err);
void network_keep(run_network *n, run_network *before);
void network_return(run_network *n, run_network *before);
/* Whether another place could take over: its device opens, and the programs that there are can be planned there.
 * Nothing changes. */
int32_t network_try(const run_network *n, const cvr_place *to, cvr_error *err);

/* network_place.c: says where the device is opened next; which one that is: as the move said, at home as backend.device
 * does, NULL the first. */
void network_go(run_network *n, const cvr_place *to);
const char *network_device(const run_network *n);
/* Whether it is there already; a place without a device is any of its backend's. */
bool network_is_at(const run_network *n, const cvr_place *place);
/* "cuda/1 (NVIDIA H200)" */
#define NETWORK_WHERE 256
const char *network_where(const run_network *n, char buf[NETWORK_WHERE]);

/* Where inputs land beside a run: begins to write those of a batch to come, if a program is there for it. The batch
 * stays as it is until its run has returned. */
int32_t network_begin_batch(run_network *n, const program_key *key, const cvr_batch_view *batch, cvr_error *err);

/* network_pins.c: while the device is open and the data is, too. */
void network_pin_batches(run_network *n);
void network_unpin_batches(run_network *n);

/* Builds and plans, without memory. */
int32_t net_program_plan(run_network *n, const program_key *key, net_program **out, cvr_error *err);
void net_program_destroy(net_program **p);
/* stages.c: the graph of a program. */
int32_t net_program_build(const run_network *n, net_program *p, cvr_error *err);

/* The graph of a program as far as its inputs. */
int32_t net_program_inputs(const run_network *n, net_program *p, cvr_error *err);
/* Builds the model that a run's settings name, or the lines of their [net], under what their [layers] says; `io` has
 * its input, and gets its ends. */
int32_t model_build(const settings *s, int64_t n_classes, int64_t channels, cvr_graph *g, const cvr_io *io,
                    cvr_error *err);
/* That of this run, with the graph's own ends. */
int32_t network_build(const run_network *n, cvr_graph *g, cvr_error *err);

/* narrow_network.c: whether the network has other widths than its model, */
bool network_has_widths(const run_network *n);
/* and building it so, on a graph that has its inputs. */
int32_t network_build_narrow(const run_network *n, cvr_graph *g, cvr_error *err);
/* The network as its model builds it, and which of its channels stay. */
typedef struct traced_network {
    cvr_graph *graph;
    cvr_channels *channels;
} traced_network;
int32_t network_trace(const run_network *n, const cvr_graph *g, traced_network *out, cvr_error *err);
void network_trace_free(traced_network *t);
/* The lines of [widths]. */
int32_t network_read_widths(cvr_config *c, cvr_channels *channels, cvr_error *err);

/* masks.c: the masks of weights that are held at zero, and for training their use. */
#define MASK_OF "%.190s_mask" /* of a parameter's name */
int32_t network_mask(const run_network *n, cvr_graph *g, bool trains, cvr_error *err);

/* compressed.c: the network of a run that a compressor made, or under a probe. After the losses, before other passes.
 */
int32_t network_rewrite(const run_network *n, cvr_graph *g, cvr_error *err);
/* The same of a graph, or of the network that is being built in it (cvr_graph_enter), whose settings are `s`. */
int32_t graph_rewrite(const network_rewriting *w, const settings *s, cvr_graph *g, cvr_error *err);
/* Of a training step, in a phase of the run: what cvr_finetune makes of it. */
int32_t network_rewrite_step(const run_network *n, cvr_graph *g, size_t phase, cvr_error *err);
/* Drops all programs, whose network is about to be another. */
void network_forget_programs(run_network *n);

/* layer_decay.c: adds rules for cvr_param_rules.lr_factors by optim.layer_decay, and by the factors of backbone and
 * head, which rules by name would hide. `stages`: rules with nothing but the model's stages. */
int32_t layer_decay_rules(const run_network *n, const program_key *key, const cvr_param_rules *stages, cvr_text *rules,
                          cvr_error *err);

/* fit.c: what is settled once for a run. */
int32_t network_settle_precision(run_network *n, cvr_error *err);
/* The fewest values whose being made again brings the plan below train.memory. */
int32_t network_fit_memory(run_network *n, const program_key *largest, cvr_error *err);
/* How f32 products are computed in a precision: CVR_MATH_*. */
uint32_t math_of_precision(int64_t precision);
/* bf16x3 and tf32 are what kernels may do, not what they must: says how many nodes of the program do. */
int32_t network_explain_math(run_network *n, const net_program *p, cvr_error *err);

/* ---- running ---- */

typedef struct net_scalars {
    double lr, loss_scale, average_weight;
    double loss_unscale;                     /* what gradients are multiplied with in turn, in f16 */
    int64_t step, updates, micro_step, seed; /* batches; those that were not vetoed; the part of a batch */
    int64_t samples;                         /* pictures of the batches before */
    double closing;                          /* 1 in the last train.close_mosaic epochs, else 0 */
    double epoch;                            /* before the batch, with the share of the one that goes on */
    const int64_t *thawed_at;                /* updates before each phase after the first; NULL: none */
} net_scalars;
/* Begins to write a batch's inputs for the run to come, which finds them where it is given the same batch. */
int32_t net_program_begin(net_program *p, const cvr_batch_view *batch, cvr_error *err);
/* Writes everything that the program reads, and runs it. `batch`: NULL where it reads none. */
int32_t net_program_run(net_program *p, const cvr_batch_view *batch, const net_scalars *s, cvr_error *err);
/* After a run: begins to read the losses, which are there after the next wait: the sum, 0 where there are none, and
 * each by itself. net_program_losses waits. */
int32_t net_program_begin_losses(net_program *p, cvr_error *err);
double net_program_total(const net_program *p);
double net_program_loss(const net_program *p, size_t i);
int32_t net_program_losses(net_program *p, double *total, cvr_error *err);
/* A dense tensor of this type, without memory. */
cvr_tensor net_tensor_of(const cvr_type *t);
/* After a run: the results, in host memory until the next time. */
int32_t net_program_results(net_program *p, const cvr_batch_view *batch, cvr_batch_view *out, cvr_error *err);

#endif
