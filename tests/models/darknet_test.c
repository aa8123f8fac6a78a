/*
 * Networks of .cfg files with .weights against what Debian's `darknet` finds and learns with them
 * (tests/parity/darknet.py), and a YOLOv4 against the same in PyTorch (darknet_torch.py).
 */
#include "darknet_case.h"

/* ---- what darknet finds ---- */

static double within(double x, double most) {
    return x > most ? most : x;
}

/* Each line of the file has the best detections of a picture, the best first. darknet cuts boxes to side - 1. */
static void check_detections(const detector_subject *s, const char *name, double side) {
    static double boxes[DARKNET_MOST_NUMBERS], scores[DARKNET_MOST_NUMBERS], labels[DARKNET_MOST_NUMBERS];
    char file[64];
    darknet_net n;
    int picture, klass, last = -1, row = 0;
    double score, box[4], largest = 0;
    darknet_net_open(s, name, 64, &n);
    (void)snprintf(file, sizeof file, "%s.weights", name);
    darknet_good(darknet_load(s, &n, darknet_golden(file)));
    darknet_plan_net(s, &n);
    (void)snprintf(file, sizeof file, "%s.txt", name);
    FILE *f = fopen(darknet_golden(file), "r");
    cr_assert_not_null(f);
    while (fscanf(f, "%d %d %lf %lf %lf %lf %lf", &picture, &klass, &score, box, box + 1, box + 2, box + 3) == 7) {
        if (picture != last) {
            darknet_run(&n, picture, 64);
            (void)darknet_result(&n, "boxes", boxes), (void)darknet_result(&n, "scores", scores),
                (void)darknet_result(&n, "labels", labels);
            last = picture;
            row = 0;
        }
        cr_assert_eq((int)labels[row], klass, "%s, picture %d, detection %d: class %g", name, picture, row,
                     labels[row]);
        cr_assert_float_eq(scores[row], score, 2e-5, "%s, picture %d, detection %d: score %g instead of %g", name,
                           picture, row, scores[row], score);
        for (int k = 0; k < 4; k++) largest = fmax(largest, fabs(within(boxes[4 * row + k], side) - box[k]));
        cr_assert_leq(largest, 0.01, "%s, picture %d, detection %d: %g pixels off", name, picture, row, largest);
        row++;
    }
    (void)fclose(f);
    cr_assert_geq(row, 40, "%s: %d rows in the file", name, row);
    darknet_net_close(&n);
}

Test(darknet, detects_what_darknet_detects) {
    static detector_subject s;
    darknet_open(&s);
    check_detections(&s, "yolov3", 63);
    check_detections(&s, "yolov2", 63);
    check_detections(&s, "yolov4", 64); /* tests/parity/darknet_torch.py */
    darknet_close(&s);
}

Test(darknet, classifies_as_darknet_does) {
    static detector_subject s;
    darknet_net n;
    double logits[8], want[3];
    int picture, pictures = 0;
    darknet_open(&s);
    darknet_net_open(&s, "classifier", 32, &n);
    darknet_good(darknet_load(&s, &n, darknet_golden("classifier.weights")));
    darknet_plan_net(&s, &n);
    FILE *f = fopen(darknet_golden("classifier.txt"), "r");
    cr_assert_not_null(f);
    for (; fscanf(f, "%d %lf %lf %lf", &picture, want, want + 1, want + 2) == 4; pictures++) {
        double sum = 0;
        darknet_run(&n, picture, 32);
        cr_assert_eq(darknet_result(&n, "output", logits), 3);
        for (int k = 0; k < 3; k++) sum += exp(logits[k]);
        for (int k = 0; k < 3; k++) cr_expect_float_eq(exp(logits[k]) / sum, want[k], 1e-4, "picture %d", picture);
    }
    (void)fclose(f);
    cr_assert_eq(pictures, 2);
    darknet_net_close(&n);
    darknet_close(&s);
}

/* ---- a step of training ---- */

/* Class, centre, width and height, as in tests/parity/darknet.py. */
static const double objects[][5] = {{0, 0.30, 0.40, 0.12, 0.20}, {2, 0.31, 0.41, 0.13, 0.22},
                                    {1, 0.70, 0.65, 0.40, 0.35}, {1, 0.2, 0.8, 0.1, 0.12},
                                    {2, 0.55, 0.35, 0.5, 0.6},   {0, 0.9, 0.9, 0.0005, 0.1}};
#define OBJECTS 6
#define LEARNING_RATE 0.01

static void write_slot(const darknet_net *n, const char *name, const void *data) {
    const int32_t slot = cvr_program_slot(n->program, name);
    if (slot >= 0) darknet_good(cvr_program_write(n->program, slot, data, &detector_error));
}

static void write_targets(const darknet_net *n) {
    float boxes[OBJECTS + 2][4] = {{0}}, one = 1, lr = (float)LEARNING_RATE;
    int64_t labels[OBJECTS + 2] = {0}, count = OBJECTS;
    for (int i = 0; i < OBJECTS; i++) {
        const double *o = objects[i];
        for (int k = 0; k < 2; k++) {
            boxes[i][k] = (float)(64 * (o[1 + k] - o[3 + k] / 2));
            boxes[i][k + 2] = (float)(64 * (o[1 + k] + o[3 + k] / 2));
        }
        labels[i] = (int64_t)o[0];
    }
    write_slot(n, "boxes", boxes);
    write_slot(n, "box_labels", labels);
    write_slot(n, "counts", &count);
    write_slot(n, "loss_scale", &one);
    write_slot(n, "lr", &lr);
}

/* Room for two objects more than there are. */
static int32_t build_trained(const detector_subject *s, const char *name, darknet_net *n) {
    char settings[600];
    (void)snprintf(settings, sizeof settings, "cfg=%s.cfg", darknet_golden(name));
    memset(n, 0, sizeof *n);
    return detector_build_for(s, &(detector_recipe){"darknet", settings, "", 64}, &(detector_use){3, OBJECTS + 2},
                              &n->net);
}

/* The weights after one step, as darknet itself left them. The first two objects share a cell and an anchor, and the
 * last is too small to count. */
static void check_step(const detector_subject *s, const char *name, double tolerance) {
    static uint8_t before[1 << 14], want[1 << 14], have[1 << 14];
    char file[64];
    darknet_net n;
    double distance = 0, change = 0;
    darknet_good(build_trained(s, name, &n));
    darknet_good(detector_add_step(s->c.plugins, n.net.graph, &detector_error));
    darknet_good(
        cvr_device_open(&n.device, s->c.plugins, &(cvr_device_choice){.backend = "cpu"}, s->c.pool, &detector_error));
    darknet_good(cvr_store_place(n.net.store, n.device, &detector_error));
    (void)snprintf(file, sizeof file, "%s.weights", name);
    darknet_good(darknet_load(s, &n, darknet_golden(file)));
    const size_t size = darknet_read_file(darknet_golden(file), before, sizeof before);
    darknet_plan_net(s, &n);
    write_targets(&n);
    darknet_run(&n, 0, 64);
    darknet_good(weights_save(s->c.plugins, n.net.store, scratch_path("after.weights"), &detector_error));
    (void)snprintf(file, sizeof file, "%s.after.weights", name);
    cr_assert_eq(darknet_read_file(darknet_golden(file), want, sizeof want), size);
    cr_assert_eq(darknet_read_file(scratch_path("after.weights"), have, sizeof have), size);
    for (size_t at = 20; at < size; at += sizeof(float)) {
        float b, w, h;
        memcpy(&b, before + at, sizeof b), memcpy(&w, want + at, sizeof w), memcpy(&h, have + at, sizeof h);
        distance += ((double)h - w) * ((double)h - w);
        change += ((double)w - b) * ((double)w - b);
    }
    cr_expect_gt(change, 0.01);
    cr_expect_leq(sqrt(distance / change), tolerance, "%s: %g of what darknet changed", name, sqrt(distance / change));
    darknet_net_close(&n);
}

Test(darknet, learns_what_darknet_learns) {
    static detector_subject s;
    darknet_open(&s);
    scratch_open("darknet");
    check_step(&s, "trained", 1e-4);
    check_step(&s, "yolov4", 1e-4); /* tests/parity/darknet_torch.py */
    scratch_close();
    darknet_close(&s);
}

/* [region] predicts only, and says so where it is. */
Test(darknet, refuses_to_train_a_region) {
    static detector_subject s;
    darknet_net n;
    darknet_open(&s);
    cr_expect_neq(build_trained(&s, "yolov2", &n), CVR_OK);
    cr_expect(strstr(detector_error.message, "[region] predicts, but is not trained here") &&
                  strstr(detector_error.file, "yolov2.cfg") && detector_error.line == 55,
              "%s:%u: %s", detector_error.file, detector_error.line, detector_error.message);
    detector_drop(&n.net);
    darknet_close(&s);
}
