/*
 * From layers to a running step: a graph is built by layers, given gradients and updates, planned for a device, and
 * replayed.
 *
 *   store    parameters, buffers and optimizer state, by name; they outlive graphs and move between devices
 *   device   an open backend
 *   graph    values and nodes
 *   program  a graph planned for a device: kernels chosen, memory laid out, launches recorded
 */
#ifndef CVR_PROGRAM_H
#define CVR_PROGRAM_H

#include <cvr/config.h>
#include <cvr/plugins.h>

#pragma GCC visibility push(default)

/* ---- device ---- */

typedef struct cvr_device cvr_device;

typedef struct cvr_device_choice {
    const char *backend;
    const char *device; /* as cvr_backend_find_device takes it */
    const void *attrs;  /* the backend's own settings, packed; NULL: its defaults */
} cvr_device_choice;

/* The devices that a backend lists, without opening one; texts live as long as the plugin. */
int64_t cvr_backend_devices(const cvr_plugins *plugins, const cvr_backend_desc *b);
int32_t cvr_backend_device_info(const cvr_plugins *plugins, const cvr_backend_desc *b, int64_t device,
                                cvr_device_info *out, cvr_error *err);
/* The number of the one that is meant by its number, its UUID, its name, or a part of the name that only one has; upper
 * and lower case are alike. NULL or "": the first. CVR_ERR_USAGE: none is, or several are. */
int32_t cvr_backend_find_device(const cvr_plugins *plugins, const cvr_backend_desc *b, const char *wanted,
                                int64_t *device, cvr_error *err);

int32_t cvr_device_open(cvr_device **out, cvr_plugins *plugins, const cvr_device_choice *which,
                        const cvr_threadpool *pool, cvr_error *err);
/* Waits for what is under way. */
void cvr_device_close(cvr_device **d);
const cvr_backend_desc *cvr_device_backend(const cvr_device *d);
const cvr_device_info *cvr_device_info_of(const cvr_device *d);
/* Whether the device launches a kernel of this kind, and has the features that it needs; else `why`. */
bool cvr_device_takes(const cvr_device *d, const cvr_kernel_desc *k, char *why, size_t size);
void cvr_device_describe(const cvr_device *d, char *buf, uint64_t size);
/*
 * Puts a backend of the caller's in the place of the device's own, which it is to call, for those who look at every
 * launch; while no program is bound. `run_host`, unless NULL, runs nodes that the device leaves to the host.
 */
typedef int32_t (*cvr_host_run_fn)(void *self, const cvr_launch *launch, cvr_error *err);
void cvr_device_replace(cvr_device *d, const cvr_backend_desc *backend, void *self, cvr_host_run_fn run_host);
void *cvr_device_self(const cvr_device *d);
/*
 * Host memory that uploads will come from, again and again: where the backend can, it is page-locked, and uploads then
 * need no copy in between. Whether it was; if so, unpin before the memory is freed, which waits for what is under way.
 */
bool cvr_device_pin(cvr_device *d, void *host, uint64_t bytes);
void cvr_device_unpin(cvr_device *d, void *host);
/* Device memory: one block, at most max_allocation bytes. Free waits for what is under way. */
int32_t cvr_device_alloc(cvr_device *d, uint64_t bytes, void **address, cvr_error *err);
void cvr_device_free(cvr_device *d, void *address);

/* ---- store ---- */

typedef struct cvr_store cvr_store;

/* What an entry is to a run, and which files have it. */
#define CVR_STORE_TRAINED 1u   /* a parameter with a gradient and an update: in weights and checkpoints */
#define CVR_STORE_FROZEN 2u    /* a parameter that stays as it is: likewise */
#define CVR_STORE_BUFFER 3u    /* running statistics and counters: likewise */
#define CVR_STORE_CONSTANT 4u  /* follows from the recipe, as anchors do: in no file */
#define CVR_STORE_OPTIMIZER 5u /* state of training, most of it a parameter's: in checkpoints only */
#define CVR_STORE_AVERAGE 6u   /* the running mean of another entry: in checkpoints, and in weights in its stead */
#define CVR_STORE_REPLACED 8u  /* no graph reads it, as another took its place: no memory, in no file */
#define CVR_STORE_GRADIENT 7u  /* gradients that are added up until the next update: in no file */

#define CVR_NEVER UINT32_MAX

typedef struct cvr_store_entry {
    const char *name;
    const char *stage;   /* of the model: "backbone.layer4"; "" where none has it */
    const char *network; /* "": the one that is trained; else the scope of another (cvr_graph_enter) */
    bool network_trains; /* that other one is trained as well (CVR_NETWORK_TRAINED) */
    cvr_type type;
    uint32_t role;     /* CVR_STORE_* */
    uint32_t flags;    /* CVR_PARAM_* */
    int64_t of;        /* OPTIMIZER, AVERAGE, GRADIENT: the entry that it belongs to, if it does to one; else -1 */
    uint32_t thaws_in; /* the phase from which on it is trained: 0, or what cvr_param_rules.thaw says, or CVR_NEVER */
    uint32_t updated;  /* 1: the nodes of some graph update it, as batch norms update running statistics */
    double lr_factor;
    double weight_decay; /* as a rule says; negative: as the update policy says */
    uint64_t bytes;
} cvr_store_entry;

/* `seed` decides the initial values, each parameter's by its own name. */
int32_t cvr_store_create(cvr_store **out, uint64_t seed, cvr_error *err);
void cvr_store_destroy(cvr_store **s);
size_t cvr_store_count(const cvr_store *s);
const cvr_store_entry *cvr_store_get(const cvr_store *s, size_t i);
/* Index of a name, or -1. */
int64_t cvr_store_find(const cvr_store *s, const char *name);
/* The entry's running mean, or -1. */
int64_t cvr_store_average(const cvr_store *s, size_t i);
bool cvr_store_in_weights(const cvr_store_entry *e);
bool cvr_store_in_checkpoint(const cvr_store_entry *e);
/* Elements in logical order, row-major. The entry must have been placed. */
int32_t cvr_store_read(cvr_store *s, size_t i, void *out, cvr_error *err);
int32_t cvr_store_write(cvr_store *s, size_t i, const void *in, cvr_error *err);
uint64_t cvr_store_bytes(const cvr_store *s);

/*
 * Moving to a device in two phases. prepare: memory on the device, and copies in it; new entries get their initial
 * values. Programs may then be bound and run there, while programs on the device before keep what they have, untouched.
 * Then either commit: the old memory is freed; or rollback: the new one is, and all is as it was. Meanwhile reads and
 * writes go to the new device. Where the store is on that device already, only entries without memory get some, in a
 * block of their own: the others stay at their addresses, so that programs can be added at any time.
 */
int32_t cvr_store_prepare(cvr_store *s, cvr_device *d, cvr_error *err);
void cvr_store_commit(cvr_store *s);
void cvr_store_rollback(cvr_store *s);
/* Both phases at once, for those who need no way back. On failure everything stays where it was. */
int32_t cvr_store_place(cvr_store *s, cvr_device *d, cvr_error *err);

/*
 * Rules for parameters. A list has patterns with `*`, `?` and `#` (a number), separated by commas, that fit names of
 * parameters or of stages as a whole or up to a dot: "layer4" fits layer4.0.conv1.weight, "backbone" fits the stage
 * backbone.layer4.
 */
typedef struct cvr_param_rules {
    const cvr_stage *const *stages; /* what the model declares */
    size_t n_stages;
    const char *freeze;      /* what is not trained; layers of which all is frozen are built as in evaluation, */
    bool train_frozen;       /* unless this is true: then their batch norms use and gather the batch's statistics */
    const char *const *thaw; /* what of it is trained after all: the first list from phase 1 on, and so forth */
    size_t n_thaw;
    const char *lr_factors, *weight_decays; /* "backbone:0.1, head:10": the last that fits a parameter counts */
} cvr_param_rules;
/* Before the first graph is built on the store. Copies. */
int32_t cvr_store_rules(cvr_store *s, const cvr_param_rules *rules, cvr_error *err);
/* The phase, 0 at first, that graphs which are built from now on belong to: it decides what is frozen. An optimizer's
 * "updates" counts a parameter's own: graphs of phase k have a scalar "updates_1" to "updates_k" for what thawed then.
 */
void cvr_store_phase(cvr_store *s, size_t phase);
/* After: an error for the first pattern that fits nothing. */
int32_t cvr_store_check_rules(const cvr_store *s, cvr_error *err);
/* Whether one of the patterns in `list` fits the name, or the stage (may be NULL). */
bool cvr_param_fits(const char *list, const char *name, const char *stage);

/* Between the order in memory (abi.h, cvr_type) and logical row-major order. */
void cvr_to_logical(const cvr_type *t, const void *memory, void *logical);
void cvr_from_logical(const cvr_type *t, const void *logical, void *memory);

/* ---- graph ---- */

typedef struct cvr_graph cvr_graph;

int32_t cvr_graph_create(cvr_graph **out, cvr_plugins *plugins, cvr_store *store, bool training, cvr_error *err);
void cvr_graph_destroy(cvr_graph **g);
/* How f32 products may be computed: CVR_MATH_*; f32 unless told. */
void cvr_graph_math(cvr_graph *g, uint32_t math);
/* Kernels may be chosen that give other bits each time (without CVR_KERNEL_DETERMINISTIC); unless told, none is. */
void cvr_graph_nondeterministic(cvr_graph *g);
const cvr_builder *cvr_graph_builder(const cvr_graph *g);
/* A value that is written before each run: an image, a target. */
int32_t cvr_graph_input(cvr_graph *g, const char *name, const cvr_type *type, cvr_value *out, cvr_error *err);
/* Keeps a value to be read after each run, under a name. */
int32_t cvr_graph_output(cvr_graph *g, const char *name, cvr_value v, cvr_error *err);
/* The named ends of the network in this graph: its inputs, and the outputs that models and tasks put, which are kept as
 * those of cvr_graph_output are. Results of low precision become f32; auxiliary ones are kept in training only. */
const cvr_io *cvr_graph_io(const cvr_graph *g);
/* The value that the network reads for an input, or CVR_NONE: the input, or what stands in for it. */
cvr_value cvr_graph_input_value(const cvr_graph *g, const char *name);
/* From here on the network reads `v` for the input: a picture after what the device does to it. */
int32_t cvr_graph_stand_in(cvr_graph *g, const char *input, cvr_value v, cvr_error *err);
/* A recipe's [net]. The word num_classes in a line stands for the number. */
typedef struct cvr_net {
    const cvr_setting *const *lines;
    size_t n;
    int64_t num_classes;
} cvr_net;
/* Builds the layers; the output is the last line's. */
int32_t cvr_graph_net(cvr_graph *g, const cvr_net *net, cvr_value image, cvr_value *out, cvr_error *err);
/* [layers]: settings by a layer's full name, which win over those of whoever builds it. `lines` outlive the building.
 */
int32_t cvr_graph_override_layers(cvr_graph *g, const cvr_setting *const *lines, size_t n, cvr_error *err);
/* After the network is built: an error for a line whose layer it does not have, with the nearest name. */
int32_t cvr_graph_overrides_used(const cvr_graph *g, cvr_error *err);
/*
 * A network with fewer channels than its model builds. The model builds on a trace of the graph; the trace tells which
 * channels of parameters go together (cvr/plugin/axes.h); of those, lines of text say which stay; and what was traced
 * is built on the graph without the others.
 *
 *     CVR_TRY(cvr_graph_trace(&trace, graph, err));        after the inputs, before the network
 *     CVR_TRY(model->build(cvr_graph_builder(trace), ...)); and its io
 *     CVR_TRY(cvr_channels_create(&channels, trace, err));
 *     CVR_TRY(cvr_channels_read(channels, "layer1.0.conv1.weight 0:0 40/64 9f3a...", err));
 *     CVR_TRY(cvr_graph_narrow(graph, trace, channels, err));
 */
typedef struct cvr_channels cvr_channels;
int32_t cvr_graph_trace(cvr_graph **out, const cvr_graph *g, cvr_error *err);
int32_t cvr_graph_narrow(cvr_graph *to, const cvr_graph *trace, cvr_channels *channels, cvr_error *err);
/* The trace must outlive it. */
int32_t cvr_channels_create(cvr_channels **out, const cvr_graph *trace, cvr_error *err);
void cvr_channels_destroy(cvr_channels **channels);
/* A line that cvr_channels_write wrote. */
int32_t cvr_channels_read(cvr_channels *channels, const char *line, cvr_error *err);
/* A line, with its end, for each group that has lost channels. */
void cvr_channels_write(const cvr_channels *channels, cvr_text *lines);
/* The type of a parameter without what is gone; its elements, both in logical order. false: the trace has none of that
 * name. */
bool cvr_channels_type(const cvr_channels *channels, const char *param, cvr_type *type);
bool cvr_channels_cut(const cvr_channels *channels, const char *param, const void *whole, void *left);
/* The same of elements that lack what was gone before the last removal already. */
bool cvr_channels_cut_again(const cvr_channels *channels, const char *param, const void *before, void *left);
/* Why elements of a parameter's axis cannot go, in words; false: nothing fixes it. `silent`: an op that has no
 * cvr.trait.axes/1. */
bool cvr_channels_why(const cvr_channels *channels, const char *param, uint32_t axis, bool *silent, char *why,
                      size_t size);
/* The groups (cvr/plugin/compressor.h) as they are without what is gone; valid until the next view. */
int32_t cvr_channels_view(cvr_channels *channels, const cvr_channel_group *const **groups, size_t *n, cvr_error *err);
/* Removes units of the groups that a view would show, of all of them in their order: one byte a unit, 1: it goes. One
 * unit of each group at least must stay. */
int32_t cvr_channels_remove(cvr_channels *channels, const uint8_t *units, cvr_error *err);
/* Takes the last removal back. */
void cvr_channels_restore(cvr_channels *channels);
/* Runs the registered passes of a stage (CVR_PASS_*) that a list names, with their settings: "auto" stands for all that
 * are not opt-in, "none" for none; "auto, acme.count(limit=3)". */
int32_t cvr_graph_passes(cvr_graph *g, uint32_t stage, const char *list, cvr_error *err);
/* Runs one pass, which need not be registered, with its settings as they are. It sees the network by itself: what
 * stands in for an input (cvr_graph_stand_in) is that input to it, which no node makes. */
int32_t cvr_graph_pass(cvr_graph *g, const cvr_pass_desc *pass, const void *attrs, cvr_error *err);
/* Drops all nodes that no output depends on; parameters and buffers that nothing reads then are CVR_STORE_REPLACED,
 * also in graphs that are built later. */
int32_t cvr_graph_drop_unread(cvr_graph *g, cvr_error *err);
/* Values of the forward pass that are recomputed in the backward pass instead of being kept for it. */
typedef struct cvr_recompute {
    size_t candidates, dropped; /* that could be, and that are */
} cvr_recompute;
/* Drops up to `most` values, those that cost the least time for their bytes first. Gradients and updates must be there.
 */
int32_t cvr_graph_recompute(cvr_graph *g, size_t most, cvr_recompute *out, cvr_error *err);
/* Moves updates up, to where their gradients are made. After everything else. */
int32_t cvr_graph_schedule(cvr_graph *g, cvr_error *err);
/*
 * A network in two, once it is built and before gradients: the one value that the layers of a stage (cvr_stage) read of
 * the layers in front of it; and the making of an input of it, under a name, so that nothing in front is computed.
 */
int32_t cvr_graph_before(const cvr_graph *g, const char *stage, cvr_value *out, cvr_error *err);
int32_t cvr_graph_cut(cvr_graph *g, cvr_value v, const char *name, cvr_error *err);

/* The value that is kept under a name, or CVR_NONE; passes may have changed it. */
cvr_value cvr_graph_output_value(const cvr_graph *g, const char *name);
/* What was built, node by node, in an order in which it can run; valid until something is added or planned. */
typedef struct cvr_graph_node_info {
    const cvr_op_desc *op;
    const void *attrs;
    uint64_t attrs_size;
    const cvr_value *inputs, *outputs;
    uint32_t n_inputs, n_outputs;
} cvr_graph_node_info;
size_t cvr_graph_nodes(const cvr_graph *g);
void cvr_graph_node(const cvr_graph *g, size_t i, cvr_graph_node_info *info);
/* Gradients of a scalar with respect to all that needs one; the seed gradient is the scalar "loss_scale". */
int32_t cvr_graph_backward(cvr_graph *g, cvr_value loss, cvr_error *err);
/* The same from a gradient that is given for one value, for tests. */
int32_t cvr_graph_backward_from(cvr_graph *g, cvr_value v, cvr_value gradient, cvr_error *err);
/* After backward: the gradient of a value, or CVR_NONE. */
cvr_value cvr_graph_gradient(const cvr_graph *g, cvr_value v);
/* Asks for gradients of an input, for tests. Before anything is built on it. */
void cvr_graph_wants_gradient(cvr_graph *g, cvr_value v);
/* The value of a stored parameter in this graph, or CVR_NONE. */
cvr_value cvr_graph_param(const cvr_graph *g, const char *name);

typedef struct cvr_update_policy {
    const cvr_optimizer_desc *optimizer;
    const void *attrs;
    double weight_decay, norm_weight_decay, bias_weight_decay;
} cvr_update_policy;
/* Adds the update of every parameter that has a gradient. */
int32_t cvr_graph_update(cvr_graph *g, const cvr_update_policy *policy, cvr_error *err);

/* A gradient plugin with its settings. */
typedef struct cvr_gradient_plugin {
    const cvr_gradient_desc *desc;
    const void *attrs;
} cvr_gradient_plugin;
/* All that are installed, in the order in which they run, with their keys of [train]. Free with cvr_free, also after a
 * failure. */
int32_t cvr_gradient_plugins(cvr_plugins *plugins, cvr_config *config, cvr_gradient_plugin **out, size_t *n,
                             cvr_error *err);
/* Updates are left out of a run in which this output, one f32 number, is not finite: the loss. Before update. */
int32_t cvr_graph_guard(cvr_graph *g, const char *output, cvr_error *err);
/* Lets them work on the gradients. Between backward (or take_gradients) and update. */
int32_t cvr_graph_gradients(cvr_graph *g, const cvr_gradient_plugin *plugins, size_t n, cvr_error *err);

/*
 * A batch in parts. Where train.grad_accum is 1 there is one graph: network, losses, backward, gradients, update,
 * average. Else there are two on one store:
 *
 *   accumulate  network, losses, cvr_graph_backward, cvr_graph_accumulate; run once a part, with the scalars
 *               "micro_step" (i64: 0 at the first part of a batch, which starts the sums over) and "loss_scale" (f32:
 *               samples of the part / samples of the batch, so that means over parts add up to the mean over the batch,
 *               whatever the parts' sizes: a smaller last one is no exception)
 *   apply       cvr_graph_take_gradients, gradients, update, average; run once a batch
 *
 * The sums are entries of the store (CVR_STORE_GRADIENT): programs may share an arena. Each needs its own cvr_program;
 * parts of another size, one more accumulate. cvr_store_check_rules, place and bind come after all of them are built.
 */
int32_t cvr_graph_accumulate(cvr_graph *g, cvr_error *err);
/* In a graph of its own, after that: the sums become the gradients of their parameters. */
int32_t cvr_graph_take_gradients(cvr_graph *g, cvr_error *err);

/*
 * Running means (EMA) of all that is trained and of all buffers, as entries NAME.average: weight * value + (1 - weight)
 * * mean, with the scalar "average_weight" (f32): 0 leaves them as they are and costs nothing, 1 copies. After update,
 * in the graph that has it, when all graphs of the network have been built.
 */
int32_t cvr_graph_average(cvr_graph *g, cvr_error *err);
/* Before the network is built, for evaluation: where there is a running mean, it is read in the parameter's stead. */
void cvr_graph_use_averages(cvr_graph *g);

/*
 * What is built until leave() is another network, its entries named NETWORK.name, their `network` set, in no file of
 * weights. A frozen one (a teacher) is built as for evaluation, and has files of its own: no checkpoint has it. One
 * that is trained beside the network is in checkpoints. Meanwhile layers and parameters are named without NETWORK in
 * cvr_graph_override_layers, in cvr_graph_layer_value and to passes, and cvr_graph_drop_unread is about it alone.
 */
#define CVR_NETWORK_FROZEN 0u
#define CVR_NETWORK_TRAINED 1u
int32_t cvr_graph_enter(cvr_graph *g, const char *network, uint32_t kind, cvr_error *err);
void cvr_graph_leave(cvr_graph *g);
/* What a layer, or the last layer of a block ("layer2"), gives, as far as the graph is built. */
int32_t cvr_graph_layer_value(const cvr_graph *g, const char *layer, cvr_value *out, cvr_error *err);

/* ---- program ---- */

typedef struct cvr_program cvr_program;

#define CVR_FALLBACK_ERROR 0u
#define CVR_FALLBACK_WARN 1u
#define CVR_FALLBACK_ALLOW 2u

/* Chooses kernels and lays out memory. The store must have been placed on the device. The graph must outlive the
 * program. */
int32_t cvr_program_plan(cvr_program **out, cvr_graph *g, cvr_device *d, const cvr_threadpool *pool, uint32_t fallback,
                         cvr_error *err);
/* Bytes of arena that this program needs. */
uint64_t cvr_program_arena_bytes(const cvr_program *p);

/*
 * An arena is the memory of programs on a device, which share it: they run one after another, and what lies in it lasts
 * no longer than a run. It is as many blocks as the device's max_allocation makes it, and on a device whose memory the
 * host does not see two landing zones, so that the inputs of a run can be uploaded while the one before goes on.
 */
typedef struct cvr_arena cvr_arena;
/* Large enough for each of the programs. Around each block lie `margin` bytes, a multiple of 64, that belong to nobody.
 */
int32_t cvr_arena_create(cvr_arena **out, cvr_device *d, cvr_program *const *programs, size_t n, uint64_t margin,
                         cvr_error *err);
/* Makes it large enough for these as well; blocks that are keep their memory. Programs have to be bound again. */
int32_t cvr_arena_grow(cvr_arena *a, cvr_program *const *programs, size_t n, cvr_error *err);
bool cvr_arena_fits(const cvr_arena *a, const cvr_program *p);
uint64_t cvr_arena_bytes(const cvr_arena *a);
/* The device address and size of its i-th block; NULL past the last. */
void *cvr_arena_block(const cvr_arena *a, size_t i, uint64_t *bytes);
/* Its programs have to be bound again before they run. */
void cvr_arena_destroy(cvr_arena **a);

/* Gives the program its memory and records its launches; again, where it had memory before. */
int32_t cvr_program_bind(cvr_program *p, cvr_arena *arena, cvr_error *err);
/* Gives its launches up, so that the device can be replaced (cvr_device_replace). */
void cvr_program_unbind(cvr_program *p);
void cvr_program_destroy(cvr_program **p);
/* Looked up once, before the first step; -1 where there is none. Names are inputs', scalars' and outputs', as many as
 * the graph has. Scalars wait on the host for the next run, which takes all of them at once; 0 until written. */
int32_t cvr_program_slot(const cvr_program *p, const char *name);
const char *cvr_program_slot_name(const cvr_program *p, int32_t slot);
/* The slot of the i-th input (cvr_graph_input), or -1 past the last. */
int32_t cvr_program_input(const cvr_program *p, size_t i);
/* The slot of a value that is an output (cvr_io_output.value), or -1. */
int32_t cvr_program_slot_of(const cvr_program *p, cvr_value v);
const cvr_type *cvr_program_slot_type(const cvr_program *p, int32_t slot);
/* Writes something for the next run, and that alone; a device that can takes it while the run before goes on.
 * begin_write may come back before that is done: then the bytes stay as they are until cvr_program_run has returned. */
int32_t cvr_program_write(cvr_program *p, int32_t slot, const void *memory_order, cvr_error *err);
int32_t cvr_program_begin_write(cvr_program *p, int32_t slot, const void *memory_order, cvr_error *err);
/* Whether all inputs of the next run have been written, and no other program that shares the arena has written since.
 * False where the host sees the device's memory: there, nothing lands. */
bool cvr_program_landed(const cvr_program *p);
/* Reads when the last run is done. begin_read may come back before that; the bytes are there after the next read or
 * wait, so that a step needs to wait only once, whatever is read of it. */
int32_t cvr_program_read(cvr_program *p, int32_t slot, void *memory_order, cvr_error *err);
int32_t cvr_program_begin_read(cvr_program *p, int32_t slot, void *memory_order, cvr_error *err);
/* Starts a run; on a device it may go on when this returns. Whatever fails then fails the next read or wait. */
int32_t cvr_program_run(cvr_program *p, cvr_error *err);
int32_t cvr_program_wait(cvr_program *p, cvr_error *err);
/* Whether the last run left its updates out, as a gradient plugin, or cvr_graph_guard, vetoed them. Before another
 * program runs in the arena. Waits for the run, unless the host had to wait for it in front of the updates already,
 * as it must where an update op cannot be told to do nothing (cvr/plugin/idle.h). */
int32_t cvr_program_vetoed(cvr_program *p, bool *vetoed, cvr_error *err);
uint64_t cvr_program_id(const cvr_program *p);

/* What was planned for one node. */
typedef struct cvr_node_info {
    const char *name, *op, *backend, *isa;
    const char *why;      /* why the kernel is not the device's own; "" where it is */
    const char *fallback; /* why that is a fallback, which backend.fallback is about; "" where it is none */
    double flops;
    uint64_t bytes; /* read and written */
    const cvr_type *output;
    bool backward;
    bool recompute; /* computed a second time, in the backward pass */
} cvr_node_info;
size_t cvr_program_nodes(const cvr_program *p);
void cvr_program_node(const cvr_program *p, size_t i, cvr_node_info *info);

/* ---- export ---- */

/* A file that an exporter writes: begin() one with a suffix, put() its bytes. */
typedef struct cvr_export_files {
    void *ctx;
    int32_t (*begin)(void *ctx, const char *suffix, cvr_error *err);
    int32_t (*put)(void *ctx, const void *bytes, uint64_t n, cvr_error *err);
} cvr_export_files;

typedef struct cvr_export_job {
    const cvr_exporter_desc *exporter;
    const void *attrs;
    /* The network as it is evaluated, for two sizes of batch: what differs between the two depends on the batch. The
     * first is what is written. The store that they share must have been placed. Both are spent. */
    cvr_graph *network, *another;
    int64_t batch, another_batch;
    bool free;          /* the runtime decides the size of a batch; else it is `batch` */
    uint32_t role;      /* CVR_ROLE_*: which outputs are written */
    cvr_device *device; /* what computes that which depends on parameters alone */
    const cvr_threadpool *pool;
    const char *file;
    const char *const *metadata; /* n_metadata keys and values, in turn */
    size_t n_metadata;
    cvr_export_files files;
} cvr_export_job;
/* An op that neither the exporter takes nor has a decomposition is an error that names it and its layer, before
 * anything is written. */
int32_t cvr_graph_export(const cvr_export_job *job, cvr_error *err);

#pragma GCC visibility pop
#endif
