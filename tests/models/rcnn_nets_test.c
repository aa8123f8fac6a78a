/*
 * Narrow Faster R-CNNs and Mask R-CNNs against torchvision (tests/parity/detectors_two.py --write): detections in
 * evaluation, then each loss of a batch and what one plain SGD step changes in every parameter and running statistic
 * (tolerances: detector_check.h). The samplers take the first rows, so that both sides learn from the same anchors and
 * proposals. Two of the cases have a picture without objects. Then the networks by themselves.
 */
#include "detector_weights.h"
#include <criterion/criterion.h>

static void good(int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s", detector_error.message);
}

static void setup(detector_subject *s) {
    detector_open(s, "rcnn.safetensors");
    cr_assert_geq(s->g.n_cases, 5);
}

Test(rcnn, detects_what_torchvision_detects) {
    static detector_subject s;
    setup(&s);
    for (size_t i = 0; i < s.g.n_cases; i++) {
        s.c.label = s.g.cases[i];
        detector_try(&s, false, false);
        detector_check_found(&s);
    }
    detector_close(&s);
}

Test(rcnn, learns_what_torchvision_learns) {
    static detector_subject s;
    setup(&s);
    for (size_t i = 0; i < s.g.n_cases; i++) {
        s.c.label = s.g.cases[i];
        detector_try(&s, true, true);
        const bool masks = golden_find(&s.g, s.c.label, "masks") != NULL;
        cr_assert_eq(detector_check_losses(&s), (size_t)(masks ? 5 : 4), "%s", s.c.label);
        detector_check_changes(&s);
    }
    detector_close(&s);
}

/* With targets evaluation has losses, too; what it detects is the same. */
Test(rcnn, evaluation_has_losses) {
    static detector_subject s;
    setup(&s);
    s.c.label = "mask";
    detector_try(&s, false, true);
    detector_check_found(&s);
    for (size_t i = 0; i < 5; i++) {
        static const char *const names[] = {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg",
                                            "loss_mask"};
        const double loss = detector_number(CVR_F32, detector_gave(&s, names[i])->data, 0);
        cr_assert(loss > 0 && loss < 100, "%s is %g", names[i], loss);
    }
    detector_close(&s);
}

/* ---- models by themselves ---- */

/* For pictures of 64 x 64. */
static int32_t build(const detector_subject *s, const char *model, const char *settings, detector_net *out) {
    return detector_build(s, &(detector_recipe){model, settings, "", 64}, out);
}

Test(rcnn, takes_a_classifiers_weights) {
    static const char *const of_resnet[][2] = {{"layer4.0.conv2.weight", "backbone.body.layer4.0.conv2.weight"},
                                               {NULL, NULL}};
    static const char *const of_mobilenet[][2] = {{"features.15.block.1.0.weight", "backbone.body.15.block.1.0.weight"},
                                                  {NULL, NULL}};
    static detector_subject s;
    setup(&s);
    detector_check_file(&s, &(detector_recipe){"resnet50", "layers=1,1,1,1 width=2", "", 64},
                        &(detector_recipe){"fasterrcnn_resnet50_fpn",
                                           "layers=1,1,1,1 width=2 representation_size=8 fpn_channels=8", "", 64},
                        of_resnet);
    detector_check_file(&s, &(detector_recipe){"mobilenet_v3_large", "width_mult=0.02", "", 64},
                        &(detector_recipe){"fasterrcnn_mobilenet_v3_large_fpn",
                                           "width_mult=0.02 anchor_levels=all representation_size=8 fpn_channels=8", "",
                                           64},
                        of_mobilenet);
    detector_close(&s);
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
    static detector_subject s;
    detector_net b;
    setup(&s);
    good(build(&s, "maskrcnn_resnet50_fpn", "layers=1,1,1,1 width=2 fpn_channels=8", &b));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char out[200] = "";
        cr_expect(b.model->alias(names[i][0], out, sizeof out) && strcmp(out, names[i][1]) == 0, "%s is %s",
                  names[i][0], out);
        cr_expect_geq(cvr_store_find(b.store, out), 0, "there is no %s", out);
    }
    detector_drop(&b);
    detector_close(&s);
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
    static detector_subject s;
    detector_net b;
    setup(&s);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect_neq(build(&s, "fasterrcnn_resnet50_fpn", wrong[i][0], &b), CVR_OK, "%s", wrong[i][0]);
        cr_expect(strstr(detector_error.message, wrong[i][1]) && !strchr(detector_error.message, '\n'), "%s: %s",
                  wrong[i][0], detector_error.message);
        detector_drop(&b);
    }
    detector_close(&s);
}

/* Every body may stand under the pyramid. */
Test(rcnn, has_any_body) {
    static const char *const bodies[] = {"resnet18",           "resnet34",           "resnet50",    "resnet101",
                                         "mobilenet_v3_large", "mobilenet_v3_small", "mobilenet_v2"};
    static detector_subject s;
    setup(&s);
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        char settings[96];
        detector_net b;
        (void)snprintf(settings, sizeof settings, "body=%s anchor_levels=all norm=%s", bodies[i],
                       i % 2 ? "batch" : "frozen");
        good(build(&s, "fasterrcnn_resnet50_fpn", settings, &b));
        cr_expect_geq(cvr_store_find(b.store, "backbone.fpn.inner_blocks.1.0.weight"), 0, "%s", bodies[i]);
        cr_expect_eq(cvr_store_find(b.store, i < 4 ? "backbone.body.bn1.num_batches_tracked"
                                                   : "backbone.body.0.1.num_batches_tracked") >= 0,
                     i % 2 == 1, "%s", bodies[i]);
        detector_drop(&b);
    }
    detector_close(&s);
}
