/* Fuzz target: plugins/datasets/coco, a file of annotations; each outline in it is read as well. */
#include "../../plugins/datasets/coco/coco.h"
#include "fuzz.h"

/* Sizes that the file does not say are asked of pictures. */
static int32_t decode_none(const cvr_image_service *service, const cvr_picture_job *job, cvr_error *err) {
    (void)service;
    (void)job;
    return cvr_fail(err, CVR_ERR_FORMAT, "no picture");
}

static const cvr_image_service no_pictures = {.struct_size = sizeof no_pictures, .decode_part = decode_none};

static const void *offer(const cvr_host *host, const char *service) {
    (void)host;
    return strcmp(service, CVR_SERVICE_IMAGE) == 0 ? &no_pictures : NULL;
}

static int32_t on_object(void *ctx, const cvr_object *o, cvr_error *err) {
    const box_data *const d = ctx;
    uint64_t sum = 0;
    (void)err;
    fuzz_check(o->klass >= 0 && o->klass < (int64_t)d->classes.n, "a class of no name");
    fuzz_check(o->box[2] >= 0 && o->box[3] >= 0, "a box of negative sides");
    for (uint32_t i = 0; i < o->n_runs; i++) sum += o->runs[i];
    fuzz_check(sum == 0 || sum <= UINT32_MAX, "runs of more pixels than there are");
    return CVR_OK;
}

static void check_data(const box_data *d) {
    char name[64];
    for (int64_t i = 0; i < (int64_t)d->classes.n; i++) fuzz_touch(name_table_get(&d->classes, i), 1);
    for (uint64_t i = 0; i < d->n; i++) {
        const box_picture *const p = &d->pictures[i];
        cvr_error err = CVR_ERROR_INIT;
        fuzz_check(p->first + p->n <= d->n_objects && p->kept <= (int64_t)p->n, "objects of no picture");
        box_data_describe(d, (int64_t)i, name, sizeof name);
        if (p->height > 4096 || p->width > 4096 || (p->height == 0 && d->masks)) continue; /* that is the decoder's */
        fuzz_check_error(box_data_objects(d, (int64_t)i, on_object, (void *)(uintptr_t)d, &err), &err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    const uint64_t number = fuzz_number(bytes, n);
    const char *const path = fuzz_file("instances.json", bytes, n);
    fuzz_host h;
    box_data *d = NULL;
    cvr_error err = CVR_ERROR_INIT;
    fuzz_host_init(&h, (1u << 27) + 1100 * 64 * (uint64_t)n);
    h.host.get = offer;
    const cvr_dataset_args args = {.struct_size = sizeof args, .host = &h.host};
    fuzz_check(coco_create(&args, &d, &err) == CVR_OK, "out of memory");
    int32_t status = coco_read_file(d, path, (int32_t)(number & 1), &err);
    if (status == CVR_OK && number & 2) status = box_data_drop_empty(d, &err);
    if (status == CVR_OK && number & 4) status = coco_open_outlines(d, path, &err);
    if (status == CVR_OK) status = box_data_finish(d, path, 1, &err);
    fuzz_check_error(status, &err);
    if (status == CVR_OK) check_data(d);
    box_data_close(d);
    fuzz_check(h.live == 0, "%lld blocks were left behind", (long long)h.live);
    return 0;
}
