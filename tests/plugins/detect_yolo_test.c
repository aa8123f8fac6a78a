/*
 * The data set yolo: data.yaml and Darknet's .data, where labels are, rows that are boxes and outlines, and what is
 * said of those that are neither.
 */
#include "detect_data.h"
#include <stdlib.h>

TestSuite(yolo, .init = detect_load, .fini = detect_unload);

static const yolo_attrs usual = {"", "", 0, 0, 0}, with_masks = {"", "", 0, 1, 0};

/* data.yaml, and one training picture of 100 x 50 with these rows. */
static void put(const char *rows) {
    scratch_put_text("data.yaml", "path: .\ntrain: images/train\nval: images/val\nnames: [cat, 'a, dog']\n");
    detect_picture("images/train/a.png", 100, 50);
    scratch_put_text("labels/train/a.txt", rows);
}

static detect_data open_with(const char *rows, const yolo_attrs *a) {
    put(rows);
    return detect_must_open("yolo", CVR_SPLIT_TRAIN, a);
}

Test(yolo, rows_are_boxes) {
    const detect_data o = open_with("\xef\xbb\xbf"
                                    "1 0.5 0.5 0.25 0.5\r\n\r\n  0.0\t0.125 0.5 .25 1\n1 0.99 0.5 0.0202 0.5",
                                    &usual);
    cr_expect_str_eq(o.d->class_name(o.self, 1), "a, dog");
    detect_boxes(o, 0, 3,
                 (const double[][5]){{37.5, 12.5, 62.5, 37.5, 1}, {0, 0, 25, 50, 0}, {97.99, 12.5, 100, 37.5, 1}});
    detect_logged("less than a hundredth"); /* 1.0001 */
    const detect_object told = detect_tell(o, 0, 1);
    cr_expect(told.o.box[2] == 25 && told.o.area == 25 * 50 && o.d->class_id(o.self, 1) == 2);
    detect_close(o);
}

Test(yolo, rows_are_outlines) {
    const detect_data o = open_with("1 0.1 0.2 0.3 0.2 0.3 0.6 0.1 0.6\n", &with_masks);
    detect_boxes(o, 0, 1, (const double[][5]){{10, 10, 30, 30, 1}});
    const detect_object told = detect_tell(o, 0, 0);
    uint32_t inside = 0;
    for (uint32_t i = 1; i < told.o.n_runs; i += 2) inside += told.runs[i];
    cr_expect(inside > 380 && inside < 460, "%u", inside);
    detect_close(o);
    const detect_data box = open_with("1 0.1 0.2 0.1 0.2\n", &with_masks);
    detect_bad(box, 0, "labels/train/a.txt", "line 1: object 1 of");
    detect_close(box);
}

static void row_is_bad(const char *rows, const char *says) {
    detect_picture("images/train/b.png", 100, 50);
    const detect_data o = open_with(rows, &usual);
    detect_bad(o, 0, "labels/train/a.txt", says);
    detect_boxes(o, 1, 0, NULL); /* without a file: background */
    detect_close(o);
}

Test(yolo, rows_that_are_wrong_are_named) {
    row_is_bad("1 .5 .5 .1 .1\n2 .5 .5 .1 .1\n", "line 2: class 2 of 2, counted from 0");
    row_is_bad("-1 .5 .5 .1 .1\n", "line 1: its class is no whole number from 0 on");
    row_is_bad("0.5 .5 .5 .1 .1\n", "its class is no whole number");
    row_is_bad("0 .5 .5 .1\n", "line 1: 4 numbers; a box has five");
    row_is_bad("0 .5 .5 .1 .1 .9\n", "six numbers: a class, a box and one more, as predictions have it");
    row_is_bad("0 .5 .5 .1 .1 .9 .9 .9\n", "8 numbers");
    row_is_bad("cat .5 .5 .1 .1\n", "something that is no number");
    row_is_bad("0 nan .5 .1 .1\n", "something that is no number");
    row_is_bad("0 1e999 .5 .1 .1\n", "something that is no number");
    row_is_bad("0 .5 .5 .1 0x1\n", "something that is no number");
    row_is_bad("0 50 20 10 10\n", "are these pixels?");
    row_is_bad("0 .99 .5 .1 .1\n", "of it beyond the picture; mend or remove it");
    row_is_bad("0 .5 .5 -.1 .1\n", "line 1: a box of -0.1 x 0.1: no side can be negative");
    row_is_bad("0 5 .5 .1 .1\n0 5 .5 .1 .1\n0 5 .5 .1 .1\n", "(and 2 more of this picture)");
}

Test(yolo, a_file_that_is_no_text) {
    put("");
    scratch_put("labels/train/a.txt", "0 .5\0 .5", 8);
    const detect_data o = detect_must_open("yolo", CVR_SPLIT_TRAIN, &usual);
    detect_bad(o, 0, "labels/train/a.txt", "this is no text");
    detect_close(o);
}

Test(yolo, an_empty_file_is_background_and_no_file_at_all_a_mistake) {
    detect_data o = open_with("", &usual);
    detect_boxes(o, 0, 0, NULL);
    detect_close(o);
    cr_assert_eq(remove(scratch_path("labels/train/a.txt")), 0);
    detect_refused(detect_open("yolo", CVR_SPLIT_TRAIN, &usual, "", ""), "labels/train/a.txt", "no picture has labels");
}

Test(yolo, a_million_rows) {
    const uint64_t n = 1000000;
    char *const rows = malloc(n * 18 + 1);
    for (uint64_t i = 0; i < n; i++) memcpy(rows + 18 * i, "0 .51 .50 .10 .10\n", 18);
    rows[n * 18] = '\0';
    const detect_data o = open_with(rows, &usual);
    cr_expect_eq(o.d->rows(o.self, 0, "object"), (int64_t)n);
    detect_logged("objects with the class and the box of another, which count twice: 999999, ");
    detect_close(o);
    free(rows);
}

static void yaml_is(const char *text, int64_t classes, const char *last) {
    scratch_put_text("data.yaml", text);
    const detect_data o = detect_must_open("yolo", CVR_SPLIT_TRAIN, &usual);
    cr_expect_eq(o.d->n_classes(o.self), classes, "%s", text);
    cr_expect_str_eq(o.d->class_name(o.self, classes - 1), last);
    cr_expect_eq(o.d->count(o.self), 1);
    detect_close(o);
}

Test(yolo, what_data_yaml_may_say) {
    put("0 .5 .5 .1 .1\n");
    yaml_is("train: ../images/train\nnames:\n  0: cat\n  1: dog\nnc: 2\n", 2, "dog"); /* Roboflow's way */
    yaml_is("# a comment\npath: ../nowhere\ntrain:\n  - images/train\ntest:\nval: ~\nnames: {0: a}\n", 1, "a");
    detect_logged("data.yaml: `path` is ../nowhere, which is no folder; ");
    yaml_is("train: images/train\nnc: 3\ndownload: |\n  names: [x]\nroboflow: {nc: 9, names: [a, [b, {c: d}]]}\n", 3,
            "2");
    yaml_is("train: images/train\n", 1, "0");
    scratch_put_text("list.txt", "./images/train/a.png\n");
    yaml_is("train: list.txt\nnames: [x]\n", 1, "x");
}

static void yaml_is_bad(const char *text, uint32_t line, const char *says) {
    scratch_put_text("data.yaml", text);
    const detect_data o = detect_open("yolo", CVR_SPLIT_TRAIN, &usual, "", "");
    detect_refused(o, "data.yaml", says);
    cr_expect(line == 0 || o.err.line == line, "%s: line %u, not %u", o.err.message, o.err.line, line);
}

Test(yolo, what_data_yaml_may_not_say) {
    put("");
    yaml_is_bad("train: [a\nval: b: c", 0, "this is no YAML");
    yaml_is_bad("- a\n", 1, "no map");
    yaml_is_bad("train: images/train\nnames: 3\n", 2, "a list, or a map");
    yaml_is_bad("train: images/train\nnames: {1: a}\n", 2, "0, 1, 2, ... in this order");
    yaml_is_bad("train: images/train\nnames: [a, a]\n", 2, "of the same name");
    yaml_is_bad("train: images/train\nnames: [a, [b]]\n", 2, "where one value is to be");
    yaml_is_bad("train: images/train\nnames: [a]\nnc: 2\n", 0, "`nc` is 2, and `names` has 1");
    yaml_is_bad("train: images/train\nnc: many\n", 2, "a whole number");
    yaml_is_bad("x: &a [b]\ntrain: *a\n", 2, "an alias");
    yaml_is_bad("train: {a: b}\n", 1, "a map where a path");
    yaml_is_bad("val: images/val\n", 0, "where the training pictures are (`train`)");
    yaml_is_bad("\x01", 0, "this is no YAML");
    yaml_is_bad("train: images/train\nnames: [a, null, b]\n", 2, "a class without a name");
    yaml_is_bad("train: images/train\nnames: {0: a, 1: , 2: b}\n", 2, "a class without a name");
    yaml_is_bad("train: images/train\nnames: [a]\nnames: [b]\n", 3, "twice");
}

Test(yolo, darknet) {
    const yolo_attrs a = {scratch_path("cfg/my.data"), "", 0, 0, 0};
    put("1 .5 .5 .1 .1\n");
    detect_picture("obj/x.png", 100, 50);
    scratch_put_text("obj/x.txt", "0 .5 .5 .1 .1\n");
    scratch_put_text("cfg/my.data",
                     "classes= 2\ntrain  = data/train.txt\nvalid = data/none.txt\nnames = data/my.names\n");
    scratch_put_text("data/my.names", "cat\ndog\n");
    scratch_put_text("data/train.txt", "images/train/a.png\nobj/x.png\n");
    const detect_data o = detect_must_open("yolo", CVR_SPLIT_TRAIN, &a);
    cr_expect_str_eq(o.d->class_name(o.self, 1), "dog");
    detect_boxes(o, 0, 1, (const double[][5]){{45, 22.5, 55, 27.5, 1}});
    detect_boxes(o, 1, 1, (const double[][5]){{45, 22.5, 55, 27.5, 0}});
    detect_close(o);
    detect_refused(detect_open("yolo", CVR_SPLIT_VAL, &a, "", ""), "cfg/my.data",
                   "`data/none.txt` is in none of these folders");
    scratch_put_text("cfg/my.data", "classes= 3\ntrain = data/train.txt\nnames = data/my.names\n");
    detect_refused(detect_open("yolo", CVR_SPLIT_TRAIN, &a, "", ""), "my.data", "it says 3 classes, and 2 are named");
    scratch_put_text("cfg/my.data", "classes\n");
    detect_refused(detect_open("yolo", CVR_SPLIT_TRAIN, &a, "", ""), "my.data", "a line without `=`");
}

Test(yolo, folders_alone) {
    const yolo_attrs split = {"", "", 0.5, 0, 0};
    detect_picture("images/a.png", 100, 50);
    detect_picture("images/b.png", 100, 50);
    scratch_put_text("labels/a.txt", "4 .5 .5 .1 .1\n");
    scratch_put_text("labels/a.cache", "stale");
    const detect_data train = detect_must_open("yolo", CVR_SPLIT_TRAIN, &split);
    const detect_data val = detect_must_open("yolo", CVR_SPLIT_VAL, &split);
    cr_expect(train.d->count(train.self) == 1 && val.d->count(val.self) == 1);
    cr_expect(train.d->n_classes(train.self) == 5 && val.d->n_classes(val.self) == 5);
    detect_close(train);
    detect_close(val);
}
