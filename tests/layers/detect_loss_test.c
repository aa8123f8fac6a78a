/*
 * roi_align, mask_targets and the losses of detection: numbers that torchvision 0.29.2 prints for a few inputs that can
 * be checked by hand, what they refuse, numbers that are none or too large, and the same bits for any number of
 * threads. Whole losses of networks are in tests/golden/layers_{roi,detect_loss}.safetensors.
 */
#include "draw.h"
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

static const char *const backends[] = {"reference", "cpu"};

static case_machine machine_of(const char *backend, uint32_t threads) {
    case_machine m;
    cvr_error err = CVR_ERROR_INIT;
    cr_assert_eq(machine_open(&m, backend, NULL, threads, &err), CVR_OK, "%s: %s", backend, err.message);
    return m;
}

/* A draw of a line, to be changed and run. */
static layer_case drawn(const char *text) {
    case_line line = {.place = "here"};
    layer_case c;
    char why[300] = "";
    (void)snprintf(line.text, sizeof line.text, "%s", text);
    cr_assert(draw_case(&line, 0, &c, why, sizeof why), "%s: %s", text, why);
    return c;
}

static void set_floats(layer_case *c, uint32_t input, const float *x) {
    case_tensor *t = &c->inputs[input];
    memcpy(t->data, x, case_bytes(&t->type));
}

/* The first n elements of the output, or of a gradient, must be these to six digits. */
static void expect_close(const layer_case *c, const char *name, const double *want, size_t n) {
    for (size_t b = 0; b < sizeof backends / sizeof *backends; b++) {
        case_machine m = machine_of(backends[b], 1);
        case_result r;
        cvr_error err = CVR_ERROR_INIT;
        cr_assert_eq(case_result_of(&m, c, &r, &err), CVR_OK, "%s: %s", c->layer, err.message);
        const case_tensor *t = case_result_find(&r, name);
        cr_assert_not_null(t, "%s has no %s", c->layer, name);
        for (size_t i = 0; i < n; i++)
            cr_expect_float_eq(((const float *)t->data)[i], want[i], 2e-6 * (1 + fabs(want[i])),
                               "%s %s on %s: %s[%zu] is %.9g, wanted is %.9g", c->layer, c->settings, backends[b], name,
                               i, (double)((const float *)t->data)[i], want[i]);
        case_result_clear(&r);
        machine_close(&m);
    }
}

/* ---- numbers to check by hand ---- */

Test(values, roi_align) {
    static const struct {
        const char *settings;
        float roi[4];
        double want[4];
    } cases[] = {
        {"sampling_ratio=2", {1, 2, 6.5f, 7}, {13.15234375, 15.7099609375, 37.13671875, 41.4130859375}},
        {"sampling_ratio=2 aligned=yes", {1, 2, 6.5f, 7}, {9.4794921875, 11.6484375, 30.6513671875, 34.5390625}},
        {"sampling_ratio=-1", {-3, 5, 0.2f, 12}, {0, 29.71875, 0, 0}},
    };
    float map[64];
    for (int i = 0; i < 64; i++) map[i] = (float)(i * i) / 64.0f;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[200];
        (void)snprintf(text, sizeof text, "op:roi_align output_size=2 scales=1 %s | 1,1,4! ; - ; 1,1,8,8",
                       cases[i].settings);
        layer_case c = drawn(text);
        c.backward = false;
        set_floats(&c, 0, cases[i].roi);
        set_floats(&c, 2, map);
        expect_close(&c, "out0", cases[i].want, 4);
        layer_case_clear(&c);
    }
}

Test(values, overlap) {
    static const struct {
        const char *kind;
        double loss;
    } cases[] = {{"giou", 1.13888884}, {"diou", 1.01888895}, {"ciou", 1.01916456}};
    const float anchor[4] = {0, 0, 10, 10}, object[4] = {5, 5, 15, 20}, deltas[4] = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[200];
        (void)snprintf(text, sizeof text, "op:anchor_box_loss kind=%s | 1,1,4 ; 1,4! ; 1,1,4! ; i32<1>:1,1",
                       cases[i].kind);
        layer_case c = drawn(text);
        c.backward = false;
        set_floats(&c, 0, deltas);
        set_floats(&c, 1, anchor);
        set_floats(&c, 2, object);
        expect_close(&c, "out0", &cases[i].loss, 1);
        layer_case_clear(&c);
    }
}

Test(values, focal) {
    static const float logits[3] = {2, -1, 0.3f};
    static const int64_t targets[3] = {0, -1, 0};
    static const double losses[3] = {.00045089, .01699354, .02509832};
    for (int i = 0; i < 3; i++) {
        layer_case c = drawn("op:anchor_focal_loss | 1,1,1 ; i64<1>:1,1");
        c.backward = false;
        set_floats(&c, 0, &logits[i]);
        memcpy(c.inputs[1].data, &targets[i], sizeof targets[i]);
        expect_close(&c, "out0", &losses[i], 1);
        layer_case_clear(&c);
    }
}

/* Of SSD's background, as many rows count as are asked for to each object, 2.5 here and so 3: the hardest, equal ones
 * by row. */
Test(values, hard_negatives) {
    static const float x[16] = {0, 0, 0, 1, 0, 5, 0, -1, 0, 1, 0, 1, 0, 1, 0, 9};
    static const int64_t targets[8] = {0, 0, 1, 0, 0, 0, 0, -5};
    const double l[4] = {log(1 + exp(1.0)), log(1 + exp(-5.0)), 0, 0};
    const double want = 3 * l[0] + l[1];
    layer_case c = drawn("op:anchor_cross_entropy negatives=2.5 | 1,8,2 ; i64<2>:1,8");
    double dx[16] = {0};
    const double p = exp(1.0) / (1 + exp(1.0)), q = 1 / (1 + exp(5.0));
    const int kept[3] = {1, 4, 5};
    for (int i = 0; i < 3; i++) {
        dx[2 * kept[i]] = -p;
        dx[2 * kept[i] + 1] = p;
    }
    dx[4] = q, dx[5] = -q;
    const float one = 1;
    cvr_type scalar;
    cvr_type_set(&scalar, CVR_F32, 0, NULL);
    cr_assert(case_tensor_set(&c.gradients[0], "gout", &scalar, &one));
    c.n_gradients = 1;
    set_floats(&c, 0, x);
    memcpy(c.inputs[1].data, targets, sizeof targets);
    expect_close(&c, "out0", &want, 1);
    expect_close(&c, "gin0", dx, 16);
    layer_case_clear(&c);
}

/* ---- what is refused ---- */

Test(refusals, shapes) {
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"op:roi_align output_size=2 scales=1,0.5 | 1,3,4! ; - ; 1,2,8,8", "2 scales for 1 maps"},
        {"op:roi_align output_size=2 scales=0.5,1 | 1,3,4! ; - ; 1,2,8,8 ; 1,2,4,4", "the largest first"},
        {"op:roi_align output_size=2 scales=0 | 1,3,4! ; - ; 1,2,8,8", "above 0"},
        {"op:roi_align output_size=2 scales=1 | 1,3,5! ; - ; 1,2,8,8", "(1,3,5)"},
        {"op:roi_align output_size=2 scales=1 | 2,3,4! ; - ; 1,2,8,8", "with N 2"},
        {"op:roi_align output_size=2 scales=1 | 2,3,4! ; i32<3>:3! ; 2,2,8,8", "the count"},
        {"op:roi_align output_size=2 scales=1,0.5 | 1,3,4! ; - ; 1,2,8,8 ; 1,3,4,4", "the C of the first map"},
        {"op:mask_targets | 1,3,8,8! ; 1,2,4! ; i32<2>:1,2", "they must be u8"},
        {"op:class_targets | i32<2>:2,9 ; i64<2>:3,4", "axis 0 must have 2"},
        {"op:anchor_focal_loss | 2,9,4 ; i64<2>:2,8", "axis 1 must have 9"},
        {"op:anchor_cross_entropy | 2,9,4 ; i32<2>:2,9", "wanted is i64"},
        {"op:anchor_box_loss | 2,9,8 ; 9,4! ; 2,3,4! ; i32<2>:2,9", "without labels"},
        {"op:anchor_box_loss | 2,9,6 ; 9,4! ; 2,3,4! ; i32<2>:2,9 ; i64<1>:2,9", "four numbers for each class"},
        {"op:anchor_box_loss | 2,9,4 ; 8,4! ; 2,3,4! ; i32<2>:2,9", "axis 0 must have 9"},
        {"op:centerness_loss | 2,9,2 ; 9,4! ; 2,3,4! ; i32<2>:2,9", "axis 2 must have 1"},
        {"op:mask_loss | 6,3,4,4 ; 2,3,15! ; i64<3>:2,3 ; i32<2>:2,3", "axis 2 must have 16"},
        {"op:yolo_boxes size=30 anchors=5,6,8,14 | 2,15,3,3!", "do not fit its channels"},
        {"op:yolo_boxes size=30 anchors=5,6,8 | 2,16,3,3!", "each has a width and a height"},
        {"op:yolo_loss size=30 anchors=5,6 mask=1 | 2,8,3,3 ; box<30>:2,4,4! ; i64<3>:2,4 ; i64<4:5>:2",
         "mask names anchor 1 of 1"},
        {"op:yolo_loss size=30 anchors=5,6 mask=0 | 2,8,3,3 ; 3,4,4! ; i64<3>:2,4 ; i64<4>:2", "boxes: f32 (3,4,4)"},
    };
    case_machine m = machine_of("reference", 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        layer_case c = drawn(cases[i].line);
        case_result r;
        cvr_error err = CVR_ERROR_INIT;
        cr_expect_neq(case_result_of(&m, &c, &r, &err), CVR_OK, "taken: %s", cases[i].line);
        cr_expect_not_null(strstr(err.message, cases[i].says), "%s: the message is: %s", cases[i].line, err.message);
        layer_case_clear(&c);
    }
    machine_close(&m);
}

/* One integer of one input is what no object and no class can be. */
Test(refusals, numbers) {
    static const struct {
        const char *line;
        uint32_t input;
        int64_t value;
        const char *says;
    } cases[] = {
        {"op:class_targets | i32<3>:2,9 ; i64<2>:2,3", 0, 3, "matched to object 3 of 3"},
        {"op:class_targets | i32<3>:2,9 ; i64<2>:2,3", 0, -3, "matched to object -3 of 3"},
        {"op:mask_targets | u8<2>:2,3,8,8 ; 2,9,4! ; i32<2>:2,9", 2, INT32_MAX, "of 3"},
        {"op:anchor_focal_loss | 2,9,4 ; i64<2>:2,9", 1, 4, "target 4, but there are 4 classes"},
        {"op:anchor_focal_loss | 2,9,4 ; i64<2>:2,9", 1, INT64_MIN, "there are 4 classes"},
        {"op:anchor_cross_entropy | 2,9,4 ; i64<2>:2,9", 1, INT64_MAX, "there are 4 classes"},
        {"op:anchor_box_loss | 2,9,4 ; 9,4! ; 2,3,4! ; i32<2>:2,9", 3, 3, "matched to object 3 of 3"},
        {"op:anchor_box_loss | 2,9,8 ; 9,4! ; 2,3,4! ; i32<2>:2,9 ; i64<2>:2,9", 4, 2, "label 2"},
        {"op:centerness_loss | 2,9,1 ; 9,4! ; 2,3,4! ; i32<2>:2,9", 3, INT32_MIN, "of 3"},
        {"op:mask_loss | 6,3,4,4 ; 2,3,16! ; i64<3>:2,3 ; i32<2>:2,3", 2, -1, "label -1"},
        {"op:yolo_loss size=30 anchors=5,6 mask=0 | 2,8,3,3 ; box<30>:2,4,4! ; i64<3>:2,4 ; i64<4:5>:2", 2, 3,
         "has class 3, but there are 3"},
        {"op:yolo_loss size=30 anchors=5,6 mask=0 | 2,8,3,3 ; box<30>:2,4,4! ; i64<3>:2,4 ; i64<4:5>:2", 2, -1,
         "has class -1"},
        {"op:yolo_loss size=30 anchors=5,6 mask=0 | 2,8,3,3 ; box<30>:2,4,4! ; i64<3>:2,4 ; i64<4:5>:2", 3, 5,
         "has 5 objects; there is room for 4"},
        {"op:yolo_loss size=30 anchors=5,6 mask=0 | 2,8,3,3 ; box<30>:2,4,4! ; i64<3>:2,4 ; i64<4:5>:2", 3, -1,
         "-1 objects"},
    };
    for (size_t b = 0; b < sizeof backends / sizeof *backends; b++) {
        case_machine m = machine_of(backends[b], 2);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            layer_case c = drawn(cases[i].line);
            case_tensor *t = &c.inputs[cases[i].input];
            case_result r;
            cvr_error err = CVR_ERROR_INIT;
            memcpy((char *)t->data + cvr_dtype_size(t->type.dtype), &cases[i].value, cvr_dtype_size(t->type.dtype));
            cr_expect_neq(case_result_of(&m, &c, &r, &err), CVR_OK, "taken: %s", cases[i].line);
            cr_expect_not_null(strstr(err.message, cases[i].says), "%s: the message is: %s", cases[i].line,
                               err.message);
            layer_case_clear(&c);
        }
        machine_close(&m);
    }
}

/* ---- numbers that are none, or huge ---- */

/* All f32 inputs have some; nothing may break, nor take long, and results are told from memory that nobody wrote by the
 * guard bytes around them. */
Test(hostile, floats) {
    static const char *const lines[] = {
        "op:roi_align output_size=3 sampling_ratio={-1|2} aligned={no|yes} scales=1 | 2,8,4! ; i32<9>:2! ; 2,5,6,6",
        "op:roi_align output_size=2 sampling_ratio=-1 scales=0.25,0.125 | 2,8,4! ; - ; 2,3,6,6 ; 2,3,3,3",
        "op:mask_targets size=5 | u8<2>:2,3,8,9 ; 2,8,4! ; i32<-2:3>:2,8",
        "op:anchor_focal_loss@* gamma={1.5|2} norm=picture | 2,9,5 ; i64<-2:5>:2,9",
        "op:anchor_quality_loss@* | 2,9,5 ; i64<-2:5>:2,9 ; 2,9!",
        "op:anchor_cross_entropy@* | 2,9,5! ; i64<5>:2,9",
        "op:anchor_box_loss@* kind={smooth_l1|giou|diou|ciou|squared_iou} coder={center|center_open} | 2,8,4 ; 8,4! ; "
        "2,3,4! ; i32<-2:3>:2,8",
        "op:anchor_box_loss@* kind={giou|ciou} coder=ltrb | 2,8,4 ; 2,8,4! ; 2,3,4! ; i32<-2:3>:2,8",
        "op:centerness_loss@* | 2,8,1 ; 8,4! ; 2,3,4! ; i32<-2:3>:2,8",
        "op:mask_loss@* | 4,3,2,2 ; 2,2,4! ; i64<3>:2,2 ; i32<-2:3>:2,2",
        "op:yolo_boxes@* size=30 anchors=5,6,8,14 softmax={no|yes} | 2,16,3,3!",
        "op:yolo_loss size=30 anchors=5,6,8,14 mask=0,1 box={squares|giou|ciou} new_coords={no|yes} | 2,16,3,3 ; "
        "box<30>:2,4,4! ; i64<3>:2,4 ; i64<5>:2",
    };
    static const float odd[] = {NAN,  INFINITY, -INFINITY, 1e30f, -1e30f,   FLT_MAX,
                                0.0f, -0.0f,    FLT_MIN,   1e9f,  -3000.5f, 16777216.0f};
    const uint64_t n_odd = sizeof odd / sizeof *odd;
    case_machine m[2] = {machine_of("reference", 1), machine_of("cpu", 2)};
    for (uint64_t i = 0; i < 60 * sizeof lines / sizeof *lines; i++) {
        case_line line = {.place = "hostile"};
        layer_case c;
        case_result r;
        cvr_error err = CVR_ERROR_INIT;
        cvr_rng rng;
        char why[300] = "";
        (void)snprintf(line.text, sizeof line.text, "%s", lines[i / 60]);
        cr_assert(draw_case(&line, i, &c, why, sizeof why), "%s: %s", line.text, why);
        cr_assert(draw_complete(&m[0], &c, i, &err), "%s: %s", line.text, err.message);
        cvr_rng_start(&rng, 0x6f6464, i);
        for (uint32_t k = 0; k < c.n_inputs; k++) {
            case_tensor *t = &c.inputs[k];
            const int64_t n = cvr_numel(t->type.rank, t->type.shape);
            for (int64_t e = 0; t->type.dtype == CVR_F32 && e < n; e++)
                if (cvr_rng_below(&rng, 3) == 0) ((float *)t->data)[e] = odd[cvr_rng_below(&rng, n_odd)];
        }
        for (int b = 0; b < 2; b++) {
            cr_expect_eq(case_result_of(&m[b], &c, &r, &err), CVR_OK, "%s on %s: %s", line.text, backends[b],
                         err.message);
            case_result_clear(&r);
        }
        layer_case_clear(&c);
    }
    machine_close(&m[0]);
    machine_close(&m[1]);
}

/* A loss that is no number has to be seen: NaN is never passed over as an easy row. */
Test(hostile, nan_is_hard) {
    layer_case c = drawn("op:anchor_cross_entropy negatives=1 | 1,6,2 ; i64<1>:1,6");
    case_machine m = machine_of("cpu", 1);
    case_result r;
    cvr_error err = CVR_ERROR_INIT;
    ((int64_t *)c.inputs[1].data)[0] = 1;
    ((float *)c.inputs[0].data)[9] = NAN;
    c.backward = false;
    cr_assert_eq(case_result_of(&m, &c, &r, &err), CVR_OK, "%s", err.message);
    cr_expect(isnan(*(const float *)case_result_find(&r, "out0")->data));
    case_result_clear(&r);
    layer_case_clear(&c);
    machine_close(&m);
}

/* ---- threads ---- */

Test(threads, same_bits) {
    static const char *const lines[] = {
        "op:roi_align output_size=7 sampling_ratio=2 scales=0.5,0.25 | box<60>:2,40,4! ; i32<9:40>:2! ; 2,37,30,30 ; "
        "2,37,15,15",
        "op:anchor_focal_loss@* norm=picture | 3,900,21 ; i64<-2:21>:3,900",
        "op:anchor_focal_loss gamma=1.5 | 2,500,91 ; i64<-2:91>:2,500",
        "op:anchor_cross_entropy | 3,700,21 ; i64<2>:3,700",
        "op:anchor_box_loss kind=giou | u01:3,700,4 ; box<3:90>:700,4! ; box<3:90>:3,9,4! ; i32<-2:9>:3,700",
        "op:yolo_loss size=90 anchors=5,6,8,14,15,11 mask=0,1,2 box=ciou iou_thresh=0.2 | 7,255,9,9 ; "
        "box<3:90>:7,30,4! ; i64<80>:7,30 ; i64<31>:7",
    };
    case_machine m[3] = {machine_of("cpu", 1), machine_of("cpu", 2), machine_of("cpu", 5)};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        layer_case c = drawn(lines[i]);
        case_result r[3];
        cvr_error err = CVR_ERROR_INIT;
        cr_assert(draw_complete(&m[0], &c, 1, &err), "%s: %s", lines[i], err.message);
        for (int k = 0; k < 3; k++)
            cr_assert_eq(case_result_of(&m[k], &c, &r[k], &err), CVR_OK, "%s: %s", lines[i], err.message);
        cr_assert_not_null(case_result_find(&r[0], i == 0 ? "gin2" : "gin0"), "%s has no gradient", lines[i]);
        for (uint32_t t = 0; t < r[0].n; t++)
            for (int k = 1; k < 3; k++)
                cr_expect_eq(memcmp(r[0].all[t].data, r[k].all[t].data, case_bytes(&r[0].all[t].type)), 0,
                             "%s: %s differs", lines[i], r[0].all[t].name);
        for (int k = 0; k < 3; k++) case_result_clear(&r[k]);
        layer_case_clear(&c);
    }
    for (int k = 0; k < 3; k++) machine_close(&m[k]);
}
