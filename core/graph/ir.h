/* Values and nodes: what the files of core/graph share. */
#ifndef CVR_IR_H
#define CVR_IR_H

#include <cvr/program.h>

typedef enum value_kind { VALUE_TEMP, VALUE_INPUT, VALUE_SCALAR, VALUE_STORED } value_kind;

typedef struct ir_value {
    cvr_type type;
    value_kind kind;
    size_t store_index;          /* VALUE_STORED, */
    const cvr_layer_desc *layer; /* and whose `build` declared it, or NULL */
    char *name;                  /* inputs, scalars */
    cvr_value gradient;
    cvr_value counts; /* of its entries along `counts_axis`; CVR_NONE: it is not padded */
    uint32_t counts_axis;
    bool needs_gradient;
    bool kept;          /* an output of the program */
    bool guarded;       /* what updates read: it tells them to do nothing where something vetoes them */
    cvr_value stand_in; /* VALUE_INPUT: what the network reads in its place, or CVR_NONE */
} ir_value;

typedef struct ir_node {
    const cvr_op_desc *op;
    void *attrs;
    uint64_t attrs_size;
    char *name, *scope; /* "layer1.0.conv1/conv2d", "layer1.0.conv1" */
    uint32_t n_inputs, n_outputs;
    bool backward, recompute;    /* recompute: it computes a second time what a forward node computed */
    cvr_value *inputs, *outputs; /* one block */
} ir_node;

typedef struct ir_output {
    char *name;
    cvr_value value;
    enum { VETO_NEVER, VETO_NOT_ZERO, VETO_NOT_FINITE } veto; /* of a run's updates, after its first part */
} ir_output;

/* A layer that is being built, and the one that it is built in. */
typedef struct layer_frame {
    const cvr_layer_desc *layer;
    const cvr_layer_call *call;
    size_t scope; /* bytes of its name */
    const struct layer_frame *outer;
} layer_frame;

struct cvr_graph {
    cvr_builder builder;
    cvr_io io;
    cvr_plugins *plugins;
    cvr_store *store;
    ir_value **values; /* [0] is NULL: CVR_NONE */
    size_t n_values, values_capacity;
    ir_node **nodes;
    size_t n_nodes, nodes_capacity;
    ir_output *outputs;
    size_t n_outputs, outputs_capacity;
    cvr_io_output **ends; /* of the network, each at one address */
    size_t n_ends, ends_capacity;
    cvr_text scope;
    const layer_frame *frame;
    const cvr_setting *const *overrides; /* by a layer's full name */
    bool *overrides_used;
    size_t n_overrides;
    uint32_t depth;                 /* of layers within layers */
    uint32_t n_built;               /* outputs that the layer which was built last has made */
    bool in_backward, in_recompute; /* what nodes that are emitted belong to */
    uint32_t math;                  /* CVR_MATH_* */
    bool nondeterministic;          /* kernels may be chosen that give other bits each time */
    cvr_value *by_entry;            /* values of stored entries, by index in the store */
    size_t n_by_entry, by_entry_capacity;
    bool training;
    bool averages;       /* what has a running mean is read there */
    char failed[300];    /* what a callback asked for and did not get; "": nothing yet */
    bool owns_store;     /* of a trace (narrow.c) */
    size_t n_outside;    /* of a trace: values before this one are the real graph's; else 0 */
    char *network;       /* scope of the one that is being built; NULL: the one that is trained */
    bool network_trains; /* it is trained as well (CVR_NETWORK_TRAINED) */
};

/* Nodes emitted next belong to this layer. */
int32_t graph_enter(cvr_graph *g, const char *scope, cvr_error *err);
int32_t graph_add_value(cvr_graph *g, const cvr_type *type, value_kind kind, cvr_value *out, cvr_error *err);
/* Bytes of a value; checked when it was made. */
uint64_t type_bytes(const cvr_type *t);
bool same_shape(const cvr_type *a, const cvr_type *b);
bool same_order(const cvr_type *a, const cvr_type *b);
bool has_order(const cvr_type *t);
void print_shape(const cvr_type *t, char *buf, size_t size);
int32_t check_type(const cvr_type *t, const char *what, cvr_error *err);
/* A value with its elements in logical order, by the op "to_logical" where needed; or in the order of `like`, by
 * "from_logical". */
int32_t graph_reorder(cvr_graph *g, cvr_value v, const cvr_type *like, cvr_value *out, cvr_error *err);
/* The value in another element type, by the op "cast" where needed. */
int32_t graph_cast(cvr_graph *g, cvr_value v, uint32_t dtype, cvr_value *out, cvr_error *err);
/* The element type of the node's low-precision inputs, or 0 where it has none. */
uint32_t node_low_precision(const cvr_graph *g, const ir_node *n);
/* Floating-point operations of one run, as the op says. */
double node_flops(const cvr_graph *g, const ir_node *n);
/* Whether the node changes stored values and does nothing else: an optimizer's update, a running mean. */
bool node_is_update(const ir_node *n);
/* Whether it is an update that the device itself leaves out where something vetoes it. */
bool node_obeys_vetoes(const cvr_graph *g, const ir_node *n);
/* Makes the updates such, if all of them can be; else changes nothing. */
int32_t graph_guard_updates(cvr_graph *g, cvr_error *err);
/* The op's `infer`, whose word is checked. */
int32_t infer_types(cvr_graph *g, ir_node *n, cvr_type *types, cvr_error *err);
/* Fences an op that cannot be in a program of low precision: its inputs become f32. `low`: what its output returns to,
 * or 0. */
int32_t settle_precision(cvr_graph *g, ir_node *n, uint32_t *low, cvr_error *err);
/* Around a callback that is given attributes: it may not change them. */
uint64_t attrs_sum(const void *attrs, uint64_t n);
int32_t attrs_check(const void *desc, const char *callback, const char *where, const void *attrs, uint64_t n,
                    uint64_t sum, cvr_error *err);
/* After a callback that was given a builder: refuses one that says CVR_OK though the builder had failed it. */
int32_t graph_called(cvr_graph *g, const void *desc, const char *callback, const char *where, int32_t status,
                     cvr_error *err);
/* An error that names parameters which are to be trained and get no gradient, and the op that starves them. */
int32_t graph_check_starved(const cvr_graph *g, cvr_error *err);
/* Every failure of the builder goes through here. */
int32_t graph_noted(cvr_graph *g, int32_t status, const cvr_error *err);
/* Emits the node once more, of other inputs. */
int32_t graph_emit_like(cvr_graph *g, const ir_node *n, const cvr_value *inputs, cvr_value *outputs, cvr_error *err);
void graph_free_node(ir_node *n);
/* unread.c: by value, whether an output of the graph, or a node that changes what is stored, depends on it; cvr_free
 * frees it. NULL: out of memory. heads: what an export without decoding writes counts as outputs, too. */
bool *graph_find_read(const cvr_graph *g, bool heads);
/* The name of a layer or parameter without that of the network which is being built. */
const char *graph_own_name(const cvr_graph *g, const char *name);
/* Whether it is that network's, where another one is being built. */
bool graph_is_own(const cvr_graph *g, const char *name);
/* An error with the nearest name of a layer: `has`, "the network has", and "no layer `c2`; did you mean `c1`?" */
int32_t graph_no_layer(const cvr_graph *g, const char *has, const char *layer, cvr_error *err);
/* Whether anything depends on what the node does. */
bool graph_node_runs(const ir_node *n, const bool *read);
/* An output under a name that no other has, for plugins. */
int32_t graph_new_output(cvr_graph *g, const char *name, cvr_value v, cvr_error *err);
/* Puts "pass acme.watch: " before why a plugin's callback failed. */
int32_t graph_blame(cvr_error *err, int32_t status, const char *what, const char *name);
/* A tensor of this type without memory. */
cvr_tensor tensor_of(const cvr_type *t);

/* Stored entries as the builder makes and the program uses them. */
typedef struct store_request {
    const char *name, *network;
    bool network_trains;
    cvr_type type;
    uint32_t role, flags;
    int64_t of; /* -1: none */
    cvr_init init;
    const void *values; /* as in cvr_param_decl */
} store_request;
int32_t store_declare(cvr_store *s, const store_request *r, size_t *index, cvr_error *err);
void store_note_updated(cvr_store *s, size_t i);
/* No graph reads the entry any more: no memory, in no file. */
void store_replace(cvr_store *s, size_t i);
/* Whether a layer of this name is built as in evaluation, since all of it is frozen. */
bool store_freezes(const cvr_store *s, const char *scope);
/* An empty store with the rules of another, which it borrows. */
int32_t store_scratch(cvr_store **out, const cvr_store *of, cvr_error *err);
/* How an entry starts: its values in logical order, or NULL: by `init`. */
const void *store_start(const cvr_store *s, size_t i, cvr_init *init);
/* The stage of the model that a layer of this name belongs to, or "". */
const char *store_stage(const cvr_store *s, const char *scope);
void *store_address(const cvr_store *s, size_t i);
/* What stored values were prepared into is out of date when this has gone up. */
void store_changed(cvr_store *s);
uint64_t store_changes(const cvr_store *s);

struct cvr_device {
    cvr_plugins *plugins;
    const cvr_backend_desc *backend;
    void *self;
    const cvr_device_info *info;
    cvr_host_run_fn run_host; /* NULL: the kernel is called as it is */
    uint64_t last_program;    /* whose data lies in the arena, which programs may share */
    uint64_t uploaded, last;  /* tickets of what was issued last in each lane */
    uint64_t uploads;         /* how many were issued; */
    uint64_t uploads_done;    /* so many of them are known to be done; */
    uint64_t uploads_covered; /* so many are done when `last` is */
    bool last_done;           /* `last` is known to be done */
};

static inline uint64_t align_up(uint64_t bytes, uint64_t align) {
    return (bytes + align - 1) / align * align;
}

/* What `callback` of a backend says of a device must make sense. */
int32_t device_check_info(const cvr_backend_desc *b, const char *callback, const cvr_device_info *i, cvr_error *err);
/* Whether the host sees its memory: then nothing has to be copied there and back. */
bool device_is_host(const cvr_device *d);
typedef struct device_bytes {
    void *to;
    const void *from;
    uint64_t bytes;
} device_bytes;
/* These return at once; d->uploaded or d->last is the ticket. An upload may overtake all that was issued after `after`,
 * a ticket of the main lane. */
int32_t device_start_upload(cvr_device *d, const device_bytes *b, uint64_t after, cvr_error *err);
int32_t device_start_download(cvr_device *d, const device_bytes *b, cvr_error *err);
int32_t device_copy(cvr_device *d, const device_bytes *b, cvr_error *err);
int32_t device_replay(cvr_device *d, void *recording, cvr_error *err);
/* For the last upload, or for all that was issued last in the main lane, which waits for the uploads before it. Neither
 * asks the backend about what is known to be done. */
int32_t device_wait_uploads(cvr_device *d, cvr_error *err);
int32_t device_wait(cvr_device *d, cvr_error *err);
/* Waits for all that was issued. */
int32_t device_settle(cvr_device *d, cvr_error *err);
/* These come back when all before and they themselves are done. */
int32_t device_upload(cvr_device *d, void *to, const void *from, uint64_t bytes, cvr_error *err);
int32_t device_download(cvr_device *d, void *to, const void *from, uint64_t bytes, cvr_error *err);

int32_t graph_add_end(cvr_graph *g, const char *name, uint32_t role, cvr_value v, cvr_error *err);
void graph_open_io(cvr_graph *g);
void graph_close_io(cvr_graph *g);
/* How the inputs of a node are padded. */
typedef struct padding {
    cvr_value counts;   /* CVR_NONE: none is */
    uint32_t from_last; /* the axis, 1: the last */
    const cvr_counts_trait *trait;
} padding;

/* Refuses an op that would take padding for what counts. */
int32_t counts_settle(const cvr_graph *g, const ir_node *n, padding *p, cvr_error *err);
/* Once the node's outputs are there. */
void counts_set(const cvr_graph *g, const ir_node *n, const padding *p);
cvr_value builder_counts(const cvr_builder *b, cvr_value v, uint32_t *axis);
int32_t builder_set_counts(const cvr_builder *b, cvr_value v, uint32_t axis, cvr_value counts, cvr_error *err);

/* The builder's callbacks that deal with layers and parameters. */
int32_t builder_layer(const cvr_builder *b, const cvr_layer_call *call, cvr_error *err);
int32_t builder_param(const cvr_builder *b, const cvr_param_decl *decl, cvr_value *out, cvr_error *err);
int32_t builder_slot(const cvr_builder *b, cvr_value param, const cvr_param_decl *decl, cvr_value *out, cvr_error *err);
int32_t builder_scalar(const cvr_builder *b, const char *name, uint32_t dtype, cvr_value *out, cvr_error *err);
/* The value of a stored entry in this graph, made at need. */
int32_t graph_stored(cvr_graph *g, size_t index, cvr_value *out, cvr_error *err);
/* An entry of a role that belongs to another, OF.name, with its type, zeroed at first. */
int32_t graph_companion(cvr_graph *g, size_t of, const char *name, uint32_t role, cvr_value *out, cvr_error *err);

#endif
