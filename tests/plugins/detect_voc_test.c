/*
 * The data set voc with boxes: lists and folders, coordinates, classes, difficult objects, what other tools write, and
 * what is said of files that are not right. Its masks are in masks_test.c.
 */
#include "detect_data.h"
#include <stdlib.h>

TestSuite(voc, .init = detect_load, .fini = detect_unload);

static const voc_attrs usual = {2, "SegmentationClass", "", 0, 0, 1, 0};

#define SIZE "<size><width>50</width><height>40</height><depth>1</depth></size>"
#define OBJECT(name_, x1_, y1_, x2_, y2_)                                                                              \
    "<object><name>" name_ "</name><pose/><truncated/><difficult/><bndbox><xmin>" #x1_ "</xmin><ymin>" #y1_            \
    "</ymin><xmax>" #x2_ "</xmax><ymax>" #y2_ "</ymax></bndbox></object>"

static void put(const char *name, const char *inside) {
    char path[200], text[8192];
    (void)snprintf(path, sizeof path, "Annotations/%s.xml", name);
    (void)snprintf(text, sizeof text, "<annotation>\n%s\n</annotation>\n", inside);
    scratch_put_text(path, text);
    (void)snprintf(path, sizeof path, "JPEGImages/%s.jpg", name);
    detect_picture(path, 50, 40);
}

/* One training picture with this inside its annotation. */
static detect_data open_with(const char *inside, const voc_attrs *a) {
    put("a", inside);
    scratch_put_text("ImageSets/Main/train.txt", "a\r\n");
    return detect_must_open("voc", CVR_SPLIT_TRAIN, a);
}

Test(voc, boxes_as_torchvision_takes_them) {
    detect_data o = open_with(
        "<filename>other.jpg</filename>" SIZE OBJECT("person", 5, 6, 20, 40)
            OBJECT(" dog ", 1.5, 2.25, 3.5,
                   4) "<object><name>cat</name><difficult>1</difficult><part><name>head</name><bndbox><xmin>1</"
                      "xmin><ymin>1</ymin>"
                      "<xmax>2</xmax><ymax>2</ymax></bndbox></part><bndbox><ymin>1</ymin><xmin>2</xmin><ymax>9</ymax>"
                      "<xmax>50</xmax></bndbox></object>",
        &usual);
    cr_expect_eq(o.d->n_classes(o.self), 20);
    cr_expect_str_eq(o.d->class_name(o.self, 7), "cat");
    detect_boxes(o, 0, 3, (const double[][5]){{5, 6, 20, 40, 14}, {1.5, 2.25, 3.5, 4, 11}, {2, 1, 50, 9, 7}});
    const detect_object told = detect_tell(o, 0, 2);
    cr_expect(told.n == 3 && told.o.flags == CVR_OBJECT_DIFFICULT && told.o.id == 3 && told.o.area == 48 * 8);
    int64_t height, width;
    cr_expect(o.d->size(o.self, 0, &height, &width, &o.err) == CVR_OK && height == 40 && width == 50);
    detect_close(o);
}

Test(voc, exact_coordinates_and_no_difficult_objects) {
    const voc_attrs exact = {2, "SegmentationClass", "", 0, 1, 0, 0};
    const detect_data o = open_with(
        SIZE OBJECT("person", 1, 1, 50, 40) "<object><name>cat</name><difficult>1</difficult><bndbox><ymin>1</ymin>"
                                            "<xmin>2</xmin><ymax>9</ymax><xmax>50</xmax></bndbox></object>",
        &exact);
    detect_boxes(o, 0, 1, (const double[][5]){{0, 0, 50, 40, 14}});
    cr_expect_eq(detect_tell(o, 0, 1).n, 2);
    detect_close(o);
}

Test(voc, other_classes_are_sorted_or_named) {
    voc_attrs a = usual;
    detect_data o = open_with(OBJECT("tree", 1, 2, 3, 4) OBJECT("big house", 1, 2, 3, 5), &a);
    cr_expect(o.d->n_classes(o.self) == 2);
    cr_expect_str_eq(o.d->class_name(o.self, 0), "big house");
    detect_boxes(o, 0, 2, (const double[][5]){{1, 2, 3, 4, 1}, {1, 2, 3, 5, 0}});
    detect_close(o);
    scratch_put_text("classes.txt", "tree\ncar\n");
    o = detect_must_open("voc", CVR_SPLIT_TRAIN, &a);
    cr_expect_eq(o.d->n_classes(o.self), 2);
    detect_bad(o, 0, "Annotations/a.xml", "line 2: class `big house` is not among data.class_names");
    detect_close(o);
}

/* Training has a class that is none of VOC's; validation has one that is, and must not have the other nineteen. */
Test(voc, validation_has_the_classes_that_it_has) {
    detect_data o = open_with(OBJECT("cat", 1, 2, 3, 4) OBJECT("widget", 1, 2, 3, 5), &usual);
    scratch_put_text("ImageSets/Main/val.txt", "b\n");
    put("b", OBJECT("cat", 1, 2, 3, 4));
    cr_expect_eq(o.d->n_classes(o.self), 2);
    detect_close(o);
    o = detect_must_open("voc", CVR_SPLIT_VAL, &usual);
    cr_expect_eq(o.d->n_classes(o.self), 1);
    cr_expect_str_eq(o.d->class_name(o.self, 0), "cat");
    detect_close(o);
}

Test(voc, a_file_without_objects_is_background) {
    const voc_attrs drop = {2, "SegmentationClass", "", 0, 0, 1, 1};
    put("b", "");
    put("a", SIZE OBJECT("dog", 1, 2, 3, 4));
    scratch_put_text("ImageSets/Main/train.txt", "b  1\na -1\n");
    detect_data o = detect_must_open("voc", CVR_SPLIT_TRAIN, &usual);
    detect_boxes(o, 0, 0, NULL);
    detect_close(o);
    o = detect_must_open("voc", CVR_SPLIT_TRAIN, &drop);
    cr_expect_eq(o.d->count(o.self), 1);
    detect_close(o);
}

static void xml_is_bad(const char *inside, const char *says) {
    put("b", SIZE OBJECT("dog", 1, 2, 3, 4));
    put("a", inside);
    scratch_put_text("ImageSets/Main/train.txt", "a\nb\n");
    const detect_data o = detect_must_open("voc", CVR_SPLIT_TRAIN, &usual);
    detect_bad(o, 0, "Annotations/a.xml", says);
    detect_boxes(o, 1, 1, (const double[][5]){{1, 2, 3, 4, 11}});
    detect_close(o);
}

Test(voc, what_is_wrong_is_named_with_its_line) {
    xml_is_bad("<object>\n<name>dog</name></objekt>", "line 3: column 19: this is no XML (mismatched tag)");
    xml_is_bad(SIZE OBJECT("", 1, 2, 3, 4), "line 2: an object without a name");
    xml_is_bad(SIZE "\n" OBJECT("dog", 1, nan, 3, 4), "line 3: an object whose box has no ymin that is a number");
    xml_is_bad(SIZE OBJECT("dog", 1, 2, , 4), "no xmax that is a number");
    xml_is_bad(SIZE "<object><name>dog</name></object>", "no xmin");
    xml_is_bad(SIZE OBJECT("dog", 9, 2, 3, 4), "line 2: a box of -6 x 2 pixels: no side can be negative");
    xml_is_bad(SIZE OBJECT("dog", 1, 2, 60, 4), "reaches 10 pixels beyond");
    xml_is_bad(SIZE OBJECT("dog", 1, 2, 1e12, 4), "1e+12");
    xml_is_bad(OBJECT("dog", 1, 2, 60, 4), "reaches 10 pixels beyond"); /* the size is the picture's */
    xml_is_bad("<size><width>0</width><height>0</height></size>" OBJECT("dog", 1, 2, 60, 4), "reaches 10 pixels");
    xml_is_bad("\xff\xfe", "this is no XML");
}

Test(voc, a_picture_of_another_size_is_refused) {
    const detect_data o =
        open_with("<size><width>40</width><height>50</height></size>" OBJECT("dog", 1, 2, 3, 4), &usual);
    detect_bad(o, 0, "JPEGImages/a.jpg", "turned by its EXIF");
    detect_close(o);
}

Test(voc, sizes_that_are_not_said_are_those_of_the_files) {
    detect_data o = open_with(OBJECT("dog", 1, 2, 50.25, 4), &usual);
    detect_logged("less than a hundredth");
    detect_boxes(o, 0, 1, (const double[][5]){{1, 2, 50, 4, 11}});
    detect_close(o);
    o = open_with("<size><width>2147483648</width><height>40</height></size>" OBJECT("dog", 1, 2, 3, 4), &usual);
    detect_logged("pictures whose annotations say a size that is none, so that it is taken from their files: 1, ");
    detect_boxes(o, 0, 1, (const double[][5]){{1, 2, 3, 4, 11}});
    detect_close(o);
    cr_assert_eq(remove(scratch_path("JPEGImages/a.jpg")), 0);
    o = detect_must_open("voc", CVR_SPLIT_TRAIN, &usual);
    detect_bad(o, 0, "JPEGImages/a.jpg", "No such file");
    detect_picture("JPEGImages/a.jpg", 50, 40);
    detect_bad(o, 0, "JPEGImages/a.jpg", "it could not be read when the data was opened");
    detect_close(o);
}

Test(voc, entities_are_refused) {
    scratch_put_text("Annotations/a.xml",
                     "<!DOCTYPE a [<!ENTITY x \"xx\">]>\n<a><object><name>&x;</name></object></a>");
    scratch_put_text("ImageSets/Main/train.txt", "a\n");
    detect_picture("JPEGImages/a.jpg", 50, 40);
    const detect_data o = detect_must_open("voc", CVR_SPLIT_TRAIN, &usual);
    detect_bad(o, 0, "a.xml", "its own document type");
    detect_close(o);
}

Test(voc, a_missing_file_is_named) {
    put("b", SIZE OBJECT("dog", 1, 2, 3, 4));
    scratch_put_text("ImageSets/Main/train.txt", "b\nmissing\n");
    const detect_data o = detect_must_open("voc", CVR_SPLIT_TRAIN, &usual);
    detect_bad(o, 1, "Annotations/missing.xml", "cannot open the file");
    detect_close(o);
}

Test(voc, pictures_and_files_beside_each_other) {
    voc_attrs a = usual;
    detect_picture("train/x.png", 50, 40);
    scratch_put_text("train/x.xml", "<annotation>" OBJECT("Tree", 1, 2, 30, 4) "</annotation>");
    a.annotations = 0; /* there are no masks */
    detect_data o = detect_must_open("voc", CVR_SPLIT_TRAIN, &a);
    detect_boxes(o, 0, 1, (const double[][5]){{1, 2, 30, 4, 0}});
    detect_close(o);
    detect_refused(detect_open("voc", CVR_SPLIT_VAL, &a, "", ""), "", "no ImageSets/Main/val.txt and no folder val");
    o = detect_open("voc", CVR_SPLIT_VAL, &a, "", scratch_path("train"));
    cr_expect_eq(o.d->count(o.self), 1);
    detect_close(o);
}

Test(voc, one_list_has_both_splits) {
    const voc_attrs split = {2, "SegmentationClass", "", 0.5, 0, 1, 0};
    put("a", SIZE OBJECT("dog", 1, 2, 3, 4));
    put("b", SIZE OBJECT("cat", 1, 2, 3, 4));
    scratch_put_text("ImageSets/Main/trainval.txt", "a\nb\n");
    const detect_data train = detect_must_open("voc", CVR_SPLIT_TRAIN, &split);
    const detect_data val = detect_must_open("voc", CVR_SPLIT_VAL, &split);
    cr_expect(train.d->count(train.self) == 1 && val.d->count(val.self) == 1);
    detect_close(train);
    detect_close(val);
}
