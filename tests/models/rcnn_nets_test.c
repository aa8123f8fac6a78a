/*
 * Narrow Faster R-CNNs and Mask R-CNNs against torchvision (tests/parity/detectors_two.py --write): detections in
 * evaluation, then each loss of a batch and what one plain SGD step changes in every parameter and running statistic.
 * The samplers take the first rows, so that both sides learn from the same anchors and proposals. Two of the cases have
 * a picture without objects.
 *
 * Tolerances: boxes to 0.01 pixels, scores and masks to 1e-4, losses to 1e-4; a change to 2e-3 in L2, relative, where a
 * change below 1e-4 of the largest is not told apart from rounding.
 */
#include "../apps/session/session_parts.h"
#include "support/detector_case.h"
#include "support/scratch.h"
#include <criterion/criterion.h>
#include <cvr/plugin/bf16.h>
#include <math.h>
#include <stdlib.h>

static cvr_error err = CVR_ERROR_INIT;

static void good(int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s", err.message);
}

/* The file, and what a run of one of its cases gave. */
typedef struct subject {
    golden g;
    detector_case c;
    detector_result r;
} subject;

static void setup(subject *s) {
    memset(s, 0, sizeof *s);
    good(cvr_plugins_open(&s->c.plugins, NULL, 0, &err));
    good(golden_open(&s->g, s->c.plugins, CVR_GOLDEN_DIR "/rcnn.safetensors", &err));
    good(cvr_pool_create(&s->c.pool, 2, &err));
    s->c.g = &s->g;
    s->c.backend = "cpu";
    cr_assert_geq(s->g.n_cases, 5);
}

static void teardown(subject *s) {
    detector_clear(&s->r);
    golden_close(&s->g);
    cvr_plugins_close(&s->c.plugins);
    cvr_pool_destroy(&s->c.pool);
}

static void run(subject *s, bool training, bool targets) {
    detector_clear(&s->r);
    s->c.training = training;
    s->c.targets = targets;
    good(detector_run(&s->c, &s->r, &err));
}

static const detector_tensor *result(const subject *s, const char *name) {
    const detector_tensor *t = detector_find(&s->r, name);
    cr_assert_not_null(t, "%s gives no %s", s->c.label, name);
    return t;
}

static const golden_tensor *expected(subject *s, const char *name) {
    const golden_tensor *t = golden_find(&s->g, s->c.label, name);
    cr_assert_not_null(t, "%s has no %s", s->c.label, name);
    return t;
}

/* Element i, as floats are kept. */
static double number_at(uint32_t dtype, const void *data, int64_t i) {
    if (dtype == CVR_I64) return (double)((const int64_t *)data)[i];
    return dtype == CVR_BF16 ? (double)cvr_f32_of_bf16(((const uint16_t *)data)[i]) : (double)((const float *)data)[i];
}

/* ---- detections ---- */

/* Rows of picture n, each of `size` numbers, are as the file has them; past them there are none. */
static void check_rows(subject *s, int64_t n, const char *name, double tolerance) {
    char field[64];
    (void)snprintf(field, sizeof field, "expect.%s.%lld", name, (long long)n);
    const golden_tensor *want = expected(s, field);
    const detector_tensor *have = result(s, name);
    const int64_t rows = want->type.shape[0], room = have->type.shape[1],
                  size = cvr_numel(have->type.rank, have->type.shape) / (have->type.shape[0] * room);
    cr_assert_eq(cvr_numel(want->type.rank, want->type.shape), rows * size, "%s: %s", s->c.label, field);
    for (int64_t i = 0; i < rows * size; i++) {
        const double a = number_at(have->type.dtype, have->data, n * room * size + i),
                     b = number_at(want->type.dtype, want->data, i);
        cr_assert(fabs(a - b) <= tolerance, "%s: %s of picture %lld, number %lld: %g instead of %g", s->c.label, name,
                  (long long)n, (long long)i, a, b);
    }
    for (int64_t i = rows; strcmp(name, "labels") == 0 && i < room; i++)
        cr_assert_eq(number_at(CVR_I64, have->data, n * room + i), -1, "%s: detections past the last", s->c.label);
}

static void check_detections(subject *s) {
    for (int64_t n = 0; n < 2; n++) {
        check_rows(s, n, "labels", 0);
        check_rows(s, n, "boxes", 0.01);
        check_rows(s, n, "scores", 1e-4);
        if (golden_find(&s->g, s->c.label, "masks")) check_rows(s, n, "masks", 1e-4);
    }
}

Test(rcnn, detects_what_torchvision_detects) {
    static subject s;
    setup(&s);
    for (size_t i = 0; i < s.g.n_cases; i++) {
        s.c.label = s.g.cases[i];
        run(&s, false, false);
        check_detections(&s);
    }
    teardown(&s);
}

/* ---- a step ---- */

static size_t check_losses(subject *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->g.n; i++) {
        const golden_tensor *t = &s->g.tensors[i];
        if (strcmp(t->label, s->c.label) != 0 || strncmp(t->field, "expect.loss_", 12) != 0) continue;
        const double have = number_at(CVR_F32, result(s, t->field + 7)->data, 0), want = number_at(CVR_F32, t->data, 0);
        cr_assert(fabs(have - want) <= 1e-4 * fmax(want, 1e-3), "%s: %s is %g instead of %g", s->c.label, t->field + 7,
                  have, want);
        n++;
    }
    return n;
}

/* Root of the mean square of the change that has the largest one, of parameters with more than one axis. */
static double largest_change(const subject *s) {
    double largest = 0;
    for (size_t i = 0; i < s->g.n; i++) {
        const golden_tensor *t = &s->g.tensors[i];
        if (strcmp(t->label, s->c.label) != 0 || strncmp(t->field, "change.", 7) != 0 || t->type.rank < 2) continue;
        const int64_t n = cvr_numel(t->type.rank, t->type.shape);
        double sum = 0;
        for (int64_t k = 0; k < n; k++) sum += pow(number_at(CVR_F32, t->data, k), 2);
        largest = fmax(largest, sqrt(sum / (double)n));
    }
    return largest;
}

static void check_change(subject *s, const detector_tensor *after, double floor_) {
    const char *name = after->name + strlen("after.");
    const int64_t n = cvr_numel(after->type.rank, after->type.shape);
    char before[240], change[240];
    double distance = 0, size = 0;
    (void)snprintf(before, sizeof before, "param.%s", name);
    (void)snprintf(change, sizeof change, "change.%s", name);
    const golden_tensor *start = expected(s, before), *want = expected(s, change);
    for (int64_t k = 0; k < n; k++) {
        const double d = number_at(after->type.dtype, after->data, k) - number_at(start->type.dtype, start->data, k);
        const double w = number_at(CVR_F32, want->data, k);
        distance += (d - w) * (d - w);
        size += w * w;
    }
    const double error = sqrt(distance) / fmax(sqrt(size), floor_ * sqrt((double)n));
    cr_assert(error <= 2e-3, "%s: %s changes by something else, to %g", s->c.label, name, error);
}

Test(rcnn, learns_what_torchvision_learns) {
    static subject s;
    setup(&s);
    for (size_t i = 0; i < s.g.n_cases; i++) {
        s.c.label = s.g.cases[i];
        run(&s, true, true);
        const bool masks = golden_find(&s.g, s.c.label, "masks") != NULL;
        cr_assert_eq(check_losses(&s), (size_t)(masks ? 5 : 4), "%s", s.c.label);
        const double floor_ = 1e-4 * largest_change(&s);
        cr_assert_gt(floor_, 0);
        for (size_t k = 0; k < s.r.n; k++)
            if (strncmp(s.r.all[k].name, "after.", 6) == 0) check_change(&s, &s.r.all[k], floor_);
    }
    teardown(&s);
}

/* With targets evaluation has losses, too; what it detects is the same. */
Test(rcnn, evaluation_has_losses) {
    static subject s;
    setup(&s);
    s.c.label = "mask";
    run(&s, false, true);
    check_detections(&s);
    for (size_t i = 0; i < 5; i++) {
        static const char *const names[] = {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg",
                                            "loss_mask"};
        const double loss = number_at(CVR_F32, result(&s, names[i])->data, 0);
        cr_assert(loss > 0 && loss < 100, "%s is %g", names[i], loss);
    }
    teardown(&s);
}

/* ---- models by themselves ---- */

/* A model's store, by settings; for pictures of 64 x 64. */
typedef struct built {
    const cvr_model_desc *model;
    cvr_store *store;
    cvr_graph *graph;
} built;

static int32_t build(const subject *s, const char *name, const char *settings, built *out) {
    const void *found;
    void *attrs;
    cvr_type type;
    cvr_value image;
    cvr_error_init(&err);
    good(cvr_plugins_find(s->c.plugins, CVR_KIND_MODEL, name, &found, &err));
    out->model = found;
    const cvr_schema schema = {out->model->attrs, out->model->n_attrs};
    const cvr_param_rules rules = {.stages = out->model->stages, .n_stages = out->model->n_stages, .freeze = ""};
    good(cvr_attrs_parse(&schema, settings, NULL, name, &attrs, &err));
    good(cvr_store_create(&out->store, 0, &err));
    good(cvr_store_rules(out->store, &rules, &err));
    good(cvr_graph_create(&out->graph, s->c.plugins, out->store, false, &err));
    cvr_type_set(&type, CVR_F32, 4, (const int64_t[]){1, 3, 64, 64});
    good(cvr_graph_input(out->graph, "image", &type, &image, &err));
    const cvr_model_args args = {sizeof args, attrs, 3, 3};
    const int32_t status = out->model->build(cvr_graph_builder(out->graph), &args, cvr_graph_io(out->graph), &err);
    cvr_free(attrs);
    return status;
}

static void drop(built *b) {
    cvr_graph_destroy(&b->graph);
    cvr_store_destroy(&b->store);
}

/* The numbers of a tensor, of which there are not too many. */
static void read_named(const built *b, const char *name, float out[4096]) {
    const int64_t i = cvr_store_find(b->store, name);
    cr_assert(i >= 0 && cvr_store_get(b->store, (size_t)i)->bytes <= 4096 * sizeof *out, "%s", name);
    memset(out, 0, 4096 * sizeof *out);
    good(cvr_store_read(b->store, (size_t)i, out, &err));
}

/* A classifier's file, which counts batches, fills the body, whose norms do not. */
static void check_body(const subject *s, const char *classifier, const char *detector, const char *settings,
                       const char *from, const char *to) {
    char settings_too[96];
    static float a[4096], b[4096];
    built file, net;
    cvr_device *device;
    scratch_open("rcnn");
    const char *const path = scratch_path("body.safetensors");
    (void)snprintf(settings_too, sizeof settings_too, "%s anchor_levels=all representation_size=8 fpn_channels=8",
                   settings);
    good(build(s, classifier, settings, &file));
    good(build(s, detector, settings_too, &net));
    good(cvr_device_open(&device, s->c.plugins, "cpu", 0, s->c.pool, &err));
    good(cvr_store_place(file.store, device, &err));
    good(cvr_store_place(net.store, device, &err));
    good(weights_save(s->c.plugins, file.store, path, &err));
    weights_rules rules = {.network = "", .head = WEIGHTS_HEAD_KEEP, .alias = net.model->alias};
    cr_expect_neq(weights_load(s->c.plugins, net.store, &rules, path, &err), CVR_OK);
    cr_expect(strstr(err.message, "model.head = new"), "%s", err.message);
    cvr_error_init(&err);
    rules.head = WEIGHTS_HEAD_AUTO;
    good(weights_load(s->c.plugins, net.store, &rules, path, &err));
    read_named(&file, from, a);
    read_named(&net, to, b);
    cr_expect_arr_eq(a, b, sizeof a, "%s of %s is not %s of the file", to, detector, from);
    drop(&file);
    drop(&net);
    cvr_device_close(&device);
    scratch_close();
}

Test(rcnn, takes_a_classifiers_weights) {
    static subject s;
    setup(&s);
    check_body(&s, "resnet50", "fasterrcnn_resnet50_fpn", "layers=1,1,1,1 width=2", "layer4.0.conv2.weight",
               "backbone.body.layer4.0.conv2.weight");
    check_body(&s, "mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_fpn", "width_mult=0.02",
               "features.15.block.1.0.weight", "backbone.body.15.block.1.0.weight");
    teardown(&s);
}

/* Names of torchvision's published files, which are older than its modules'. */
Test(rcnn, knows_older_names) {
    static const char *const names[][2] = {
        {"rpn.head.conv.weight", "rpn.head.conv.0.0.weight"},
        {"rpn.head.cls_logits.bias", "rpn.head.cls_logits.bias"},
        {"backbone.fpn.inner_blocks.3.weight", "backbone.fpn.inner_blocks.3.0.weight"},
        {"backbone.fpn.layer_blocks.0.bias", "backbone.fpn.layer_blocks.0.0.bias"},
        {"backbone.body.layer1.0.bn1.running_mean", "backbone.body.layer1.0.bn1.running_mean"},
        {"roi_heads.mask_head.mask_fcn4.weight", "roi_heads.mask_head.3.0.weight"},
        {"roi_heads.box_head.fc6.weight", "roi_heads.box_head.fc6.weight"},
    };
    static subject s;
    built b;
    setup(&s);
    good(build(&s, "maskrcnn_resnet50_fpn", "layers=1,1,1,1 width=2 fpn_channels=8", &b));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char out[200] = "";
        cr_expect(b.model->alias(names[i][0], out, sizeof out) && strcmp(out, names[i][1]) == 0, "%s is %s",
                  names[i][0], out);
        cr_expect_geq(cvr_store_find(b.store, out), 0, "there is no %s", out);
    }
    drop(&b);
    teardown(&s);
}

Test(rcnn, refuses_with_one_line) {
    static const char *const wrong[][2] = {
        {"anchor_sizes=32,64", "model.anchor_sizes has 2 sizes for 5 maps"},
        {"returned_layers=3,2", "the stages of this body are 1 to 4"},
        {"returned_layers=2,4 anchor_levels=all", "each is half as large"},
        {"layers=1,2", "model.layers has 2 numbers"},
        {"anchor_sizes=1 anchor_levels=all", "model.anchor_sizes: an anchor of size 1 and height / width"},
        {"body=mobilenet_v2 returned_layers=5,4", "the stages of this body are 0 to 5"},
    };
    static subject s;
    built b;
    setup(&s);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect_neq(build(&s, "fasterrcnn_resnet50_fpn", wrong[i][0], &b), CVR_OK, "%s", wrong[i][0]);
        cr_expect(strstr(err.message, wrong[i][1]) && !strchr(err.message, '\n'), "%s: %s", wrong[i][0], err.message);
        drop(&b);
    }
    teardown(&s);
}

/* Every body may stand under the pyramid. */
Test(rcnn, has_any_body) {
    static const char *const bodies[] = {"resnet18",           "resnet34",           "resnet50",    "resnet101",
                                         "mobilenet_v3_large", "mobilenet_v3_small", "mobilenet_v2"};
    static subject s;
    setup(&s);
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        char settings[96];
        built b;
        (void)snprintf(settings, sizeof settings, "body=%s anchor_levels=all norm=%s", bodies[i],
                       i % 2 ? "batch" : "frozen");
        good(build(&s, "fasterrcnn_resnet50_fpn", settings, &b));
        cr_expect_geq(cvr_store_find(b.store, "backbone.fpn.inner_blocks.1.0.weight"), 0, "%s", bodies[i]);
        cr_expect_eq(cvr_store_find(b.store, i < 4 ? "backbone.body.bn1.num_batches_tracked"
                                                   : "backbone.body.0.1.num_batches_tracked") >= 0,
                     i % 2 == 1, "%s", bodies[i]);
        drop(&b);
    }
    teardown(&s);
}
