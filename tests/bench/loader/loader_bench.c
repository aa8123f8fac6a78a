/*
 * The data path alone, through libcvr's public surface: pictures of a folder to batches in memory.
 *
 *   loader_bench ROOT WORKERS SECONDS [reduced] [whole] [val] [format=NAME] [dump=FILE]
 *
 * WORKERS 0: the calling thread makes the batches. Without `val`: random_resized_crop 224, random_horizontal_flip; with
 * it: resize 256, center_crop 224, unshuffled. Runs whole epochs for at least SECONDS and prints images per second.
 * format=pack: ROOT is a .pack file. dump=FILE writes one epoch's pixels, u8 (N, 224, 224, 3), instead.
 */
#include <cvr/batches.h>
#include <cvr/config.h>
#include <cvr/plugins.h>
#include <stdlib.h>

typedef struct bench {
    cvr_plugins *plugins;
    const cvr_dataset_desc *dataset;
    void *self, *attrs[4];
    cvr_transform transforms[3];
    cvr_batches *batches;
    cvr_batches_options options;
    const char *format;
    bool val;
} bench;

static int32_t parse(const cvr_attr_desc *const *attrs, uint32_t n, const char *text, void **packed, cvr_error *err) {
    const cvr_schema schema = {attrs, n};
    return cvr_attrs_parse(&schema, text, NULL, "loader_bench", packed, err);
}

static int32_t add_transform(bench *b, size_t i, const char *name, const char *text, cvr_error *err) {
    const void *desc;
    CVR_TRY(cvr_plugins_find(b->plugins, CVR_KIND_AUGMENT, name, &desc, err));
    b->transforms[i].desc = desc;
    CVR_TRY(parse(b->transforms[i].desc->attrs, b->transforms[i].desc->n_attrs, text, &b->attrs[i], err));
    b->transforms[i].attrs = b->attrs[i];
    return CVR_OK;
}

static int32_t open_bench(bench *b, const char *root, cvr_error *err) {
    const cvr_image_service *images;
    const void *desc;
    CVR_TRY(cvr_plugins_open(&b->plugins, NULL, 0, err));
    CVR_TRY(cvr_plugins_image_service(b->plugins, &images, err));
    CVR_TRY(cvr_plugins_find(b->plugins, CVR_KIND_DATASET, b->format, &desc, err));
    b->dataset = desc;
    CVR_TRY(parse(b->dataset->attrs, b->dataset->n_attrs, "", &b->attrs[3], err));
    const cvr_dataset_args args = {.struct_size = sizeof args,
                                   .host = cvr_plugins_host(b->plugins),
                                   .attrs = b->attrs[3],
                                   .root = "",
                                   .train = root,
                                   .val = root,
                                   .channels = 3};
    CVR_TRY(b->dataset->open(&args, &b->self, err));
    if (b->val) {
        CVR_TRY(add_transform(b, 0, "resize", "256", err));
        CVR_TRY(add_transform(b, 1, "center_crop", "224", err));
    } else {
        CVR_TRY(add_transform(b, 0, "random_resized_crop", "224", err));
        CVR_TRY(add_transform(b, 1, "random_horizontal_flip", "", err));
    }
    CVR_TRY(add_transform(b, 2, "normalize", "mean=0.485,0.456,0.406 std=0.229,0.224,0.225", err));
    b->options.plugins = b->plugins;
    b->options.dataset = b->dataset;
    b->options.self = b->self;
    b->options.transforms = b->transforms;
    b->options.n_transforms = 3;
    b->options.shuffle = !b->val;
    return cvr_batches_create(&b->batches, &b->options, err);
}

/* One epoch; its pixels go to `dump` where there is one. */
static int32_t run_epoch(bench *b, int64_t epoch, FILE *dump, cvr_error *err) {
    cvr_batch batch = {.view.n = 1};
    int32_t status = cvr_batches_begin(b->batches, epoch, 0, err);
    while (status == CVR_OK && batch.view.n > 0) {
        status = cvr_batches_next(b->batches, &batch, err);
        if (status != CVR_OK || !dump || batch.view.n == 0) continue;
        const cvr_tensor *image = &batch.view.fields[0]->tensor;
        const size_t n = (size_t)cvr_numel(image->rank, image->shape);
        if (fwrite(image->data, 1, n, dump) != n) status = cvr_fail(err, CVR_ERR_IO, "the dump cannot be written");
    }
    return status;
}

static int32_t measure(bench *b, double seconds, cvr_error *err) {
    CVR_TRY(run_epoch(b, 0, NULL, err));
    const double start = cvr_now();
    int64_t epochs = 0;
    while (epochs == 0 || cvr_now() - start < seconds) CVR_TRY(run_epoch(b, ++epochs, NULL, err));
    printf("%.1f\n", (double)(epochs * cvr_batches_samples(b->batches)) / (cvr_now() - start));
    return CVR_OK;
}

static int32_t dump_to(bench *b, const char *path, cvr_error *err) {
    FILE *f = fopen(path, "wb");
    if (!f) return cvr_fail(err, CVR_ERR_IO, "%s cannot be made", path);
    CVR_TRY(run_epoch(b, 0, f, err));
    if (fclose(f) != 0) return cvr_fail(err, CVR_ERR_IO, "%s cannot be written", path);
    return CVR_OK;
}

static void close_bench(bench *b) {
    cvr_batches_destroy(&b->batches);
    if (b->self) b->dataset->close(b->self);
    for (int i = 0; i < 4; i++) cvr_free(b->attrs[i]);
    if (b->plugins) cvr_plugins_close(&b->plugins);
}

int main(int argc, char **argv) {
    bench b = {.options = {.batch = 64, .size_hint = ""}, .format = "folder"};
    const char *dump = NULL;
    cvr_error err;
    cvr_error_init(&err);
    if (argc < 4) {
        fprintf(stderr, "usage: loader_bench ROOT WORKERS SECONDS [reduced] [whole] [val] [format=NAME] [dump=FILE]\n");
        return 2;
    }
    b.options.workers = (uint32_t)strtoul(argv[2], NULL, 10);
    for (int i = 4; i < argc; i++) {
        b.options.reduced |= strcmp(argv[i], "reduced") == 0;
        b.options.whole |= strcmp(argv[i], "whole") == 0;
        b.val |= strcmp(argv[i], "val") == 0;
        if (strncmp(argv[i], "format=", 7) == 0) b.format = argv[i] + 7;
        if (strncmp(argv[i], "dump=", 5) == 0) dump = argv[i] + 5;
    }
    int32_t status;
    CVR_TRY_OUT(open_bench(&b, argv[1], &err));
    CVR_TRY_OUT(dump ? dump_to(&b, dump, &err) : measure(&b, strtod(argv[3], NULL), &err));
out:
    if (status != CVR_OK) fprintf(stderr, "loader_bench: %s: %s\n", err.file, err.message);
    close_bench(&b);
    return status != CVR_OK;
}
