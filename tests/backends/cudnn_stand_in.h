/*
 * cuDNN for a device that is not there: its own library plans for the stand-in as for a described H100, and what a plan
 * means is computed by plain loops (cudnn_graph_run.h).
 */
#ifndef CVR_TEST_CUDNN_STAND_IN_H
#define CVR_TEST_CUDNN_STAND_IN_H

#include "cudnn_case.h"
#include "device_stand_in.h"

/* The node that plans compute from now on. */
void cudnn_stand_in_computes(const conv_node *n);

/* Takes cuDNN's place, on a new stand-in; and ends. */
void cudnn_stand_in_begin(void);
void cudnn_stand_in_end(void);

#endif
