/* What the files of a network's export share; see export_graph.c. */
#ifndef CVR_GRAPH_EXPORT_PARTS_H
#define CVR_GRAPH_EXPORT_PARTS_H

#include "plan.h"

typedef struct exporting {
    cvr_export api;
    const cvr_export_job *job;
    cvr_graph *g;
    int64_t (*per_picture)[CVR_MAX_RANK]; /* by value */
    bool *needed;                         /* by value: some output depends on it */
    bool *constant;                       /* by value: stored, or computed of nothing else */
    bool *read;                           /* by value: a node that is written reads it, or it is a result */
    void **computed;                      /* by value: the numbers of one that is not stored, in logical order */
    const char **names;                   /* by value, of those */
    const ir_node **nodes;                /* that are written */
    cvr_value *inputs;
    const cvr_io_output **outputs;
} exporting;

/*
 * Finds out what depends on the size of a batch (per_picture), by comparing the two graphs. A stored value may have a
 * row for each picture where all rows are alike, as a table that says the same of every picture. Anything else that
 * keeps the batch from being left open is an error that names the layer.
 */
int32_t export_compare_graphs(exporting *e, cvr_error *err);

#endif
