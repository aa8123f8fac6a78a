/*
 * Narrow SSDs, RetinaNets and an FCOS against torchvision (tests/parity/detectors.py --write): detections in
 * evaluation, losses, and what one plain SGD step changes in every parameter and running statistic (tolerances:
 * detector_check.h). Then the networks by themselves: weights of classifiers, older names, stages, settings that make
 * no sense.
 */
#include "detector_weights.h"
#include <criterion/criterion.h>

static void good(int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s", detector_error.message);
}

#define GOLDEN "one_stage.safetensors"

Test(one_stage, detects_what_torchvision_detects) {
    detector_check_all_found(GOLDEN, 6);
}

Test(one_stage, learns_what_torchvision_learns) {
    detector_check_all_learned(GOLDEN, 6);
}

/* With targets evaluation has losses, too, which are those of training where no norm looks at the batch; what it
 * detects is the same. */
Test(one_stage, evaluation_has_losses) {
    static const char *const without_batch_norm[] = {"ssd300", "retinanet", "fcos"};
    static detector_subject s;
    detector_open(&s, GOLDEN);
    for (size_t i = 0; i < 3; i++) {
        s.c.label = without_batch_norm[i];
        detector_try(&s, false, true);
        detector_check_found(&s);
        detector_check_losses(&s);
    }
    detector_close(&s);
}

/* Without any object SSD learns nothing, the others that there is background. */
Test(one_stage, learns_from_pictures_without_objects) {
    static const struct {
        const char *label;
        double least;
    } nets[] = {{"ssd300", 0}, {"retinanet_v2", 1e-3}, {"fcos", 1e-3}};
    static detector_subject s;
    detector_open(&s, GOLDEN);
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        s.c.label = nets[i].label;
        detector_try_without_objects(&s);
        const double classes = detector_loss(&s, "loss_classification"),
                     boxes = detector_loss(&s, "loss_bbox_regression");
        cr_expect(nets[i].least > 0 ? classes > nets[i].least : classes == 0, "%s: %g", nets[i].label, classes);
        cr_expect_eq(boxes, 0, "%s: %g", nets[i].label, boxes);
    }
    detector_close(&s);
}

/* ---- the networks by themselves ---- */

Test(one_stage, takes_a_classifiers_weights) {
    static const char *const of_vgg[][2] = {{"features.0.weight", "backbone.features.0.weight"},
                                            {"features.21.weight", "backbone.features.21.weight"},
                                            {"features.24.weight", "backbone.extra.0.1.weight"},
                                            {"features.28.weight", "backbone.extra.0.5.weight"},
                                            {NULL, NULL}};
    static const char *const of_mobilenet[][2] = {
        {"features.12.block.0.0.weight", "backbone.features.0.12.block.0.0.weight"},
        {"features.13.block.0.0.weight", "backbone.features.0.13.0.weight"},
        {"features.13.block.2.fc1.weight", "backbone.features.1.0.2.fc1.weight"},
        {"features.15.block.3.0.weight", "backbone.features.1.2.block.3.0.weight"},
        {"features.16.0.weight", "backbone.features.1.3.0.weight"},
        {NULL, NULL}};
    static const char *const of_resnet[][2] = {{"conv1.weight", "backbone.body.conv1.weight"},
                                               {"layer4.1.conv2.weight", "backbone.body.layer4.1.conv2.weight"},
                                               {NULL, NULL}};
    static detector_subject s;
    detector_open(&s, GOLDEN);
    detector_check_file(&s, &(detector_recipe){"vgg16", "width=1 classifier_width=4", "", 64},
                        &(detector_recipe){"ssd300_vgg16", "width=1", "", 300}, of_vgg);
    detector_check_file(&s, &(detector_recipe){"mobilenet_v3_large", "width_mult=0.05", "", 64},
                        &(detector_recipe){"ssdlite320_mobilenet_v3_large", "width_mult=0.05 reduced_tail=no", "", 64},
                        of_mobilenet);
    detector_check_file(&s, &(detector_recipe){"resnet18", "width=2", "", 64},
                        &(detector_recipe){"retinanet_resnet50_fpn", "body=resnet18 width=2 fpn_channels=4", "", 64},
                        of_resnet);
    detector_check_file(
        &s, &(detector_recipe){"resnet18", "width=2", "", 64},
        &(detector_recipe){"fcos_resnet50_fpn", "body=resnet18 width=2 fpn_channels=4 head_groups=2", "", 64},
        of_resnet);
    detector_close(&s);
}

/* Names of torchvision's published RetinaNet, which are older than its modules'. */
Test(one_stage, knows_older_names) {
    static const char *const names[][2] = {
        {"head.classification_head.conv.0.weight", "head.classification_head.conv.0.0.weight"},
        {"head.classification_head.conv.6.bias", "head.classification_head.conv.3.0.bias"},
        {"head.regression_head.conv.4.weight", "head.regression_head.conv.2.0.weight"},
        {"head.classification_head.cls_logits.bias", "head.classification_head.cls_logits.bias"},
        {"backbone.fpn.inner_blocks.2.weight", "backbone.fpn.inner_blocks.2.0.weight"},
        {"backbone.fpn.extra_blocks.p6.weight", "backbone.fpn.extra_blocks.p6.weight"},
        {"backbone.body.layer1.0.bn1.running_mean", "backbone.body.layer1.0.bn1.running_mean"},
    };
    static detector_subject s;
    detector_open(&s, GOLDEN);
    detector_check_names(&s, &(detector_recipe){"retinanet_resnet50_fpn", "width=2 fpn_channels=4", "", 64}, names,
                         sizeof names / sizeof *names);
    detector_close(&s);
}

/* What torchvision freezes by default where there are weights, by model.freeze; and that every parameter has a stage.
 */
Test(one_stage, stages_freeze_what_torchvision_freezes) {
    static const struct {
        detector_recipe recipe;
        const char *last, *first; /* the last that is frozen, the first that is not */
        size_t frozen;            /* parameters */
    } nets[] = {
        {{"ssd300_vgg16", "width=1", "backbone.stage1", 300},
         "backbone.features.2.bias",
         "backbone.features.5.weight",
         4},
        {{"ssdlite320_mobilenet_v3_large", "width_mult=0.05", "backbone.stem", 64},
         "backbone.features.0.1.block.1.1.bias",
         "backbone.features.0.2.block.0.0.weight",
         9},
        {{"retinanet_resnet50_fpn_v2", "width=2 fpn_channels=4 head_groups=2 layers=1,1,1,1",
          "backbone.stem,backbone.layer1", 64},
         "backbone.body.layer1.0.downsample.1.bias",
         "backbone.body.layer2.0.conv1.weight",
         15},
    };
    static detector_subject s;
    detector_open(&s, GOLDEN);
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        detector_net n;
        size_t frozen = 0;
        good(detector_build(&s, &nets[i].recipe, &n));
        for (size_t k = 0; k < cvr_store_count(n.store); k++)
            frozen += cvr_store_get(n.store, k)->role == CVR_STORE_FROZEN;
        const int64_t last = cvr_store_find(n.store, nets[i].last), first = cvr_store_find(n.store, nets[i].first);
        cr_assert(last >= 0 && first >= 0, "%s", nets[i].recipe.model);
        cr_expect_eq(cvr_store_get(n.store, (size_t)last)->role, CVR_STORE_FROZEN, "%s", nets[i].last);
        cr_expect_eq(cvr_store_get(n.store, (size_t)first)->role, CVR_STORE_TRAINED, "%s", nets[i].first);
        cr_expect_eq(frozen, nets[i].frozen, "%s: %zu are frozen", nets[i].recipe.model, frozen);
        detector_drop(&n);
        detector_check_stages(&s, &nets[i].recipe);
    }
    detector_close(&s);
}

/* SSD300 says which pictures are too small, and those alone. */
Test(one_stage, knows_its_least_picture) {
    static detector_subject s;
    detector_open(&s, GOLDEN);
    for (int64_t side = 267; side <= 268; side++) {
        detector_net n;
        const int32_t status = detector_build(&s, &(detector_recipe){"ssd300_vgg16", "width=1", "", side}, &n);
        cr_expect_eq(status == CVR_OK, side == 268, "%s", detector_error.message);
        cr_expect(status == CVR_OK || strstr(detector_error.message, "to 268 at least"), "%s", detector_error.message);
        cvr_error_init(&detector_error);
        detector_drop(&n);
    }
    detector_close(&s);
}

Test(one_stage, refuses_with_one_line) {
    static const char *const wrong[][3] = {
        {"ssd300_vgg16", "scales=0.1,0.2", "model.scales has 2 numbers; it must have 7"},
        {"ssd300_vgg16", "ratios_per_map=1,2", "model.ratios_per_map has 2 numbers; it must have 6"},
        {"ssd300_vgg16", "ratios_per_map=1,2,3,2,1,1", "wants 3 of 2 model.aspect_ratios"},
        {"ssd300_vgg16", "steps=8,16", "model.steps has 2 numbers; it must have none or 6"},
        {"ssd300_vgg16", "layers=2,2,3", "model.layers has 3 numbers; VGG has 5 stages"},
        {"ssd300_vgg16", "", "pictures of 64x64 are too small for the six maps of SSD300: set data.img_size"},
        {"retinanet_resnet50_fpn", "anchor_sizes=32,64", "model.anchor_sizes has 2 numbers; the pyramid has 5 maps"},
        {"retinanet_resnet50_fpn", "returned_layers=3,2", "the stages of this body are 1 to 4"},
        {"retinanet_resnet50_fpn", "anchor_sizes=1,2,4,8,16",
         "model.anchor_sizes: an anchor of size 1 and height / width"},
        {"fcos_resnet50_fpn", "anchor_sizes=1,2,4,8,16",
         "model.anchor_sizes: an anchor of size 1 and height / width 1"},
        {"fcos_resnet50_fpn", "head_groups=3",
         "model.head_groups = 3 does not divide the pyramid's 256 channels (model.fpn_channels)"},
    };
    static detector_subject s;
    detector_open(&s, GOLDEN);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        detector_check_refusal(&s, &(detector_recipe){wrong[i][0], wrong[i][1], "", 64}, wrong[i][2]);
    detector_close(&s);
}
