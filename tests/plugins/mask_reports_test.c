/*
 * Reporters on masks and classes: panes of picture, truth and prediction; the worst pictures of a validation; metrics
 * by class as bars. The pictures here are one level each, so that a pixel of the sheet tells which picture it shows.
 */
#include "report_case.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#define CLASSES 3
#define SIDE 8 /* of a picture: shown 24 times as large */
#define SHOWN 192
#define GAP 16
#define TITLE 26

static const char *const class_names[CLASSES] = {"background", "cat", "dog"};

TestSuite(mask_reports, .init = report_begin, .fini = report_finish);

static void *open_reporter(const cvr_reporter_desc *r, const cvr_host *host) {
    cvr_run_info info = report_run(-1, -1);
    if (host) info.host = host;
    info.task = "segment";
    info.best_metric = "miou";
    info.n_classes = CLASSES;
    info.class_names = class_names;
    info.protocol = "resized, shorter side 8";
    void *self = NULL;
    return r->open(&info, &self, &report_error) == CVR_OK ? self : NULL;
}

/* ---- batches ---- */

#define MOST 16
typedef struct masks {
    uint8_t pixels[MOST * SIDE * SIDE * 3];
    int64_t mask[MOST * SIDE * SIDE];
    float logits[MOST * SIDE * SIDE * CLASSES];
    double scores[MOST];
    cvr_origin origin[MOST];
    const cvr_origin *origins[MOST];
    cvr_named_tensor fields[3];
    const cvr_named_tensor *in[2], *out[1];
    cvr_batch_view batch, outputs;
    cvr_batch_event e;
} masks;

/* Picture i has level 10 * i + 5 and score scores[i]. The left half is class 1, the right half 0, two corners do not
 * count; class 2 is predicted in the upper half, 0 below. */
static const cvr_batch_event *batch_of(masks *m, int64_t n, const double *scores) {
    memset(m, 0, sizeof *m);
    for (int64_t i = 0; i < n * SIDE * SIDE; i++) {
        const int64_t picture = i / (SIDE * SIDE), y = i / SIDE % SIDE, x = i % SIDE;
        memset(m->pixels + 3 * i, (int)(10 * picture + 5), 3);
        m->mask[i] = x == SIDE - 1 && (y == 0 || y == SIDE - 1) ? 255 : x < SIDE / 2;
        m->logits[CLASSES * i + (y < SIDE / 2 ? 2 : 0)] = 1;
    }
    for (int64_t i = 0; i < n; i++) {
        m->scores[i] = scores[i];
        m->origin[i] = (cvr_origin){.struct_size = sizeof m->origin[i], .index = i, .path = i ? NULL : "/a/b/cat.png"};
        m->origins[i] = &m->origin[i];
    }
    m->fields[0] = report_tensor("image", CVR_FIELD_IMAGE, CVR_U8, (const int64_t[4]){n, 3, SIDE, SIDE}, m->pixels);
    m->fields[1] = report_tensor("mask", CVR_FIELD_MASK, CVR_I64, (const int64_t[4]){n, SIDE, SIDE}, m->mask);
    m->fields[2] = report_tensor("output", "", CVR_F32, (const int64_t[4]){n, CLASSES, SIDE, SIDE}, m->logits);
    m->in[0] = &m->fields[0];
    m->in[1] = &m->fields[1];
    m->out[0] = &m->fields[2];
    m->batch =
        (cvr_batch_view){.struct_size = sizeof m->batch, .n = n, .n_fields = 2, .fields = m->in, .origins = m->origins};
    m->outputs = (cvr_batch_view){
        .struct_size = sizeof m->outputs, .n = n, .n_fields = 1, .fields = m->out, .origins = m->origins};
    m->e = (cvr_batch_event){.struct_size = sizeof m->e,
                             .name = "val_batch0",
                             .batch = &m->batch,
                             .outputs = &m->outputs,
                             .scores = m->scores,
                             .score_name = "iou"};
    return &m->e;
}

/* ---- what was drawn ---- */

static void expect_pixel(const cvr_image *p, int64_t x, int64_t y, int r, int g, int b, const char *what) {
    const uint8_t *const at = p->data + (y * p->width + x) * 3;
    cr_expect(abs(at[0] - r) <= 1 && abs(at[1] - g) <= 1 && abs(at[2] - b) <= 1, "%s: %d %d %d, not %d %d %d", what,
              at[0], at[1], at[2], r, g, b);
}

/* A class's colour over a grey level. */
#define OVER(level_, ink_) ((int)(0.35 * (level_) + 0.65 * (ink_) + 0.5))

Test(mask_reports, picture_truth_prediction) {
    static const double scores[2] = {0.5, 0.25};
    masks m;
    const cvr_reporter_desc *const r = report_find("pictures");
    void *const self = open_reporter(r, NULL);
    cr_assert(self);
    cr_assert_eq(r->batch(self, batch_of(&m, 2, scores), &report_error), CVR_OK, "%s", report_error.message);
    r->close(self);
    const cvr_image shown = report_picture("val_batch0.png");
    const int64_t left = GAP + 1, top = GAP + 1, pane = SHOWN + 6, low = top + SHOWN - 20;
    cr_expect_eq(shown.width, 2 * (3 * pane - 6 + 2 + GAP) + GAP);
    expect_pixel(&shown, left + 20, top + 20, 5, 5, 5, "the picture");
    expect_pixel(&shown, left + pane + 20, top + 60, OVER(5, 128), OVER(5, 0), OVER(5, 0), "truth is a cat");
    expect_pixel(&shown, left + pane + 120, top + 60, OVER(5, 0), OVER(5, 0), OVER(5, 0), "truth is background");
    expect_pixel(&shown, left + pane + SHOWN - 4, top + 4, OVER(5, 224), OVER(5, 224), OVER(5, 192), "no class");
    expect_pixel(&shown, left + 2 * pane + 20, top + 60, OVER(5, 0), OVER(5, 128), OVER(5, 0), "said is a dog");
    expect_pixel(&shown, left + 2 * pane + 20, low, OVER(5, 0), OVER(5, 0), OVER(5, 0), "said is background");
    expect_pixel(&shown, left + 3 * pane - 6 + 2 + GAP + 20, top + 20, 15, 15, 15, "the second picture");
    free(shown.data);
}

/* A caption that has no room goes on below, after a comma. */
Test(mask_reports, long_captions_have_lines) {
    static const double scores[1] = {0.5};
    masks m;
    const cvr_reporter_desc *const r = report_find("pictures");
    void *const self = open_reporter(r, NULL);
    (void)batch_of(&m, 1, scores);
    m.origin[0].path = "/a/cat and dog, in the garden.png";
    cr_assert_eq(r->batch(self, &m.e, &report_error), CVR_OK, "%s", report_error.message);
    r->close(self);
    const cvr_image shown = report_picture("val_batch0.png");
    const int64_t below = GAP + 1 + SHOWN + 4, lines[2] = {below, below + 16};
    for (int i = 0; i < 2; i++) {
        int64_t last = 0;
        for (int64_t x = 0; x < GAP + SHOWN; x++)
            for (int64_t y = lines[i]; y < lines[i] + 12; y++)
                if (shown.data[(y * shown.width + x) * 3] == 45) last = x;
        cr_expect(last > GAP + 7 * (i ? 16 : 10) && last < GAP + 7 * (i ? 19 : 13), "line %d ends at %d", i, (int)last);
    }
    free(shown.data);
}

/* Of two batches the ten with the lowest scores, and nothing of the validation before. */
Test(mask_reports, worst_pictures) {
    static const double before[2] = {0.001, 0.002}, first[9] = {0.9, 0.8, 0.3, NAN, 0.6, 0.5, 0.95, 0.2, 0.7},
                        second[5] = {0.1, 0.4, 0.99, 0.3, 0.85};
    static const int levels[10] = {5,  75, 25, 35, 15,
                                   55, 45, 85, 15, 45}; /* second 0, first 7, first 2, second 3, ... */
    masks m;
    const cvr_reporter_desc *const r = report_find("worst");
    void *const self = open_reporter(r, NULL);
    cvr_epoch_event e = {.struct_size = sizeof e, .epoch = 1};
    cvr_end_event end = {.struct_size = sizeof end};
    cr_assert(self);
    cr_assert_eq(r->validated(self, batch_of(&m, 2, before), &report_error), CVR_OK);
    cr_assert_eq(r->epoch(self, &e, &report_error), CVR_OK);
    cr_assert_eq(r->flush(self, &report_error), CVR_OK, "%s", report_error.message);
    cr_assert_eq(r->validated(self, batch_of(&m, 9, first), &report_error), CVR_OK);
    cr_assert_eq(r->validated(self, batch_of(&m, 5, second), &report_error), CVR_OK);
    e.epoch = 2;
    cr_assert_eq(r->epoch(self, &e, &report_error), CVR_OK);
    cr_assert_eq(r->end(self, &end, &report_error), CVR_OK, "%s", report_error.message);
    r->close(self);
    const cvr_image shown = report_picture("worst.png");
    const int64_t wide = 3 * (SHOWN + 6) - 6 + 2 + GAP, high = SHOWN + 2 + 16 + GAP;
    for (int64_t i = 0; i < 10; i++)
        expect_pixel(&shown, GAP + 1 + i % 2 * wide + 20, GAP + TITLE + 1 + i / 2 * high + 20, levels[i], levels[i],
                     levels[i], "a tile");
    free(shown.data);
}

/* ---- metrics by class ---- */

Test(mask_reports, bars_of_classes) {
    static const char *const columns[] = {"iou", "dice"};
    static const double values[] = {0.5, 1, NAN, NAN, 0.25, 0};
    const cvr_epoch_event e = {
        .struct_size = sizeof e, .epoch = 1, .step = 1, .columns = columns, .per_class = values, .n_columns = 2};
    const cvr_reporter_desc *const r = report_find("curves");
    void *const self = open_reporter(r, NULL);
    cr_assert(self);
    cr_assert_eq(r->epoch(self, &e, &report_error), CVR_OK);
    cr_assert_eq(r->flush(self, &report_error), CVR_OK, "%s", report_error.message);
    r->close(self);
    const cvr_image shown = report_picture("per_class.png");
    int64_t ink[3][2] = {{0}};
    for (int64_t i = 0; i < 3; i++) /* rows of 19 from 84 on; pixels of full colour in the third line of each */
        for (int64_t x = 0; x < shown.width; x++) {
            const uint8_t *const p = shown.data + ((84 + 19 * i + 2) * shown.width + x) * 3;
            ink[i][x >= 20 + 70 + 14 + 240] += p[0] == 31 && p[1] == 110 && p[2] == 196;
        }
    /* a line at the mean, which is 0.375 and 0.5, takes a pixel of the bars that reach it */
    cr_expect(ink[0][0] == 74 && ink[0][1] == 149, "%d %d", (int)ink[0][0], (int)ink[0][1]);
    cr_expect(ink[1][0] == 0 && ink[1][1] == 0);
    cr_expect(ink[2][0] == 38 && ink[2][1] == 0, "%d %d", (int)ink[2][0], (int)ink[2][1]);
    free(shown.data);
}

/* What stands beside a number: how pictures were looked at, and how many classes no mean has. */
Test(mask_reports, the_summary_tells_the_protocol) {
    static const char *const columns[] = {"iou"};
    static const double values[] = {0.5, NAN, NAN};
    const cvr_epoch_event e = {
        .struct_size = sizeof e, .epoch = 1, .step = 1, .columns = columns, .per_class = values, .n_columns = 1};
    const cvr_end_event end = {.struct_size = sizeof end, .backend = "cpu"};
    const cvr_reporter_desc *const r = report_find("tables");
    void *const self = open_reporter(r, NULL);
    cr_assert_eq(r->epoch(self, &e, &report_error), CVR_OK);
    cr_assert_eq(r->end(self, &end, &report_error), CVR_OK, "%s", report_error.message);
    r->close(self);
    char *const text = report_slurp("summary.json", NULL);
    cr_assert(text);
    cr_expect(strstr(text, "\"protocol\": \"resized, shorter side 8\""), "%s", text);
    cr_expect(strstr(text, "\"absent_classes\": {\"iou\": 2}"), "%s", text);
    free(text);
}

/* ---- no memory ---- */

static int32_t short_run(const cvr_reporter_desc *r, const cvr_host *host) {
    static const char *const columns[] = {"iou"};
    static const double values[] = {0.5, NAN, NAN},
                        scores[12] = {0.5, 0.4, 0.3, 0.2, 0.1, 0.6, 0.7, 0, 0.8, 0.9, 1, 0.05};
    const cvr_epoch_event e = {
        .struct_size = sizeof e, .epoch = 1, .step = 1, .columns = columns, .per_class = values, .n_columns = 1};
    static masks m;
    int32_t status;
    void *const self = open_reporter(r, host);
    if (!self) return report_error.code;
    (void)batch_of(&m, 12, scores);
    if (r->batch) CVR_TRY_OUT(r->batch(self, &m.e, &report_error));
    if (r->validated) CVR_TRY_OUT(r->validated(self, &m.e, &report_error));
    if (r->epoch) CVR_TRY_OUT(r->epoch(self, &e, &report_error));
    status = r->flush ? r->flush(self, &report_error) : CVR_OK;
out:
    r->close(self);
    return status;
}

Test(mask_reports, no_memory_is_an_error_wherever_it_happens) {
    static const char *const names[] = {"pictures", "worst", "curves"};
    for (size_t i = 0; i < 3; i++) report_without_memory(names[i], 8, short_run);
}
