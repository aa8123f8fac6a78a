/* Convolutions on devices that are only described, for cudnn_test and cudnn_plans_test. */
#ifndef CVR_TEST_CUDNN_CASE_H
#define CVR_TEST_CUDNN_CASE_H

#include "cuda/choose.h"
#include "cuda/cudnn_form.h"
#include "device_stand_in.h"

#include <cvr/plugin/ops/conv.h>

/* A square convolution without bias, of square pictures. */
typedef struct conv_case {
    int64_t n, channels, size, filters, window, stride, padding, groups;
} conv_case;

enum { PASS_FORWARD, PASS_INPUT, PASS_WEIGHT, PASSES };
extern const char *const pass_names[PASSES];

#define NODE_MADE 9u
#define NODE_TENSORS (NODE_MADE + 3u)

/* A node of one pass, with all that it points to. In f16 and bf16 weights and their gradients are f32, as in training.
 */
typedef struct conv_node {
    cvr_conv2d_backward_input_attrs attrs; /* those of the other two passes have its size or less */
    cvr_tensor tensors[NODE_TENSORS];      /* inputs from 0 on, outputs from NODE_MADE on */
    const cvr_tensor *inputs[NODE_MADE], *outputs[3];
    cvr_signature sig;
    library_node node;
} conv_node;

void make_conv_node(conv_node *n, const conv_case *c, int pass, uint32_t dtype, uint32_t math,
                    const cvr_device_info *info);

/* Another input, or output, of the node. `shape` as in cvr_tensor. */
void add_conv_input(conv_node *n, uint32_t i, uint32_t dtype, uint32_t rank, const int64_t *shape);
void add_conv_output(conv_node *n, uint32_t i, uint32_t dtype, uint32_t rank, const int64_t *shape);

/* A described device: golden/cudnn/NAME.json. */
typedef struct described {
    cvr_device_info info;
    library_place place;
    library_opened library;
    char *json;
} described;

/* Whether cuDNN is here, and describes devices; else the test is left out with a line. */
int has_cudnn(void);
void open_described(described *d, const char *name);
void close_described(described *d);

#endif
