/*
 * Reporters on objects: pictures with their boxes, what the network says beside them; statistics of the training data's
 * objects; curves, and a confusion matrix with a background.
 */
#include "../../plugins/drawing/class_colours.h"
#include "report_case.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#define CLASSES 3
#define HEIGHT 48 /* of pictures, shown eight times as large; their canvas is 64 x 64 */
#define WIDTH 40
#define SIDE 64
#define GROWN 8
#define ROWS 4
#define GAP 16
#define TITLE 26

static const char *const class_names[CLASSES] = {"cat", "dog", "\xe7\x8c\xab"};

TestSuite(box_reports, .init = report_begin, .fini = report_finish);

/* ---- training data: picture i has i % 4 objects of class 0 and one of class 1, and each seventh a crowd ---- */

static int32_t objects(void *data, int64_t index, cvr_object_fn each, void *ctx, cvr_error *err) {
    (void)data;
    for (int64_t k = 0; k < index % 4; k++) {
        const cvr_object o = {.struct_size = sizeof o, .id = k + 1, .klass = 0, .box = {10, 10, 20, 10}, .area = 200};
        CVR_TRY(each(ctx, &o, err));
    }
    const cvr_object one = {.struct_size = sizeof one, .klass = 1, .box = {0, 0, 100, 100}, .area = 10000},
                     crowd = {.struct_size = sizeof crowd, .box = {0, 0, 50, 50}, .flags = CVR_OBJECT_CROWD},
                     unknown = {.struct_size = sizeof unknown, .klass = -1, .box = {NAN, 0, INFINITY, -1}};
    CVR_TRY(each(ctx, &one, err));
    if (index % 7 == 0) CVR_TRY(each(ctx, &crowd, err));
    return index % 7 == 0 ? each(ctx, &unknown, err) : CVR_OK;
}

static int32_t size(void *data, int64_t index, int64_t *height, int64_t *width, cvr_error *err) {
    (void)data;
    if (index % 2) return cvr_fail(err, CVR_ERR_NOTFOUND, "not known");
    *height = *width = 100;
    return CVR_OK;
}

static cvr_run_info run(const cvr_host *host) {
    cvr_run_info info = report_run(-1, -1);
    if (host) info.host = host;
    info.task = "detect";
    info.best_metric = "map";
    info.n_classes = CLASSES;
    info.class_names = class_names;
    info.n_samples = 40;
    info.objects = objects;
    info.size = size;
    return info;
}

/* ---- batches ---- */

typedef struct objects_batch {
    uint8_t pixels[2 * SIDE * SIDE * 3], masks[2 * SIDE * SIDE * ROWS];
    float boxes[2 * ROWS * 4], size[4], said[2 * ROWS * 4], score[2 * ROWS], said_masks[2 * ROWS * 4];
    int64_t labels[2 * ROWS], counts[2], said_labels[2 * ROWS];
    double scores[2];
    cvr_named_tensor fields[6], results[4];
    const cvr_named_tensor *in[6], *out[4];
    cvr_batch_view batch, outputs;
    cvr_batch_event e;
} objects_batch;

static void set_box(float *to, float x1, float y1, float x2, float y2) {
    memcpy(to, (const float[]){x1, y1, x2, y2}, 4 * sizeof *to);
}

/* The first picture has a dog; the network says a cat beside it, and nothing else from 0.25 on. The second has none. */
static const cvr_batch_event *batch_of(objects_batch *b, int32_t with_masks) {
    memset(b, 0, sizeof *b);
    memset(b->pixels, 100, sizeof b->pixels);
    for (int i = 0; i < 2; i++) b->size[2 * i] = HEIGHT, b->size[2 * i + 1] = WIDTH;
    for (int i = 0; i < 2 * ROWS; i++) b->said_labels[i] = -1;
    b->counts[0] = 1;
    b->labels[0] = 1;
    set_box(b->boxes, 8, 16, 32, 40);
    set_box(b->boxes + 4, 0, 0, 40, 40); /* of no row that counts */
    set_box(b->said, 4, 20, 24, 44);
    set_box(b->said + 4, 30, 2, 38, 8);
    b->said_labels[0] = 0;
    b->score[0] = 0.5f;
    b->said_labels[1] = 1;
    b->score[1] = 0.2f;
    b->said_masks[0] = b->said_masks[2] = 1; /* the left half of 2 x 2 */
    for (int64_t i = 0; i < SIDE * SIDE; i++) b->masks[i * ROWS] = i % SIDE < 20;
    b->fields[0] = report_tensor("image", CVR_FIELD_IMAGE, CVR_U8, (int64_t[4]){2, 3, SIDE, SIDE}, b->pixels);
    b->fields[1] = report_tensor("boxes", CVR_FIELD_BOXES, CVR_F32, (int64_t[4]){2, ROWS, 4}, b->boxes);
    b->fields[2] = report_tensor("box_labels", CVR_FIELD_BOX_LABELS, CVR_I64, (int64_t[4]){2, ROWS}, b->labels);
    b->fields[3] = report_tensor("object_count", "", CVR_I64, (int64_t[4]){2}, b->counts);
    b->fields[4] = report_tensor("image_size", "", CVR_F32, (int64_t[4]){2, 2}, b->size);
    b->fields[5] = report_tensor("masks", CVR_FIELD_MASKS, CVR_U8, (int64_t[4]){2, ROWS, SIDE, SIDE}, b->masks);
    b->fields[1].counts = b->fields[2].counts = b->fields[5].counts = &b->fields[3].tensor;
    b->results[0] = report_tensor("boxes", "", CVR_F32, (int64_t[4]){2, ROWS, 4}, b->said);
    b->results[1] = report_tensor("scores", "", CVR_F32, (int64_t[4]){2, ROWS}, b->score);
    b->results[2] = report_tensor("labels", "", CVR_I64, (int64_t[4]){2, ROWS}, b->said_labels);
    b->results[3] = report_tensor("masks", "", CVR_F32, (int64_t[4]){2, ROWS, 4}, b->said_masks);
    for (int i = 0; i < 6; i++) b->in[i] = &b->fields[i];
    for (int i = 0; i < 4; i++) b->out[i] = &b->results[i];
    b->batch =
        (cvr_batch_view){.struct_size = sizeof b->batch, .n = 2, .n_fields = with_masks ? 6 : 5, .fields = b->in};
    b->outputs =
        (cvr_batch_view){.struct_size = sizeof b->outputs, .n = 2, .n_fields = with_masks ? 4 : 3, .fields = b->out};
    b->scores[1] = 0.75;
    b->e = (cvr_batch_event){.struct_size = sizeof b->e,
                             .name = "val_batch0",
                             .batch = &b->batch,
                             .outputs = &b->outputs,
                             .scores = b->scores,
                             .score_name = "f1"};
    return &b->e;
}

/* ---- what was drawn ---- */

static int32_t is_colour(const cvr_image *p, int64_t x, int64_t y, colour c) {
    return memcmp(p->data + (y * p->width + x) * 3, (const uint8_t[]){c.r, c.g, c.b}, 3) == 0;
}

static int64_t count(const cvr_image *p, box area, colour of) {
    int64_t n = 0;
    for (int64_t y = area.y; y < area.y + area.height; y++)
        for (int64_t x = area.x; x < area.x + area.width; x++) n += is_colour(p, x, y, of);
    return n;
}

static const colour grey = {100, 100, 100}, ink = {31, 110, 196};
#define PANE_WIDE (WIDTH * GROWN)
#define PANE_HIGH (HEIGHT * GROWN)

static void show(const char *name, const cvr_batch_event *e) {
    const cvr_reporter_desc *const r = report_find(name);
    const cvr_run_info info = run(NULL);
    const cvr_epoch_event epoch = {.struct_size = sizeof epoch, .epoch = 1};
    void *self = NULL;
    cr_assert_eq(r->open(&info, &self, &report_error), CVR_OK, "%s", report_error.message);
    if (r->batch) cr_assert_eq(r->batch(self, e, &report_error), CVR_OK, "%s", report_error.message);
    if (r->validated) cr_assert_eq(r->validated(self, e, &report_error), CVR_OK, "%s", report_error.message);
    if (r->epoch) cr_assert_eq(r->epoch(self, &epoch, &report_error), CVR_OK, "%s", report_error.message);
    r->close(self);
}

/* Truth and prediction side by side, without the canvas's padding. */
static void expect_panes(const cvr_image *p, int64_t top) {
    const box truth = {GAP + 1, top + 1, PANE_WIDE, PANE_HIGH},
              said = {GAP + 1 + PANE_WIDE + 6, top + 1, PANE_WIDE, PANE_HIGH};
    cr_expect_eq(p->width, 2 * (2 * (PANE_WIDE + 6) - 6 + 2 + GAP) + GAP);
    for (int64_t y = 16 * GROWN; y < 40 * GROWN; y++)
        cr_assert(is_colour(p, truth.x + 8 * GROWN, truth.y + y, object_colour(1)), "no line of the truth");
    for (int64_t y = 20 * GROWN; y < 44 * GROWN; y++)
        cr_assert(is_colour(p, said.x + 4 * GROWN, said.y + y, object_colour(0)), "no line of the prediction");
    cr_expect_eq(count(p, truth, object_colour(0)), 0, "a row that does not count is shown");
    cr_expect_eq(count(p, said, object_colour(1)), 0, "a prediction of 0.2 is shown");
    cr_expect_eq(count(p, (box){truth.x, truth.y, PANE_WIDE, 10 * GROWN}, grey), PANE_WIDE * 10 * GROWN);
}

Test(box_reports, truth_and_prediction) {
    static const char *const files[2][2] = {{"pictures", "val_batch0.png"}, {"worst", "worst.png"}};
    static objects_batch b;
    for (int i = 0; i < 2; i++) {
        show(files[i][0], batch_of(&b, 0));
        const cvr_image p = report_picture(files[i][1]);
        expect_panes(&p, GAP + TITLE);
        free(p.data);
    }
}

Test(box_reports, a_batch_of_training_has_one_pane) {
    static objects_batch b;
    (void)batch_of(&b, 0);
    b.e.outputs = NULL;
    b.e.scores = NULL;
    show("pictures", &b.e);
    cvr_image p = report_picture("val_batch0.png");
    cr_expect_eq(p.width, 2 * (PANE_WIDE + 2 + GAP) + GAP);
    cr_expect(is_colour(&p, GAP + 1 + 8 * GROWN, GAP + TITLE + 1 + 20 * GROWN, object_colour(1)));
    free(p.data);
}

static int32_t is_tinted(const cvr_image *p, int64_t x, int64_t y, colour by) {
    const uint8_t *const at = p->data + (y * p->width + x) * 3;
    return abs(at[0] - (int)(62 + 0.38 * by.r)) <= 1 && abs(at[2] - (int)(62 + 0.38 * by.b)) <= 1;
}

Test(box_reports, masks_are_laid_over) {
    static objects_batch b;
    show("pictures", batch_of(&b, 1));
    cvr_image p = report_picture("val_batch0.png");
    const int64_t left = GAP + 1, said = left + PANE_WIDE + 6, top = GAP + TITLE + 1;
    cr_expect(is_tinted(&p, left + 14 * GROWN, top + 28 * GROWN, object_colour(1)), "the truth's mask");
    cr_expect(is_colour(&p, left + 26 * GROWN, top + 28 * GROWN, grey), "and what is outside of it");
    cr_expect(is_tinted(&p, said + 9 * GROWN, top + 32 * GROWN, object_colour(0)), "the prediction's mask");
    cr_expect(is_colour(&p, said + 21 * GROWN, top + 32 * GROWN, grey), "and what is outside of it");
    free(p.data);
}

/* Results that are not what they are called are no predictions: the truth is shown alone. */
Test(box_reports, odd_results_are_not_shown) {
    static objects_batch b;
    for (int32_t k = 0; k < 4; k++) {
        (void)batch_of(&b, 1);
        if (k == 0) b.results[0].tensor.dtype = CVR_F16;
        if (k == 1) b.results[1].tensor.shape[1] = ROWS - 1;
        if (k == 2) b.results[2].name = "classes";
        if (k == 3) b.results[0].tensor.shape[0] = 1;
        show("pictures", &b.e);
        cvr_image p = report_picture("val_batch0.png");
        cr_expect_eq(p.width, 2 * (PANE_WIDE + 2 + GAP) + GAP, "case %d", k);
        free(p.data);
    }
}

/* ---- statistics ---- */

/* Of 40 pictures: 60 of class 0, 40 of class 1, none of class 2; bars of 170 pixels for the most. */
Test(box_reports, labels_are_counted) {
    static objects_batch b;
    show("labels", batch_of(&b, 0));
    cvr_image p = report_picture("labels.png");
    static const int64_t bars[CLASSES] = {170, 113, 0};
    for (int64_t k = 0; k < CLASSES; k++)
        cr_expect_eq(count(&p, (box){0, 86 + 18 + k * 19, 400, 1}, object_colour(k)), bars[k], "class %lld",
                     (long long)k);
    const int64_t right = 20 + 7 * 7 + 12 + 170 + 70; /* the names are cat, dog, class 2 */
    const box heat = {right + 64, 86 - 20 + 34, 250, 250}, shapes = {right + 400, 86 - 20 + 330, 400, 320};
    cr_expect(is_colour(&p, heat.x + 46, heat.y + 36, (colour){22, 70, 154}), "most centres are at 20, 15 of 100");
    cr_expect_gt(count(&p, heat, (colour){22, 70, 154}), 80);
    cr_expect_gt(count(&p, shapes, ink), 500, "bars of two ratios");
    free(p.data);
}

/* ---- curves ---- */

Test(box_reports, curves_and_a_background) {
    static const double x[3] = {0, 0.5, 1}, cat[3] = {1, 0.5, 0}, dog[3] = {0, 0.8, 0.2}, mean[3] = {0.5, 0.65, 0.1};
    static const uint64_t matrix[16] = {5, 1, 0, 2, 0, 7, 0, 1, 0, 0, 0, 0, 3, 0, 1, 0};
    const cvr_curve curves[] = {
        {sizeof(cvr_curve), "f1", "confidence", "F1", 0, 3, 0, x, cat, 1},
        {sizeof(cvr_curve), "f1", "confidence", "F1", 1, 3, 0, x, dog, 0.8},
        {sizeof(cvr_curve), "f1", "confidence", "F1", 2, 0, 0, x, dog, NAN},
        {sizeof(cvr_curve), "f1", "confidence", "F1", -1, 3, 0, x, mean, 0.65},
        {sizeof(cvr_curve), "p/r", "recall", "precision", 0, 3, 0, x, cat, 1},
    };
    const cvr_curve *all[5];
    for (int i = 0; i < 5; i++) all[i] = &curves[i];
    const cvr_epoch_event e = {.struct_size = sizeof e,
                               .epoch = 3,
                               .step = 1,
                               .matrix = matrix,
                               .matrix_extra = "background",
                               .n_curves = 5,
                               .curves = all};
    const cvr_reporter_desc *const r = report_find("curves");
    const cvr_run_info info = run(NULL);
    void *self = NULL;
    cr_assert_eq(r->open(&info, &self, &report_error), CVR_OK);
    cr_assert_eq(r->epoch(self, &e, &report_error), CVR_OK, "%s", report_error.message);
    cr_assert_eq(r->flush(self, &report_error), CVR_OK, "%s", report_error.message);
    r->close(self);
    cvr_image p = report_picture("f1_curve.png");
    cr_expect(is_colour(&p, 70 + 280, 60 + 560 * 35 / 100, (colour){20, 40, 90}), "the mean at 0.5, with a disc");
    cr_expect_gt(count(&p, (box){70, 60, 560, 560}, object_colour(0)), 300, "a line for the cat");
    cr_expect_gt(count(&p, (box){70, 60, 560, 560}, object_colour(1)), 300, "a line for the dog");
    cr_expect_eq(count(&p, (box){70, 60, 560, 560}, object_colour(2)), 0, "none for a class without a curve");
    cr_expect_gt(count(&p, (box){650, 60, 30, 100}, object_colour(2)), 10, "it is in the legend all the same");
    free(p.data);
    p = report_picture("p_r_curve.png");
    cr_expect_eq(count(&p, (box){688 + 9 * 7, 60, 60, 17}, CANVAS_PAPER), 60 * 17, "more than `cat 1.000`");
    free(p.data);
    report_expect_text("confusion_matrix.csv",
                       "truth,cat,dog,\xe7\x8c\xab,background\ncat,5,1,0,2\ndog,0,7,0,1\n\xe7\x8c\xab,0,0,0,0\n"
                       "background,3,0,1,0\n");
}

static int32_t short_run(const cvr_reporter_desc *r, const cvr_host *host) {
    static objects_batch b;
    static const double x[2] = {0, 1};
    const cvr_curve curve = {sizeof curve, "pr", "recall", "precision", 0, 2, 0, x, x, 0.5};
    const cvr_curve *const curves[] = {&curve};
    const cvr_epoch_event e = {.struct_size = sizeof e,
                               .epoch = 1,
                               .matrix = (const uint64_t[16]){1},
                               .matrix_extra = "background",
                               .n_curves = 1,
                               .curves = curves};
    const cvr_run_info info = run(host);
    void *self = NULL;
    int32_t status;
    if (r->open(&info, &self, &report_error) != CVR_OK) return report_error.code;
    (void)batch_of(&b, 1);
    if (r->batch) CVR_TRY_OUT(r->batch(self, &b.e, &report_error));
    if (r->validated) CVR_TRY_OUT(r->validated(self, &b.e, &report_error));
    if (r->epoch) CVR_TRY_OUT(r->epoch(self, &e, &report_error));
    status = r->flush ? r->flush(self, &report_error) : CVR_OK;
out:
    r->close(self);
    return status;
}

Test(box_reports, no_memory_is_an_error_wherever_it_happens) {
    static const char *const names[] = {"worst", "curves", "labels"};
    for (size_t i = 0; i < 3; i++) report_without_memory(names[i], 3, short_run);
}
