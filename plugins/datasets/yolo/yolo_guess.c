/*
 * Whether a folder or file is YOLO's: data.yaml or Darknet's .data, folders images and labels, or text files beside the
 * pictures.
 */
#include "../folder/folder_list.h"
#include "../guess_path.h"
#include "yolo.h"

/* What a description says of the splits decides whether one has to be drawn. */
static int32_t read_plan(const cvr_host *host, const char *file, int32_t *train, int32_t *val, cvr_error *err) {
    yolo_plan *const p = host->alloc(host, sizeof *p, 16);
    if (!p) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the description of the data");
    memset(p, 0, sizeof *p);
    p->host = p->names.host = host;
    p->n_classes = -1;
    const int32_t status = guess_ends(file, ".data") ? yolo_darknet_read(p, file, err) : yolo_yaml_read(p, file, err);
    *train = p->splits[CVR_SPLIT_TRAIN] != NULL;
    *val = p->splits[CVR_SPLIT_VAL] != NULL;
    yolo_plan_free(p);
    host->free(host, p);
    return status;
}

static int32_t tell(const cvr_guess_args *g, cvr_propose_fn each, void *ctx, const char *root, const char *file,
                    int32_t val, cvr_error *err) {
    CVR_TRY(each(ctx, "data.root", root, err));
    if (cvr_guess_wants(g, CVR_FIELD_MASKS)) CVR_TRY(each(ctx, "data.masks", "yes", err));
    if (file) CVR_TRY(each(ctx, "data.annotations", file, err));
    return val ? CVR_OK : each(ctx, "data.val_split", GUESS_VAL_SPLIT, err);
}

/* A description that names no training pictures is somebody else's. */
static int32_t guess_plan(const cvr_guess_args *g, const char *folder, const char *file, int32_t sure_of_it,
                          cvr_propose_fn each, void *ctx, int32_t *sure, cvr_error *err) {
    int32_t train = 0, val = 0;
    CVR_TRY(read_plan(g->host, file, &train, &val, err));
    if (!train) return CVR_OK;
    *sure = sure_of_it;
    return tell(g, each, ctx, folder, file, val, err);
}

static int32_t has_label_beside(const void *ctx, const char *folder, const char *name) {
    const cvr_image_service *const images = ctx;
    char label[300];
    const char *const dot = strrchr(name, '.');
    if (!images->is_picture(images, name) || !dot || dot - name > 255) return 0;
    (void)snprintf(label, sizeof label, "%.*s.txt", (int)(dot - name), name);
    return guess_has(folder, label);
}

/* Pictures with a text file each, all in one folder, as tools for drawing boxes leave them. */
static int32_t has_labels_beside(const cvr_guess_args *g, const char *folder) {
    const cvr_image_service *const images = g->host->get(g->host, CVR_SERVICE_IMAGE);
    return images && guess_any(folder, has_label_beside, images);
}

int32_t yolo_guess(const cvr_guess_args *g, cvr_propose_fn each, void *ctx, int32_t *sure, cvr_error *err) {
    static const char *const train[] = {"labels/train", "labels/train2017", "train/labels", NULL},
                             *const val[] = {"images/val", "images/val2017", "valid/images", "val/images", NULL};
    char folder[YOLO_PATH], file[YOLO_PATH];
    if (!cvr_guess_wants(g, CVR_FIELD_BOXES)) return CVR_OK;
    CVR_TRY(guess_folder(g, folder, err));
    if (!g->is_folder) {
        if (!guess_ends(g->path, ".yaml") && !guess_ends(g->path, ".yml") && !guess_ends(g->path, ".data"))
            return CVR_OK;
        return guess_plan(g, folder, g->path, 90, each, ctx, sure, err);
    }
    CVR_TRY(yolo_usual_plan(folder, file, err));
    if (file[0]) return guess_plan(g, folder, file, 80, each, ctx, sure, err);
    const int32_t sorted = guess_first(folder, train) != NULL,
                  flat = guess_has(folder, "images") && guess_has(folder, "labels");
    *sure = sorted || flat ? 60 : has_labels_beside(g, folder) ? 40 : 0;
    return *sure ? tell(g, each, ctx, folder, NULL, sorted && guess_first(folder, val), err) : CVR_OK;
}
