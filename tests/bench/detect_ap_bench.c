/*
 * How long COCO's average precision takes on 5,000 pictures with 100 detections each, of 80 classes: the very set that
 * `tests/parity/coco_ap.py --time` gives to pycocotools. One thread.
 */
#include "plugins/detect_sets.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PICTURES 5000
#define OBJECTS 7
#define FOUND 100

static void *plain_alloc(const cvr_host *host, uint64_t bytes, uint64_t align) {
    (void)host;
    return aligned_alloc(align, (bytes + align - 1) / align * align);
}

static void plain_free(const cvr_host *host, void *p) {
    (void)host;
    free(p);
}

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void make_objects(detect_draw *d, coco_truth *truth, int64_t id) {
    for (int i = 0; i < OBJECTS; i++) {
        coco_truth *const o = &truth[i];
        const double x = (double)draw_below(d, 500), y = (double)draw_below(d, 400),
                     w = (double)(8 + draw_below(d, 120)), height = (double)(8 + draw_below(d, 120));
        *o = (coco_truth){.id = id + i, .box = {x, y, w, height}, .area = w * height};
        o->klass = draw_below(d, 80);
        o->crowd = draw_below(d, 50) == 0;
    }
}

static void make_found(detect_draw *d, coco_found *found, const coco_truth *truth) {
    for (int i = 0; i < FOUND; i++) {
        const coco_truth *const near = &truth[draw_below(d, OBJECTS)];
        coco_found *const f = &found[i];
        *f = (coco_found){.score = (double)(1 + draw_below(d, 1 << 20)) / (1 << 20)};
        f->klass = draw_below(d, 2) ? near->klass : draw_below(d, 80);
        memcpy(f->box, near->box, sizeof f->box);
        f->box[0] += (double)draw_below(d, 9) - 4;
        f->box[1] += (double)draw_below(d, 9) - 4;
    }
}

int main(void) {
    const cvr_host host = {.struct_size = sizeof host, .alloc = plain_alloc, .free = plain_free};
    const coco_settings set = {&host, 80, {1, 10, 100}, 0};
    cvr_error err = CVR_ERROR_INIT;
    detect_draw d = {1};
    coco_truth truth[OBJECTS];
    coco_found found[FOUND];
    coco_ap *c;
    double stats[COCO_STATS], start = now();
    int32_t status = coco_open(&c, &set, &err);
    for (int64_t i = 0; i < PICTURES && status == CVR_OK; i++) {
        make_objects(&d, truth, 1 + i * OBJECTS);
        make_found(&d, found, truth);
        const coco_picture p = {i, found, truth, FOUND, OBJECTS};
        status = coco_add(c, &p, &err);
    }
    const double matched = now();
    if (status != CVR_OK) return 1;
    coco_count(c);
    coco_stats(c, stats);
    printf("%.2f s (matching %.2f, counting %.2f), AP %.12g\n", now() - start, matched - start, now() - matched,
           stats[COCO_AP]);
    coco_close(c);
    return 0;
}
