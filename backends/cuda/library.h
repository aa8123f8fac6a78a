/*
 * What a library of ready-made kernels tells choose.c, and what that gives back. cuDNN and cuBLASLt are one such
 * descriptor each; nothing here or in choose.c knows which libraries there are.
 */
#ifndef CUDA_LIBRARY_H
#define CUDA_LIBRARY_H

#include "libraries.h"

#define LIBRARY_CANDIDATES 8u          /* plans of a node that are timed, at most */
#define LIBRARY_WORKSPACE (256u << 20) /* bytes that a plan may want, at most */
#define LIBRARY_NAME 160u

/* A node of a network: an op and what is known of its tensors. */
typedef struct library_node {
    const struct library_op *op;
    const cvr_signature *sig;
    const char *only; /* the name of the one way that is wanted, which spares making the others; NULL: all */
} library_node;

/* One way to compute a node. `plan` is the library's; `name` says the same way again to the same version of the
 * library: "engine 62 2=3 5=1". */
typedef struct library_candidate {
    void *plan;
    uint64_t workspace; /* bytes, of the device */
    char name[LIBRARY_NAME];
} library_candidate;

/* Best first, as the library thinks. `refused` says how many were left out, and why the last one was. */
typedef struct library_offer {
    library_candidate candidates[LIBRARY_CANDIDATES];
    uint32_t n;
    uint32_t refused;
    char reason[LIBRARY_NAME];
} library_offer;

/* Where an open library finds its device. */
typedef struct library_place {
    const cvr_host *host;
    const cvr_device_info *info;
    const char *json;    /* of a described device; NULL: it is there */
    const cuda_lab *lab; /* NULL for a described device */
} library_place;

typedef struct library_desc {
    const char *name; /* "cudnn" */
    /* An error's message says why it is not used on this device. */
    int32_t (*open)(const library_place *place, void **self, cvr_error *err);
    void (*close)(void *self);
    /* Part of the key of each choice: "cudnn 9.19.0". */
    const char *(*version)(const void *self);
    /* Plans that are deterministic, no less exact than the node's types and math say, and within LIBRARY_WORKSPACE.
     * None is no error. */
    int32_t (*offer)(void *self, const library_node *node, library_offer *out, cvr_error *err);
    void (*release)(void *self, void *plan);
    /* Enqueues a plan. `a->workspace` has as many bytes as the candidate wanted. */
    int32_t (*enqueue)(void *self, void *plan, const cvr_kernel_args *a, void *stream, cvr_error *err);
} library_desc;

/* An op that a library computes. */
typedef struct library_op {
    const char *op;
    const library_desc *library;
    uint64_t attrs_size;
    /* CVR_OK, or CVR_ERR_UNSUPPORTED with the reason: what can be said without asking the library. */
    int32_t (*takes)(const cvr_signature *sig, cvr_error *reason);
    /* What the node means by device kernels, for the comparison: enqueues it. Its workspace: `plain_workspace`. */
    int32_t (*plain)(const struct library_op *op, const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err);
    uint64_t (*plain_workspace)(const struct library_op *op, const cvr_signature *sig);
} library_op;

#endif
