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

#define GOLDEN "rcnn.safetensors"

Test(rcnn, detects_what_torchvision_detects) {
    detector_check_all_found(GOLDEN, 5);
}

Test(rcnn, learns_what_torchvision_learns) {
    detector_check_all_learned(GOLDEN, 5);
}

/* With targets evaluation has losses, too; what it detects is the same. */
Test(rcnn, evaluation_has_losses) {
    static detector_subject s;
    detector_open(&s, GOLDEN);
    s.c.label = "mask";
    detector_try(&s, false, true);
    detector_check_found(&s);
    for (size_t i = 0; i < 5; i++) {
        static const char *const names[] = {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg",
                                            "loss_mask"};
        const double loss = detector_loss(&s, names[i]);
        cr_assert(loss > 0 && loss < 100, "%s is %g", names[i], loss);
    }
    detector_close(&s);
}

/* ---- models by themselves ---- */

Test(rcnn, takes_a_classifiers_weights) {
    static const char *const of_resnet[][2] = {{"layer4.0.conv2.weight", "backbone.body.layer4.0.conv2.weight"},
                                               {NULL, NULL}};
    static const char *const of_mobilenet[][2] = {{"features.15.block.1.0.weight", "backbone.body.15.block.1.0.weight"},
                                                  {NULL, NULL}};
    static detector_subject s;
    detector_open(&s, GOLDEN);
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
    detector_open(&s, GOLDEN);
    detector_check_names(&s,
                         &(detector_recipe){"maskrcnn_resnet50_fpn", "layers=1,1,1,1 width=2 fpn_channels=8", "", 64},
                         names, sizeof names / sizeof *names);
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
    detector_open(&s, GOLDEN);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        detector_check_refusal(&s, &(detector_recipe){"fasterrcnn_resnet50_fpn", wrong[i][0], "", 64}, wrong[i][1]);
    detector_close(&s);
}

/* Every body may stand under the pyramid. */
Test(rcnn, has_any_body) {
    static const char *const bodies[] = {"resnet18",           "resnet34",           "resnet50",    "resnet101",
                                         "mobilenet_v3_large", "mobilenet_v3_small", "mobilenet_v2"};
    static detector_subject s;
    detector_open(&s, GOLDEN);
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        char settings[96];
        detector_net b;
        (void)snprintf(settings, sizeof settings, "body=%s anchor_levels=all norm=%s", bodies[i],
                       i % 2 ? "batch" : "frozen");
        good(detector_build(&s, &(detector_recipe){"fasterrcnn_resnet50_fpn", settings, "", 64}, &b));
        cr_expect_geq(cvr_store_find(b.store, "backbone.fpn.inner_blocks.1.0.weight"), 0, "%s", bodies[i]);
        cr_expect_eq(cvr_store_find(b.store, i < 4 ? "backbone.body.bn1.num_batches_tracked"
                                                   : "backbone.body.0.1.num_batches_tracked") >= 0,
                     i % 2 == 1, "%s", bodies[i]);
        detector_drop(&b);
    }
    detector_close(&s);
}
