/* Darknet's files: .weights that are written again, cut, foreign; .cfg files that make no sense. */
#include "darknet_case.h"

/* What was read is written again, number by number; only the header says that cvrun wrote it. */
Test(darknet, writes_what_it_reads) {
    static const char *const names[] = {"yolov3", "yolov2", "classifier"};
    static uint8_t before[1 << 16], after[1 << 16];
    static detector_subject s;
    darknet_open(&s);
    scratch_open("darknet");
    for (size_t i = 0; i < 3; i++) {
        char file[64];
        darknet_net n;
        (void)snprintf(file, sizeof file, "%s.weights", names[i]);
        darknet_net_open(&s, names[i], 64, &n);
        darknet_good(darknet_load(&s, &n, darknet_golden(file)));
        darknet_good(weights_save(s.c.plugins, n.net.store, scratch_path("again.weights"), &detector_error));
        const size_t size = darknet_read_file(darknet_golden(file), before, sizeof before);
        cr_assert_eq(darknet_read_file(scratch_path("again.weights"), after, sizeof after), size, "%s", names[i]);
        cr_expect_eq(memcmp(before + 20, after + 20, size - 20), 0, "%s", names[i]);
        darknet_net_close(&n);
    }
    scratch_close();
    darknet_close(&s);
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
                 {-12 * 4, "the file is cut"}, /* filters that 3 anchors do not divide */
                 {-24 * 4, "the file is cut"},
                 {-3 * 36 * 4, "the file is cut"}, /* anchors of a box and no class */
                 {-13940 + 20, "the file is cut"},
                 {-13940 + 17, "within its first"},
                 {-(24 + 24 * 6) * 4, "missing: head.20.conv.weight"}};
    static uint8_t bytes[1 << 16];
    static detector_subject s;
    darknet_net n;
    darknet_open(&s);
    scratch_open("darknet");
    darknet_net_open(&s, "yolov3", 64, &n);
    const size_t size = darknet_read_file(darknet_golden("yolov3.weights"), bytes, sizeof bytes);
    cr_assert_eq(size, 13940);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        darknet_write_file(scratch_path("cut.weights"), bytes, (size_t)((long)size + cases[i].change));
        cr_expect_neq(darknet_load(&s, &n, scratch_path("cut.weights")), CVR_OK, "%ld bytes", cases[i].change);
        cr_expect(strstr(detector_error.message, cases[i].says) && strstr(detector_error.file, "cut.weights"),
                  "%ld: %s", cases[i].change, detector_error.message);
    }
    cr_expect_neq(darknet_load(&s, &n, darknet_golden("yolov2.weights")), CVR_OK, "of another network");
    darknet_net_close(&n);
    scratch_close();
    darknet_close(&s);
}

/* With other classes the backbone is the file's, and the heads start anew; where they are to be kept, they differ. */
Test(darknet, takes_files_with_other_classes) {
    static detector_subject s;
    detector_net file, net;
    cvr_device *device;
    char settings[600];
    static const char name[] = "backbone.16.bn.bias";
    const float a[4] = {1, 2, 3, 4};
    float b[4];
    darknet_open(&s);
    scratch_open("darknet");
    (void)snprintf(settings, sizeof settings, "cfg=%s", darknet_golden("yolov3.cfg"));
    darknet_good(detector_build(&s, &(detector_recipe){"darknet", settings, "", 64}, &file));
    darknet_good(detector_build_for(&s, &(detector_recipe){"darknet", settings, "", 64}, &(detector_use){7, 0}, &net));
    darknet_good(
        cvr_device_open(&device, s.c.plugins, &(cvr_device_choice){.backend = "cpu"}, s.c.pool, &detector_error));
    darknet_good(cvr_store_place(file.store, device, &detector_error));
    darknet_good(cvr_store_place(net.store, device, &detector_error));
    darknet_good(cvr_store_write(net.store, (size_t)cvr_store_find(net.store, name), a, &detector_error));
    darknet_good(weights_save(s.c.plugins, net.store, scratch_path("seven.weights"), &detector_error));
    weights_rules rules = {.network = "", .head = WEIGHTS_HEAD_AUTO};
    darknet_good(weights_load(s.c.plugins, file.store, &rules, scratch_path("seven.weights"), &detector_error));
    darknet_good(cvr_store_read(file.store, (size_t)cvr_store_find(file.store, name), b, &detector_error));
    cr_expect_arr_eq(a, b, sizeof a);
    rules.head = WEIGHTS_HEAD_KEEP;
    cr_expect_neq(weights_load(s.c.plugins, file.store, &rules, scratch_path("seven.weights"), &detector_error),
                  CVR_OK);
    cr_expect(strstr(detector_error.message, "the file has float32(36, 4, 1, 1), the network f32(24, 4, 1, 1)"), "%s",
              detector_error.message);
    detector_drop(&file);
    detector_drop(&net);
    cvr_device_close(&device);
    scratch_close();
    darknet_close(&s);
}

/* A head whose filters are the channels of another head's input: more classes would change both sides of its weights.
 */
Test(darknet, refuses_other_classes_of_heads_in_a_row) {
    static const char text[] = "[net]\nwidth=64\nheight=64\n[convolutional]\nfilters=16\n[yolo]\nanchors=5,6,10,12\n"
                               "classes=3\n[route]\nlayers=0\n[convolutional]\nfilters=16\n[yolo]\n"
                               "anchors=5,6,10,12\nclasses=3\n";
    static uint8_t bytes[20 + 1050 * 4] = {0, 0, 0, 0, 2};
    static detector_subject s;
    detector_net net;
    char settings[600];
    darknet_open(&s);
    scratch_open("darknet");
    darknet_write_file(scratch_path("row.cfg"), (const uint8_t *)text, sizeof text - 1);
    (void)snprintf(settings, sizeof settings, "cfg=%s", scratch_path("row.cfg"));
    darknet_good(detector_build(&s, &(detector_recipe){"darknet", settings, "", 64}, &net));
    darknet_write_file(scratch_path("row.weights"), bytes, sizeof bytes);
    const weights_rules rules = {.network = "", .head = WEIGHTS_HEAD_NEW};
    cr_expect_neq(weights_load(s.c.plugins, net.store, &rules, scratch_path("row.weights"), &detector_error), CVR_OK);
    cr_expect(strstr(detector_error.message, "belongs to another .cfg"), "%s", detector_error.message);
    detector_drop(&net);
    scratch_close();
    darknet_close(&s);
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
    {"[convolutional]\nfilters=0x4\n", 3, "filters=0x4: must be a number"},
    {"[convolutional]\n[yolo]\nanchors=1,2,3,4\nclasses=3\nnum=7\n", 6, "num=7, but there are 2 anchors"},
    {"policy=steps\nsteps=4,3\nscales=.1,.1\n", 3, "3 stands behind 4"},
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
    darknet_open(&s);
    scratch_open("darknet");
    (void)snprintf(settings, sizeof settings, "cfg=%s", scratch_path("a.cfg"));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[512];
        detector_net n;
        const int length = snprintf(text, sizeof text, "[net]\n%s", wrong[i].text);
        darknet_write_file(scratch_path("a.cfg"), (const uint8_t *)text, (size_t)length);
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
    darknet_close(&s);
}
