/*
 * Which transforms training and validation have: the lines of [augment], lists of them by name, and what the task adds
 * where pictures have boxes.
 */
#include "../apps/session/augment_presets.h"
#include "../apps/session/run_data.h"
#include "support/recipe_text.h"
#include <stdio.h>

static bool boxes;
static int64_t fit = FIT_AUTO;
bool settings_with_boxes(const settings *s) {
    (void)s;
    return boxes;
}

static int32_t pipeline_of_boxes(const cvr_task_info *info, const cvr_pipeline *p, cvr_error *err) {
    (void)info;
    return cvr_pipeline_boxes(p, err);
}
static int32_t usual_pipeline(const cvr_task_info *info, const cvr_pipeline *p, cvr_error *err) {
    (void)info;
    return cvr_pipeline_usual(p, err);
}

typedef struct run {
    data_settings data;
    val_settings val;
    cvr_task_desc task;
    settings set;
    run_data d;
} run;

static cvr_plugins *plugins;

static void set_up(void) {
    cvr_error err = CVR_ERROR_INIT;
    cr_assert_eq(cvr_plugins_open(&plugins, NULL, 0, &err), CVR_OK, "%s", err.message);
}
static void tear_down(void) {
    cvr_plugins_close(&plugins);
}
TestSuite(transforms, .init = set_up, .fini = tear_down);

static int32_t open_run(run *r, const char *augment, int64_t side, int64_t longer, cvr_error *err) {
    char text[512];
    cr_assert_lt(snprintf(text, sizeof text, "[augment]\n%s\n[run]\nseed = 1\n", augment), sizeof text);
    memset(r, 0, sizeof *r);
    r->data = (data_settings){
        .mean = "0", .std = "1", .n_img_size = 1, .img_size = side, .img_size_long = longer, .fit = fit};
    r->val = (val_settings){.crop_size = -1, .resize_size = -1, .interpolation = 1};
    r->task = (cvr_task_desc){.name = "test", .pads = boxes, .pipeline = boxes ? pipeline_of_boxes : usual_pipeline};
    r->set = (settings){.task = &r->task, .data = &r->data, .val = &r->val, .std = {1, 1, 1, 1}};
    r->set.protocol = (protocol){.resize = side, .crop = side};
    r->set.config = recipe_of_text(text);
    return data_make_transforms(&r->d, &r->set, plugins, err);
}

static void close_run(run *r) {
    for (int i = 0; i < 2; i++) {
        split *s = &r->d.splits[i];
        for (size_t k = 0; k < s->n_transforms; k++) cvr_free((void *)(uintptr_t)s->transforms[k].attrs);
        cvr_free(s->transforms);
    }
    cvr_config_destroy(&r->set.config);
}

static void names_of(const split *s, char *out, size_t room) {
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < s->n_transforms; i++)
        n += (size_t)snprintf(out + n, room - n, "%s%s", i ? " " : "", s->transforms[i].desc->name);
}

/* Of a transform: "key=value key=value". */
static void expect_settings(const cvr_transform *t, const char *text_of_all) {
    const cvr_schema schema = {t->desc->attrs, t->desc->n_attrs};
    for (uint32_t i = 0; i < schema.n; i++) {
        char *expected = cvr_line_key(text_of_all, schema.attrs[i]->name);
        cvr_text text = {0};
        if (expected) cvr_attr_print(&schema, i, t->attrs, &text);
        if (expected) cr_expect_str_eq(text.s, expected, "%s: %s", schema.attrs[i]->name, text.s);
        cvr_text_clear(&text);
        cvr_free(expected);
    }
}

/* The size follows the lines, unless one of them makes it. */
static const struct {
    const char *augment;
    int64_t side, longer;
    const char *train;
} cases[] = {
    {"", 800, 1333, "resize normalize"},
    {"", 300, 0, "resize normalize"},
    {"", 0, 0, "normalize"},
    {"random_horizontal_flip =", 800, 1333, "random_horizontal_flip resize normalize"},
    {"random_horizontal_flip =", 0, 0, "random_horizontal_flip normalize"},
    {"color_jitter = brightness=0.2\nsanitize_bounding_boxes =", 300, 0,
     "color_jitter sanitize_bounding_boxes resize normalize"},
    {"resize = 400", 800, 1333, "resize normalize"},
    {"random_resized_crop =", 300, 0, "random_resized_crop normalize"},
    {"normalize = 0.5 0.5\nrandom_horizontal_flip =", 300, 0, "random_horizontal_flip resize normalize"},
    {"random_erasing =\nrandom_horizontal_flip =", 300, 0, "random_horizontal_flip resize normalize random_erasing"},
    {"preset = hflip", 800, 1333, "random_horizontal_flip resize normalize"},
    {"preset = multiscale", 800, 1333, "random_shortest_size random_horizontal_flip normalize"},
    {"preset = lsj", 800, 1333, "scale_jitter fixed_size_crop random_horizontal_flip normalize"},
    {"preset = ssdlite", 320, 0, "random_iou_crop random_horizontal_flip resize normalize"},
    {"preset = ssd", 300, 0,
     "random_photometric_distort random_zoom_out random_iou_crop random_horizontal_flip resize normalize"},
    {"preset = none", 300, 0, "resize normalize"},
    {"random_vertical_flip =\npreset = hflip\nrandom_invert =", 300, 0,
     "random_vertical_flip random_horizontal_flip random_invert resize normalize"},
};

Test(transforms, of_pictures_with_boxes) {
    boxes = true;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char train[512], val[512];
        run r;
        cvr_error err = CVR_ERROR_INIT;
        cr_assert_eq(open_run(&r, cases[i].augment, cases[i].side, cases[i].longer, &err), CVR_OK, "%s: %s",
                     cases[i].augment, err.message);
        names_of(&r.d.splits[CVR_SPLIT_TRAIN], train, sizeof train);
        names_of(&r.d.splits[CVR_SPLIT_VAL], val, sizeof val);
        cr_expect_str_eq(train, cases[i].train, "%s: %s", cases[i].augment, train);
        cr_expect_str_eq(val, cases[i].side ? "resize normalize" : "normalize");
        close_run(&r);
    }
}

/* data.fit: what the first transform of the task's is called, and some of its settings. */
Test(transforms, fit_pictures_with_boxes_into_a_square) {
    static const struct {
        int64_t fit, longer;
        const char *names, *settings;
    } fits[] = {
        {FIT_AUTO, 0, "resize normalize", "size=416,416 antialias=no"},
        {FIT_STRETCH, 0, "resize normalize", "size=416,416"},
        {FIT_LETTERBOX, 0, "letterbox normalize", "size=416 fill=114 center=no interpolation=bilinear antialias=no"},
        {FIT_LETTERBOX_CENTER, 0, "letterbox normalize", "size=416 fill=128 center=yes"},
        {FIT_LETTERBOX_ALIGNED, 0, "letterbox normalize", "size=416 fill=127.5 center=yes aligned=yes"},
        {FIT_LETTERBOX, 800, "resize normalize", "size=416 max_size=800"},
    };
    boxes = true;
    for (size_t i = 0; i < sizeof fits / sizeof *fits; i++) {
        char names[512];
        run r;
        cvr_error err = CVR_ERROR_INIT;
        fit = fits[i].fit;
        cr_assert_eq(open_run(&r, "", 416, fits[i].longer, &err), CVR_OK, "%s", err.message);
        for (int k = 0; k < 2; k++) {
            const cvr_transform *t = &r.d.splits[k].transforms[0];
            names_of(&r.d.splits[k], names, sizeof names);
            cr_expect_str_eq(names, fits[i].names, "%s", names);
            expect_settings(t, fits[i].settings);
        }
        close_run(&r);
    }
    fit = FIT_AUTO;
}

/* A task without boxes brings pictures to their size by a line of [augment], or does not. */
Test(transforms, of_other_pictures) {
    char train[512];
    run r;
    cvr_error err = CVR_ERROR_INIT;
    boxes = false;
    cr_assert_eq(open_run(&r, "preset = hflip", 32, 0, &err), CVR_OK, "%s", err.message);
    names_of(&r.d.splits[CVR_SPLIT_TRAIN], train, sizeof train);
    cr_expect_str_eq(train, "random_horizontal_flip normalize");
    close_run(&r);
}

/* What torchvision's references say, setting by setting. */
static const char *const values[][3] = {
    {"hflip", "random_horizontal_flip", "p=0.5"},
    {"lsj", "scale_jitter", "target_size=1024,1024 scale_range=0.1,2 interpolation=bilinear antialias=yes"},
    {"lsj", "fixed_size_crop", "size=1024,1024 fill=123,117,104 padding_mode=constant mask_fill=0"},
    {"lsj", "random_horizontal_flip", "p=0.5"},
    {"multiscale", "random_shortest_size",
     "min_size=480,512,544,576,608,640,672,704,736,768,800 max_size=1333 interpolation=bilinear antialias=yes"},
    {"multiscale", "random_horizontal_flip", "p=0.5"},
    {"ssd", "random_photometric_distort",
     "brightness=0.875,1.125 contrast=0.5,1.5 saturation=0.5,1.5 hue=-0.05,0.05 p=0.5"},
    {"ssd", "random_zoom_out", "fill=123,117,104 side_range=1,4 p=0.5 mask_fill=0"},
    {"ssd", "random_iou_crop",
     "min_scale=0.3 max_scale=1 min_aspect_ratio=0.5 max_aspect_ratio=2 sampler_options=0,0.1,0.3,0.5,0.7,0.9,1 "
     "trials=40"},
    {"ssd", "random_horizontal_flip", "p=0.5"},
    {"ssdlite", "random_iou_crop",
     "min_scale=0.3 max_scale=1 min_aspect_ratio=0.5 max_aspect_ratio=2 sampler_options=0,0.1,0.3,0.5,0.7,0.9,1 "
     "trials=40"},
    {"ssdlite", "random_horizontal_flip", "p=0.5"},
};

typedef struct walk {
    const char *preset;
    size_t next;
} walk;

static int32_t expect_next(void *ctx, const char *transform, const char *text, cvr_error *err) {
    walk *w = ctx;
    const void *desc;
    void *want = NULL, *got = NULL;
    cr_assert(w->next < sizeof values / sizeof *values);
    const char *const *v = values[w->next++];
    cr_assert_str_eq(w->preset, v[0]);
    cr_assert_str_eq(transform, v[1]);
    cr_assert_eq(cvr_plugins_find(plugins, CVR_KIND_AUGMENT, transform, &desc, err), CVR_OK, "%s", err->message);
    const cvr_augment_desc *d = desc;
    const cvr_schema schema = {d->attrs, d->n_attrs};
    cr_assert_eq(cvr_attrs_parse(&schema, v[2], NULL, "test", &want, err), CVR_OK, "%s", err->message);
    cr_assert_eq(cvr_attrs_parse(&schema, text, NULL, "test", &got, err), CVR_OK, "%s", err->message);
    cr_expect_eq(memcmp(want, got, cvr_schema_size(&schema, err)), 0, "%s: %s = %s", w->preset, transform, text);
    cvr_free(want);
    cvr_free(got);
    return CVR_OK;
}

Test(transforms, presets_have_torchvisions_settings) {
    static const char *const names[] = {"hflip", "lsj", "multiscale", "ssd", "ssdlite"};
    walk w = {NULL, 0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cvr_error err = CVR_ERROR_INIT;
        w.preset = names[i];
        cr_assert_eq(augment_preset_each(names[i], expect_next, &w, &err), CVR_OK, "%s", err.message);
    }
    cr_expect_eq(w.next, sizeof values / sizeof *values);
}

Test(transforms, mistakes_name_their_line) {
    static const char *const bad[][2] = {{"preset = sdd", "did you mean `ssd`?"},
                                         {"preset = everything", "there is no preset `everything`, but hflip, lsj"},
                                         {"preset =", "there is no preset ``"},
                                         {"random_iou_cropp =", "did you mean"},
                                         {"random_resized_crop =", "size"}};
    boxes = true;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        run r;
        cvr_error err = CVR_ERROR_INIT;
        cr_expect_eq(open_run(&r, bad[i][0], 800, 1333, &err), CVR_ERR_USAGE, "%s was taken", bad[i][0]);
        cr_expect(strstr(err.message, bad[i][1]), "%s: %s", bad[i][0], err.message);
        cr_expect(strstr(err.file, "cvr_recipe_") && err.line == 2, "%s: %s:%d", bad[i][0], err.file, (int)err.line);
        close_run(&r);
    }
}
