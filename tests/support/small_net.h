/*
 * A small network with stages, its training step in one program or in parts, on any backend: what the tests of
 * parameters, gradients and the store share. Functions assert by themselves.
 *
 *   image (N,3,8,8) -> c1 conv 8 -> [b1 batch norm] -> relu -> c2 conv 8 -> relu -> fc 5 -> mean of squares
 */
#ifndef CVR_TEST_SMALL_NET_H
#define CVR_TEST_SMALL_NET_H

#include <cvr/program.h>

#define NET_PIXELS (3 * 8 * 8)

extern const cvr_stage *const net_stages[3]; /* backbone.stem: c1, b1; backbone.body: c2; head: fc */

/* A backend with a store on it. */
typedef struct small_net {
    cvr_plugins *plugins;
    cvr_threadpool *pool;
    cvr_device *device;
    cvr_store *store;
    cvr_error err;
} small_net;

void net_open(small_net *n, const char *backend, const cvr_param_rules *rules);
/* The same on any device: `which` is opened in place of the CPU, and its status is returned. */
int32_t net_open_on(small_net *n, const cvr_device_choice *which);
void net_close(small_net *n);
void net_good(small_net *n, int32_t status);

/* What a program is made of. */
#define NET_TRAIN 1u /* gradients; without it all of evaluation's */
#define NET_BATCH_NORM 2u
#define NET_UPDATE 4u     /* of the gradients of this graph */
#define NET_ACCUMULATE 8u /* adds the gradients up instead */
#define NET_APPLY 16u     /* no network: the update of what was added up */
#define NET_AVERAGE 32u   /* running means; in evaluation: reads them */
#define NET_GUARD 64u     /* updates are left out where the loss is not finite */

typedef struct net_spec {
    uint32_t parts; /* NET_* */
    int64_t batch;
    const char *optimizer, *settings; /* NULL: sgd, "" */
    double weight_decay;
    const cvr_gradient_plugin *plugins;
    size_t n_plugins;
    const char *passes; /* NULL: none */
} net_spec;

typedef struct net_unit {
    cvr_graph *graph;
    cvr_program *program;
    cvr_arena *arena;
} net_unit;

/* Builds and plans; all units of a net are built before the first is bound. */
void net_build(small_net *n, net_unit *u, const net_spec *spec);
void net_bind(small_net *n, net_unit *u);
void net_drop(small_net *n, net_unit *u);
/* Picture `first` and those that follow it, as many as the unit takes. */
void net_images(small_net *n, net_unit *u, int64_t first);
/* Writes a scalar where the program has it: `value` becomes its type. */
void net_scalar(small_net *n, net_unit *u, const char *name, double value);
/* One run with lr and step; loss_scale 1 unless written before. */
void net_run(small_net *n, net_unit *u);
/* Runs on new pictures each, with a falling rate. */
void net_steps(small_net *n, net_unit *u, int64_t steps);
/* What follows net_build, to the loss of the last of `steps` runs on pictures of zeros or to the first failure, which
 * is returned instead of asserted; the unit is dropped. */
int32_t net_try(small_net *n, net_unit *u, int64_t steps, float *loss);

/* An entry's numbers; the caller has room. */
void net_read(small_net *n, const char *name, float *out, size_t count);
void net_write(small_net *n, const char *name, const float *in, size_t count);
size_t net_count(const small_net *n, const char *name);
const cvr_store_entry *net_entry(const small_net *n, const char *name);
/* How many nodes of the program run this op (all: NULL), of those of the backward pass only where `backward`. */
size_t net_nodes(const net_unit *u, const char *op, bool backward);

#endif
