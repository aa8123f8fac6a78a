/*
 * Quantisation, after training (PTQ) and in training (QAT): what the files of this folder share. A network's values are
 * called by keys, the names of the nodes that make them ("layer1.0.conv1/conv2d"), with #2, #3 behind a name that comes
 * again.
 */
#ifndef CVR_COMPRESS_QUANT_H
#define CVR_COMPRESS_QUANT_H

#include <cvr/plugin/plugin.h>

#define QUANT_KEY 512
#define QUANT_PREFIX "quant:"      /* of outputs that are asked for */
#define QUANT_AVERAGING 0.01       /* of moving averages, as PyTorch's observers have it */
#define QUANT_SMALLEST_STEP 1e-30f /* of values that are always 0 the step is 1 */

/* ---- quant_names.c: keys of a graph's nodes ---- */

typedef struct quant_names {
    const cvr_host *host;
    uint32_t *repeat; /* by node: how many nodes before it have its name */
} quant_names;
int32_t quant_names_open(quant_names *names, const cvr_rewriter *r, cvr_error *err);
void quant_names_close(quant_names *names);
/* Of node i's output 0. */
void quant_node_key(const quant_names *names, const cvr_rewriter *r, uint64_t i, char key[QUANT_KEY]);
/* Of any value: "NODE", "NODE:1" of another output, "input:image" where no node makes it. */
void quant_value_key(const quant_names *names, const cvr_rewriter *r, cvr_value v, char key[QUANT_KEY]);
/* What node i is on integers (CVR_TRAIT_INT8), with one output that anybody reads; or NULL. */
const cvr_int8_trait *quant_trait(const cvr_rewriter *r, uint64_t i);
/* The last of the bounds (CVR_INT8_CLAMP), and in training the batch norm of a layer, that follow node i, each the only
 * reader of what is before it; i itself where there are none. Its value is what is quantised. */
uint64_t quant_tail(const cvr_rewriter *r, uint64_t i);
/* Which bounds are between node i and its tail, as a number: equal for equal ones, 0 where there are none. */
uint64_t quant_bounds(const cvr_rewriter *r, uint64_t i, uint64_t tail);
/* Whether input k is an activation. */
static inline int32_t quant_is_activation(const cvr_int8_trait *t, uint32_t k) {
    return (t->activations >> k & 1) && !((t->weight | t->bias) >> k & 1);
}
/* The axis of the weight whose indices are what the node makes: each has its scale. */
static inline uint32_t quant_weight_axis(const cvr_int8_trait *t) {
    return t->flags & CVR_INT8_TRANSPOSED ? 1 : 0;
}
/* The weight that node i reads, or CVR_NONE. */
cvr_value quant_weight_of(const cvr_rewriter *r, uint64_t i);
/* A parameter of node i, "weight_int8", in a scope where others may be called so. */
void quant_param_name(const quant_names *names, uint64_t i, const char *what, char *name, size_t size);

/* ---- quant_plan.c: which nodes run on integers, and the scales of values ---- */

#define QUANT_INT8 1u /* the node of this key runs on integers; its value, behind bounds, has this scale */
#define QUANT_EDGE 2u /* a value that comes from f32 has this scale where integers are made of it */
typedef struct quant_entry {
    const char *key; /* in the plan's own memory */
    uint32_t kind;
    int32_t zero;
    double scale;
} quant_entry;
typedef struct quant_plan {
    const cvr_host *host;
    char *text;
    quant_entry *entries; /* by kind and key */
    uint64_t n;
} quant_plan;
/* A line of it: "int8 SCALE ZERO KEY" or "edge SCALE ZERO KEY". */
#define QUANT_PLAN_FIRST "cvrun quantised 1\n"
int32_t quant_plan_read(quant_plan *p, const cvr_host *host, const char *text, cvr_error *err);
/* Whether two entries are of one scale and zero point. A node that only moves elements may read a value that has
 * another than its own (quant_collect.c). */
static inline int32_t quant_same_scale(const quant_entry *a, const quant_entry *b) {
    return a->scale == b->scale && a->zero == b->zero;
}
const quant_entry *quant_plan_find(const quant_plan *p, uint32_t kind, const char *key);
void quant_plan_close(quant_plan *p);

/* ---- quant_chains.c: a network's nodes on integers ---- */

typedef struct quant_chains {
    const cvr_host *host;
    const quant_entry **entry; /* by node: what the plan says of a node on integers, or NULL */
    uint64_t *head;            /* by node: the node on integers that it is, or whose norm or bound; or CVR_NO_NODE */
    uint64_t *tail;            /* by node on integers: the last of those (quant_tail) */
} quant_chains;
/* An error where the network lacks nodes that the plan has. To be closed, whatever comes of it. */
int32_t quant_chains_open(quant_chains *c, const cvr_rewriter *r, const quant_plan *plan, const quant_names *names,
                          cvr_error *err);
void quant_chains_close(quant_chains *c);

/* ---- quant_ranges.c: values whose ranges are learned in training ---- */

/* Values that share a scale, by the number of their group: of the network as it is evaluated, or as it is trained. */
typedef struct quant_ranges {
    const cvr_rewriter *r;
    const quant_plan *plan;
    const quant_names *names;
    quant_chains chains;
    const quant_entry **edge; /* by node, and behind them the network's input: where integers are made of its value */
    uint64_t *group;          /* by node, and behind them the network's input: the one before it in its group; itself */
    const quant_entry **least; /* by group: of its values' entries that with the least key, which names its range */
    cvr_value (*range)[2];     /* by group: least and greatest, or CVR_NONE */
} quant_ranges;
int32_t quant_ranges_open(quant_ranges *w, const cvr_rewriter *r, const quant_plan *plan, const quant_names *names,
                          cvr_error *err);
void quant_ranges_close(quant_ranges *w);
/* The entry of value v, which a node on integers reads, and its group; NULL: the network as it is evaluated has no such
 * value. */
const quant_entry *quant_ranges_of(const quant_ranges *w, cvr_value v, uint64_t *group);
/* Declares the ranges of all groups, (2) values each, which begin as the plan has them. */
int32_t quant_ranges_declare(quant_ranges *w, cvr_error *err);
uint64_t quant_ranges_group(const quant_ranges *w, uint64_t i);

/* ---- quant_train.c: cvr_finetune.rewrite ---- */

#define QUANT_RANGES_FIXED 2u /* of cvr_finetune.stage, beside CVR_FINETUNE_NORMS_FROZEN */
int32_t quant_train(const cvr_rewriter *r, const char *plan, uint32_t stage, cvr_error *err);

/* ---- quant_rewrite.c: cvr_compressor_desc.rewrite ---- */

int32_t quant_rewrite(const cvr_rewriter *r, const char *plan, cvr_error *err);

/* ---- what calibration gathers ---- */

#define QUANT_BINS 2048

/* One value of the network. */
typedef struct quant_value {
    char *key;
    uint64_t same;       /* the value whose scale it shares, itself where none */
    uint64_t bounds;     /* that it is within (quant_bounds) */
    int32_t edge;        /* 1: made in f32 */
    int32_t seen;        /* batches */
    int32_t marked;      /* 1: an output of the probe that is being built */
    double min, max;     /* of all that was seen */
    double low, high;    /* their moving averages */
    uint64_t *bins;      /* QUANT_BINS of [min, max] of the group; NULL until the second pass */
    double *mean;        /* (channels) */
    int64_t channels, n; /* innermost in memory; elements that each mean is of */
    double scale;
    int32_t zero;
} quant_value;

/* A node that may run on integers. */
typedef struct quant_site {
    char *key, *layer; /* the layer's name, or the node's where it has none */
    const cvr_int8_trait *trait;
    uint64_t out;            /* its value */
    uint64_t in[2], n_in;    /* of a node with a weight: the values of its activations */
    int32_t int8;            /* 1: it runs on integers */
    cvr_value weight_value;  /* of the network's graph: sites of one weight share its integers */
    char why[96];            /* why it does not */
    cvr_type weight, bias;   /* rank 0 where there is none */
    float *weights, *biases; /* as in memory */
    char weight_name[QUANT_KEY], scale_name[QUANT_KEY], bias_name[QUANT_KEY];
    double sqnr; /* dB, of the network's results with this node alone on integers; quant_keep sets it */
} quant_site;

#define QUANT_MINMAX 0
#define QUANT_AVERAGE 1
#define QUANT_HISTOGRAM 2
#define QUANT_PERCENTILE 3
#define QUANT_ENTROPY 4

/* As the keys of the method `ptq` are packed. */
typedef struct quant_settings {
    int64_t observer;
    double percentile;
    const char *skip, *keep;
    int64_t bias_correction;
    int64_t sensitivity;
} quant_settings;

/* As the keys of the method `qat` are packed. */
typedef struct quant_qat_settings {
    quant_settings start; /* of the quantisation that training begins with */
    int64_t epochs;
    double lr;
    int64_t freeze_norm, freeze_ranges; /* epochs, from 1 */
} quant_qat_settings;

typedef struct quant_job {
    const cvr_compression *c;
    const cvr_host *host;
    const quant_settings *settings;
    quant_value *values;
    uint64_t n_values, values_capacity;
    quant_site *sites;
    uint64_t n_sites, sites_capacity;
    const quant_plan *given; /* decides which nodes run on integers; NULL: settings do */
    int32_t histograms;      /* what the probe at hand does */
    char *plan;
} quant_job;

/* quant_collect.c: sites, values, weights. */
int32_t quant_collect(quant_job *job, cvr_error *err);
/* The value whose scale value v has. */
uint64_t quant_root(const quant_job *job, uint64_t v);
void quant_close(quant_job *job);
/* quant_calibrate.c: runs the calibration data; every value then has scale and zero. */
int32_t quant_calibrate(quant_job *job, cvr_error *err);
/* quant_observe.c: the range that a value's scale is made for. */
void quant_choose_range(const quant_settings *s, const quant_value *v, double *low, double *high);
/* quant_weights.c: hands the numbers of all sites on integers to the host, and the plan. */
int32_t quant_write(quant_job *job, cvr_error *err);
/* quant_keep.c: tells what each layer costs alone, and leaves nodes in f32 until the metric is within its bound, where
 * quant.sensitivity and quant.keep say so. */
int32_t quant_keep(quant_job *job, cvr_error *err);

/* Scale and zero point of u8 for values from low to high, such that 0 is an integer: in f32, as the program of
 * quant_train.c has them. */
void quant_scale(float low, float high, double *scale, int32_t *zero);
/* quant_ptq.c: method `ptq`, and what `qat` begins with. */
extern const cvr_attr_desc quant_key_observer, quant_key_percentile, quant_key_skip, quant_key_keep,
    quant_key_bias_correction, quant_key_sensitivity;
int32_t quant_compress(const cvr_compression *c, cvr_error *err);
/* Tells the host which layers stay in f32. */
int32_t quant_note_floats(const quant_job *job, cvr_error *err);
/* quant_qat.c */
extern const cvr_compressor_desc quant_qat;

void *quant_alloc(const quant_job *job, uint64_t bytes, cvr_error *err);
char *quant_copy(const quant_job *job, const char *text, cvr_error *err);
/* Gives an array that has n elements of `size` bytes room for `wanted`. */
int32_t quant_grow(const quant_job *job, void **array, uint64_t n, uint64_t wanted, uint64_t *capacity, uint64_t size,
                   cvr_error *err);

#endif
