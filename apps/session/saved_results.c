/* Writing the results of a split. */
#include "saved_results.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* ---- the folder where they are made ---- */

static int32_t cannot(const char *path, const char *what, cvr_error *err) {
    cvr_fail(err, CVR_ERR_IO, "%s: %s", what, strerror(errno));
    return cvr_fail_at(err, path, 0, CVR_ERR_IO);
}

/* Moves every file in FOLDER.new to FOLDER, or (to NULL) removes it; then the folder. */
static int32_t empty(const char *fresh, const char *to, cvr_error *err) {
    DIR *const d = opendir(fresh);
    int32_t status = d ? CVR_OK : cannot(fresh, "cannot list it", err);
    for (const struct dirent *e; d && status == CVR_OK && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        char *const from = cvr_fs_join(fresh, e->d_name), *const into = to ? cvr_fs_join(to, e->d_name) : NULL;
        if (!from || (to && !into))
            status = cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        else if ((to ? rename(from, into) : unlink(from)) != 0)
            status = cannot(to ? into : from, to ? "cannot put the new one there" : "cannot remove it", err);
        cvr_free(from);
        cvr_free(into);
    }
    if (d) closedir(d);
    if (status == CVR_OK && rmdir(fresh) != 0) status = cannot(fresh, "cannot remove it", err);
    return status;
}

static void clear(saved_results *r) {
    cvr_free(r->folder);
    cvr_free(r->fresh);
    cvr_used_names_clear(&r->files);
    memset(r, 0, sizeof *r);
}

/* What a run that was killed left there goes. */
static int32_t open_folder(saved_results *r, const char *folder, cvr_error *err) {
    cvr_text fresh = {0};
    cvr_text_add(&fresh, "%s.new", folder);
    r->fresh = fresh.s;
    r->folder = cvr_strdup(folder);
    if (fresh.failed || !r->folder) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (cvr_fs_is_folder(r->fresh)) CVR_TRY(empty(r->fresh, NULL, err));
    return cvr_fs_mkdirs(r->fresh, err);
}

static int32_t open_list(saved_results *r, cvr_error *err) {
    if (!r->task->save_list) return CVR_OK;
    char *const path = cvr_fs_join(r->fresh, r->task->save_list);
    if (!path) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = cvr_writer_open(&r->list, path, err);
    cvr_free(path);
    r->listing = status == CVR_OK;
    return status == CVR_OK ? cvr_writer_put(&r->list, "[", 1, err) : status;
}

int32_t saved_open(saved_results *r, const cvr_task_desc *task, const char *folder, cvr_error *err) {
    *r = (saved_results){.task = task};
    int32_t status = open_folder(r, folder, err);
    if (status == CVR_OK) status = open_list(r, err);
    if (status != CVR_OK) saved_abandon(r);
    return status;
}

/* ---- what the task writes ---- */

static void on_json(const cvr_prediction_sink *s, const char *text) {
    saved_results *const r = s->ctx;
    const char *const before = r->listed++ ? ",\n" : "\n";
    if (r->status == CVR_OK && !r->listing)
        r->status = cvr_fail(&r->why, CVR_ERR_PLUGIN, "task %s: `save` tells of a list that `save_list` does not name",
                             r->task->name);
    if (r->status == CVR_OK) r->status = cvr_writer_put(&r->list, before, strlen(before), &r->why);
    if (r->status == CVR_OK) r->status = cvr_writer_put(&r->list, text, strlen(text), &r->why);
}

/* The name of the picture's file without its ending; of one that has none its number. */
static void stem_of(const cvr_origin *o, char stem[256]) {
    const char *const slash = o->path ? strrchr(o->path, '/') : NULL, *const base = slash ? slash + 1 : o->path;
    const char *const dot = base ? strrchr(base, '.') : NULL;
    if (!base)
        (void)snprintf(stem, 256, "%06lld", (long long)o->index);
    else
        (void)snprintf(stem, 256, "%.*s", (int)(dot && dot != base ? dot - base : (int)strlen(base)), base);
}

static int32_t on_file(const cvr_prediction_sink *s, const char *suffix, const void *bytes, uint64_t n,
                       const char **name, cvr_error *err) {
    saved_results *const r = s->ctx;
    char stem[256];
    if (!suffix || !*suffix || strchr(suffix, '/'))
        return cvr_fail(err, CVR_ERR_PLUGIN, "the task names a file `%.200s`, which is no ending of a file's name",
                        suffix ? suffix : "");
    stem_of(r->about, stem);
    CVR_TRY(cvr_used_names_take(&r->files, stem, suffix, r->file, sizeof r->file, err));
    char *const path = cvr_fs_join(r->fresh, r->file);
    if (!path) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = cvr_fs_write_unsynced(path, bytes, n, err);
    if (name) *name = r->file;
    cvr_free(path);
    return status;
}

static void ignore(const cvr_prediction_sink *s, const char *text) {
    (void)s, (void)text;
}

int32_t saved_batch(saved_results *r, const cvr_task_info *info, const cvr_task_batch *batch, cvr_error *err) {
    const cvr_prediction_sink sink = {
        .struct_size = sizeof sink, .ctx = r, .json = on_json, .csv = ignore, .line = ignore, .file = on_file};
    for (int64_t i = 0; i < batch->targets->n; i++) {
        r->about = batch->targets->origins[i];
        CVR_TRY(CVR_CALL(r->task, save, NULL, err, info, batch, i, &sink));
        if (r->status != CVR_OK && err) *err = r->why;
        CVR_TRY(r->status);
    }
    return CVR_OK;
}

/* ---- the end ---- */

static int32_t finish_list(saved_results *r, cvr_error *err) {
    if (!r->listing) return CVR_OK;
    CVR_TRY(cvr_writer_put(&r->list, "\n]\n", 3, err));
    r->listing = false;
    return cvr_writer_commit(&r->list, false, err);
}

int32_t saved_commit(saved_results *r, cvr_error *err) {
    int32_t status = finish_list(r, err);
    if (status == CVR_OK) status = cvr_fs_mkdirs(r->folder, err);
    if (status == CVR_OK) status = empty(r->fresh, r->folder, err);
    if (status != CVR_OK)
        saved_abandon(r);
    else
        clear(r);
    return status;
}

void saved_abandon(saved_results *r) {
    cvr_error ignored = CVR_ERROR_INIT;
    if (r->listing) cvr_writer_abandon(&r->list);
    if (r->fresh && cvr_fs_is_folder(r->fresh)) (void)empty(r->fresh, NULL, &ignored);
    clear(r);
}
