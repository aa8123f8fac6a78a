/* The run folder: a name of its own, a lock while it trains, and what a person needs to repeat the run. */
#include "session.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int32_t folder_error(const char *path, const char *what, cvr_error *err) {
    cvr_fail(err, CVR_ERR_IO, "%s: %s", what, strerror(errno));
    return cvr_fail_at(err, path, 0, CVR_ERR_IO);
}

/* The recipe's file name without its ending. Free with cvr_free. */
static char *default_name(const settings *s) {
    const char *slash = strrchr(s->recipe, '/'), *base = slash ? slash + 1 : s->recipe, *dot = strrchr(base, '.');
    return cvr_strndup(base, dot && dot != base ? (size_t)(dot - base) : strlen(base));
}

static bool good_name(const char *name) {
    return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

int32_t run_folder_make(const settings *s, char *path, size_t size, cvr_error *err) {
    char *name = *s->run->name ? cvr_strdup(s->run->name) : default_name(s);
    char *project = cvr_fs_absolute(".", s->run->project),
         *parent = project ? cvr_fs_join(project, s->run->task) : NULL;
    int32_t status = name && parent ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (status == CVR_OK && !good_name(name))
        status = cvr_fail(err, CVR_ERR_USAGE, "run.name = %s: must be the name of a folder, without a path", name);
    if (status == CVR_OK) status = cvr_fs_mkdirs(parent, err);
    for (int i = 1; status == CVR_OK; i++) {
        int n = i == 1 ? snprintf(path, size, "%s/%s", parent, name) : snprintf(path, size, "%s/%s%d", parent, name, i);
        if (n < 0 || (size_t)n >= size)
            status = cvr_fail(err, CVR_ERR_USAGE, "the run folder's path is too long; shorten run.project or run.name");
        else if (mkdir(path, 0777) == 0)
            break;
        else if (errno != EEXIST || i == 100000)
            status = folder_error(path, "cannot make the run folder", err);
    }
    char *weights = status == CVR_OK ? cvr_fs_join(path, "weights") : NULL;
    if (status == CVR_OK)
        status = weights ? cvr_fs_mkdirs(weights, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    cvr_free(weights);
    cvr_free(parent);
    cvr_free(project);
    cvr_free(name);
    return status;
}

int32_t run_folder_lock(const char *folder, int *fd, cvr_error *err) {
    char *path = cvr_fs_join(folder, ".lock");
    if (!path) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    int32_t status = *fd < 0 ? folder_error(path, "cannot lock the run folder", err) : CVR_OK;
    cvr_free(path);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (status == CVR_OK && fcntl(*fd, F_SETLK, &lock) != 0) {
        cvr_fail(err, CVR_ERR_IO, "another cvrun trains in this folder; wait for it, or stop it");
        status = cvr_fail_at(err, folder, 0, CVR_ERR_IO);
        close(*fd);
        *fd = -1;
    }
    return status;
}

static int32_t write_text(const char *folder, const char *name, const cvr_text *t, cvr_error *err) {
    char *path = cvr_fs_join(folder, name);
    if (!path || t->failed) {
        cvr_free(path);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    const int32_t status = cvr_fs_write_unsynced(path, t->s ? t->s : "", t->n, err);
    cvr_free(path);
    return status;
}

/* config.ini repeats the run; classes.txt is what predictions name their classes by. */
static const char *const start_files[] = {"config.ini", "classes.txt"};
#define N_START_FILES (sizeof start_files / sizeof *start_files)

int32_t run_folder_sync_start(const char *folder, cvr_error *err) {
    for (size_t i = 0; i < N_START_FILES; i++) {
        char *path = cvr_fs_join(folder, start_files[i]);
        const int32_t status = path ? cvr_fs_sync(path, false, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        cvr_free(path);
        CVR_TRY(status);
    }
    return cvr_fs_sync(folder, true, err);
}

int32_t run_folder_write_start(const cvr_session *s, const char *folder, cvr_error *err) {
    cvr_text texts[N_START_FILES] = {{0}};
    const cvr_task_info *task = &s->data.task;
    int32_t status = CVR_OK;
    cvr_config_print(s->set.config, false, &texts[0]);
    for (int64_t i = 0; i < task->n_classes; i++)
        cvr_text_add(&texts[1], "%.*s\n", (int)strcspn(task->class_names[i], "\r\n"), task->class_names[i]);
    for (size_t i = 0; i < N_START_FILES; i++) {
        if (status == CVR_OK) status = write_text(folder, start_files[i], &texts[i], err);
        cvr_text_clear(&texts[i]);
    }
    return status;
}

int32_t run_folder_weights(const char *folder, char **path, cvr_error *err) {
    static const char *const names[] = {"weights/best.safetensors", "weights/last.safetensors"};
    for (size_t i = 0; i < 2; i++) {
        *path = cvr_fs_join(folder, names[i]);
        if (*path && cvr_fs_exists(*path)) return CVR_OK;
        cvr_free(*path);
    }
    *path = NULL;
    cvr_fail(err, CVR_ERR_NOTFOUND, "has no weights yet; train it with cvrun train --resume %s", folder);
    return cvr_fail_at(err, folder, 0, CVR_ERR_NOTFOUND);
}
