/* What a graph for cuDNN means, computed on the host: in place of a plan, where there is no GPU. */
#ifndef CVR_TEST_CUDNN_GRAPH_RUN_H
#define CVR_TEST_CUDNN_GRAPH_RUN_H

#include "cuda/cudnn_graph.h"

/* `addresses` are those of the tensors that lie somewhere, in order, as a variant pack has them. */
void cudnn_graph_run(const cudnn_graph *g, void *const *addresses);

#endif
