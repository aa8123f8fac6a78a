/*
 * The data set coco: what is in a file, in any order; where files are; crowds, outlines, ids; and what is said of
 * annotations that are not right.
 */
#include "detect_data.h"
#include <stdlib.h>

TestSuite(coco, .init = detect_load, .fini = detect_unload);

static const coco_attrs usual = {"", "", 0, 0, 0, 0}, with_masks = {"", "", 0, 1, 0, 0};

#define HEAD "{\"categories\": [{\"id\": 90, \"name\": \"z\"}, {\"id\": 3, \"name\": \"a b\"}],\n"
#define IMAGES                                                                                                         \
    "\"images\": [{\"id\": 7, \"file_name\": \"a.png\", \"height\": 40, \"width\": 50},\n"                             \
    "{\"id\": 0, \"file_name\": \"sub/b.png\", \"height\": 40, \"width\": 50}],\n"

/* A training file with these annotations, and its two pictures. */
static void put(const char *annotations) {
    char text[8192];
    (void)snprintf(text, sizeof text, HEAD IMAGES "\"annotations\": [\n%s]}", annotations);
    scratch_put_text("annotations/instances_train2017.json", text);
    detect_picture("train2017/a.png", 50, 40);
    detect_picture("train2017/sub/b.png", 50, 40);
}

static detect_data open_with(const char *annotations, const coco_attrs *a) {
    put(annotations);
    return detect_must_open("coco", CVR_SPLIT_TRAIN, a);
}

#define BOX(id_, image_, category_, box_)                                                                              \
    "{\"id\": " #id_ ", \"image_id\": " #image_ ", \"category_id\": " #category_ ", \"bbox\": " box_ "}"

Test(coco, annotations_may_come_before_images) {
    scratch_put_text("annotations/instances_train2017.json",
                     "{\"info\": {\"a\": [1, {\"images\": 3}]}, \"annotations\": [" BOX(
                         1, 7, 90, "[1,2,3,4]") "],"
                                                "\"categories\": [{\"id\": 90, \"name\": \"z\", \"keypoints\": "
                                                "[\"id\"]}], \"images\": [{\"id\": 7, "
                                                "\"file_name\": \"a.png\"}]}");
    detect_picture("train2017/a.png", 50, 40);
    const detect_data o = detect_must_open("coco", CVR_SPLIT_TRAIN, &usual);
    detect_boxes(o, 0, 1, (const double[][5]){{1, 2, 4, 6, 0}});
    detect_close(o);
}

Test(coco, boxes_are_clamped_and_crowds_are_told_alone) {
    const detect_data o =
        open_with(BOX(5, 7, 90, "[10.5, 20, 5, 7.25]") ",\n"
                                                       "{\"id\": 6, \"image_id\": 7, \"category_id\": 3, \"bbox\": [0, "
                                                       "0, 50, 40], \"iscrowd\": 1, \"area\": 99.5},\n"
                                                       "{\"id\": 8, \"image_id\": 7, \"category_id\": 3, \"bbox\": "
                                                       "[49, 1, 1.25, 2], \"area\": null}",
                  &usual);
    cr_expect_eq(o.d->count(o.self), 2);
    cr_expect_str_eq(o.d->class_name(o.self, 0), "a b");
    cr_expect_eq(o.d->class_id(o.self, 1), 90);
    detect_boxes(o, 0, 2, (const double[][5]){{10.5, 20, 15.5, 27.25, 1}, {49, 1, 50, 3, 0}});
    detect_boxes(o, 1, 0, NULL); /* background */
    const detect_object crowd = detect_tell(o, 0, 1), last = detect_tell(o, 0, 2);
    cr_expect(crowd.n == 3 && crowd.o.id == 6 && crowd.o.flags == CVR_OBJECT_CROWD && crowd.o.klass == 0);
    cr_expect_eq(crowd.o.area, 99.5);
    cr_expect(last.o.box[2] == 1.25 && last.o.area == 2.5, "it is told as it is written");
    detect_logged("less than a hundredth");
    detect_close(o);
}

Test(coco, ids_as_they_are) {
    const coco_attrs as_is = {"", "", 0, 0, 1, 0};
    const detect_data o = open_with(BOX(1, 7, 90, "[1,2,3,4]"), &as_is);
    cr_expect_eq(o.d->n_classes(o.self), 90);
    cr_expect_str_eq(o.d->class_name(o.self, 89), "z");
    cr_expect_str_eq(o.d->class_name(o.self, 11), "N/A-12");
    cr_expect(o.d->class_id(o.self, 89) == 90 && o.d->class_id(o.self, 11) == 12);
    detect_close(o);
}

Test(coco, the_id_0_is_told_as_it_is) {
    const detect_data o = open_with(BOX(0, 0, 3, "[1,2,3,4]") ", " BOX(1, 0, 3, "[1,2,3,5]"), &usual);
    detect_logged("annotations with the id 0");
    cr_expect_eq(detect_tell(o, 1, 0).o.id, 0);
    detect_boxes(o, 1, 2, (const double[][5]){{1, 2, 4, 6, 0}, {1, 2, 4, 7, 0}});
    detect_close(o);
}

/* pycocotools takes the last one twice. */
Test(coco, an_id_that_is_there_twice_is_told) {
    detect_data o =
        open_with(BOX(3, 7, 90, "[1,2,3,4]") ", " BOX(2, 7, 3, "[5,2,3,4]") ", " BOX(3, 0, 3, "[1,2,3,5]"), &usual);
    detect_logged("annotations with the id of another");
    detect_logged(": 1, the first: id 3, of ");
    detect_logged("sub/b.png");
    detect_close(o);
    o = open_with("{\"image_id\": 7, \"category_id\": 3, \"bbox\": [1,2,3,4]}, "
                  "{\"image_id\": 7, \"category_id\": 3, \"bbox\": [5,2,3,4]}",
                  &usual);
    cr_expect_str_eq(detect_host.last_log, "", "those without an id have none in common");
    detect_close(o);
}

/* pycocotools takes any number as it is: one below 0 is in no range. */
Test(coco, areas_are_told_as_they_are) {
    const detect_data o =
        open_with("{\"id\": 1, \"image_id\": 7, \"category_id\": 3, \"bbox\": [1,2,3,4], \"area\": -1}", &usual);
    cr_expect_eq(detect_tell(o, 0, 0).o.area, -1);
    detect_close(o);
}

/* Of the only picture, "image" has what stands behind its name. */
static detect_data open_one(const char *image, const char *box) {
    char text[2048];
    (void)snprintf(text, sizeof text,
                   HEAD "\"images\": [{\"id\": 7, \"file_name\": \"a.png\"%s}], \"annotations\": [{\"id\": 1, "
                        "\"image_id\": 7, \"category_id\": 3, \"bbox\": %s}]}",
                   image, box);
    scratch_put_text("annotations/instances_train2017.json", text);
    detect_picture("train2017/a.png", 50, 40);
    return detect_must_open("coco", CVR_SPLIT_TRAIN, &usual);
}

Test(coco, sizes_that_are_not_said_are_those_of_the_files) {
    static const char *const none[] = {", \"width\": 2147483648, \"height\": 40", ", \"width\": 0, \"height\": 0",
                                       ", \"width\": 50, \"height\": -40", ", \"width\": 50"};
    detect_data o = open_one("", "[49, 1, 1.25, 2]");
    detect_logged("less than a hundredth");
    detect_boxes(o, 0, 1, (const double[][5]){{49, 1, 50, 3, 0}});
    detect_close(o);
    o = open_one("", "[49, 1, 9, 2]");
    detect_bad(o, 0, "instances_train2017.json", "annotation 1: a box from 49,1 to 58,3 reaches 8 pixels");
    detect_close(o);
    o = open_one("", "[49, 1, 0, 2]");
    detect_logged("no picture of 1 has an object");
    detect_close(o);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        o = open_one(none[i], "[1, 2, 3, 4]");
        detect_logged("pictures whose annotations say a size that is none, so that it is taken from their files: 1, ");
        detect_boxes(o, 0, 1, (const double[][5]){{1, 2, 4, 6, 0}});
        detect_close(o);
    }
}

Test(coco, no_object_at_all_is_told) {
    const detect_data o = open_with("", &usual);
    detect_logged("instances_train2017.json: no picture of 2 has an object");
    detect_close(o);
}

Test(coco, one_absolute_path_does_not_move_the_others) {
    char text[4096];
    detect_picture("elsewhere/a.png", 50, 40);
    detect_picture("train2017/b.png", 50, 40);
    (void)snprintf(text, sizeof text,
                   HEAD "\"images\": [{\"id\": 1, \"file_name\": \"%s\"}, {\"id\": 2, \"file_name\": \"b.png\"}], "
                        "\"annotations\": []}",
                   scratch_path("elsewhere/a.png"));
    scratch_put_text("annotations/instances_train2017.json", text);
    const detect_data o = detect_must_open("coco", CVR_SPLIT_TRAIN, &usual);
    detect_boxes(o, 0, 0, NULL);
    detect_boxes(o, 1, 0, NULL);
    detect_close(o);
}

Test(coco, outlines_are_masks) {
    const char *const parts[] = {"[[1,1,4,1,4,3,1,3]]", "[[1,1,4,1,4,3,1,3],[10,10,12,10,12,12]]",
                                 "{\"size\": [40, 50], \"counts\": [41, 2, 38, 2, 1917]}",
                                 "{\"counts\": \"Y12V10gj1\", \"size\": [40, 50]}"};
    char text[2048] = "";
    for (int i = 0; i < 4; i++)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text),
                       "%s{\"id\": %d, \"image_id\": 7, \"category_id\": 3, \"bbox\": [1,1,3,3], \"segmentation\": %s}",
                       i ? ",\n" : "", i + 1, parts[i]);
    detect_data o = open_with(text, &with_masks);
    cr_expect_str_eq(o.d->kind(o.self, 3), CVR_FIELD_MASKS);
    test_sample s;
    test_sample_init(&s);
    cr_assert_eq(o.d->read(o.self, 0, &s.sample, &o.err), CVR_OK, "%s", o.err.message);
    const cvr_field *const f = cvr_sample_find(&s.sample, CVR_FIELD_MASKS);
    cr_assert(f && f->shape[0] == 4 && f->shape[1] == 40 && f->shape[2] == 50);
    const uint8_t *const masks = f->data;
    cr_expect(masks[2000 + 50 + 1] && !masks[2000] && masks[2000 + 10 * 50 + 11], "both polygons of the second");
    cr_expect(masks[4000 + 50 + 1] && masks[4000 + 2 * 50 + 1] && masks[4000 + 50 + 2] && !masks[4000 + 50 + 3]);
    cr_expect_arr_eq(masks + 4000, masks + 6000, 2000, "the same runs, as numbers and as a string");
    test_sample_free(&s);
    const detect_object told = detect_tell(o, 0, 2);
    cr_expect(told.o.n_runs == 5 && told.runs[0] == 41 && told.runs[4] == 1917);
    detect_close(o);
}

static void outline_is_bad(const char *outline, const char *says) {
    char text[1024];
    (void)snprintf(text, sizeof text,
                   "{\"id\": 4, \"image_id\": 7, \"category_id\": 3, \"bbox\": [1,1,3,3], \"segmentation\": %s}",
                   outline);
    const detect_data o = open_with(text, &with_masks);
    detect_bad(o, 0, "instances_train2017.json", says);
    detect_close(o);
}

Test(coco, outlines_that_are_none) {
    outline_is_bad("[]", "no outline");
    outline_is_bad("null", "no outline");
    outline_is_bad("[1,2,3,4,5,6]", "a list of lists");
    outline_is_bad("[[1,2,3,4]]", "it needs x and y of three corners");
    outline_is_bad("[[1,2,3,4,5,6,7]]", "7 numbers");
    outline_is_bad("[[1,2,3,4,5,900]]", "corner at 900");
    outline_is_bad("{\"size\": [50, 40], \"counts\": [2000]}", "for a picture of 40 x 50");
    outline_is_bad("{\"size\": [40, 50], \"counts\": [2000, 1]}", "more pixels");
    outline_is_bad("{\"size\": [40, 50], \"counts\": [2.5]}", "-1 pixels");
    outline_is_bad("{\"size\": [40, 50], \"counts\": \"~\"}", "no run lengths");
    outline_is_bad("{\"counts\": [2000]}", "no size");
}

/* The annotation makes its picture unusable, and nothing else. */
static void box_is_bad(const char *annotation, const char *says) {
    const detect_data o = open_with(annotation, &usual);
    detect_bad(o, 0, "instances_train2017.json", says);
    detect_bad(o, 0, "instances_train2017.json", "train2017/a.png");
    detect_boxes(o, 1, 0, NULL);
    cr_expect_eq(o.d->rows(o.self, 0, "object"), 0);
    detect_close(o);
}

Test(coco, annotations_that_are_wrong_are_named) {
    box_is_bad(BOX(1, 7, 90, "[1,2,3]"), "annotation 1: it has no `bbox`");
    box_is_bad(BOX(1, 7, 90, "[1,2,3,\"4\"]"), "four numbers");
    box_is_bad(BOX(1, 7, 90, "{\"x\": 1}"), "four numbers");
    box_is_bad(BOX(1, 7, 90, "[1,2,3,1e400]"), "four numbers");
    box_is_bad(BOX(1, 7, 91, "[1,2,3,4]"), "category 91, which the file does not have");
    box_is_bad("{\"id\": 1, \"image_id\": 7, \"bbox\": [1,2,3,4]}", "no `category_id`");
    box_is_bad(BOX(5, 7, 90, "[1,2,3,4]") ", {\"image_id\": 7, \"category_id\": 3, \"bbox\": [1,2,99,4]}",
               "annotation 2 of the list: a box from 1,2 to 100,6 reaches");
    box_is_bad(BOX(1, 7, 90, "[1,2,-3,4]"), "annotation 1: a box of -3 x 4 pixels: no side can be negative");
    box_is_bad(BOX(1, 7, 90, "[1,2,50,4]"), "reaches 1 pixels beyond");
    box_is_bad(BOX(1, 7, 90, "[1,2,1e30,4]"), "the number 1e+30");
    box_is_bad(BOX(1, 7, 90, "[60,2,3,4]") ", " BOX(2, 7, 90, "[61,2,3,4]"), "(and 1 more of this picture)");
}

Test(coco, boxes_without_area_are_left_out_with_a_word) {
    const detect_data o = open_with(BOX(1, 7, 90, "[1,2,3,0]") ", " BOX(2, 7, 90, "[1,2,3,4]"), &usual);
    detect_logged("objects without area, which are left out: 1, the first: ");
    detect_boxes(o, 0, 1, (const double[][5]){{1, 2, 4, 6, 1}});
    cr_expect_eq(detect_tell(o, 0, 0).n, 2);
    detect_close(o);
}

Test(coco, twins_and_orphans_are_counted) {
    detect_data o = open_with(BOX(1, 7, 90, "[1,2,3,4]") ", " BOX(2, 7, 90, "[1,2,3,4]"), &usual);
    detect_logged("objects with the class and the box of another, which count twice: 1, ");
    detect_boxes(o, 0, 2, (const double[][5]){{1, 2, 4, 6, 1}, {1, 2, 4, 6, 1}});
    detect_close(o);
    o = open_with(BOX(1, 8, 90, "[1,2,3,4]") ", " BOX(2, 7, 90, "[1,2,3,4]"), &usual);
    detect_logged(
        "objects of pictures that are not listed, which are left out: 1, the first: annotation 1: image_id 8");
    detect_close(o);
}

Test(coco, empty_pictures_are_kept_or_dropped) {
    const coco_attrs drop = {"", "", 0, 0, 0, 1};
    const char *const text = BOX(1, 7, 90, "[1,2,3,4]") ", " BOX(2, 0, 90, "[1,2,1,9]");
    detect_data o = open_with(text, &drop);
    cr_expect_eq(o.d->count(o.self), 1);
    detect_boxes(o, 0, 1, (const double[][5]){{1, 2, 4, 6, 1}});
    detect_close(o);
    o = open_with(text, &usual);
    cr_expect_eq(o.d->count(o.self), 2);
    detect_close(o);
}

Test(coco, a_picture_of_another_size_is_refused) {
    const detect_data o = open_with(BOX(1, 7, 90, "[1,2,3,4]"), &usual);
    detect_picture("train2017/a.png", 40, 50);
    detect_bad(o, 0, "a.png", "turned by its EXIF");
    detect_close(o);
}

Test(coco, where_files_are) {
    const coco_attrs given = {scratch_path("x/my.json"), "", 0, 0, 0, 0}, split = {"", "", 0.5, 0, 0, 0};
    put(BOX(1, 7, 90, "[1,2,3,4]"));
    detect_refused(detect_open("coco", CVR_SPLIT_VAL, &usual, "", ""), "", "instances_val2017.json");
    detect_refused(detect_open("coco", CVR_SPLIT_TRAIN, &given, "", ""), "my.json", "cannot open");
    detect_data o = detect_must_open("coco", CVR_SPLIT_VAL, &split);
    cr_expect_eq(o.d->count(o.self), 1);
    detect_close(o);
    /* Roboflow: the file is among the pictures */
    scratch_put_text("valid/_annotations.coco.json",
                     "\xef\xbb\xbf" HEAD
                     "\"annotations\": [], \"images\": [{\"id\": 1, \"file_name\": \"v.png\"}]}\r\n");
    detect_picture("valid/v.png", 5, 4);
    o = detect_must_open("coco", CVR_SPLIT_VAL, &usual);
    detect_boxes(o, 0, 0, NULL);
    int64_t height, width;
    cr_expect(o.d->size(o.self, 0, &height, &width, &o.err) == CVR_OK && height == 4 && width == 5);
    detect_close(o);
}

static void file_is_bad(const char *text, uint32_t line, const char *says) {
    scratch_put_text("annotations/instances_train2017.json", text);
    const detect_data o = detect_open("coco", CVR_SPLIT_TRAIN, &usual, "", "");
    detect_refused(o, "instances_train2017.json", says);
    cr_expect(line == 0 || o.err.line == line, "%s: line %u, not %u", o.err.message, o.err.line, line);
}

Test(coco, files_that_are_wrong_are_refused) {
    file_is_bad("", 1, "ends too early");
    file_is_bad("[{\"image_id\": 1}]", 1, "a list is for results");
    file_is_bad("{\"images\": [],\n \"annotations\": [NaN]}", 2, "this is no JSON");
    file_is_bad("{\"images\": [{\"id\": 1}\n", 0, "no usable `file_name`");
    file_is_bad("{\"images\": 3}", 0, "`images` is no list");
    file_is_bad("{\"images\": [3]}", 0, "no {...}");
    file_is_bad("{\"images\": [], \"images\": []}", 0, "there twice");
    file_is_bad("{\"images\": [{\"id\": \"a\", \"file_name\": \"b\"}]}", 0, "no `id` that is a whole number");
    file_is_bad("{\"images\": [], \"categories\": []}", 0, "it has no `annotations`");
    file_is_bad(HEAD "\"images\": [], \"annotations\": []}", 0, "not one picture");
    file_is_bad(HEAD IMAGES "\"annotations\": [{\"id\": 1}]}", 0, "no `image_id`");
    file_is_bad("{" IMAGES "\"annotations\": [], \"categories\": []}", 0, "no categories");
    file_is_bad("{" IMAGES "\"annotations\": [], \"categories\": [{\"id\": 1, \"name\": \"a\"}, {\"id\": 1, \"name\": "
                "\"b\"}]}",
                0, "two categories have the id 1");
    file_is_bad("{" IMAGES "\"annotations\": [], \"categories\": [{\"id\": 1, \"name\": \"a\"}, {\"id\": 2, \"name\": "
                "\"a\"}]}",
                0, "two categories are called `a`");
    file_is_bad(HEAD "\"annotations\": [], \"images\": [{\"id\": 1, \"file_name\": \"a\"}, {\"id\": 1, \"file_name\": "
                     "\"b\"}]}",
                0, "two pictures have the id 1: a and b");
    char deep[400] = "{\"x\": ";
    memset(deep + 6, '[', 300);
    file_is_bad(deep, 0, "nested 64 deep");
}

Test(coco, a_long_value_is_bounded) {
    char *const text = malloc(400001);
    memset(text, 'x', 400000);
    memcpy(text, "{\"images\": \"", 12);
    text[400000] = '\0';
    file_is_bad(text, 0, "a value of over 262144 bytes");
    free(text);
}
