/*
 * NVIDIA's convolutions as kernels, as far as it goes without a GPU: what is offered for each op, which plan is chosen,
 * and what is done before and after it. Plans come from cuDNN itself, for a described H100; device kernels run by
 * `emu`.
 */
#include "cudnn_stand_in.h"

#include "cuda/cudnn_form_parts.h"
#include "cuda/library_kernels.h"
#include "cudnn_graph_run.h"
#include <criterion/criterion.h>
#include <cvr/plugin/bf16.h>
#include <cvr/plugin/f16.h>
#include <cvr/plugin/ops/norm.h>
#include <math.h>
#include <stdlib.h>

/* ---- the kernels ---- */

static cvr_kernel_desc kernels[64];
static uint32_t n_kernels;

static int32_t take_kernel(const cvr_registrar *r, const char *kind, const void *desc, cvr_error *err) {
    (void)r, (void)err;
    cr_assert_str_eq(kind, CVR_KIND_KERNEL);
    cr_assert_lt(n_kernels, 64);
    kernels[n_kernels++] = *(const cvr_kernel_desc *)desc;
    return CVR_OK;
}

/* The one kernel of the op that supports a signature; NULL where none does, with the last one's reason. */
static const cvr_kernel_desc *kernel_for(const conv_node *n, cvr_error *reason) {
    const cvr_registrar r = {.struct_size = sizeof r, .add = take_kernel};
    const cvr_kernel_desc *found = NULL;
    if (!n_kernels) cr_assert_eq(cuda_libraries_add_kernels(&r, reason), CVR_OK);
    for (uint32_t i = 0; i < n_kernels; i++) {
        cvr_error why = CVR_ERROR_INIT;
        if (strcmp(kernels[i].op, n->node.op->op) != 0) continue;
        if (kernels[i].supports(&n->sig, &why) == CVR_OK) {
            cr_expect(!found, "two kernels take the same node");
            found = &kernels[i];
        } else if (!strstr(why.message, "it is for f32 in tf32")) {
            *reason = why;
        }
    }
    return found;
}

static const conv_case small = {2, 8, 6, 8, 3, 1, 1, 1}, strided = {1, 16, 7, 8, 3, 2, 1, 2};
static const uint32_t types[] = {CVR_F32, CVR_F16, CVR_BF16};

/* Another op of the same tensors. */
static void becomes(conv_node *n, const library_op *op) {
    n->node.op = op;
}

/* ---- offers ---- */

static uint32_t offered(described *d, const conv_node *n, library_offer *offer) {
    cvr_error err = CVR_ERROR_INIT;
    *offer = (library_offer){.n = 0};
    cr_assert_eq(n->node.op->takes(&n->sig, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cudnn_library.offer(d->library.self, &n->node, offer, &err), CVR_OK, "%s", err.message);
    for (uint32_t i = 0; i < offer->n; i++) cudnn_library.release(d->library.self, offer->candidates[i].plan);
    return offer->n;
}

Test(cudnn, tf32_is_for_those_who_ask) {
    static const conv_case c = {64, 64, 56, 64, 3, 1, 1, 1};
    described d;
    conv_node n;
    library_offer exact, rounded;
    if (!has_cudnn()) return;
    open_described(&d, "h100");
    make_conv_node(&n, &c, PASS_FORWARD, CVR_F32, CVR_MATH_F32, &d.info);
    cr_assert_gt(offered(&d, &n, &exact), 0);
    cr_expect_gt(exact.refused, 0);
    n.sig.math = CVR_MATH_TF32;
    cr_assert_gt(offered(&d, &n, &rounded), 0);
    cr_expect_str_neq(exact.candidates[0].name, rounded.candidates[0].name);
    close_described(&d);
    cr_expect_eq(case_blocks, 0);
}

/* Statistics in the plan are offered in f16; in bf16 cuDNN has them only with engines that it compiles on a device. */
Test(cudnn, statistics_are_made_in_the_plan_or_behind_it) {
    static const conv_case c = {64, 64, 56, 64, 3, 1, 1, 1};
    static const int64_t channels[] = {64};
    described d;
    library_offer offer;
    if (!has_cudnn()) return;
    open_described(&d, "h100");
    for (size_t t = 0; t < 3; t++) {
        conv_node n;
        make_conv_node(&n, &c, PASS_FORWARD, types[t], CVR_MATH_F32, &d.info);
        add_conv_output(&n, 1, CVR_F32, 1, channels);
        add_conv_output(&n, 2, CVR_F32, 1, channels);
        becomes(&n, &cudnn_fused_ops[0].op);
        cr_assert_gt(offered(&d, &n, &offer), 0);
        if (types[t] == CVR_F16) cr_expect_eq(strncmp(offer.candidates[0].name, "form 0 ", 7), 0);
        cr_expect_eq(strncmp(offer.candidates[offer.n - 1].name, "form 1 ", 7), 0);
    }
    close_described(&d);
}

Test(cudnn, what_it_does_not_take_is_said) {
    conv_node n;
    cvr_error err = CVR_ERROR_INIT;
    make_conv_node(&n, &small, PASS_FORWARD, CVR_F32, CVR_MATH_F32, NULL);
    n.tensors[NODE_MADE].shape[2]--; /* one row of results less than the picture gives */
    cr_expect_eq(n.node.op->takes(&n.sig, &err), CVR_ERR_UNSUPPORTED);
    cr_expect(strstr(err.message, "6 positions along axis 2, and there are 5"), "%s", err.message);
    make_conv_node(&n, &small, PASS_FORWARD, CVR_I8, CVR_MATH_F32, NULL);
    cr_expect_eq(n.node.op->takes(&n.sig, &err), CVR_ERR_UNSUPPORTED);
    cr_expect(strstr(err.message, "not i8"), "%s", err.message);
    make_conv_node(&n, &(const conv_case){1 << 12, 1 << 10, 1 << 5, 8, 1, 1, 0, 1}, PASS_FORWARD, CVR_F16, 0, NULL);
    cr_expect_eq(n.node.op->takes(&n.sig, &err), CVR_ERR_UNSUPPORTED);
    cr_expect(strstr(err.message, "2^31"), "%s", err.message);
}

/* ---- kernels on the stand-in ---- */

static uint64_t bytes_of(const cvr_tensor *t) {
    return (uint64_t)cvr_numel(t->rank, t->shape) * cvr_dtype_size(t->dtype);
}

/* -1, 0 and 1, so that all sums are exact in all types; vectors are 1 or 2, as variances are not negative. */
static void fill(const cvr_tensor *t, uint32_t seed) {
    for (int64_t i = 0; i < cvr_numel(t->rank, t->shape); i++) {
        seed = seed * 1664525u + 1013904223u;
        const float v = t->rank == 1 ? (float)(1 + seed % 7 % 2) : (float)(seed >> 8) * 0x1p-24f * 3 - 1;
        const float whole = floorf(v);
        if (t->dtype == CVR_F32) ((float *)t->data)[i] = whole;
        if (t->dtype == CVR_F16) ((uint16_t *)t->data)[i] = cvr_f16_of_f32(whole);
        if (t->dtype == CVR_BF16) ((uint16_t *)t->data)[i] = cvr_bf16_of_f32(whole);
    }
}

static void give_data(conv_node *n) {
    for (uint32_t i = 0; i < NODE_TENSORS; i++) {
        if (!n->tensors[i].struct_size) continue;
        n->tensors[i].data = malloc(bytes_of(&n->tensors[i]));
        if (i < NODE_MADE)
            fill(&n->tensors[i], i + 1);
        else
            memset(n->tensors[i].data, 0xff, bytes_of(&n->tensors[i]));
    }
}

static void take_data(conv_node *n) {
    for (uint32_t i = 0; i < NODE_TENSORS; i++) free(n->tensors[i].data);
}

static cvr_kernel_args args_of(conv_node *n, void *workspace, uint64_t bytes) {
    static cvr_tensor *outputs[3];
    for (int i = 0; i < 3; i++) outputs[i] = n->outputs[i] ? &n->tensors[NODE_MADE + i] : NULL;
    return (cvr_kernel_args){.struct_size = sizeof(cvr_kernel_args),
                             .attrs = n->sig.attrs,
                             .inputs = n->inputs,
                             .outputs = outputs,
                             .workspace = workspace,
                             .workspace_size = bytes,
                             .n_inputs = n->sig.n_inputs,
                             .n_outputs = n->sig.n_outputs,
                             .device = &stand.info};
}

/* Runs the kernel on the stream of the stand-in, with a workspace of just the size. */
static void launch(const cvr_kernel_desc *k, conv_node *n) {
    cvr_error err = CVR_ERROR_INIT;
    const uint64_t bytes = k->workspace(&n->sig);
    void *workspace = bytes ? malloc(bytes) : NULL;
    const cvr_kernel_args a = args_of(n, workspace, bytes);
    cr_assert_eq(((const cvr_cuda_launch *)k->payload)->launch(&a, &stand, &err), CVR_OK, "%s", err.message);
    free(workspace);
}

/* The same by `plain`. */
static void run_plain(conv_node *n) {
    cvr_error err = CVR_ERROR_INIT;
    const library_op *op = n->node.op;
    const uint64_t bytes = op->plain_workspace(op, &n->sig);
    void *workspace = malloc(bytes + 64);
    const cvr_kernel_args a = args_of(n, workspace, bytes);
    cr_assert_eq(op->plain(op, &a, stand.lab.recorder(NULL, &stand), &err), CVR_OK, "%s", err.message);
    free(workspace);
}

static float element(const cvr_tensor *t, const void *data, int64_t i) {
    if (t->dtype == CVR_F32) return ((const float *)data)[i];
    const uint16_t half = ((const uint16_t *)data)[i];
    return t->dtype == CVR_F16 ? cvr_f32_of_f16(half) : cvr_f32_of_bf16(half);
}

/* Puts fresh memory in the place of the outputs. */
static void keep_outputs(conv_node *n, void *made[3]) {
    for (uint32_t i = 0; i < n->sig.n_outputs; i++) {
        made[i] = n->tensors[NODE_MADE + i].data;
        n->tensors[NODE_MADE + i].data = malloc(bytes_of(&n->tensors[NODE_MADE + i]));
    }
}

/* The outputs are those that were kept, which go. */
static void compare_outputs(const conv_node *n, void *made[3]) {
    for (uint32_t i = 0; i < n->sig.n_outputs; i++) {
        const cvr_tensor *t = &n->tensors[NODE_MADE + i];
        for (int64_t e = 0; e < cvr_numel(t->rank, t->shape); e++) {
            const float want = element(t, t->data, e), have = element(t, made[i], e);
            cr_assert(fabsf(want - have) <= 1e-2f * fabsf(want) * (t->dtype != CVR_F32) + 1e-5f * (1 + fabsf(want)),
                      "%s %s: output %u, element %lld: %g, not %g", n->node.op->op,
                      cvr_dtype_name(n->sig.inputs[0]->dtype), i, (long long)e, (double)have, (double)want);
        }
        free(made[i]);
    }
}

/* Runs the node as a kernel, and by device kernels, and compares all outputs. */
static void check_kernel(conv_node *n) {
    void *made[3] = {NULL};
    cvr_error why = CVR_ERROR_INIT;
    give_data(n);
    cudnn_stand_in_computes(n);
    const cvr_kernel_desc *k = kernel_for(n, &why);
    cr_assert(k, "%s: %s: %s", n->node.op->op, why.message, case_log);
    cr_expect_str_eq(k->payload_kind, CVR_PAYLOAD_CUDA_LAUNCH);
    launch(k, n);
    keep_outputs(n, made);
    run_plain(n);
    compare_outputs(n, made);
    take_data(n);
}

static void open_stand_in(void) {
    cvr_error err = CVR_ERROR_INIT;
    cudnn_stand_in_begin();
    cr_assert_eq(cuda_libraries_open(&case_host, &stand.info, &stand.lab, &err), CVR_OK, "%s", err.message);
}

static void close_stand_in(void) {
    cuda_libraries_close(&stand.info);
    cudnn_stand_in_end();
}

Test(cudnn, convolutions_and_gradients_in_all_types) {
    if (!has_cudnn()) return;
    open_stand_in();
    for (size_t t = 0; t < 3; t++) {
        for (int pass = 0; pass < PASSES; pass++) {
            conv_node n;
            make_conv_node(&n, &small, pass, types[t], CVR_MATH_F32, &stand.info);
            check_kernel(&n);
            make_conv_node(&n, &strided, pass, types[t], CVR_MATH_F32, &stand.info);
            check_kernel(&n);
        }
    }
    close_stand_in();
}

Test(cudnn, bias_and_transposed) {
    static const int64_t channels[] = {8};
    conv_node n;
    if (!has_cudnn()) return;
    open_stand_in();
    for (size_t t = 0; t < 3; t++) {
        make_conv_node(&n, &small, PASS_FORWARD, types[t], CVR_MATH_F32, &stand.info);
        add_conv_input(&n, 2, CVR_F32, 1, channels);
        check_kernel(&n);
        make_conv_node(&n, &small, PASS_INPUT, types[t], CVR_MATH_F32, &stand.info);
        add_conv_input(&n, 2, CVR_F32, 1, channels);
        becomes(&n, &cudnn_conv_ops[3].op);
        check_kernel(&n);
        make_conv_node(&n, &small, PASS_FORWARD, types[t], CVR_MATH_F32, &stand.info);
        n.attrs.input_size[0] = n.attrs.input_size[1] = small.size;
        becomes(&n, &cudnn_conv_ops[4].op);
        check_kernel(&n);
    }
    close_stand_in();
}

/* A picture of three channels, whose plans with four are faster: the weight's gradient, which has three again, and
 * forward with a batch norm's statistics. */
Test(cudnn, pictures_are_padded) {
    static const conv_case picture = {2, 3, 9, 8, 3, 2, 1, 1};
    static const int64_t channels[] = {8};
    if (!has_cudnn()) return;
    open_stand_in();
    stand.padding_helps = 1;
    for (int forward = 0; forward < 2; forward++) {
        conv_node n;
        const uint32_t dtype = forward ? CVR_F16 : CVR_BF16;
        make_conv_node(&n, &picture, forward ? PASS_FORWARD : PASS_WEIGHT, dtype, CVR_MATH_F32, &stand.info);
        if (forward) {
            add_conv_output(&n, 1, CVR_F32, 1, channels);
            add_conv_output(&n, 2, CVR_F32, 1, channels);
            becomes(&n, &cudnn_fused_ops[0].op);
        }
        check_kernel(&n);
        const uint32_t padded = stand.padded;
        check_kernel(&n); /* it is launched once more, and nothing is tried */
        cr_expect_eq(stand.padded, padded + 1);
    }
    close_stand_in();
}

/* The data gradient of a convolution and the sums of the batch norm in front of it. */
static void make_norm_node(conv_node *n, const conv_case *c, uint32_t dtype, int with_y, const cvr_device_info *info) {
    static cvr_conv2d_backward_input_norm_attrs attrs;
    const int64_t channels[] = {c->channels}, pixels[] = {c->n, c->channels, c->size, c->size};
    make_conv_node(n, c, PASS_INPUT, dtype, CVR_MATH_F32, info);
    attrs = (cvr_conv2d_backward_input_norm_attrs){n->attrs, with_y ? CVR_ACTIVATION_RELU6 : CVR_ACTIVATION_RELU};
    n->sig.attrs = &attrs;
    for (uint32_t i = 2; i < (with_y ? 9u : 8u); i++) {
        const int picture = i == 2 || i == 3 || i == 8;
        add_conv_input(n, i, picture ? dtype : CVR_F32, picture ? 4 : 1, picture ? pixels : channels);
    }
    for (uint32_t i = 1; i < 3; i++) add_conv_output(n, i, CVR_F32, 1, channels);
    becomes(n, &cudnn_norm_ops[0].op);
}

/* What the form's graph means, by plain loops on the node's own tensors: no type needs a cast. */
static void run_graph(conv_node *n, const cudnn_form *f) {
    void *addresses[CUDNN_GRAPH_TENSORS];
    uint32_t placed = 0;
    cr_assert_eq(f->scratch, 0);
    for (uint32_t i = 0; i < f->graph.n_tensors; i++) {
        const cudnn_tensor *t = &f->graph.tensors[i];
        if (t->place == CUDNN_AT_INPUT) addresses[placed++] = n->tensors[t->at].data;
        if (t->place == CUDNN_AT_OUTPUT) addresses[placed++] = n->tensors[NODE_MADE + t->at].data;
    }
    cudnn_graph_run(&f->graph, addresses);
}

/* cuDNN takes the graph, but has plans for it only where there is a driver to compile them with. So the graph's meaning
 * is held to the device kernels', and the kernel says that it has no plan. */
Test(cudnn, sums_in_the_data_gradient) {
    cvr_error why = CVR_ERROR_INIT;
    if (!has_cudnn()) return;
    open_stand_in();
    for (int with_y = 0; with_y < 2; with_y++) {
        const uint32_t dtype = with_y ? CVR_F16 : CVR_BF16;
        cudnn_form f = {.n_casts = 0};
        void *made[3];
        conv_node n;
        make_norm_node(&n, &small, dtype, with_y, &stand.info);
        n.tensors[1].dtype = dtype;
        give_data(&n);
        cudnn_stand_in_computes(&n);
        cr_assert_eq(n.node.op->takes(&n.sig, &why), CVR_OK, "%s", why.message);
        cr_expect(!kernel_for(&n, &why));
        cr_expect(strstr(why.message, "cudnn offers no plan (0 refused"), "%s", why.message);
        cudnn_norm_ops[0].forms[0](&n.sig, &f);
        run_graph(&n, &f);
        keep_outputs(&n, made);
        run_plain(&n);
        compare_outputs(&n, made);
        take_data(&n);
    }
    close_stand_in();
}

/* As the core gives them where several nodes read a weight (CVR_KERNEL_CASTS). */
Test(cudnn, weights_that_are_cast_already) {
    if (!has_cudnn()) return;
    open_stand_in();
    for (int pass = PASS_FORWARD; pass <= PASS_INPUT; pass++) {
        const uint32_t dtype = pass == PASS_FORWARD ? CVR_F16 : CVR_BF16;
        cvr_error why = CVR_ERROR_INIT;
        conv_node n;
        make_conv_node(&n, &small, pass, dtype, CVR_MATH_F32, &stand.info);
        cudnn_stand_in_computes(&n);
        const cvr_kernel_desc *k = kernel_for(&n, &why);
        cr_assert(k && (k->flags & CVR_KERNEL_CASTS(1)), "%s", why.message);
        const uint64_t bytes = k->workspace(&n.sig);
        n.tensors[1].dtype = dtype;
        check_kernel(&n);
        cr_expect_lt(k->workspace(&n.sig), bytes, "the weight is cast once more");
    }
    close_stand_in();
}

/* In f16 the plan's own sums are used, in the other types a device kernel's. */
Test(cudnn, statistics) {
    static const int64_t channels[] = {8};
    if (!has_cudnn()) return;
    open_stand_in();
    for (size_t t = 0; t < 3; t++) {
        conv_node n;
        make_conv_node(&n, &small, PASS_FORWARD, types[t], CVR_MATH_F32, &stand.info);
        add_conv_output(&n, 1, CVR_F32, 1, channels);
        add_conv_output(&n, 2, CVR_F32, 1, channels);
        becomes(&n, &cudnn_fused_ops[0].op);
        check_kernel(&n);
    }
    close_stand_in();
}

/* Batch norm, residual and relu6; and a bias with a relu alone. */
Test(cudnn, norm_residual_and_activation) {
    static const int64_t channels[] = {8}, pixels[] = {2, 8, 6, 6};
    if (!has_cudnn()) return;
    open_stand_in();
    for (size_t t = 0; t < 3; t++) {
        for (int norm = 0; norm < 2; norm++) {
            const cvr_conv2d_act_attrs attrs = {.conv = {{1, 1}, {1, 1}, {1, 1}, 1},
                                                .eps = 1e-5,
                                                .activation = norm ? CVR_ACTIVATION_RELU6 : CVR_ACTIVATION_RELU};
            conv_node n;
            make_conv_node(&n, &small, PASS_FORWARD, types[t], CVR_MATH_F32, &stand.info);
            n.sig.attrs = &attrs;
            for (uint32_t i = 2; i < (norm ? 7u : 3u); i++) add_conv_input(&n, i, CVR_F32, 1, channels);
            if (norm) add_conv_input(&n, 7, types[t], 4, pixels);
            becomes(&n, &cudnn_fused_ops[1].op);
            check_kernel(&n);
        }
    }
    close_stand_in();
}

/* ---- choices ---- */

static char kept_key[1000], kept[1000];
static uint32_t n_puts;

static const char *get_choice(const cvr_tuning_service *s, const char *key) {
    (void)s;
    return *kept && strcmp(key, kept_key) == 0 ? kept : NULL;
}

static int32_t put_choice(const cvr_tuning_service *s, const char *key, const char *choice, cvr_error *err) {
    (void)s, (void)err;
    n_puts++;
    (void)snprintf(kept_key, sizeof kept_key, "%s", key);
    (void)snprintf(kept, sizeof kept, "%s", choice);
    return CVR_OK;
}

static const cvr_tuning_service tuning = {sizeof tuning, NULL, get_choice, put_choice};

/* A fresh device whose runs are as the caller then says. */
static void begin_choice(conv_node *n) {
    open_stand_in();
    case_tuning = &tuning;
    case_lines = 0;
    make_conv_node(n, &small, PASS_FORWARD, CVR_F32, CVR_MATH_F32, &stand.info);
    cudnn_stand_in_computes(n);
}

static void end_choice(void) {
    case_tuning = NULL;
    *kept = 0;
    close_stand_in();
}

Test(cudnn, the_fastest_plan_is_taken_kept_and_taken_again) {
    conv_node n;
    cvr_error why = CVR_ERROR_INIT;
    char first[1000];
    if (!has_cudnn()) return;
    begin_choice(&n);
    const cvr_kernel_desc *k = kernel_for(&n, &why);
    cr_assert(k, "%s", why.message);
    cr_expect_eq(n_puts, 1);
    cr_expect_eq(case_lines, 0, "%s", case_log);
    cr_expect(strstr(case_log, "takes 1.000 ms, the device kernel 1000.000 ms for conv2d of"), "%s", case_log);
    cr_expect_gt(stand.plans, 1);
    cr_expect(strstr(kept_key, "cuda/H100/580.1/cudnn ") == kept_key, "%s", kept_key);
    (void)snprintf(first, sizeof first, "%s", kept);
    /* asked once more, nothing is planned again */
    const uint32_t made = stand.made;
    (void)k->workspace(&n.sig);
    cr_expect_eq(kernel_for(&n, &why), k);
    cr_expect_eq(stand.made, made);
    cuda_libraries_close(&stand.info);
    /* on another day, nothing is tried */
    cr_assert_eq(cuda_libraries_open(&case_host, &stand.info, &stand.lab, &why), CVR_OK);
    stand.runs = stand.made = 0;
    cr_expect_eq(kernel_for(&n, &why), k);
    cr_expect_eq(stand.runs, 0);
    cr_expect_lt(stand.made, made / 2, "all plans are made again: %u descriptors after %u", stand.made, made);
    cr_expect_eq(n_puts, 1);
    cr_expect_str_eq(kept, first);
    end_choice();
}

Test(cudnn, plans_that_are_wrong_or_do_not_run_are_said_and_not_used) {
    conv_node n;
    cvr_error why = CVR_ERROR_INIT;
    if (!has_cudnn()) return;
    begin_choice(&n);
    stand.failing_plans = 1;
    stand.wrong_plans = 2;
    cr_assert(kernel_for(&n, &why), "%s", why.message);
    cr_expect_eq(case_lines, 2);
    cr_expect(strstr(case_log, "where the device kernel gives") && strstr(case_log, ") for conv2d of f32 2x8x6x6"),
              "%s", case_log);
    end_choice();
    begin_choice(&n);
    stand.wrong_plans = 100;
    cr_expect(!kernel_for(&n, &why));
    cr_expect(strstr(why.message, "no plan ran as the device kernel does"), "%s", why.message);
    cr_expect_str_eq(kept, "device kernel");
    cuda_libraries_close(&stand.info);
    cr_assert_eq(cuda_libraries_open(&case_host, &stand.info, &stand.lab, &why), CVR_OK);
    stand.runs = 0;
    cr_expect(!kernel_for(&n, &why));
    cr_expect_eq(stand.runs, 0);
    cr_expect(strstr(why.message, "earlier trial"), "%s", why.message);
    end_choice();
}

Test(cudnn, a_faster_device_kernel_stays) {
    conv_node n;
    cvr_error why = CVR_ERROR_INIT;
    if (!has_cudnn()) return;
    begin_choice(&n);
    stand.own_seconds = 1e-4;
    cr_expect(!kernel_for(&n, &why));
    cr_expect(strstr(why.message, "the device kernel takes 0.100 ms, cudnn 1.000 ms"), "%s", why.message);
    end_choice();
}

Test(cudnn, without_memory_for_a_trial_the_device_kernel_computes) {
    conv_node n;
    cvr_error why = CVR_ERROR_INIT;
    if (!has_cudnn()) return;
    begin_choice(&n);
    stand.alloc_most = 1000;
    n_puts = 0;
    cr_expect(!kernel_for(&n, &why));
    cr_expect(strstr(why.message, "could not be tried: out of device memory"), "%s", why.message);
    cr_expect_eq(n_puts, 0, "the lack of memory was kept");
    end_choice();
}

Test(cudnn, a_lost_device_settles_nothing) {
    conv_node n;
    cvr_error why = CVR_ERROR_INIT;
    if (!has_cudnn()) return;
    begin_choice(&n);
    stand.run_status = CVR_ERR_DEVICE;
    n_puts = 0;
    cr_expect(!kernel_for(&n, &why));
    cr_expect(strstr(why.message, "the test says so"), "%s", why.message);
    cr_expect_eq(n_puts, 0);
    end_choice();
}

/* ---- no library ---- */

Test(cudnn, a_device_that_it_refuses_gets_one_line) {
    conv_node n;
    cvr_error why = CVR_ERROR_INIT;
    if (!has_cudnn()) return;
    cudnn_stand_in_begin();
    stand.refuses = 1;
    cr_assert_eq(cuda_libraries_open(&case_host, &stand.info, &stand.lab, &why), CVR_OK);
    cr_expect_eq(case_lines, 2, "%s", case_log); /* and one of cuBLASLt's */
    cr_expect(strstr(case_log, "cuda: cudnn is not used, device kernels compute instead: cuDNN: cudnnCreate:"), "%s",
              case_log);
    make_conv_node(&n, &small, PASS_FORWARD, CVR_F32, CVR_MATH_F32, &stand.info);
    cr_expect(!kernel_for(&n, &why));
    cr_expect(strstr(why.message, "cudnn is not used on this device"), "%s", why.message);
    close_stand_in();
}
