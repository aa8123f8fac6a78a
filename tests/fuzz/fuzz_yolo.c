/* Fuzz target: plugins/datasets/yolo, the rows of a label file, with and without outlines, and Darknet's .data. */
#include "../../plugins/datasets/yolo/yolo.h"
#include "fuzz.h"
#include <stdlib.h>

static const cvr_image_service no_pictures = {.struct_size = sizeof no_pictures};

static const void *offer(const cvr_host *host, const char *service) {
    (void)host;
    return strcmp(service, CVR_SERVICE_IMAGE) == 0 ? &no_pictures : NULL;
}

static void read_rows(const cvr_host *host, const char *path, uint64_t number) {
    const cvr_dataset_args args = {.struct_size = sizeof args, .host = host};
    box_data *d = NULL;
    cvr_error err = CVR_ERROR_INIT;
    uint64_t source, missing = 0;
    int64_t highest = -1;
    rle r = {.host = host};
    fuzz_check(yolo_create(&args, &d, &err) == CVR_OK, "out of memory");
    d->masks = (int32_t)(number & 1);
    fuzz_check(box_data_text(d, path, &source, &err) == CVR_OK && box_data_picture(d, "a.png", source, &err) == CVR_OK,
               "out of memory");
    fuzz_check_error(yolo_label_read(d, 0, number & 2 ? 3 : -1, &highest, &missing, &err), &err);
    fuzz_check_error(box_data_finish(d, path, 1, &err), &err);
    fuzz_check(missing == 0 && d->pictures[0].kept <= (int64_t)d->n_objects, "more than there is");
    for (uint64_t i = 0; i < d->n_objects && d->pictures[0].problem < 0; i++) {
        const box_object *const o = &d->objects[i];
        float corners[4];
        fuzz_check(o->klass >= 0 && o->klass <= highest, "a class of no name");
        if (box_corners(d, o, 30, 40, corners))
            fuzz_check(corners[0] >= 0 && corners[2] <= 40 && corners[1] >= 0 && corners[3] <= 30, "a box outside");
        if (o->n_shape) fuzz_check_error(yolo_shape(d, o, 30, 40, &r, &err), &err);
    }
    rle_free(&r);
    box_data_close(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    const uint64_t number = fuzz_number(bytes, n);
    const char *const path = fuzz_file("a.txt", bytes, n);
    fuzz_host h;
    cvr_error err = CVR_ERROR_INIT;
    fuzz_host_init(&h, (1u << 20) + 1100 * 64 * (uint64_t)n);
    h.host.get = offer;
    if (number % 4) {
        read_rows(&h.host, path, number / 4);
    } else {
        yolo_plan *const p = calloc(1, sizeof *p);
        fuzz_check(p != NULL, "out of memory");
        p->host = p->names.host = &h.host;
        fuzz_check_error(yolo_darknet_read(p, path, &err), &err);
        yolo_plan_free(p);
        free(p);
    }
    fuzz_check(h.live == 0, "%lld blocks were left behind", (long long)h.live);
    return 0;
}
