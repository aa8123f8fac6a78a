/*
 * Which plan of a library computes a node, or that the device kernel does. On a device that is there the plans are
 * timed, and the fastest one that gives what the device kernel gives is taken, unless that kernel is faster. The choice
 * is kept by "cvr.host.tuning/1", so that a run that goes on makes the same one and has the same bits.
 */
#ifndef CUDA_CHOOSE_H
#define CUDA_CHOOSE_H

#include "library.h"

/* A library on a device. */
typedef struct library_opened {
    const library_desc *library;
    void *self;
    const library_place *place;
} library_opened;

typedef struct library_choice {
    library_candidate candidate; /* `plan` NULL: the device kernel, because of `reason` */
    char reason[2 * LIBRARY_NAME];
} library_choice;

#define LIBRARY_KEY 900u

/* The node as a text: op, types, shapes, attributes, math. The same text, the same plans. */
void library_key(const library_node *node, char text[LIBRARY_KEY]);

/* CVR_ERR_NOMEM, or CVR_ERR_DEVICE, are the only errors: whatever else goes wrong is a reason for the device kernel. */
int32_t library_choose(const library_opened *l, const library_node *node, library_choice *out, cvr_error *err);

#endif
