/* The run folder: a name of its own, a lock while it trains, and what a person needs to repeat the run. */
#include "session.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static int32_t folder_error(const char *path, const char *what, cvr_error *err) {
    cvr_fail(err, CVR_ERR_IO, "%s: %s", what, strerror(errno));
    return cvr_fail_at(err, path, 0, CVR_ERR_IO);
}

/* The recipe's file name without its ending. Free with cvr_free. */
static char *default_name(const cvr_session *s) {
    const char *slash = strrchr(s->recipe, '/'), *base = slash ? slash + 1 : s->recipe, *dot = strrchr(base, '.');
    return cvr_strndup(base, dot && dot != base ? (size_t)(dot - base) : strlen(base));
}

static bool good_name(const char *name) {
    return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

int32_t run_folder_make(cvr_session *s, char *path, size_t size, cvr_error *err) {
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

static const char *const start_files[] = {"config.ini", "env.txt", "classes.txt"};

int32_t run_folder_sync_start(const char *folder, cvr_error *err) {
    int32_t status = CVR_OK;
    for (size_t i = 0; i < sizeof start_files / sizeof *start_files && status == CVR_OK; i++) {
        char *path = cvr_fs_join(folder, start_files[i]);
        status = path ? cvr_fs_sync(path, false, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        cvr_free(path);
    }
    return status == CVR_OK ? cvr_fs_sync(folder, true, err) : status;
}

int32_t run_folder_write_start(cvr_session *s, const char *folder, cvr_error *err) {
    cvr_text config = {0}, env = {0}, classes = {0};
    struct utsname system;
    char device[160] = "";
    cvr_config_print(s->config, false, &config);
    cvr_device_describe(s->machine.device, device, sizeof device);
    cvr_text_add(&env, "cvrun 0.1.0, ABI %u.%u, compiler %s\nbackend %s: %s\n", CVR_ABI_MAJOR, CVR_ABI_MINOR,
                 __VERSION__, s->backend_name, device);
    if (uname(&system) == 0) cvr_text_add(&env, "%s %s %s\n", system.sysname, system.release, system.machine);
    for (size_t i = 0; i < cvr_plugins_count(s->plugins); i++) {
        const cvr_plugin_info *p = cvr_plugins_info(s->plugins, i);
        if (p->state == CVR_PLUGIN_LOADED) cvr_text_add(&env, "plugin %s %s %s\n", p->id, p->version, p->file);
    }
    for (int64_t i = 0; i < s->task_info.n_classes; i++) {
        cvr_text_add(&classes, "%.*s\n", (int)strcspn(s->class_names[i], "\r\n"), s->class_names[i]);
    }
    const cvr_text *texts[] = {&config, &env, &classes};
    int32_t status = CVR_OK;
    for (size_t i = 0; i < sizeof start_files / sizeof *start_files && status == CVR_OK; i++)
        status = write_text(folder, start_files[i], texts[i], err);
    cvr_text_clear(&config);
    cvr_text_clear(&env);
    cvr_text_clear(&classes);
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
