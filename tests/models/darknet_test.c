/*
 * Networks of .cfg files with .weights against what Debian's `darknet` finds with them (tests/parity/darknet.py), and
 * the files themselves: written again, cut, foreign; .cfg files that make no sense.
 */
#include "../apps/session/session_parts.h"
#include "support/detector_check.h"
#include "support/scratch.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#define MOST_NUMBERS 8192

static void good(int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s: %s", detector_error.file, detector_error.message);
}

/* ---- networks that run ---- */

typedef struct darknet_net {
    detector_net net;
    cvr_device *device;
    cvr_program *program;
    void *arena;
} darknet_net;

static const char *golden_path(const char *name) {
    static char path[4][512];
    static int i;
    i = (i + 1) % 4;
    (void)snprintf(path[i], sizeof path[i], "%s/darknet/%s", CVR_GOLDEN_DIR, name);
    return path[i];
}

static void open_subject(detector_subject *s) {
    memset(s, 0, sizeof *s);
    good(cvr_plugins_open(&s->c.plugins, NULL, 0, &detector_error));
    good(cvr_pool_create(&s->c.pool, 2, &detector_error));
}

static void close_subject(detector_subject *s) {
    cvr_plugins_close(&s->c.plugins);
    cvr_pool_destroy(&s->c.pool);
}

static void open_net(const detector_subject *s, const char *name, int64_t side, darknet_net *n) {
    char settings[600], file[64];
    (void)snprintf(file, sizeof file, "%s.cfg", name);
    (void)snprintf(settings, sizeof settings, "cfg=%s topk_candidates=100000", golden_path(file));
    memset(n, 0, sizeof *n);
    good(detector_build(s, &(detector_recipe){"darknet", settings, "", side}, &n->net));
    good(cvr_device_open(&n->device, s->c.plugins, "cpu", 0, s->c.pool, &detector_error));
    good(cvr_store_place(n->net.store, n->device, &detector_error));
}

static void close_net(darknet_net *n) {
    cvr_program_destroy(&n->program);
    if (n->arena) cvr_device_free(n->device, n->arena);
    detector_drop(&n->net);
    cvr_device_close(&n->device);
}

static int32_t load(const detector_subject *s, darknet_net *n, const char *path) {
    const weights_rules rules = {.network = "", .head = WEIGHTS_HEAD_KEEP};
    cvr_error_init(&detector_error);
    return weights_load(s->c.plugins, n->net.store, &rules, path, &detector_error);
}

static void plan(const detector_subject *s, darknet_net *n) {
    good(cvr_program_plan(&n->program, n->net.graph, n->device, s->c.pool, CVR_FALLBACK_ERROR, &detector_error));
    good(cvr_device_alloc(n->device, cvr_program_arena_bytes(n->program), &n->arena, &detector_error));
    good(cvr_program_bind(n->program, n->arena, &detector_error));
}

/* As in tests/parity/darknet.py. */
static float pixel(int number, int y, int x, int c) {
    uint32_t n = (uint32_t)(((number * 64 + y / 8) * 64 + x / 8) * 3 + c + 1) * 2654435761u;
    n ^= n >> 15;
    n *= 2246822519u;
    return (float)(n >> 24) / 255.0f;
}

static void run(darknet_net *n, int number, int side) {
    static float image[64 * 64 * 3]; /* NHWC, as memory has it */
    for (int i = 0; i < side * side * 3; i++) image[i] = pixel(number, i / 3 / side, i / 3 % side, i % 3);
    good(cvr_program_write(n->program, cvr_program_slot(n->program, "image"), image, &detector_error));
    good(cvr_program_run(n->program, &detector_error));
}

/* Numbers of a result, as doubles; returns how many. */
static int64_t result(const darknet_net *n, const char *name, double *out) {
    static char memory[MOST_NUMBERS * 8];
    const cvr_io *io = cvr_graph_io(n->net.graph);
    const cvr_io_output *o;
    for (uint32_t i = 0; (o = io->output(io, i)); i++) {
        if (strcmp(o->name, name) != 0) continue;
        const int32_t slot = cvr_program_slot_of(n->program, o->value);
        const cvr_type *t = cvr_program_slot_type(n->program, slot);
        const int64_t count = cvr_numel(t->rank, t->shape);
        cr_assert_leq(count, MOST_NUMBERS);
        good(cvr_program_read(n->program, slot, memory, &detector_error));
        for (int64_t k = 0; k < count; k++) out[k] = detector_number(t->dtype, memory, k);
        return count;
    }
    cr_assert_fail("there is no result %s", name);
    return 0;
}

/* ---- what darknet finds ---- */

static double within(double x, double most) {
    return x > most ? most : x;
}

/* Each line of the file has the best detections of a picture, the best first. darknet cuts boxes to side - 1. */
static void check_detections(const detector_subject *s, const char *name, double side) {
    static double boxes[MOST_NUMBERS], scores[MOST_NUMBERS], labels[MOST_NUMBERS];
    char file[64];
    darknet_net n;
    int picture, klass, last = -1, row = 0;
    double score, box[4], largest = 0;
    open_net(s, name, 64, &n);
    (void)snprintf(file, sizeof file, "%s.weights", name);
    good(load(s, &n, golden_path(file)));
    plan(s, &n);
    (void)snprintf(file, sizeof file, "%s.txt", name);
    FILE *f = fopen(golden_path(file), "r");
    cr_assert_not_null(f);
    while (fscanf(f, "%d %d %lf %lf %lf %lf %lf", &picture, &klass, &score, box, box + 1, box + 2, box + 3) == 7) {
        if (picture != last) {
            run(&n, picture, 64);
            (void)result(&n, "boxes", boxes), (void)result(&n, "scores", scores), (void)result(&n, "labels", labels);
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
    close_net(&n);
}

Test(darknet, detects_what_darknet_detects) {
    static detector_subject s;
    open_subject(&s);
    check_detections(&s, "yolov3", 63);
    check_detections(&s, "yolov2", 63);
    check_detections(&s, "yolov4", 64); /* tests/parity/darknet_torch.py */
    close_subject(&s);
}

Test(darknet, classifies_as_darknet_does) {
    static detector_subject s;
    darknet_net n;
    double logits[8], want[3];
    int picture, pictures = 0;
    open_subject(&s);
    open_net(&s, "classifier", 32, &n);
    good(load(&s, &n, golden_path("classifier.weights")));
    plan(&s, &n);
    FILE *f = fopen(golden_path("classifier.txt"), "r");
    cr_assert_not_null(f);
    for (; fscanf(f, "%d %lf %lf %lf", &picture, want, want + 1, want + 2) == 4; pictures++) {
        double sum = 0;
        run(&n, picture, 32);
        cr_assert_eq(result(&n, "output", logits), 3);
        for (int k = 0; k < 3; k++) sum += exp(logits[k]);
        for (int k = 0; k < 3; k++) cr_expect_float_eq(exp(logits[k]) / sum, want[k], 1e-4, "picture %d", picture);
    }
    (void)fclose(f);
    cr_assert_eq(pictures, 2);
    close_net(&n);
    close_subject(&s);
}

/* ---- a step of training ---- */

/* Class, centre, width and height, as in tests/parity/darknet.py. */
static const double objects[][5] = {{0, 0.30, 0.40, 0.12, 0.20}, {2, 0.31, 0.41, 0.13, 0.22},
                                    {1, 0.70, 0.65, 0.40, 0.35}, {1, 0.2, 0.8, 0.1, 0.12},
                                    {2, 0.55, 0.35, 0.5, 0.6},   {0, 0.9, 0.9, 0.0005, 0.1}};
#define OBJECTS 6
#define LEARNING_RATE 0.01

/* Room for two objects more than there are. */
static void add_targets(cvr_graph *g) {
    static const int64_t rows = OBJECTS + 2;
    const cvr_builder *b = cvr_graph_builder(g);
    cvr_value counts, v;
    cvr_type t;
    cvr_type_set(&t, CVR_I64, 1, (const int64_t[]){1});
    good(cvr_graph_input(g, "counts", &t, &counts, &detector_error));
    cvr_type_set(&t, CVR_F32, 3, (const int64_t[]){1, rows, 4});
    good(cvr_graph_input(g, "boxes", &t, &v, &detector_error));
    good(b->set_counts(b, v, 1, counts, &detector_error));
    cvr_type_set(&t, CVR_I64, 2, (const int64_t[]){1, rows});
    good(cvr_graph_input(g, "box_labels", &t, &v, &detector_error));
    good(b->set_counts(b, v, 1, counts, &detector_error));
}

static void write_slot(const darknet_net *n, const char *name, const void *data) {
    const int32_t slot = cvr_program_slot(n->program, name);
    if (slot >= 0) good(cvr_program_write(n->program, slot, data, &detector_error));
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

/* The sum of the losses, its gradient, and a step of plain SGD. */
static void add_step(const detector_subject *s, cvr_graph *g) {
    const cvr_io *io = cvr_graph_io(g);
    const cvr_io_output *o;
    const void *found;
    void *attrs;
    cvr_value total = CVR_NONE;
    for (uint32_t i = 0; (o = io->output(io, i)); i++) {
        const cvr_value both[2] = {total, o->value};
        if (o->role != CVR_ROLE_LOSS) continue;
        if (total == CVR_NONE)
            total = o->value;
        else
            good(cvr_layer2(cvr_graph_builder(g), "total", "add", "", both, &total, &detector_error));
    }
    good(cvr_graph_backward(g, total, &detector_error));
    good(cvr_plugins_find(s->c.plugins, CVR_KIND_OPTIMIZER, "sgd", &found, &detector_error));
    const cvr_optimizer_desc *sgd = found;
    good(cvr_attrs_parse(&(cvr_schema){sgd->attrs, sgd->n_attrs}, "momentum=0", NULL, "sgd", &attrs, &detector_error));
    good(cvr_graph_update(g, &(cvr_update_policy){sgd, attrs, 0, 0, 0}, &detector_error));
    cvr_free(attrs);
}

static int32_t build_trained(const detector_subject *s, const char *name, darknet_net *n) {
    char settings[600];
    const void *found;
    void *attrs;
    cvr_type t;
    cvr_value v;
    (void)snprintf(settings, sizeof settings, "cfg=%s.cfg", golden_path(name));
    memset(n, 0, sizeof *n);
    cvr_error_init(&detector_error);
    good(cvr_plugins_find(s->c.plugins, CVR_KIND_MODEL, "darknet", &found, &detector_error));
    const cvr_model_desc *model = n->net.model = found;
    good(cvr_attrs_parse(&(cvr_schema){model->attrs, model->n_attrs}, settings, NULL, "darknet", &attrs,
                         &detector_error));
    good(cvr_store_create(&n->net.store, 0, &detector_error));
    good(cvr_graph_create(&n->net.graph, s->c.plugins, n->net.store, true, &detector_error));
    cvr_type_set(&t, CVR_F32, 4, (const int64_t[]){1, 3, 64, 64});
    good(cvr_graph_input(n->net.graph, "image", &t, &v, &detector_error));
    add_targets(n->net.graph);
    const cvr_model_args args = {sizeof args, attrs, 3, 3};
    const int32_t status =
        model->build(cvr_graph_builder(n->net.graph), &args, cvr_graph_io(n->net.graph), &detector_error);
    cvr_free(attrs);
    return status;
}

static size_t read_file(const char *path, uint8_t *bytes, size_t most) {
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f, "%s", path);
    const size_t n = fread(bytes, 1, most, f);
    (void)fclose(f);
    return n;
}

static void write_file(const char *path, const uint8_t *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    cr_assert(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0, "%s", path);
}

/* The weights after one step, as darknet itself left them. The first two objects share a cell and an anchor, and the
 * last is too small to count. */
static void check_step(const detector_subject *s, const char *name, double tolerance) {
    static uint8_t before[1 << 14], want[1 << 14], have[1 << 14];
    char file[64];
    darknet_net n;
    double distance = 0, change = 0;
    good(build_trained(s, name, &n));
    add_step(s, n.net.graph);
    good(cvr_device_open(&n.device, s->c.plugins, "cpu", 0, s->c.pool, &detector_error));
    good(cvr_store_place(n.net.store, n.device, &detector_error));
    (void)snprintf(file, sizeof file, "%s.weights", name);
    good(load(s, &n, golden_path(file)));
    const size_t size = read_file(golden_path(file), before, sizeof before);
    plan(s, &n);
    write_targets(&n);
    run(&n, 0, 64);
    good(weights_save(s->c.plugins, n.net.store, scratch_path("after.weights"), &detector_error));
    (void)snprintf(file, sizeof file, "%s.after.weights", name);
    cr_assert_eq(read_file(golden_path(file), want, sizeof want), size);
    cr_assert_eq(read_file(scratch_path("after.weights"), have, sizeof have), size);
    for (size_t at = 20; at < size; at += sizeof(float)) {
        float b, w, h;
        memcpy(&b, before + at, sizeof b), memcpy(&w, want + at, sizeof w), memcpy(&h, have + at, sizeof h);
        distance += ((double)h - w) * ((double)h - w);
        change += ((double)w - b) * ((double)w - b);
    }
    cr_expect_gt(change, 0.01);
    cr_expect_leq(sqrt(distance / change), tolerance, "%s: %g of what darknet changed", name, sqrt(distance / change));
    close_net(&n);
}

Test(darknet, learns_what_darknet_learns) {
    static detector_subject s;
    open_subject(&s);
    scratch_open("darknet");
    check_step(&s, "trained", 1e-4);
    check_step(&s, "yolov4", 1e-4); /* tests/parity/darknet_torch.py */
    scratch_close();
    close_subject(&s);
}

/* [region] predicts only, and says so where it is. */
Test(darknet, refuses_to_train_a_region) {
    static detector_subject s;
    darknet_net n;
    open_subject(&s);
    cr_expect_neq(build_trained(&s, "yolov2", &n), CVR_OK);
    cr_expect(strstr(detector_error.message, "[region] predicts, but is not trained here") &&
                  strstr(detector_error.file, "yolov2.cfg") && detector_error.line == 55,
              "%s:%u: %s", detector_error.file, detector_error.line, detector_error.message);
    detector_drop(&n.net);
    close_subject(&s);
}

/* What was read is written again, number by number; only the header says that cvrun wrote it. */
Test(darknet, writes_what_it_reads) {
    static const char *const names[] = {"yolov3", "yolov2", "classifier"};
    static uint8_t before[1 << 16], after[1 << 16];
    static detector_subject s;
    open_subject(&s);
    scratch_open("darknet");
    for (size_t i = 0; i < 3; i++) {
        char file[64];
        darknet_net n;
        (void)snprintf(file, sizeof file, "%s.weights", names[i]);
        open_net(&s, names[i], 64, &n);
        good(load(&s, &n, golden_path(file)));
        good(weights_save(s.c.plugins, n.net.store, scratch_path("again.weights"), &detector_error));
        const size_t size = read_file(golden_path(file), before, sizeof before);
        cr_assert_eq(read_file(scratch_path("again.weights"), after, sizeof after), size, "%s", names[i]);
        cr_expect_eq(memcmp(before + 20, after + 20, size - 20), 0, "%s", names[i]);
        close_net(&n);
    }
    scratch_close();
    close_subject(&s);
}

/* Cut anywhere, or longer, a file is refused with one line that names it; cut between layers it is that of a backbone,
 * whose other tensors are missing. */
Test(darknet, refuses_cut_files) {
    static const struct {
        long change;
        const char *says;
    } cases[] = {{-4, "the file is cut, or belongs to another .cfg"},
                 {-1, "and a part of one"},
                 {4, "the file is cut"},
                 {-13940 + 20, "the file is cut"},
                 {-13940 + 17, "within its first"},
                 {-(24 + 24 * 6) * 4, "missing: head.20.conv.weight"}};
    static uint8_t bytes[1 << 16];
    static detector_subject s;
    darknet_net n;
    open_subject(&s);
    scratch_open("darknet");
    open_net(&s, "yolov3", 64, &n);
    const size_t size = read_file(golden_path("yolov3.weights"), bytes, sizeof bytes);
    cr_assert_eq(size, 13940);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file(scratch_path("cut.weights"), bytes, (size_t)((long)size + cases[i].change));
        cr_expect_neq(load(&s, &n, scratch_path("cut.weights")), CVR_OK, "%ld bytes", cases[i].change);
        cr_expect(strstr(detector_error.message, cases[i].says) && strstr(detector_error.file, "cut.weights"),
                  "%ld: %s", cases[i].change, detector_error.message);
    }
    cr_expect_neq(load(&s, &n, golden_path("yolov2.weights")), CVR_OK, "of another network");
    close_net(&n);
    scratch_close();
    close_subject(&s);
}

/* ---- .cfg files ---- */

/* A text after [net], the line that is named (0: any) and what is said of it. */
static const struct {
    const char *text;
    uint32_t line;
    const char *says;
} wrong[] = {
    {"[convolutional]\nfilters=1000000000\n", 3, "filters=1000000000: must be a number from 1 to 65536"},
    {"[convolutional]\nfilters=4x\n", 3, "filters=4x: must be a number"},
    {"[convolutional]\nsize\n", 3, "neither [section] nor key=value"},
    {"[convolutional\n", 2, "is no section"},
    {"[convolutional]\nfliters=4\n", 3, "[convolutional] has no key `fliters`"},
    {"[convolutional]\nxnor=1\n", 3, "cvrun has no such layers"},
    {"[convolutional]\nactivation=sine\n", 3, "activation=sine: known are linear"},
    {"[gru]\n", 2, "[gru] is no layer that cvrun builds"},
    {"[route]\nlayers=-1\n", 3, "-1 is layer -1; this is layer 0"},
    {"[convolutional]\n[route]\nlayers=1\n", 4, "1 is layer 1; this is layer 1, which can only take those before it"},
    {"[convolutional]\n[route]\n", 3, "[route] must say with `layers`"},
    {"[convolutional]\nfilters=8\n[yolo]\nclasses=3\nnum=2\nanchors=1,2,3,4\n", 2, "set filters=16"},
    {"[convolutional]\n[yolo]\nanchors=1,2,3\n", 4, "3 numbers in `anchors`"},
    {"[convolutional]\n[yolo]\nmask=2\nanchors=1,2,3,4\n", 4, "mask names anchor 2"},
    {"[maxpool]\n[yolo]\nanchors=1,2\n", 3, "the layer before this one must be [convolutional]"},
    {"[maxpool]\nsize=2\nstride=2\n", 2, "the network ends in nothing that cvrun can use"},
    {"[convolutional]\nstride=64\n[convolutional]\nstride=64\n[convolutional]\nstride=64\n", 6, "stands for 262144"},
    {"[convolutional]\nfilters=3\n", 2, "the network ends in a map of 64 x 64"},
    {"[convolutional]\nfilters=3\nsize=3\n[shortcut]\nfrom=-1\n[convolutional]\nsize=90\n[avgpool]\n", 7, ""},
    {"[convolutional]\nfilters=2\n[convolutional]\nfilters=3\n[shortcut]\nfrom=-2\n[convolutional]\n", 6,
     "cvrun adds what is alike"},
    {"[maxpool]\nsize=100\npadding=1\n[convolutional]\n", 2, "no such windows over a map of 64 x 64"},
    {"[reorg]\nstride=3\n[convolutional]\n", 2, "stride=3 does not divide"},
    {"", 1, "there is no layer after [net]"},
};

Test(darknet, refuses_with_file_and_line) {
    static detector_subject s;
    char settings[600];
    open_subject(&s);
    scratch_open("darknet");
    (void)snprintf(settings, sizeof settings, "cfg=%s", scratch_path("a.cfg"));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[512];
        detector_net n;
        const int length = snprintf(text, sizeof text, "[net]\n%s", wrong[i].text);
        write_file(scratch_path("a.cfg"), (const uint8_t *)text, (size_t)length);
        cr_expect_neq(detector_build(&s, &(detector_recipe){"darknet", settings, "", 64}, &n), CVR_OK, "%s",
                      wrong[i].text);
        cr_expect(strstr(detector_error.message, wrong[i].says) && !strchr(detector_error.message, '\n'), "%s: %s",
                  wrong[i].text, detector_error.message);
        cr_expect(strstr(detector_error.file, "a.cfg") && detector_error.line == wrong[i].line, "%s: %s:%u: %s",
                  wrong[i].text, detector_error.file, detector_error.line, detector_error.message);
        detector_drop(&n);
    }
    detector_net n;
    cr_expect_neq(detector_build(&s, &(detector_recipe){"darknet", "", "", 64}, &n), CVR_OK);
    cr_expect(strstr(detector_error.message, "model.cfg is not set"), "%s", detector_error.message);
    detector_drop(&n);
    cr_expect_neq(detector_build(&s, &(detector_recipe){"darknet", "cfg=/nowhere/a.cfg", "", 64}, &n), CVR_OK);
    cr_expect(strstr(detector_error.message, "cannot be opened"), "%s", detector_error.message);
    detector_drop(&n);
    scratch_close();
    close_subject(&s);
}
