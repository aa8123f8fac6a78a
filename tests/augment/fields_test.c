/*
 * Transforms and the fields of samples and batches: what they refuse, what they move, what they say of it.
 */
#include "augment_case.h"
#include <criterion/criterion.h>
#include <cvr/base.h>
#include <math.h>
#include <stdlib.h>

TestSuite(augment_fields, .init = augment_load);

/* Settings that torchvision refuses, and we do too. */
static const char *const refused[][2] = {
    {"random_horizontal_flip", "p=1.5"},
    {"random_rotation", "degrees=-5"},
    {"random_rotation", ""},
    {"random_rotation", "10 center=3"},
    {"resize", "size=4,4 max_size=9"},
    {"resize", "size=10 max_size=10"},
    {"resize", "size="},
    {"resize", "size=0"},
    {"resize", "size=1,2,3"},
    {"pad", "padding=1,2,3"},
    {"pad", "padding=1 padding_mode=wrap"},
    {"random_crop", ""},
    {"random_resized_crop", "size=8 ratio=0,1"},
    {"color_jitter", "brightness=-0.1"},
    {"color_jitter", "hue=0.6"},
    {"color_jitter", "contrast=0.9,0.2"},
    {"normalize", "0.5 0"},
    {"grayscale", "2"},
    {"random_erasing", "value=noise"},
    {"random_erasing", "value=1,,2"},
    {"random_erasing", "scale=0.5,1.2"},
    {"mixup", "0"},
    {"cutmix", "alpha=-1"},
    {"pad", "1 mask_fill=256"},
    {"random_resize", "9 9"},
    {"random_resize", "9"},
    {"scale_jitter", "scale_range=2,1"},
    {"scale_jitter", "scale_range=0,1"},
    {"random_photometric_distort", "hue=-0.6,0"},
    {"random_photometric_distort", "contrast=1.5,0.5"},
    {"random_crop", "4 cat_max_ratio=1.1"},
};

Test(augment_fields, refuses_settings_that_make_no_sense) {
    expect_settings_refused(refused, sizeof refused / sizeof refused[0]);
}

/* Pictures that a transform cannot take end in an error that says so. */
static const struct misfit {
    uint32_t dtype;
    const char *name, *settings;
} misfits[] = {
    {CVR_U8, "normalize", "0.5,0.5 0.5"},              /* two means for three channels */
    {CVR_U8, "pad", "padding=1 fill=1,2"},             /* two fills for three channels */
    {CVR_U8, "pad", "padding=1 fill=300"},             /* no level of u8 */
    {CVR_U8, "pad", "padding=9 padding_mode=reflect"}, /* as wide as the picture */
    {CVR_U8, "random_erasing", "p=1"},                 /* not normalised */
    {CVR_F32, "random_erasing", "p=1 value=1,2"},      /* two values for three channels */
    {CVR_U8, "random_rotation", "5 fill=1,2"},
    {CVR_U8, "pad", "padding=1 fill=1,2,3 padding_mode=edge"},
};

Test(augment_fields, refuses_pictures_that_do_not_fit) {
    static const float pixels[4 * 5 * 3];
    const double params[CVR_AUGMENT_PARAMS] = {1, 0, 0, 1, 1};
    for (size_t i = 0; i < sizeof misfits / sizeof misfits[0]; i++) {
        const cvr_augment_desc *const d = transform(misfits[i].name);
        cvr_error err;
        test_sample s;
        cvr_error_init(&err);
        void *const attrs = settings_of(d, misfits[i].settings, &err);
        cr_assert(attrs, "%s: %s", misfits[i].name, err.message);
        test_sample_init(&s);
        test_sample_image(&s, misfits[i].dtype, 4, 5, 3, pixels);
        cr_expect_neq(d->apply(attrs, params, &s.sample, &err), CVR_OK, "%s %s", misfits[i].name, misfits[i].settings);
        cr_expect(err.message[0], "no message");
        test_sample_free(&s);
        cvr_free(attrs);
    }
}

Test(augment_fields, crop_larger_than_the_picture_says_so) {
    static const uint8_t pixels[4 * 5 * 3];
    const cvr_augment_desc *const d = transform("random_crop");
    double params[CVR_AUGMENT_PARAMS];
    cvr_error err;
    cvr_rng rng;
    test_sample s;
    cvr_error_init(&err);
    void *const attrs = settings_of(d, "9", &err);
    test_sample_init(&s);
    test_sample_image(&s, CVR_U8, 4, 5, 3, pixels);
    cvr_rng_start(&rng, 1, 1);
    cr_expect_eq(d->make_params(attrs, &s.sample, &rng, params, &err), CVR_ERR_USAGE);
    cr_expect(strstr(err.message, "pad_if_needed"));
    test_sample_free(&s);
    cvr_free(attrs);
}

/* Fields that cannot belong to a picture of 4 x 5. */
static const struct stray {
    const char *kind;
    uint32_t dtype, rank;
    int64_t shape[3];
    const char *name, *settings, *message;
} strays[] = {
    {CVR_FIELD_MASK, CVR_U8, 2, {4, 4}, "random_horizontal_flip", "p=1", "'mask' is 4 x 4, its picture is 5 x 4"},
    {CVR_FIELD_MASK, CVR_I64, 2, {4, 5}, "random_horizontal_flip", "p=1", "its kind is u8"},
    {CVR_FIELD_MASKS, CVR_U8, 3, {2, 5, 4}, "resize", "8,8", "'masks' is 4 x 5"},
    {CVR_FIELD_MASKS, CVR_U8, 2, {4, 5}, "pad", "1", "rank 3"},
    {CVR_FIELD_BOXES, CVR_F32, 2, {3, 5}, "center_crop", "2", "a box has 4"},
    {CVR_FIELD_BOXES, CVR_F32, 2, {1, 4}, "pad", "1 padding_mode=edge", "padding_mode=constant"},
    {CVR_FIELD_IMAGE, CVR_U8, 3, {3, 5, 1}, "random_rotation", "9", "'image' is 5 x 3"},
};

Test(augment_fields, refuses_fields_that_do_not_fit_the_picture) {
    static const uint8_t nothing[4 * 5 * 3 * 8];
    const double params[CVR_AUGMENT_PARAMS] = {1};
    for (size_t i = 0; i < sizeof strays / sizeof strays[0]; i++) {
        const struct stray *const x = &strays[i];
        const cvr_augment_desc *const d = transform(x->name);
        cvr_error err;
        test_sample s;
        cvr_error_init(&err);
        void *const attrs = settings_of(d, x->settings, &err);
        cr_assert(attrs, "%s: %s", x->name, err.message);
        test_sample_init(&s);
        test_sample_image(&s, CVR_U8, 4, 5, 3, nothing);
        (void)test_sample_add(&s, x->kind, x->dtype, x->rank, x->shape, nothing);
        cr_expect_neq(d->apply(attrs, params, &s.sample, &err), CVR_OK, "%s with %s", x->name, x->kind);
        cr_expect(strstr(err.message, x->message), "%s with %s: %s", x->name, x->kind, err.message);
        test_sample_free(&s);
        cvr_free(attrs);
    }
}

/* Samples without objects, and with a second picture. */
Test(augment_fields, moves_nothing_and_several) {
    static const uint8_t pixels[4 * 5 * 3] = {1, 2, 3}, second[4 * 5] = {7};
    const cvr_augment_desc *const d = transform("random_vertical_flip");
    const double params[CVR_AUGMENT_PARAMS] = {1};
    cvr_error err;
    test_sample s;
    cvr_error_init(&err);
    void *const attrs = settings_of(d, "", &err);
    test_sample_init(&s);
    test_sample_image(&s, CVR_U8, 4, 5, 3, pixels);
    cvr_field *const other = test_sample_add(&s, CVR_FIELD_IMAGE, CVR_U8, 3, (const int64_t[]){4, 5, 1}, second);
    cvr_field *const masks = test_sample_add(&s, CVR_FIELD_MASKS, CVR_U8, 3, (const int64_t[]){0, 4, 5}, second);
    cvr_field *const boxes = test_sample_add(&s, CVR_FIELD_BOXES, CVR_F32, 2, (const int64_t[]){0, 4}, second);
    cr_assert_eq(d->apply(attrs, params, &s.sample, &err), CVR_OK, "%s", err.message);
    cr_expect_eq(((const uint8_t *)other->data)[15], 7);
    cr_expect_eq(((const uint8_t *)s.sample.fields[0]->data)[47], 3);
    cr_expect(masks->shape[0] == 0 && masks->shape[1] == 4 && masks->shape[2] == 5 && boxes->shape[0] == 0);
    test_sample_free(&s);
    cvr_free(attrs);
}

/* Part by part: the same pixels, and the same matrix, as of the whole picture. */
static const struct parted {
    const char *name, *settings;
    double params[6];
} parted[] = {
    {"resize", "9,14", {0}},
    {"random_resize", "5 30", {11, 13}},
    {"scale_jitter", "", {30, 40}},
    {"center_crop", "8,11", {0}},
    {"center_crop", "30", {0}},
    {"random_crop", "6,9", {0, 0, 0, 0, 3, 5}},
    {"random_crop", "6,9 padding=2", {2, 2, 2, 2, 0, 5}},
    {"random_resized_crop", "7,8", {2, 3, 11, 13}},
    {"random_horizontal_flip", "", {1}},
    {"random_vertical_flip", "", {1}},
    {"random_vertical_flip", "", {0}},
    {"letterbox", "24 center=yes", {0}},
    {"letterbox", "9,14", {0}},
    {"letterbox", "17,21", {0}},
};

static void run_part(const struct parted *x, const uint8_t *pixels, int64_t h, int64_t w) {
    const cvr_augment_desc *const d = transform(x->name);
    cvr_part in, out = {.struct_size = sizeof out};
    cvr_error err;
    test_sample whole, part;
    cvr_error_init(&err);
    void *const attrs = settings_of(d, x->settings, &err);
    cr_assert(attrs, "%s: %s", x->name, err.message);
    const cvr_part_step step = {sizeof step, attrs, x->params, &in, &out};
    test_sample_init(&whole);
    test_sample_init(&part);
    test_sample_image(&whole, CVR_U8, h, w, 3, pixels);
    cr_assert_eq(d->apply(attrs, x->params, &whole.sample, &err), CVR_OK, "%s", err.message);
    cvr_part_whole(&in, h, w);
    cr_assert_eq(d->part_size(&step, &err), CVR_OK);
    cvr_part_whole(&out, out.height, out.width);
    out.top = 2;
    out.left = 3;
    out.rows = 3;
    out.columns = 4;
    cr_assert_eq(d->part_source(&step, &err), CVR_OK);
    in.reduce = 1;
    uint8_t *const some = malloc((size_t)(in.rows * in.columns * 3));
    for (int64_t y = 0; y < in.rows; y++)
        memcpy(some + y * in.columns * 3, pixels + ((in.top + y) * w + in.left) * 3, (size_t)in.columns * 3);
    test_sample_image(&part, CVR_U8, in.rows, in.columns, 3, some);
    cr_assert_eq(d->part_apply(&step, &part.sample, &err), CVR_OK, "%s", err.message);
    const cvr_field *const a = whole.sample.fields[0], *const b = part.sample.fields[0];
    cr_assert(b->shape[0] == 3 && b->shape[1] == 4, "%s", x->name);
    for (int64_t y = 0; y < 3; y++)
        cr_expect_arr_eq((const uint8_t *)b->data + y * 12, (const uint8_t *)a->data + ((2 + y) * a->shape[1] + 3) * 3,
                         12, "%s: row %d", x->name, (int)y);
    cr_expect_arr_eq(whole.origin.geometry, part.origin.geometry, sizeof part.origin.geometry, "%s", x->name);
    free(some);
    test_sample_free(&whole);
    test_sample_free(&part);
    cvr_free(attrs);
}

Test(augment_fields, parts_are_parts_of_the_whole) {
    static uint8_t pixels[17 * 21 * 3];
    cvr_rng rng;
    cvr_rng_start(&rng, 5, 5);
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)cvr_rng_u32(&rng);
    for (size_t i = 0; i < sizeof parted / sizeof parted[0]; i++) run_part(&parted[i], pixels, 17, 21);
}

/* What moves pixels says so, and names every kind that it moves along; policies move none, as in torchvision. */
Test(augment_fields, says_what_it_moves) {
    static const char *const placed[] = {CVR_FIELD_MASK, CVR_FIELD_BOXES, CVR_FIELD_MASKS};
    uint32_t moving = 0, policies = 0;
    for (uint32_t i = 0; i < augment_host.n_entries; i++) {
        const cvr_augment_desc *const d = augment_host.entries[i].desc;
        if (strcmp(augment_host.entries[i].kind, CVR_KIND_AUGMENT) != 0 || !d->moves || d->stage != CVR_STAGE_SAMPLE)
            continue;
        moving++;
        policies += d->n_kinds == 0;
        if (d->n_samples > 1) continue; /* it says of every kind what becomes of it */
        cr_assert(d->n_kinds == 3u || d->n_kinds == 0, "%s", d->name);
        for (uint32_t k = 0; k < d->n_kinds; k++) cr_expect_str_eq(d->kinds[k], placed[k], "%s", d->name);
    }
    cr_expect(moving == 26u && policies == 4u, "%u move, %u of them nothing along", moving, policies);
    cr_expect(transform("random_erasing")->stage == CVR_STAGE_NORMALISED && !transform("random_erasing")->moves);
    cr_expect(transform("normalize")->stage == CVR_STAGE_NORMALISE && transform("normalize")->emit);
    cr_expect(transform("mixup")->stage == CVR_STAGE_BATCH && transform("mixup")->softens &&
              transform("mixup")->n_kinds == 1);
}

Test(augment_fields, mixing_wants_shares) {
    int64_t labels[2] = {1, 2};
    float pixels[2 * 4] = {0};
    cvr_named_tensor label = {
        sizeof label, "label", CVR_FIELD_LABEL, {.dtype = CVR_I64, .rank = 1, .shape = {2}, .data = labels}, NULL};
    cvr_named_tensor image = {sizeof image,
                              "image",
                              CVR_FIELD_IMAGE,
                              {.dtype = CVR_U8, .rank = 4, .shape = {2, 1, 2, 2}, .pixel_stride = 1, .data = pixels},
                              NULL};
    const cvr_named_tensor *fields[1] = {&label};
    const cvr_batch_view view = {sizeof view, 2, 1, 0, fields, NULL};
    const cvr_augment_batch batch = {sizeof batch, &view, 5};
    const double params[CVR_AUGMENT_PARAMS] = {1, 0.5};
    cvr_error err;
    cvr_error_init(&err);
    void *const attrs = settings_of(transform("mixup"), "", &err);
    cr_expect_neq(transform("mixup")->apply_batch(attrs, params, &batch, &err), CVR_OK);
    cr_expect(strstr(err.message, "'label'"), "%s", err.message);
    fields[0] = &image;
    cr_expect_neq(transform("mixup")->apply_batch(attrs, params, &batch, &err), CVR_OK);
    cr_expect(strstr(err.message, "normalised"), "%s", err.message);
    cvr_free(attrs);
}

/* A builder that remembers the one op that a transform asks for. */
typedef struct asked {
    cvr_builder builder;
    cvr_type type;
    char op[32];
    double attrs[8];
    cvr_value inputs[2];
    uint32_t n_inputs;
} asked;

static const cvr_type *asked_type(const cvr_builder *b, cvr_value v) {
    (void)v;
    return &((const asked *)b->ctx)->type;
}

static int32_t asked_emit(const cvr_builder *b, const cvr_op_call *call, cvr_error *err) {
    asked *const a = b->ctx;
    (void)err;
    (void)snprintf(a->op, sizeof a->op, "%s", call->op);
    cr_assert_leq(call->attrs_size, sizeof a->attrs);
    if (call->attrs_size) memcpy(a->attrs, call->attrs, call->attrs_size);
    a->n_inputs = call->n_inputs;
    memcpy(a->inputs, call->inputs, call->n_inputs * sizeof *a->inputs);
    call->outputs[0] = 9;
    return CVR_OK;
}

Test(augment_fields, device_gets_the_same_numbers) {
    const int64_t shape[4] = {2, 3, 8, 8};
    asked a = {.builder = {.struct_size = sizeof a.builder, .ctx = &a, .type = asked_type, .emit = asked_emit}};
    cvr_error err;
    cvr_value out = CVR_NONE;
    cvr_error_init(&err);
    cvr_type_set(&a.type, CVR_U8, 4, shape);
    void *normalize = settings_of(transform("normalize"), "0.4,0.5,0.6 0.25", &err);
    cr_assert_eq(transform("normalize")->emit(&a.builder, normalize, CVR_NONE, 4, &out, &err), CVR_OK, "%s",
                 err.message);
    cr_expect_str_eq(a.op, "normalize_pixels");
    cr_expect(out == 9 && a.n_inputs == 1 && a.inputs[0] == 4);
    cr_expect_arr_eq(a.attrs, ((const double[8]){0.4, 0.5, 0.6, 0, 0.25, 0.25, 0.25, 0.25}), sizeof a.attrs);
    a.type.shape[1] = 4;
    cr_expect_eq(transform("normalize")->emit(&a.builder, normalize, CVR_NONE, 4, &out, &err), CVR_ERR_USAGE);
    cvr_free(normalize);
    void *cutmix = settings_of(transform("cutmix"), "", &err);
    cr_assert_eq(transform("cutmix")->emit(&a.builder, cutmix, 3, 4, &out, &err), CVR_OK);
    cr_expect_str_eq(a.op, "batch_mix");
    cr_expect(a.n_inputs == 2 && a.inputs[0] == 4 && a.inputs[1] == 3);
    cvr_free(cutmix);
}

/* The consumer's mosaic, which is linked to this test: four samples of other sizes and numbers of objects. */
static void add_scene(test_sample *s, int i) {
    static const int64_t sizes[4][2] = {{8, 12}, {4, 6}, {16, 4}, {5, 5}};
    const int64_t h = sizes[i][0], w = sizes[i][1];
    const int64_t labels[3] = {10 * i, 10 * i + 1, 10 * i + 2};
    uint8_t pixels[12 * 16 * 3], masks[3 * 12 * 16];
    const float box[4] = {0, 0, (float)w, (float)h};
    float boxes[3 * 4];
    for (int k = 0; k < i; k++) memcpy(boxes + 4 * k, box, sizeof box);
    memset(pixels, 50 + i, sizeof pixels);
    memset(masks, 1, sizeof masks);
    test_sample_init(s);
    test_sample_image(s, CVR_U8, h, w, 3, pixels);
    (void)test_sample_add(s, CVR_FIELD_BOXES, CVR_F32, 2, (const int64_t[]){i, 4}, boxes);
    (void)test_sample_add(s, CVR_FIELD_BOX_LABELS, CVR_I64, 1, (const int64_t[]){i}, labels);
    (void)test_sample_add(s, CVR_FIELD_MASKS, CVR_U8, 3, (const int64_t[]){i, h, w}, masks);
}

Test(augment_fields, mosaic_moves_the_objects_of_all) {
    static const float want[4][4] = {{0, 0, 9, 2}, {9, 0, 12, 2}, {0, 2, 9, 8}, {9, 2, 12, 8}};
    static const int owner[6] = {1, 2, 2, 3, 3, 3};
    static const int64_t labels[6] = {10, 20, 21, 30, 31, 32};
    const double params[CVR_AUGMENT_PARAMS] = {0.25, 0.75};
    test_sample s[4];
    cvr_sample *samples[4];
    cvr_error err;
    cvr_error_init(&err);
    test_host_take(&augment_host, cvr_plugin_query(CVR_ABI_MAJOR, CVR_ABI_MINOR));
    for (int i = 0; i < 4; i++) {
        add_scene(&s[i], i);
        samples[i] = &s[i].sample;
    }
    cr_assert_eq(transform("acme.mosaic")->apply_many(NULL, params, samples, 4, &err), CVR_OK, "%s", err.message);
    const uint8_t *const pixels = s[0].fields[0].data, *const masks = s[0].fields[3].data;
    for (int y = 0; y < 8; y++) {
        for (int x = 0; x < 12; x++)
            cr_expect_eq(pixels[(y * 12 + x) * 3], 50 + (y >= 2) * 2 + (x >= 9), "at %d,%d", x, y);
    }
    for (int k = 1; k < 4; k++) cr_assert_eq(s[0].fields[k].shape[0], 6);
    cr_expect_arr_eq(s[0].fields[2].data, labels, sizeof labels);
    for (int k = 0; k < 6; k++) {
        const float *const b = (const float *)s[0].fields[1].data + 4 * k, *const box = want[owner[k]];
        cr_expect_arr_eq(b, box, sizeof want[0], "box %d: %g %g %g %g", k, b[0], b[1], b[2], b[3]);
        for (int y = 0; y < 8; y++) {
            for (int x = 0; x < 12; x++)
                cr_expect_eq(masks[(k * 8 + y) * 12 + x],
                             (float)y >= box[1] && (float)y < box[3] && (float)x >= box[0] && (float)x < box[2]);
        }
    }
    cr_expect_eq(s[0].origin.geometry[0], 0.75);
    cr_expect_eq(s[0].origin.geometry[4], 0.25);
    for (int i = 0; i < 4; i++) test_sample_free(&s[i]);
}
