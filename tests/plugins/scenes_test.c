/*
 * The data set scenes: what is said of a scene is held against its pixels. The pictures that items are cut from are
 * made here, so that it is known how large an item is.
 */
#include "../support/test_host.h"
#include <criterion/criterion.h>
#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PICTURES 40
#define PIXELS (28 * 28)
#define CLASSES 10

/* As the plugin's schema says. */
typedef struct scene_attrs {
    int64_t objects[2];
    double item_scale[2];
    double overlap, rotate;
    int64_t flip, colour;
    double texture, noise;
    int64_t size[2];
    int64_t fields;
} scene_attrs;

#define ALL 0
#define BOXES 1
#define INSTANCES 2
#define MASK 3
#define LABEL 4

static const scene_attrs usual = {{1, 6}, {1, 2}, 0.3, 15, 1, 1, 0.5, 0.02, {10000, 1000}, ALL};

static test_host host;
static const cvr_dataset_desc *set;
static char root[256];

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static const char *in_root(const char *name) {
    static char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void put_u32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> 8 * (3 - i));
}

/* An item of class k: an ellipse with a dark band, which is its own, and traces around it, which are not. */
static void draw_item(int k, uint8_t *picture) {
    const double a = 5 + 0.8 * k, b = 12.5 - 0.7 * k;
    for (int y = 0; y < 28; y++) {
        for (int x = 0; x < 28; x++) {
            const double u = (x - 13.5) / a, v = (y - 13.5) / b;
            const int inside = u * u + v * v <= 1, band = u * u + v * v <= 0.3;
            picture[28 * y + x] = inside ? (band ? 0 : (uint8_t)(80 + 6 * y)) : (uint8_t)((x * y) % 5);
        }
    }
    picture[0] = 255; /* a speck in the corner */
}

static void write_images(const char *name, int64_t width, const uint8_t *pixels) {
    static uint8_t file[16 + PICTURES * PIXELS];
    put_u32(file, 0x803);
    put_u32(file + 4, PICTURES);
    put_u32(file + 8, 28);
    put_u32(file + 12, (uint32_t)width);
    memcpy(file + 16, pixels, (size_t)(PICTURES * 28 * width));
    test_write_file(in_root(name), file, (uint64_t)(16 + PICTURES * 28 * width));
}

static void write_labels(const char *name, uint32_t n, int first) {
    uint8_t file[8 + PICTURES];
    put_u32(file, 0x801);
    put_u32(file + 4, n);
    for (uint32_t i = 0; i < n; i++) file[8 + i] = (uint8_t)(i % CLASSES);
    file[8] = (uint8_t)first;
    test_write_file(in_root(name), file, 8 + n);
}

static uint8_t items[PICTURES * PIXELS];

static void start(void) {
    const char *const tmp = getenv("TMPDIR");
    test_host_init(&host);
    test_host_load(&host, "dataset_scenes");
    set = test_host_find(&host, CVR_KIND_DATASET, "scenes");
    (void)snprintf(root, sizeof root, "%.200s/cvr_scenes_XXXXXX", tmp ? tmp : "/tmp");
    cr_assert(mkdtemp(root));
    for (int i = 0; i < PICTURES; i++) draw_item(i % CLASSES, items + i * PIXELS);
    write_images("train-images-idx3-ubyte", 28, items);
    write_images("t10k-images-idx3-ubyte", 28, items);
    write_labels("train-labels-idx1-ubyte", PICTURES, 0);
    write_labels("t10k-labels-idx1-ubyte", PICTURES, 0);
}

static void stop(void) {
    (void)nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    cr_expect_eq(host.live, 0, "memory was left behind");
}

TestSuite(scenes, .init = start, .fini = stop);

typedef struct opened {
    void *self;
    int32_t status;
    cvr_error err;
} opened;

static opened open_with(cvr_dataset_args args, scene_attrs a) {
    opened o = {NULL, 0, CVR_ERROR_INIT};
    args.struct_size = sizeof args;
    args.host = &host.host;
    args.attrs = &a;
    if (!args.root) args.root = root;
    if (!args.train) args.train = "";
    args.val = "";
    o.status = set->open(&args, &o.self, &o.err);
    return o;
}

static void *open_good(cvr_dataset_args args, scene_attrs a) {
    const opened o = open_with(args, a);
    cr_assert_eq(o.status, CVR_OK, "%s: %s", o.err.file, o.err.message);
    return o.self;
}

/* One scene and what is said of it. */
typedef struct looked {
    test_sample s;
    int64_t n, side;
    const uint8_t *image, *masks, *mask; /* (side, side, C), (n, side, side), (side, side) */
    const float *boxes;                  /* (n, 4) */
    const int64_t *labels;               /* (n) */
} looked;

static const void *data_of(const looked *l, const char *kind) {
    const cvr_field *const f = cvr_sample_find(&l->s.sample, kind);
    return f ? f->data : NULL;
}

static void look(const void *self, int64_t index, looked *l) {
    cvr_error err = CVR_ERROR_INIT;
    memset(l, 0, sizeof *l);
    test_sample_init(&l->s);
    cr_assert_eq(set->read(self, index, &l->s.sample, &err), CVR_OK, "%s", err.message);
    const cvr_field *const boxes = cvr_sample_find(&l->s.sample, CVR_FIELD_BOXES);
    l->n = boxes ? boxes->shape[0] : 0;
    l->side = cvr_sample_find(&l->s.sample, CVR_FIELD_IMAGE)->shape[0];
    l->image = data_of(l, CVR_FIELD_IMAGE);
    l->masks = data_of(l, CVR_FIELD_MASKS);
    l->mask = data_of(l, CVR_FIELD_MASK);
    l->boxes = data_of(l, CVR_FIELD_BOXES);
    l->labels = data_of(l, CVR_FIELD_BOX_LABELS);
}

/* FNV-1a over all fields. */
static uint64_t hash(const looked *l) {
    uint64_t h = 0xcbf29ce484222325ull;
    for (uint32_t i = 0; i < l->s.sample.n_fields; i++) {
        const cvr_field *const f = l->s.sample.fields[i];
        const uint8_t *const bytes = f->data;
        const uint64_t n = cvr_dtype_size(f->dtype) * (uint64_t)cvr_numel(f->rank, f->shape);
        for (uint64_t k = 0; k < n; k++) h = (h ^ bytes[k]) * 0x100000001b3ull;
    }
    return h;
}

static uint64_t hash_of(const void *self, int64_t index) {
    looked l;
    look(self, index, &l);
    const uint64_t h = hash(&l);
    test_sample_free(&l.s);
    return h;
}

/* ---- what a scene depends on ---- */

Test(scenes, depend_on_seed_split_and_index_only) {
    static const uint64_t golden[2][3] = {{0xb731ca8f98883bbdull, 0x06209725b0e3166bull, 0xe5969965dde9347eull},
                                          {0xe2d29f7583bc05a5ull, 0xb300fc61d9c3443bull, 0x237acff1971da463ull}};
    for (uint32_t split = 0; split < 2; split++) {
        void *const self = open_good((cvr_dataset_args){.seed = 1, .split = split}, usual);
        void *const other = open_good((cvr_dataset_args){.seed = 2, .split = split}, usual);
        for (int i = 2; i >= 0; i--) {
            const uint64_t h = hash_of(self, i * 300);
            cr_expect_eq(h, golden[split][i], "scene %d of split %u is now 0x%016llxull", i * 300, split,
                         (unsigned long long)h);
            cr_expect_neq(h, hash_of(other, i * 300));
        }
        cr_expect_eq(set->count(self), usual.size[split]);
        set->close(self);
        set->close(other);
    }
}

Test(scenes, ground_and_noise_leave_the_items_where_they_are) {
    scene_attrs other = usual;
    looked a, b;
    other.texture = 1;
    other.noise = 0.1;
    other.colour = 0;
    void *const one = open_good((cvr_dataset_args){.seed = 5}, usual);
    void *const two = open_good((cvr_dataset_args){.seed = 5}, other);
    for (int i = 0; i < 20; i++) {
        look(one, i, &a);
        look(two, i, &b);
        cr_assert_eq(a.n, b.n);
        cr_expect_eq(memcmp(a.masks, b.masks, (size_t)(a.n * a.side * a.side)), 0);
        cr_expect_eq(memcmp(a.labels, b.labels, (size_t)a.n * sizeof *a.labels), 0);
        test_sample_free(&a.s);
        test_sample_free(&b.s);
    }
    set->close(one);
    set->close(two);
}

/* ---- what is said of a scene ---- */

static double iou(const float *a, const float *b) {
    const double w = fmin(a[2], b[2]) - fmax(a[0], b[0]), h = fmin(a[3], b[3]) - fmax(a[1], b[1]);
    const double both = w > 0 && h > 0 ? w * h : 0;
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both);
}

/* Boxes are tight, masks apart, the classes of pixels those of the items seen there. Returns the most IoU. */
static double expect_true(const looked *l, int64_t index) {
    const int64_t side = l->side;
    double most = 0;
    for (int64_t at = 0; at < side * side; at++) {
        int64_t owners = 0, class_here = 0;
        for (int64_t i = 0; i < l->n; i++) {
            if (!l->masks[i * side * side + at]) continue;
            owners++;
            class_here = l->labels[i];
        }
        cr_assert_leq(owners, 1, "scene %lld: two items at one pixel", (long long)index);
        cr_assert_eq(l->mask[at], class_here, "scene %lld", (long long)index);
    }
    for (int64_t i = 0; i < l->n; i++) {
        float box[4] = {1e9f, 1e9f, -1, -1};
        for (int64_t at = 0; at < side * side; at++) {
            if (!l->masks[i * side * side + at]) continue;
            const float x = (float)(at % side), y = (float)(at / side);
            box[0] = fminf(box[0], x);
            box[1] = fminf(box[1], y);
            box[2] = fmaxf(box[2], x + 1);
            box[3] = fmaxf(box[3], y + 1);
        }
        for (int k = 0; k < 4; k++) cr_assert_eq(box[k], l->boxes[4 * i + k], "scene %lld", (long long)index);
        cr_assert(l->labels[i] >= 1 && l->labels[i] <= CLASSES);
        for (int64_t k = 0; k < i; k++) most = fmax(most, iou(l->boxes + 4 * i, l->boxes + 4 * k));
    }
    return most;
}

Test(scenes, boxes_masks_and_labels_agree) {
    for (int round = 0; round < 4; round++) {
        static const double overlaps[4] = {0, 0.1, 0.3, 1};
        scene_attrs a = usual;
        double most = 0;
        int64_t seen[CLASSES + 1] = {0};
        a.overlap = overlaps[round];
        a.rotate = 60 * round;
        a.objects[0] = 3;
        a.objects[1] = 12;
        void *const self = open_good((cvr_dataset_args){.img_size = 96 + 7 * round, .split = round & 1}, a);
        for (int64_t i = 0; i < 60; i++) {
            looked l;
            look(self, i, &l);
            most = fmax(most, expect_true(&l, i));
            cr_expect_eq(set->rows(self, i, "object"), l.n);
            cr_expect(l.n >= 1 && l.n <= a.objects[1]);
            for (int64_t k = 0; k < l.n; k++) seen[l.labels[k]]++;
            test_sample_free(&l.s);
        }
        cr_expect(most <= a.overlap && most >= a.overlap * 0.5, "most IoU %g of %g", most, a.overlap);
        for (int k = 1; k <= CLASSES; k++) cr_expect_gt(seen[k], 0, "class %d was never drawn", k);
        set->close(self);
    }
}

/* What annotations say of a scene, against the fields of its sample. */
typedef struct told {
    const looked *l;
    int64_t n;
} told;

static int32_t hold_against(void *ctx, const cvr_object *o, cvr_error *err) {
    told *const t = ctx;
    const int64_t side = t->l->side;
    const float *const b = t->l->boxes + 4 * t->n;
    const uint8_t *const mask = t->l->masks ? t->l->masks + t->n * side * side : NULL;
    int64_t at = 0, inside = 0;
    (void)err;
    cr_expect_eq(o->klass, t->l->labels[t->n]);
    cr_expect(o->box[0] == b[0] && o->box[1] == b[1] && o->box[2] == b[2] - b[0] && o->box[3] == b[3] - b[1]);
    cr_expect_eq(o->n_runs != 0, mask != NULL);
    for (uint32_t r = 0; r < o->n_runs; r++)
        for (uint32_t i = 0; i < o->runs[r]; i++, at++, inside += r % 2)
            cr_assert_eq(mask[at % side * side + at / side], r % 2, "pixel %lld", (long long)at);
    if (mask) cr_expect(at == side * side && o->area == (double)inside);
    cr_expect_eq(o->id, ++t->n);
    return t->n == 3 ? CVR_ERR_INTERRUPTED : CVR_OK; /* which ends it */
}

Test(scenes, objects_are_told_as_fields_have_them) {
    cvr_error err = CVR_ERROR_INIT;
    for (int64_t fields = ALL; fields <= LABEL; fields++) {
        scene_attrs a = usual;
        a.fields = fields;
        void *const self = open_good((cvr_dataset_args){.img_size = 64}, a);
        for (int64_t i = 0; i < 6; i++) {
            looked l;
            look(self, i, &l);
            told t = {.l = &l};
            const int32_t status = set->objects(self, i, hold_against, &t, &err);
            const int64_t n = fields <= INSTANCES ? set->rows(self, i, "object") : 0;
            cr_expect_eq(t.n, n < 3 ? n : 3);
            cr_expect_eq(status, n < 3 ? CVR_OK : CVR_ERR_INTERRUPTED);
            test_sample_free(&l.s);
        }
        set->close(self);
    }
}

/* At scale 1, upright, an item is its picture pixel for pixel, so that it is known how much of it is hidden. */
Test(scenes, hidden_items_are_left_out) {
    scene_attrs a = usual;
    int64_t area[CLASSES] = {0};
    double least = 1;
    for (int k = 0; k < CLASSES; k++) {
        const double ea = 5 + 0.8 * k, eb = 12.5 - 0.7 * k;
        for (int i = 0; i < PIXELS; i++) {
            const double u = (i % 28 - 13.5) / ea, v = (i / 28 - 13.5) / eb;
            area[k] += u * u + v * v <= 1;
        }
    }
    a.objects[0] = a.objects[1] = 64;
    a.item_scale[0] = a.item_scale[1] = a.overlap = 1;
    a.rotate = 0;
    void *const self = open_good((cvr_dataset_args){.img_size = 100}, a);
    for (int64_t i = 0; i < 20; i++) {
        looked l;
        look(self, i, &l);
        cr_expect(l.n > 10 && l.n < 64, "%lld items found a place", (long long)l.n);
        for (int64_t k = 0; k < l.n; k++) {
            int64_t here = 0;
            for (int64_t at = 0; at < 100 * 100; at++) here += l.masks[k * 100 * 100 + at];
            const double share = (double)here / (double)area[l.labels[k] - 1];
            cr_assert(share >= 0.3 && share <= 1, "%g of an item is seen", share);
            if (k == 0) cr_expect_eq(share, 1, "the nearest is whole");
            least = fmin(least, share);
        }
        test_sample_free(&l.s);
    }
    cr_expect_lt(least, 0.4, "nothing was hidden");
    set->close(self);
}

Test(scenes, items_as_large_as_the_scene_find_room) {
    scene_attrs a = usual;
    a.item_scale[0] = a.item_scale[1] = 2;
    a.rotate = 180;
    a.overlap = 0;
    void *const self = open_good((cvr_dataset_args){.img_size = 56}, a);
    for (int64_t i = 0; i < 50; i++) {
        looked l;
        look(self, i, &l);
        cr_expect_geq(l.n, 1);
        (void)expect_true(&l, i);
        test_sample_free(&l.s);
    }
    set->close(self);
}

/* ---- fields ---- */

Test(scenes, fields_are_those_asked_for) {
    static const char *const kinds[5][6] = {{"image", "boxes", "box_labels", "masks", "mask"},
                                            {"image", "boxes", "box_labels"},
                                            {"image", "boxes", "box_labels", "masks"},
                                            {"image", "mask"},
                                            {"image", "label"}};
    for (int f = ALL; f <= LABEL; f++) {
        scene_attrs a = usual;
        looked l;
        int k = 0;
        a.fields = f;
        void *const self = open_good((cvr_dataset_args){0}, a);
        const int64_t extra = f == ALL || f == MASK;
        look(self, 7, &l);
        for (; kinds[f][k]; k++) {
            cr_expect_str_eq(set->kind(self, (uint32_t)k), kinds[f][k]);
            cr_expect_str_eq(l.s.sample.fields[k]->kind, kinds[f][k]);
        }
        cr_expect_null(set->kind(self, (uint32_t)k));
        cr_expect_eq(l.s.sample.n_fields, k);
        cr_expect_eq(set->n_classes(self), CLASSES + extra);
        cr_expect_str_eq(set->class_name(self, extra), "T-shirt/top");
        cr_expect_str_eq(set->class_name(self, CLASSES - 1 + extra), "Ankle boot");
        if (extra) cr_expect_str_eq(set->class_name(self, 0), "background");
        for (int64_t i = 0; i < l.n && !extra; i++) cr_expect(l.labels[i] >= 0 && l.labels[i] < CLASSES);
        cr_expect_eq(set->rows(self, 7, "object"), f <= INSTANCES ? l.n : -1);
        cr_expect_eq(set->rows(self, 7, "keypoint"), -1);
        const int64_t *const label = data_of(&l, CVR_FIELD_LABEL);
        cr_expect_eq(set->label(self, 7), label ? *label : -1);
        test_sample_free(&l.s);
        set->close(self);
    }
}

/* The label is the class of the item with the most pixels, which `instances` tells of the same scene. */
Test(scenes, label_is_that_of_the_item_that_shows_most) {
    scene_attrs a = usual;
    a.fields = INSTANCES;
    void *const instances = open_good((cvr_dataset_args){0}, a);
    a.fields = LABEL;
    void *const labels = open_good((cvr_dataset_args){0}, a);
    for (int64_t i = 0; i < 40; i++) {
        looked l;
        int64_t most = 0, label = -1;
        look(instances, i, &l);
        for (int64_t k = 0; k < l.n; k++) {
            int64_t here = 0;
            for (int64_t at = 0; at < l.side * l.side; at++) here += l.masks[k * l.side * l.side + at];
            if (here > most) label = l.labels[k];
            most = here > most ? here : most;
        }
        cr_expect_eq(set->label(labels, i), label);
        test_sample_free(&l.s);
    }
    set->close(instances);
    set->close(labels);
}

Test(scenes, origin_size_and_name) {
    char name[64];
    int64_t height = 0, width = 0;
    looked l;
    void *const self = open_good((cvr_dataset_args){.img_size = 64, .split = CVR_SPLIT_VAL}, usual);
    look(self, 9, &l);
    cr_expect(l.s.origin.id == 9 && l.s.origin.height == 64 && l.s.origin.width == 64 && !l.s.origin.path);
    cr_expect_eq(set->size(self, 9, &height, &width, NULL), CVR_OK);
    cr_expect(height == 64 && width == 64);
    set->describe(self, 9, name, sizeof name);
    cr_expect_str_eq(name, "scenes/val[9]");
    test_sample_free(&l.s);
    set->close(self);
}

/* ---- pixels ---- */

Test(scenes, grey_is_the_luma_of_the_colours) {
    looked a, b;
    void *const rgb = open_good((cvr_dataset_args){.channels = 3}, usual);
    void *const grey = open_good((cvr_dataset_args){.channels = 1}, usual);
    look(rgb, 3, &a);
    look(grey, 3, &b);
    for (int64_t i = 0; i < a.side * a.side; i++) {
        const uint8_t *const p = a.image + 3 * i;
        cr_assert_float_eq(0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2], b.image[i], 0.51);
    }
    test_sample_free(&a.s);
    test_sample_free(&b.s);
    set->close(rgb);
    set->close(grey);
}

/* Whether all pixels up to two away belong to the same item, or all to none. */
static int is_inner(const looked *l, int64_t at) {
    const int64_t x = at % l->side, y = at / l->side;
    for (int64_t v = y - 2; v <= y + 2; v++) {
        for (int64_t u = x - 2; u <= x + 2; u++) {
            if (u < 0 || v < 0 || u >= l->side || v >= l->side || l->mask[v * l->side + u] != l->mask[at]) return 0;
        }
    }
    return 1;
}

Test(scenes, without_texture_noise_and_colour) {
    scene_attrs a = usual;
    int64_t ground = 0, item = 0;
    a.texture = a.noise = 0;
    a.colour = 0;
    void *const self = open_good((cvr_dataset_args){0}, a);
    for (int64_t i = 0; i < 10; i++) {
        const uint8_t *first = NULL;
        looked l;
        look(self, i, &l);
        for (int64_t at = 0; at < l.side * l.side; at++) {
            const uint8_t *const p = l.image + 3 * at;
            if (!is_inner(&l, at)) continue;
            if (l.mask[at]) {
                item++;
                cr_assert(p[0] == p[1] && p[1] == p[2], "an item has a colour");
            } else {
                ground++;
                if (!first) first = p;
                cr_assert_eq(memcmp(p, first, 3), 0, "the ground has a texture");
            }
        }
        test_sample_free(&l.s);
    }
    cr_expect(ground > 50000 && item > 5000, "%lld %lld", (long long)ground, (long long)item);
    set->close(self);
}

/* Noise has the standard deviation that was asked for. */
Test(scenes, noise_is_as_strong_as_asked) {
    scene_attrs a = usual;
    looked plain, noisy;
    double sum = 0, n = 0;
    a.noise = 0;
    void *const one = open_good((cvr_dataset_args){0}, a);
    a.noise = 0.05;
    void *const two = open_good((cvr_dataset_args){0}, a);
    look(one, 1, &plain);
    look(two, 1, &noisy);
    for (int64_t i = 0; i < 3 * plain.side * plain.side; i++) {
        const double d = noisy.image[i] - plain.image[i];
        if (plain.image[i] < 50 || plain.image[i] > 205) continue; /* near the ends noise is clipped */
        sum += d * d;
        n++;
    }
    cr_expect_gt(n, 10000);
    cr_expect_float_eq(sqrt(sum / n) / 255, 0.05, 0.002);
    test_sample_free(&plain.s);
    test_sample_free(&noisy.s);
    set->close(one);
    set->close(two);
}

/* ---- trouble ---- */

static void expect_error(opened o, int32_t code, const char *file, const char *says) {
    cr_expect_eq(o.status, code, "status %d: %s", o.status, o.err.message);
    cr_expect_null(o.self);
    cr_expect(strstr(o.err.file, file), "file '%s', not '%s'", o.err.file, file);
    cr_expect(strstr(o.err.message, says), "'%s' does not say '%s'", o.err.message, says);
}

Test(scenes, settings_that_make_no_sense) {
    const cvr_dataset_args args = {0};
    scene_attrs a = usual;
    a.objects[0] = 7;
    expect_error(open_with(args, a), CVR_ERR_USAGE, "", "data.objects = 7,6");
    a = usual;
    a.item_scale[0] = 2.5;
    expect_error(open_with(args, a), CVR_ERR_USAGE, "", "data.item_scale = 2.5,2");
    a = usual;
    expect_error(open_with((cvr_dataset_args){.img_size = 42}, a), CVR_ERR_USAGE, "", "1.5 is the most");
    expect_error(open_with((cvr_dataset_args){.img_size = 15}, a), CVR_ERR_USAGE, "", "16 to 4096");
    expect_error(open_with((cvr_dataset_args){.img_size = 5000}, a), CVR_ERR_USAGE, "", "16 to 4096");
    expect_error(open_with((cvr_dataset_args){.train = "here"}, a), CVR_ERR_USAGE, "", "data.root");
    a.objects[0] = 0;
    a.fields = LABEL;
    expect_error(open_with(args, a), CVR_ERR_USAGE, "", "data.objects");
}

Test(scenes, files_that_do_not_fit) {
    const cvr_dataset_args args = {0};
    write_labels("train-labels-idx1-ubyte", PICTURES, 10);
    expect_error(open_with(args, usual), CVR_ERR_FORMAT, "train-labels", "over 9");
    write_labels("train-labels-idx1-ubyte", PICTURES - 1, 0);
    expect_error(open_with(args, usual), CVR_ERR_FORMAT, "train-labels", "39 labels for 40 pictures");
    write_images("train-images-idx3-ubyte", 27, items);
    expect_error(open_with(args, usual), CVR_ERR_FORMAT, "train-images", "27x28");
    cr_assert_eq(unlink(in_root("train-images-idx3-ubyte")), 0);
    expect_error(open_with(args, usual), CVR_ERR_IO, root, "dataset-fashion-mnist");
}

/* Nothing can be cut out of them: scenes without items, and no label. */
Test(scenes, black_pictures) {
    static const uint8_t black[PICTURES * PIXELS];
    scene_attrs a = usual;
    looked l;
    test_sample s;
    cvr_error err = CVR_ERROR_INIT;
    write_images("train-images-idx3-ubyte", 28, black);
    void *self = open_good((cvr_dataset_args){0}, a);
    look(self, 0, &l);
    cr_expect_eq(l.n, 0);
    cr_expect_eq(cvr_sample_find(&l.s.sample, CVR_FIELD_MASKS)->shape[0], 0);
    cr_expect_eq(set->rows(self, 0, "object"), 0);
    test_sample_free(&l.s);
    set->close(self);
    a.fields = LABEL;
    self = open_good((cvr_dataset_args){0}, a);
    test_sample_init(&s);
    cr_expect_eq(set->read(self, 0, &s.sample, &err), CVR_ERR_FORMAT);
    cr_expect(strstr(err.message, "black"), "%s", err.message);
    cr_expect_eq(set->label(self, 0), -1);
    test_sample_free(&s);
    set->close(self);
}

/* Without data.root the Debian package's files are read, where they are installed. */
Test(scenes, real_pictures_need_no_root) {
    const opened o = open_with((cvr_dataset_args){.root = "", .split = CVR_SPLIT_VAL}, usual);
    if (access("/usr/share/datasets/fashion-mnist", F_OK) != 0) {
        expect_error(o, CVR_ERR_IO, "/usr/share/datasets/fashion-mnist", "dataset-fashion-mnist");
        return;
    }
    cr_assert_eq(o.status, CVR_OK, "%s: %s", o.err.file, o.err.message);
    for (int64_t i = 0; i < 20; i++) {
        looked l;
        look(o.self, i, &l);
        cr_expect_leq(expect_true(&l, i), usual.overlap);
        test_sample_free(&l.s);
    }
    set->close(o.self);
}
