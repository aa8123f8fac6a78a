/*
 * Narrow YOLOXs against PyTorch (tests/parity/yolox_nets.py --write, which compares its PyTorch side with the reference
 * implementation): detections in evaluation, losses, and what one plain SGD step changes in every parameter and running
 * statistic (tolerances: detector_check.h). Then pictures without objects, stages, and pictures of sizes
 * that do not fit. What the models are made of is in zoo_test.c.
 */
#include "support/detector_check.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static void good(int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s", detector_error.message);
}

static void setup(detector_subject *s) {
    detector_open(s, "yolox.safetensors");
    cr_assert_eq(s->g.n_cases, 2);
}

Test(yolox, detects_what_pytorch_detects) {
    static detector_subject s;
    setup(&s);
    for (size_t i = 0; i < s.g.n_cases; i++) {
        s.c.label = s.g.cases[i];
        detector_try(&s, false, false);
        detector_check_found(&s);
    }
    detector_close(&s);
}

/* One of the cases has the step's "closing" at 1, so that L1 counts, the other at 0. */
Test(yolox, learns_what_pytorch_learns) {
    static detector_subject s;
    size_t closing = 0;
    setup(&s);
    for (size_t i = 0; i < s.g.n_cases; i++) {
        s.c.label = s.g.cases[i];
        detector_try(&s, true, true);
        cr_assert_eq(detector_check_losses(&s), 4, "%s", s.c.label);
        detector_check_changes(&s);
        closing += detector_number(CVR_F32, detector_gave(&s, "loss_l1")->data, 0) > 0;
    }
    cr_assert_eq(closing, 1);
    detector_close(&s);
}

static double loss(const detector_subject *s, const char *name) {
    return detector_number(CVR_F32, detector_gave(s, name)->data, 0);
}

/* Without any object there is still background to learn; nothing becomes NaN. */
Test(yolox, learns_from_pictures_without_objects) {
    static detector_subject s;
    setup(&s);
    s.c.label = "yolox_separable";
    const golden_tensor *counts = detector_wants(&s, "counts");
    memset(counts->data, 0, counts->bytes);
    detector_try(&s, true, true);
    cr_expect_gt(loss(&s, "loss_conf"), 1e-3);
    cr_expect_eq(loss(&s, "loss_iou"), 0);
    cr_expect_eq(loss(&s, "loss_cls"), 0);
    cr_expect_eq(loss(&s, "loss_l1"), 0);
    for (size_t k = 0; k < s.r.n; k++) {
        const detector_tensor *t = &s.r.all[k];
        for (int64_t e = 0; e < cvr_numel(t->type.rank, t->type.shape) && t->type.dtype == CVR_F32; e++)
            cr_assert(isfinite(((const float *)t->data)[e]), "%s", t->name);
    }
    detector_close(&s);
}

/* Evaluation with targets has all losses, L1 too whatever the step says, and the same detections. */
Test(yolox, evaluation_has_losses) {
    static detector_subject s;
    setup(&s);
    s.c.label = "yolox_plain";
    detector_try(&s, false, true);
    detector_check_found(&s);
    cr_expect_gt(loss(&s, "loss_iou"), 0);
    cr_expect_gt(loss(&s, "loss_conf"), 0);
    cr_expect_gt(loss(&s, "loss_cls"), 0);
    cr_expect_gt(loss(&s, "loss_l1"), 0);
    detector_close(&s);
}

/* ---- the networks by themselves ---- */

/* Every parameter has a stage; of the head only what tells classes apart is replaced for other classes. */
Test(yolox, every_parameter_has_a_stage) {
    static detector_subject s;
    char every[512] = "";
    detector_net n;
    size_t head = 0;
    detector_open(&s, "yolox.safetensors");
    good(detector_build(&s, &(detector_recipe){"yolox_nano", "width_mult=0.03125", "", 64}, &n));
    for (uint32_t k = 0; k < n.model->n_stages; k++)
        (void)snprintf(every + strlen(every), sizeof every - strlen(every), "%s%s", k ? "," : "",
                       n.model->stages[k]->name);
    for (size_t k = 0; k < cvr_store_count(n.store); k++) head += strcmp(cvr_store_get(n.store, k)->stage, "head") == 0;
    cr_expect_eq(head, 6, "%zu parameters of three maps' class scores", head);
    detector_drop(&n);
    good(detector_build(&s, &(detector_recipe){"yolox_nano", "width_mult=0.03125", every, 64}, &n));
    for (size_t k = 0; k < cvr_store_count(n.store); k++)
        cr_expect_neq(cvr_store_get(n.store, k)->role, CVR_STORE_TRAINED, "%s has no stage",
                      cvr_store_get(n.store, k)->name);
    detector_drop(&n);
    detector_close(&s);
}

Test(yolox, refuses_with_one_line) {
    static const struct {
        const char *settings;
        int64_t side;
        const char *says;
    } wrong[] = {
        {"", 100, "multiples of 32; these are (1,3,100,100), set data.img_size"},
        {"", 8, "multiples of 32"},
    };
    static detector_subject s;
    detector_open(&s, "yolox.safetensors");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        detector_net n;
        const detector_recipe recipe = {"yolox_nano", wrong[i].settings, "", wrong[i].side};
        cr_expect_neq(detector_build(&s, &recipe, &n), CVR_OK, "%lld", (long long)wrong[i].side);
        cr_expect(strstr(detector_error.message, wrong[i].says) && !strchr(detector_error.message, '\n'), "%s",
                  detector_error.message);
        detector_drop(&n);
    }
    detector_close(&s);
}
