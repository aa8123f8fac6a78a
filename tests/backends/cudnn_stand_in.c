/* See cudnn_stand_in.h. */
#include "cudnn_stand_in.h"

#include "cudnn_graph_run.h"
#include <criterion/criterion.h>
#include <stdlib.h>

/* ---- cuDNN's table ---- */

#define MOST_LIVE 1024u

static const cudnn_table *real;
static cudnn_table table;
static cudnnBackendDescriptor_t h100;
static struct {
    cudnnBackendDescriptor_t d;
    cudnnBackendDescriptorType_t type;
    int padded; /* a tensor: it has as many channels as pictures are padded to; a plan: a tensor of its graph has */
} live[MOST_LIVE];
static int graph_padded; /* the same of the graph that was made last */
static cudnnBackendDescriptor_t ran[64];
static void *addresses[16];
static uint32_t n_addresses;
static int a_handle;
static uint32_t n_made; /* which of the addresses is the node's output */
static const conv_node *computes;

static cudnnStatus_t table_create(cudnnHandle_t *handle) {
    *handle = (cudnnHandle_t)(void *)&a_handle;
    return stand.refuses ? CUDNN_STATUS_NOT_INITIALIZED : CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t table_destroy(cudnnHandle_t handle) {
    return (void *)handle == &a_handle ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}

static cudnnStatus_t table_set_stream(cudnnHandle_t handle, cudaStream_t stream) {
    cr_assert_eq((void *)stream, &stand);
    return table_destroy(handle);
}

static cudnnStatus_t table_descriptor_create(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *d) {
    const cudnnStatus_t status = real->descriptor_create(type, d);
    uint32_t i = 0;
    while (live[i].d) cr_assert_lt(++i, MOST_LIVE, "descriptors are not given back");
    live[i].d = *d;
    live[i].type = type;
    return status;
}

static uint32_t place_of(cudnnBackendDescriptor_t d) {
    uint32_t i = 0;
    while (live[i].d != d) cr_assert_lt(++i, MOST_LIVE, "a descriptor that is not there");
    return i;
}

static cudnnStatus_t table_descriptor_destroy(cudnnBackendDescriptor_t d) {
    live[place_of(d)].d = NULL;
    return real->descriptor_destroy(d);
}

/* The handle is ours alone; cuDNN gets the description of a device in its place, when a descriptor is finished. */
static cudnnStatus_t table_set(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                               cudnnBackendAttributeType_t type, int64_t n, const void *values) {
    if (type == CUDNN_TYPE_HANDLE) return CUDNN_STATUS_SUCCESS;
    if (name == CUDNN_ATTR_TENSOR_DIMENSIONS)
        live[place_of(d)].padded = ((const int64_t *)values)[1] == CUDNN_FORM_CHANNELS;
    if (name == CUDNN_ATTR_TENSOR_UNIQUE_ID) /* which are counted from 1 in each graph */
        graph_padded = (graph_padded && *(const int64_t *)values > 1) || live[place_of(d)].padded;
    if (name == CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS) memcpy(addresses, values, (size_t)n * sizeof *addresses);
    if (name == CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS) n_addresses = (uint32_t)n;
    return real->set(d, name, type, n, values);
}

static cudnnStatus_t table_finalize(cudnnBackendDescriptor_t d) {
    const cudnnBackendDescriptorType_t type = live[place_of(d)].type;
    stand.made++;
    if (type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) live[place_of(d)].padded = graph_padded;
    if (type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)
        (void)real->set(d, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &h100);
    if (type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)
        (void)real->set(d, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &h100);
    return real->finalize(d);
}

/* Which plan this is, in the order of their first runs. */
static uint32_t number_of(cudnnBackendDescriptor_t plan) {
    uint32_t i = 0;
    while (i < stand.plans && ran[i] != plan) i++;
    if (i == stand.plans) {
        cr_assert_lt(i, sizeof ran / sizeof *ran);
        ran[stand.plans++] = plan;
    }
    return i;
}

/* Tensors of a graph that lie somewhere. */
static uint32_t n_placed(const cudnn_graph *g) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n_tensors; i++) n += g->tensors[i].place != CUDNN_AT_NONE;
    return n;
}

/* The form of the node that has as many tensors as cuDNN was given, padded where the plan's graph is; where both have,
 * the first of them. */
static void compute(int padded) {
    const cudnn_op *op = (const cudnn_op *)computes->node.op;
    stand.padded += (uint32_t)padded;
    if (stand.padding_helps && !padded) stand.seconds *= 100;
    for (uint32_t i = 0; op->forms[i]; i++) {
        cudnn_form f = {.pads = padded ? op->pads(&computes->sig) : 0};
        op->forms[i](&computes->sig, &f);
        if (n_placed(&f.graph) != n_addresses) continue;
        cudnn_graph_run(&f.graph, addresses);
        for (uint32_t k = n_made = 0; k < f.graph.n_tensors && f.graph.tensors[k].place != CUDNN_AT_OUTPUT; k++)
            n_made += f.graph.tensors[k].place != CUDNN_AT_NONE;
        return;
    }
    cr_assert_fail("no form has %lld tensors", (long long)n_addresses);
}

static cudnnStatus_t table_execute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
    const uint32_t number = number_of(plan);
    (void)pack;
    stand.executions++;
    stand.seconds = 1e-3 * (number + 1);
    if (number < stand.failing_plans) return CUDNN_STATUS_EXECUTION_FAILED;
    compute(live[place_of(plan)].padded);
    if (number < stand.wrong_plans) memset(addresses[n_made], 0x47, 4); /* 5.1e4 in f32 */
    return table_destroy(handle);
}

void cudnn_stand_in_computes(const conv_node *n) {
    computes = n;
    stand.plans = 0;
}

void cudnn_stand_in_begin(void) {
    cvr_error err = CVR_ERROR_INIT;
    described d;
    stand_in_begin();
    cudnn_table_stand_in(NULL);
    real = cudnn_table_open(&err);
    cr_assert(real, "%s", err.message);
    open_described(&d, "h100");
    cr_assert_eq(real->descriptor_create(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &h100), CUDNN_STATUS_SUCCESS);
    (void)real->set(h100, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)strlen(d.json), d.json);
    cr_assert_eq(real->finalize(h100), CUDNN_STATUS_SUCCESS);
    close_described(&d);
    table = *real;
    table.create = table_create;
    table.destroy = table_destroy;
    table.set_stream = table_set_stream;
    table.descriptor_create = table_descriptor_create;
    table.descriptor_destroy = table_descriptor_destroy;
    table.set = table_set;
    table.finalize = table_finalize;
    table.execute = table_execute;
    cudnn_table_stand_in(&table);
}

void cudnn_stand_in_end(void) {
    for (uint32_t i = 0; i < MOST_LIVE; i++) cr_expect(!live[i].d, "descriptor %u of kind %d is left", i, live[i].type);
    (void)real->descriptor_destroy(h100);
    cudnn_table_stand_in(NULL);
    stand_in_end();
}
