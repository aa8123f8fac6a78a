/*
 * The CPU's kernels of object detection against the reference, number for number, where the random cases are too small
 * or too tame: several spans, full grids, ties, overlaps that equal the threshold, sizes near the ends of f32.
 */
#include "detect_case.h"
#include "draw.h"
#include "support/left_out.h"
#include <math.h>
#include <stdlib.h>

typedef struct machines {
    case_machine all[4];
    uint32_t n;
} machines;

static machines open_all(void) {
    static const char *const packs[] = {"base", "cpu_avx2", "cpu_avx512"};
    machines m = {.n = 1};
    m.all[0] = detect_machine("reference", NULL, 1);
    for (int i = 0; i < 3; i++)
        if (!left_out(packs[i])) m.all[m.n++] = detect_machine("cpu", packs[i], 3);
    return m;
}

static void close_all(machines *m) {
    for (uint32_t i = 0; i < m->n; i++) machine_close(&m->all[i]);
}

/* All outputs have the reference's bits. */
static void expect_alike(const machines *m, layer_case *c) {
    case_result want, have;
    cvr_error err = CVR_ERROR_INIT;
    cr_assert_eq(case_result_of(&m->all[0], c, &want, &err), CVR_OK, "%s %s: %s", c->layer, c->settings, err.message);
    for (uint32_t i = 1; i < m->n; i++) {
        cr_assert_eq(case_result_of(&m->all[i], c, &have, &err), CVR_OK, "%s: %s", m->all[i].label, err.message);
        for (uint32_t k = 0; k < want.n; k++)
            cr_expect_eq(memcmp(have.all[k].data, want.all[k].data, case_bytes(&want.all[k].type)), 0,
                         "%s: %s of %s %s differs", m->all[i].label, want.all[k].name, c->layer, c->settings);
        case_result_clear(&have);
    }
    case_result_clear(&want);
    layer_case_clear(c);
}

/* How boxes are drawn. */
#define WHOLE 0    /* few whole numbers: ties, equal boxes, empty ones, overlaps that equal a threshold */
#define CLUSTERS 1 /* about objects: grids with several cells */
#define FAR 2      /* far from 0, where few bits are left */
#define TINY 3     /* products of few bits, below the normal numbers */
#define HUGE 4     /* products past the largest */
#define STRANGE 5  /* some are infinite, NaN or have sides below 0 */
#define KINDS 6

static void draw_box(cvr_rng *rng, int kind, float *b) {
    const double x = cvr_rng_uniform(rng), y = cvr_rng_uniform(rng);
    const double w = cvr_rng_uniform(rng), h = cvr_rng_uniform(rng);
    const double scale[KINDS] = {8, 500, 1e7, 8, 3e38, 8};
    const double at = scale[kind], side = kind == CLUSTERS ? 20 : kind == FAR ? 50 : at;
    const uint64_t centre = cvr_rng_below(rng, 200);
    b[0] = (float)(kind == CLUSTERS ? (double)(centre % 20) * 25 + x * 6 : kind == FAR ? at + x * 99 : x * at);
    b[1] = (float)(kind == CLUSTERS ? (double)centre / 20 * 50 + y * 6 : kind == FAR ? at + y * 99 : y * at);
    b[2] = (float)(b[0] + w * side * (kind == HUGE ? 0.3 : 1));
    b[3] = (float)(b[1] + h * side * (kind == HUGE ? 0.3 : 1));
    if (kind == WHOLE || kind == STRANGE || kind == TINY)
        for (int k = 0; k < 4; k++) b[k] = floorf(b[k]) * (kind == TINY ? 3.75e-23f : 1);
    if (kind != STRANGE || cvr_rng_below(rng, 3)) return;
    static const float odd[] = {NAN, INFINITY, -INFINITY, -5, 1e30f, 0};
    b[cvr_rng_below(rng, 4)] = odd[cvr_rng_below(rng, 6)];
}

static void draw_boxes(cvr_rng *rng, int kind, float *boxes, int64_t n) {
    for (int64_t i = 0; i < n; i++) draw_box(rng, kind, boxes + 4 * i);
}

/*
 * Pairs whose centres are as far apart as an IoU above the threshold t allows: a box, and one at an end of it that is
 * longer by a little less than 1 / t.
 */
static void draw_edges(cvr_rng *rng, double t, float *boxes, int64_t n) {
    for (int64_t i = 0; i < n; i += 2) {
        const uint64_t turn = cvr_rng_below(rng, 4), axis = turn & 1, longer = cvr_rng_below(rng, 2);
        const double side = 5 + 30 * cvr_rng_uniform(rng),
                     length[2] = {side, side / t * (0.99 + 0.02 * cvr_rng_uniform(rng))};
        const double at[2] = {2000 * cvr_rng_uniform(rng), 2000 * cvr_rng_uniform(rng)};
        for (int64_t k = 0; k < 2 && i + k < n; k++) {
            float *b = boxes + 4 * (i + k);
            const double l = length[k == (int64_t)longer], from = turn & 2 ? at[axis] - l : at[axis];
            b[axis] = (float)from;
            b[axis + 2] = (float)(from + l);
            b[1 - axis] = (float)at[1 - axis];
            b[3 - axis] = (float)(at[1 - axis] + side);
        }
    }
}

static void draw_nms(const machines *m, uint64_t draw) {
    static const char *const thresholds[] = {"-0.1", "0",   "0.01", "0.05", "0.25", "0.45",
                                             "0.5",  "0.7", "0.9",  "1",    "1.5"};
    static const char *const methods[] = {"auto", "offset", "loop"};
    cvr_rng rng;
    cvr_rng_start(&rng, 0x6e6d73, draw);
    const int kind = (int)(draw % (KINDS + 1));
    const int64_t n = kind == CLUSTERS || kind == KINDS ? 1500 : 1 + (int64_t)cvr_rng_below(&rng, 120);
    const char *threshold = thresholds[kind == KINDS  ? 3 + cvr_rng_below(&rng, 6)
                                       : kind == TINY ? 5
                                                      : cvr_rng_below(&rng, 11)];
    layer_case c = detect_case("nms", "iou_threshold=%s min_size=%s max_out=%d n_groups=%d method=%s background=%s",
                               threshold, cvr_rng_below(&rng, 2) ? "0" : "-1e18", cvr_rng_below(&rng, 4) ? 2000 : 20,
                               (int)cvr_rng_below(&rng, 4), methods[cvr_rng_below(&rng, 3)],
                               cvr_rng_below(&rng, 2) ? "yes" : "no");
    float *boxes = detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, n, 4), NULL);
    if (kind == KINDS)
        draw_edges(&rng, strtod(threshold, NULL), boxes, n);
    else
        draw_boxes(&rng, kind, boxes, n);
    float *scores = detect_add(&c, CVR_F32, 2, DETECT_SHAPE(1, n), NULL);
    for (int64_t i = 0; i < n; i++)
        scores[i] = draw % 2 ? (float)cvr_rng_uniform(&rng) : (float)cvr_rng_below(&rng, 5) / 4;
    expect_alike(m, &c);
}

Test(detect_kernels, nms) {
    machines m = open_all();
    for (uint64_t draw = 0; draw < 140; draw++) draw_nms(&m, draw);
    close_all(&m);
}

Test(detect_kernels, match_boxes) {
    machines m = open_all();
    for (uint64_t draw = 0; draw < 12; draw++) {
        cvr_rng rng;
        const int kind = (int)(draw % KINDS);
        cvr_rng_start(&rng, 0x6d61, draw);
        layer_case c = detect_case("match_boxes", "high=0.%d low=0.%d low_quality=%s each_best=%s", 3 + (int)draw % 4,
                                   (int)draw % 3, draw % 5 ? "yes" : "no", draw % 3 ? "no" : "yes");
        draw_boxes(&rng, kind, detect_add(&c, CVR_F32, 3, DETECT_SHAPE(2, 2500, 4), NULL), 5000);
        draw_boxes(&rng, kind, detect_add(&c, CVR_F32, 3, DETECT_SHAPE(2, 7, 4), NULL), 14);
        detect_list(&c, CVR_I64, int64_t, 2, 7, 3);
        if (draw % 2) detect_list(&c, CVR_I32, int32_t, 2, 2500, 1030);
        expect_alike(&m, &c);
    }
    close_all(&m);
}

Test(detect_kernels, match_points) {
    machines m = open_all();
    for (uint64_t draw = 0; draw < 6; draw++) {
        cvr_rng rng;
        cvr_rng_start(&rng, 0x6d70, draw);
        layer_case c = detect_case("match_points", "radius=1.5 level_ends=800,1100,1300");
        draw_boxes(&rng, (int)draw, detect_add(&c, CVR_F32, 2, DETECT_SHAPE(1300, 4), NULL), 1300);
        draw_boxes(&rng, (int)draw, detect_add(&c, CVR_F32, 3, DETECT_SHAPE(2, 9, 4), NULL), 18);
        detect_list(&c, CVR_I64, int64_t, 2, 9, 4);
        expect_alike(&m, &c);
    }
    close_all(&m);
}

static void draw_floats(cvr_rng *rng, double low, double high, float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = (float)(low + (high - low) * cvr_rng_uniform(rng));
}

/* Objects that crowd about the same cells, and what is infinite or NaN in scores, boxes and objects. */
Test(detect_kernels, sim_ota) {
    machines m = open_all();
    for (uint64_t draw = 0; draw < 2 * KINDS; draw++) {
        const int64_t rows = 400, classes = 3, objects = 30;
        const int kind = (int)(draw % KINDS);
        cvr_rng rng;
        cvr_rng_start(&rng, 0x6f7461, draw);
        layer_case c = detect_case("sim_ota", "radius=%d", draw % 2 ? 4 : 1);
        float *x = detect_add(&c, CVR_F32, 3, DETECT_SHAPE(2, rows, classes), NULL);
        draw_floats(&rng, -3, draw % 3 ? 3 : 200, x, 2 * rows * classes);
        if (kind == STRANGE) x[cvr_rng_below(&rng, 900)] = NAN;
        draw_floats(&rng, -3, 3, detect_add(&c, CVR_F32, 3, DETECT_SHAPE(2, rows, 1), NULL), 2 * rows);
        x = detect_add(&c, CVR_F32, 3, DETECT_SHAPE(2, rows, 4), NULL);
        draw_floats(&rng, -1, 1, x, 2 * rows * 4);
        for (int i = 0; i < 20 && kind == STRANGE; i++) x[cvr_rng_below(&rng, 3200)] = i % 2 ? NAN : 900;
        draw_boxes(&rng, kind, detect_add(&c, CVR_F32, 2, DETECT_SHAPE(rows, 4), NULL), rows);
        draw_boxes(&rng, kind, detect_add(&c, CVR_F32, 3, DETECT_SHAPE(2, objects, 4), NULL), 2 * objects);
        int64_t *label = detect_add(&c, CVR_I64, 2, DETECT_SHAPE(2, objects), NULL);
        for (int64_t i = 0; i < 2 * objects; i++) label[i] = (int64_t)cvr_rng_below(&rng, 3);
        detect_list(&c, CVR_I64, int64_t, 2, objects, 11);
        expect_alike(&m, &c);
    }
    close_all(&m);
}

/* Several spans; many equal numbers, all equal, few above the threshold, more wanted than a span has. */
Test(detect_kernels, top_k) {
    static const struct {
        int64_t k;
        const char *more;
        int kind; /* 0: all different, else that many different ones */
    } cases[] = {{1, "above=no", 0},
                 {2000, "above=no", 0},
                 {2000, "above=no", 7},
                 {20000, "above=no", 3},
                 {300, "above=no", 1},
                 {500, "above=yes threshold=0.999", 0},
                 {500, "above=yes threshold=0.3", 2}};
    machines m = open_all();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cvr_rng rng;
        cvr_rng_start(&rng, 0x746f70, i);
        layer_case c = detect_case("top_k", "k=%lld %s", (long long)cases[i].k, cases[i].more);
        float *x = detect_add(&c, CVR_F32, 2, DETECT_SHAPE(2, 40000), NULL);
        for (int64_t k = 0; k < 80000; k++) {
            const double u = cvr_rng_uniform(&rng), n = cases[i].kind;
            x[k] = (float)(n > 0 ? floor(u * n) / n - 0.25 : 2 * u - 1);
        }
        expect_alike(&m, &c);
    }
    close_all(&m);
}

Test(detect_kernels, sample_rows) {
    static const struct {
        const char *settings;
        uint64_t objects; /* one row in so many has one */
    } cases[] = {{"rows=256 positive_fraction=0.5", 3},
                 {"rows=256 positive_fraction=0.5", 4000},
                 {"rows=512 positive_fraction=0.25 draw=first", 9},
                 {"rows=9000 positive_fraction=0.9", 2}};
    machines m = open_all();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cvr_rng rng;
        cvr_rng_start(&rng, 0x736d, i);
        layer_case c = detect_case("sample_rows", "%s key=5", cases[i].settings);
        int32_t *match = detect_add(&c, CVR_I32, 2, DETECT_SHAPE(2, 5001), NULL);
        for (int64_t k = 0; k < 2 * 5001; k++)
            match[k] = cvr_rng_below(&rng, cases[i].objects) ? -1 - (int32_t)cvr_rng_below(&rng, 2) : 1;
        *(int64_t *)detect_add(&c, CVR_I64, 0, DETECT_SHAPE(1), NULL) = 77;
        *(int64_t *)detect_add(&c, CVR_I64, 0, DETECT_SHAPE(1), NULL) = (int64_t)i;
        expect_alike(&m, &c);
    }
    close_all(&m);
}

/* Ops whose random cases are smaller than a span of rows. */
Test(detect_kernels, several_spans) {
    static const char *const lines[] = {
        "op:grid_anchors sizes=8,32 ratios=0.5,1 | 1,3,300,200! ; 1,2,37,25",
        "op:default_boxes scale=0.3 next_scale=0.5 ratios=2,3 | 1,3,300,200! ; 1,2,37,25",
        "op:encode_boxes weights=10,10,5,5 | box<3:90>:2,1500,4! ; box<3:90>:1500,4!",
        "op:decode_boxes weights=10,10,5,5 | 2,1500,8! ; box<3:90>:1500,4!",
        "op:clip_boxes | 2,1500,8! ; u01:2,2!",
        "op:box_iou | box<9>:2,1500,4! ; box<9>:2,7,4! ; i64<7>:2",
        "op:gather_rows | 2,900,3! ; i32<-2:900>:2,1500",
        "op:class_targets offset=1 | i32<-2:5>:2,5000 ; i64<9>:2,5",
    };
    machines m = open_all();
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        case_line line = {.place = "several spans"};
        layer_case c;
        char why[300] = "";
        (void)snprintf(line.text, sizeof line.text, "%s", lines[i]);
        cr_assert(draw_case(&line, i, &c, why, sizeof why), "%s: %s", lines[i], why);
        c.backward = false;
        expect_alike(&m, &c);
    }
    close_all(&m);
}

/* ---- losses ---- */

/* The gradient of the first input is asked for too. */
static void learn(layer_case *c) {
    c->inputs[0].constant = false;
    c->backward = true;
}

/* Several blocks of rows, as many classes as fill no whole number of lanes, equal losses, losses that are none, less
 * background than is asked for. */
Test(detect_kernels, anchor_cross_entropy) {
    static const char *const negatives[] = {"3", "-1", "0.5", "3", "3"};
    machines m = open_all();
    for (uint64_t draw = 0; draw < 5; draw++) {
        const int64_t rows = 1500, classes = draw % 2 ? 21 : 4;
        cvr_rng rng;
        cvr_rng_start(&rng, 0x656e74, draw);
        layer_case c = detect_case("anchor_cross_entropy", "negatives=%s", negatives[draw]);
        float *x = detect_add(&c, CVR_F32, 3, DETECT_SHAPE(3, rows, classes), NULL);
        learn(&c);
        draw_floats(&rng, -4, 4, x, 3 * rows * classes);
        if (draw == 0)
            for (int64_t i = 0; i < 3 * rows * classes; i++) x[i] = floorf(x[i]);
        if (draw == 3) {
            static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f};
            for (int64_t i = 0; i < 5; i++) x[(1 + 40 * i) * classes] = odd[i];
        }
        int64_t *target = detect_add(&c, CVR_I64, 2, DETECT_SHAPE(3, rows), NULL);
        for (int64_t i = 0; i < 3 * rows; i++)
            target[i] =
                cvr_rng_below(&rng, draw == 4 ? 2 : 20) ? 0 : (int64_t)cvr_rng_below(&rng, (uint64_t)classes) - (i % 2);
        expect_alike(&m, &c);
    }
    close_all(&m);
}

/* Masks of 0 and 1 in large pieces, speckled ones, and bytes of any value; rois as drawn, and strange ones. */
Test(detect_kernels, mask_targets) {
    machines m = open_all();
    for (uint64_t draw = 0; draw < 6; draw++) {
        const int64_t objects = 3, height = 90, width = 130, rois = 12;
        cvr_rng rng;
        cvr_rng_start(&rng, 0x6d736b, draw);
        layer_case c = detect_case("mask_targets", "size=%d", draw % 2 ? 28 : 7);
        uint8_t *mask = detect_add(&c, CVR_U8, 4, DETECT_SHAPE(2, objects, height, width), NULL);
        for (int64_t i = 0; i < 2 * objects * height * width; i++) {
            const uint64_t piece = (uint64_t)(i / (objects * 50) + i % objects) % 3 == 0;
            mask[i] = (uint8_t)(draw < 2 ? piece : cvr_rng_below(&rng, draw < 4 ? 2 : 256));
        }
        float *boxes = detect_add(&c, CVR_F32, 3, DETECT_SHAPE(2, rois, 4), NULL);
        for (int64_t i = 0; i < 2 * rois * 4; i++) boxes[i] = (float)(cvr_rng_uniform(&rng) * 110 - 5);
        for (int64_t i = 0; i < 2 * rois; i++) {
            float *b = boxes + 4 * i;
            for (int k = 0; k < 2 && i % 4; k++) b[k + 2] = b[k] + fabsf(b[k + 2]) * (i % 4 == 1 ? 0.1f : 1);
        }
        if (draw % 2) draw_boxes(&rng, STRANGE, boxes, 4);
        int32_t *match = detect_add(&c, CVR_I32, 2, DETECT_SHAPE(2, rois), NULL);
        for (int64_t i = 0; i < 2 * rois; i++) match[i] = (int32_t)cvr_rng_below(&rng, 5) - 2;
        expect_alike(&m, &c);
    }
    close_all(&m);
}

static void add_matches(cvr_rng *rng, layer_case *c, int64_t pictures, int64_t rows, uint64_t objects) {
    int32_t *match = detect_add(c, CVR_I32, 2, DETECT_SHAPE(pictures, rows), NULL);
    for (int64_t i = 0; i < pictures * rows; i++) match[i] = (int32_t)cvr_rng_below(rng, objects + 2) - 2;
}

static void add_labels(cvr_rng *rng, layer_case *c, int64_t pictures, int64_t rows, uint64_t classes) {
    int64_t *label = detect_add(c, CVR_I64, 2, DETECT_SHAPE(pictures, rows), NULL);
    for (int64_t i = 0; i < pictures * rows; i++) label[i] = (int64_t)cvr_rng_below(rng, classes);
}

/* Several spans of rows; deltas of one box a row, and of one for each of three classes. */
Test(detect_kernels, box_losses) {
    static const char *const kinds[] = {"smooth_l1", "giou", "diou", "ciou"};
    static const char *const norms[] = {"counted", "positives", "picture"};
    machines m = open_all();
    for (uint64_t draw = 0; draw < 10; draw++) {
        const int64_t rows = 2600, objects = 4, classes = draw == 6 || draw == 7 ? 3 : 1;
        cvr_rng rng;
        cvr_rng_start(&rng, 0x626f78, draw);
        layer_case c = draw < 8 ? detect_case("anchor_box_loss", "kind=%s coder=%s norm=%s", kinds[draw % 4],
                                              draw % 3 ? "center" : "ltrb", norms[draw % 3])
                                : detect_case("centerness_loss", "norm=%s", norms[draw % 3]);
        const int64_t columns = draw < 8 ? 4 * classes : 1;
        float *x = detect_add(&c, CVR_F32, 3, DETECT_SHAPE(2, rows, columns), NULL);
        learn(&c);
        draw_floats(&rng, -0.5, 0.5, x, 2 * rows * columns);
        draw_boxes(&rng, CLUSTERS, detect_add(&c, CVR_F32, 2, DETECT_SHAPE(rows, 4), NULL), rows);
        draw_boxes(&rng, CLUSTERS, detect_add(&c, CVR_F32, 3, DETECT_SHAPE(2, objects, 4), NULL), 2 * objects);
        add_matches(&rng, &c, 2, rows, (uint64_t)objects);
        if (classes > 1) add_labels(&rng, &c, 2, rows, (uint64_t)classes);
        expect_alike(&m, &c);
    }
    close_all(&m);
}

Test(detect_kernels, mask_loss) {
    machines m = open_all();
    for (uint64_t draw = 0; draw < 2; draw++) {
        const int64_t rows = 9, classes = 5, side = 28;
        cvr_rng rng;
        cvr_rng_start(&rng, 0x6c6f73, draw);
        layer_case c = detect_case("mask_loss", "%s", "");
        float *x = detect_add(&c, CVR_F32, 4, DETECT_SHAPE(2 * rows, classes, side, side), NULL);
        learn(&c);
        draw_floats(&rng, -6, 6, x, 2 * rows * classes * side * side);
        float *target = detect_add(&c, CVR_F32, 3, DETECT_SHAPE(2, rows, side * side), NULL);
        draw_floats(&rng, 0, 1, target, 2 * rows * side * side);
        add_labels(&rng, &c, 2, rows, (uint64_t)classes);
        add_matches(&rng, &c, 2, rows, 3);
        expect_alike(&m, &c);
    }
    close_all(&m);
}
