/* See cudnn_case.h. */
#include "cudnn_case.h"

#include "cuda/cudnn_form.h"
#include "cuda/cudnn_table.h"
#include "support/left_out.h"
#include <criterion/criterion.h>
#include <stdlib.h>

const char *const pass_names[PASSES] = {"forward", "input", "weight"};

/* ---- nodes ---- */

static cvr_tensor tensor_of(uint32_t dtype, uint32_t rank, const int64_t *shape) {
    cvr_tensor t = {.struct_size = sizeof t, .dtype = dtype, .rank = rank, .shape = {1, 1, 1, 1, 1, 1}};
    memcpy(t.shape, shape, rank * sizeof *shape);
    t.pixel_stride = rank == 4 ? shape[1] : 0;
    return t;
}

void add_conv_input(conv_node *n, uint32_t i, uint32_t dtype, uint32_t rank, const int64_t *shape) {
    n->tensors[i] = tensor_of(dtype, rank, shape);
    n->inputs[i] = &n->tensors[i];
    if (n->sig.n_inputs <= i) n->sig.n_inputs = i + 1;
}

void add_conv_output(conv_node *n, uint32_t i, uint32_t dtype, uint32_t rank, const int64_t *shape) {
    n->tensors[NODE_MADE + i] = tensor_of(dtype, rank, shape);
    n->outputs[i] = &n->tensors[NODE_MADE + i];
    if (n->sig.n_outputs <= i) n->sig.n_outputs = i + 1;
}

void make_conv_node(conv_node *n, const conv_case *c, int pass, uint32_t dtype, uint32_t math,
                    const cvr_device_info *info) {
    const int64_t out = (c->size + 2 * c->padding - c->window) / c->stride + 1;
    static const int places[PASSES][3] = {{0, 1, 2}, {2, 1, 0}, {0, 2, 1}}; /* of x, weight and y; 2: it is made */
    *n = (conv_node){.attrs = {.conv = {.stride = {c->stride, c->stride},
                                        .padding = {c->padding, c->padding},
                                        .dilation = {1, 1},
                                        .groups = c->groups},
                               .input_size = {c->size, c->size}}};
    if (pass == PASS_WEIGHT) n->attrs.input_size[0] = n->attrs.input_size[1] = c->window; /* `kernel_size` there */
    n->sig = (cvr_signature){.struct_size = sizeof n->sig,
                             .attrs = &n->attrs,
                             .inputs = n->inputs,
                             .outputs = n->outputs,
                             .n_workers = 1,
                             .math = math,
                             .device = info};
    const int64_t shapes[3][4] = {{c->n, c->channels, c->size, c->size},
                                  {c->filters, c->channels / c->groups, c->window, c->window},
                                  {c->n, c->filters, out, out}};
    for (int i = 0; i < 3; i++) {
        const int place = places[pass][i];
        if (place == 2)
            add_conv_output(n, 0, i == 1 ? CVR_F32 : dtype, 4, shapes[i]);
        else
            add_conv_input(n, (uint32_t)place, i == 1 ? CVR_F32 : dtype, 4, shapes[i]);
    }
    n->node = (library_node){&cudnn_conv_ops[pass].op, &n->sig, NULL};
}

/* ---- devices ---- */

int has_cudnn(void) {
    cvr_error err = CVR_ERROR_INIT;
    const cudnn_table *t = cudnn_table_open(&err);
    if (!t) leave_out("cuDNN's planner", "libcudnn.so.9");
    if (t && t->version() < 90800) leave_out("cuDNN's planner", "cuDNN 9.8, which describes devices");
    return t && t->version() >= 90800;
}

static char *read_text(const char *path) {
    FILE *f = fopen(path, "r");
    char *text = calloc(1, 1 << 16);
    cr_assert(f && text, "%s cannot be read", path);
    cr_assert_gt(fread(text, 1, (1 << 16) - 1, f), 0);
    (void)fclose(f);
    return text;
}

void open_described(described *d, const char *name) {
    char path[600];
    cvr_error err = CVR_ERROR_INIT;
    (void)snprintf(path, sizeof path, "%s/cudnn/%s.json", CVR_GOLDEN_DIR, name);
    *d = (described){.info = {.struct_size = sizeof d->info, .name = name, .driver = "", .uuid = "", .features = ""}};
    d->json = read_text(path);
    d->place = (library_place){&case_host, &d->info, d->json, NULL};
    d->library = (library_opened){&cudnn_library, NULL, &d->place};
    cr_assert_eq(cudnn_library.open(&d->place, &d->library.self, &err), CVR_OK, "%s", err.message);
}

void close_described(described *d) {
    cudnn_library.close(d->library.self);
    free(d->json);
}
