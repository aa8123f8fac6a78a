/*
 * Narrow YOLOXs against PyTorch (tests/parity/yolox_nets.py --write, which compares its PyTorch side with the reference
 * implementation): detections in evaluation, losses, and what one plain SGD step changes in every parameter and running
 * statistic (tolerances: detector_check.h). Then pictures without objects, stages, and pictures of sizes
 * that do not fit. What the models are made of is in zoo_test.c.
 */
#include "support/detector_check.h"
#include <criterion/criterion.h>

static void good(int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s", detector_error.message);
}

#define GOLDEN "yolox.safetensors"

Test(yolox, detects_what_pytorch_detects) {
    detector_check_all_found(GOLDEN, 2);
}

Test(yolox, learns_what_pytorch_learns) {
    detector_check_all_learned(GOLDEN, 2);
}

/* One of these cases has the step's "closing" at 1, so that L1 counts, the other at 0. */
Test(yolox, l1_closes) {
    static detector_subject s;
    size_t closing = 0;
    detector_open(&s, GOLDEN);
    for (size_t i = 0; i < s.g.n_cases; i++) {
        s.c.label = s.g.cases[i];
        closing += detector_number(CVR_F32, detector_wants(&s, "expect.loss_l1")->data, 0) > 0;
    }
    cr_expect_eq(closing, 1);
    detector_close(&s);
}

/* Without any object there is still background to learn. */
Test(yolox, learns_from_pictures_without_objects) {
    static detector_subject s;
    detector_open(&s, GOLDEN);
    s.c.label = "yolox_separable";
    detector_try_without_objects(&s);
    cr_expect_gt(detector_loss(&s, "loss_conf"), 1e-3);
    cr_expect_eq(detector_loss(&s, "loss_iou"), 0);
    cr_expect_eq(detector_loss(&s, "loss_cls"), 0);
    cr_expect_eq(detector_loss(&s, "loss_l1"), 0);
    detector_close(&s);
}

/* Evaluation with targets has all losses, L1 too whatever the step says, and the same detections. */
Test(yolox, evaluation_has_losses) {
    static detector_subject s;
    detector_open(&s, GOLDEN);
    s.c.label = "yolox_plain";
    detector_try(&s, false, true);
    detector_check_found(&s);
    cr_expect_gt(detector_loss(&s, "loss_iou"), 0);
    cr_expect_gt(detector_loss(&s, "loss_conf"), 0);
    cr_expect_gt(detector_loss(&s, "loss_cls"), 0);
    cr_expect_gt(detector_loss(&s, "loss_l1"), 0);
    detector_close(&s);
}

/* ---- the networks by themselves ---- */

static const detector_recipe narrow = {"yolox_nano", "width_mult=0.03125", "", 64};

/* Of the head only what tells classes apart is replaced for other classes. */
Test(yolox, every_parameter_has_a_stage) {
    static detector_subject s;
    detector_net n;
    size_t head = 0;
    detector_open(&s, GOLDEN);
    detector_check_stages(&s, &narrow);
    good(detector_build(&s, &narrow, &n));
    for (size_t k = 0; k < cvr_store_count(n.store); k++) head += strcmp(cvr_store_get(n.store, k)->stage, "head") == 0;
    cr_expect_eq(head, 6, "%zu parameters of three maps' class scores", head);
    detector_drop(&n);
    detector_close(&s);
}

Test(yolox, refuses_with_one_line) {
    static detector_subject s;
    detector_open(&s, GOLDEN);
    detector_check_refusal(&s, &(detector_recipe){"yolox_nano", "", "", 100},
                           "multiples of 32; these are (1,3,100,100), set data.img_size");
    detector_check_refusal(&s, &(detector_recipe){"yolox_nano", "", "", 8}, "multiples of 32");
    detector_close(&s);
}
