/* A graph's nodes taken out and put back, with values replaced on the way: what lowering and passes share. */
#ifndef CVR_REWRITE_H
#define CVR_REWRITE_H

#include "ir.h"

typedef struct rewrite {
    cvr_graph *g;
    cvr_value *replaced; /* by value number; 0: as it was */
    size_t n_replaced, replaced_capacity;
    ir_node **nodes; /* the new list */
    size_t n, capacity;
} rewrite;

cvr_value rewrite_current(const rewrite *r, cvr_value v);
/* All who read `from` read `to`. A program's output stays kept under its new number. */
int32_t rewrite_replace(rewrite *r, cvr_value from, cvr_value to, cvr_error *err);
/* Puts a node at the end of the new list, reading what its inputs were replaced by. Takes it over, also on failure. */
int32_t rewrite_keep(rewrite *r, ir_node *n, cvr_error *err);
/* Takes the nodes from `first` on, which the builder emitted, out of the graph and keeps them. */
int32_t rewrite_keep_emitted(rewrite *r, size_t first, cvr_error *err);
/* The new list becomes the graph's, whose own nodes are all gone; on a failure it is dropped and the graph is empty. */
void rewrite_finish(rewrite *r, int32_t status);
/* Nodes emitted next belong to the layer of `n`. */
int32_t rewrite_enter(cvr_graph *g, const ir_node *n, cvr_error *err);
void rewrite_leave(cvr_graph *g);

#endif
