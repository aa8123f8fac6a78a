/* Makes and locks run folders, and writes the files that a run starts with. */
#include "run_folder.h"
#include "cvrun.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static int32_t folder_error(const char *path, const char *what, cvr_error *err) {
    cvr_fail(err, CVR_ERR_IO, "%s: %s", what, strerror(errno));
    return cvr_fail_at(err, path, 0, CVR_ERR_IO);
}

/* run.name, or the recipe's file name without its ending. Free with cvr_free. */
static char *run_name(cvr_config *c) {
    const char *given = cvr_config_get(c, "run", "name", NULL), *path = cvr_config_path(c);
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    if (*given) return cvr_strdup(given);
    return cvr_strndup(base, dot && dot != base ? (size_t)(dot - base) : strlen(base));
}

static bool good_name(const char *name) {
    return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

int32_t run_folder_first_free(const char *parent, const char *name, char *path, size_t size, cvr_error *err) {
    CVR_TRY(cvr_fs_mkdirs(parent, err));
    for (int i = 1;; i++) {
        const int n =
            i == 1 ? snprintf(path, size, "%s/%s", parent, name) : snprintf(path, size, "%s/%s-%d", parent, name, i);
        if (n < 0 || (size_t)n >= size)
            return cvr_fail(err, CVR_ERR_USAGE, "%.100s/%.100s: too long for a folder's path; shorten one of them",
                            parent, name);
        if (mkdir(path, 0777) == 0) return CVR_OK;
        if (errno != EEXIST || i == 100000) {
            cvr_fail(err, CVR_ERR_IO,
                     "cannot make this folder: %s; see to the permissions of %s, or give another place",
                     strerror(errno), parent);
            return cvr_fail_at(err, path, 0, CVR_ERR_IO);
        }
    }
}

int32_t run_folder_make(cvr_session *s, char *path, size_t size, cvr_error *err) {
    cvr_config *c = cvr_session_config(s);
    char *name = run_name(c), *weights = NULL;
    char *project = cvr_fs_absolute(".", cvr_config_get(c, "run", "project", NULL)),
         *parent = project ? cvr_fs_join(project, cvr_session_task(s)->name) : NULL;
    int32_t status;
    CVR_TRY_OUT(name && parent ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    if (!good_name(name))
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_USAGE, "run.name = %s: must be the name of a folder, without a path", name));
    CVR_TRY_OUT(run_folder_first_free(parent, name, path, size, err));
    weights = cvr_fs_join(path, "weights");
    CVR_TRY_OUT(weights ? cvr_fs_mkdirs(weights, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
out:
    cvr_free(weights);
    cvr_free(parent);
    cvr_free(project);
    cvr_free(name);
    return status;
}

void run_folder_name_of(cvr_session *s, const char *path, char *name, size_t size) {
    if (!path) {
        (void)snprintf(name, size, "%s", cvr_config_get(cvr_session_config(s), "run", "name", NULL));
        return;
    }
    char *real = realpath(path, NULL);
    const char *slash = real ? strrchr(real, '/') : NULL, *base = slash ? slash + 1 : "";
    const char *dot = cvr_fs_is_folder(path) ? NULL : strrchr(base, '.');
    (void)snprintf(name, size, "%.*s", (int)(dot && dot != base ? dot - base : (int)strlen(base)), base);
    free(real);
}

int32_t run_folder_lock(const char *folder, int *fd, cvr_error *err) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char *path = cvr_fs_join(folder, ".lock");
    if (!path) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    const int32_t status = *fd < 0 ? folder_error(path, "cannot lock the run folder", err) : CVR_OK;
    cvr_free(path);
    if (status != CVR_OK || fcntl(*fd, F_SETLK, &lock) == 0) return status;
    close(*fd);
    *fd = -1;
    cvr_fail(err, CVR_ERR_IO, "another cvrun trains in this folder; wait for it, or stop it");
    return cvr_fail_at(err, folder, 0, CVR_ERR_IO);
}

int32_t run_folder_busy(const char *folder, bool *busy, cvr_error *err) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char *path = cvr_fs_join(folder, ".lock");
    if (!path) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    const int32_t status =
        fd >= 0           ? fcntl(fd, F_GETLK, &lock) == 0 ? CVR_OK : folder_error(path, "cannot ask for its lock", err)
                  : errno == ENOENT ? CVR_OK
                          : folder_error(path, "cannot open it", err);
    *busy = fd >= 0 && status == CVR_OK && lock.l_type != F_UNLCK;
    if (fd >= 0) close(fd);
    cvr_free(path);
    return status;
}

/* ---- a run that came to nothing ---- */

#define NETWORK_FILE "network." /* and the ending of the model's files */

/* What a folder has before anything was saved. */
static bool is_beginning(const char *name) {
    static const char *const names[] = {".",       "..",          ".lock",     "weights",         "config.ini",
                                        "env.txt", "classes.txt", "steps.csv", "train_batch0.png"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return strncmp(name, NETWORK_FILE, sizeof NETWORK_FILE - 1) == 0;
}

/* Removes all but folders, if `remove`; whether there was nothing else. */
static bool only_beginnings(const char *folder, bool remove) {
    DIR *d = opendir(folder);
    bool only = d != NULL;
    for (const struct dirent *e; only && (e = readdir(d));) {
        char *path = remove ? cvr_fs_join(folder, e->d_name) : NULL;
        only = is_beginning(e->d_name);
        if (only && path && !cvr_fs_is_folder(path)) (void)unlink(path);
        cvr_free(path);
    }
    if (d) closedir(d);
    return only;
}

void run_folder_discard(const char *folder) {
    char *weights = cvr_fs_join(folder, "weights");
    if (weights && only_beginnings(folder, false) && rmdir(weights) == 0) { /* it is empty */
        (void)only_beginnings(folder, true);
        if (rmdir(folder) == 0) cvr_log(CVR_LOG_INFO, "nothing was saved; the run folder is removed: %s", folder);
    }
    cvr_free(weights);
}

bool run_folder_can_go_on(const char *folder) {
    char *state = cvr_fs_join(folder, "weights/last.state");
    const bool there = state && cvr_fs_exists(state);
    cvr_free(state);
    return there;
}

/* ---- the first files ---- */

/* config.ini repeats the run; predictions name their classes by classes.txt; env.txt says what computed. */
static const char *const start_files[] = {"config.ini", "classes.txt", "env.txt"};
#define N_START_FILES (sizeof start_files / sizeof *start_files)

static struct {
    cvr_session *session;
    const char *folder;
    char network[64]; /* the copy's name; "": the network is built from no file */
    bool synced;
} run;

static void describe_environment(cvr_session *s, const cvr_session_info *i, cvr_text *t) {
    const cvr_plugins *plugins = cvr_session_plugins(s);
    struct utsname system;
    cvr_text_add(t, "cvrun %s, ABI %u.%u, compiler %s\nbackend %s: %s\n", CVRUN_VERSION, CVR_ABI_MAJOR, CVR_ABI_MINOR,
                 __VERSION__, i->backend, i->device);
    if (uname(&system) == 0) cvr_text_add(t, "%s %s %s\n", system.sysname, system.release, system.machine);
    for (size_t k = 0; k < cvr_plugins_count(plugins); k++) {
        const cvr_plugin_info *p = cvr_plugins_info(plugins, k);
        if (p->state == CVR_PLUGIN_LOADED) cvr_text_add(t, "plugin %s %s %s\n", p->id, p->version, p->file);
    }
}

static int32_t write_text(const char *folder, const char *name, const cvr_text *t, cvr_error *err) {
    char *path = cvr_fs_join(folder, name);
    const int32_t status = path && !t->failed ? cvr_fs_write_unsynced(path, t->s ? t->s : "", t->n, err)
                                              : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    cvr_free(path);
    return status;
}

static int32_t copy_file(const char *from, const char *to, cvr_error *err) {
    cvr_mapping m;
    if (strcmp(from, to) == 0) return CVR_OK;
    CVR_TRY(cvr_fs_map(from, &m, err));
    const int32_t status = cvr_fs_write_unsynced(to, m.bytes, m.n, err);
    cvr_fs_unmap(&m);
    return status;
}

/* A run is whole by itself: the file that its network is built from may be edited or go away afterwards. config.ini
 * names the copy by a path relative to it. */
static int32_t keep_network(cvr_session *s, const char *folder, char name[64], cvr_setting *copy, cvr_error *err) {
    const char *key = cvr_session_network_key(s);
    name[0] = '\0';
    if (!key) return CVR_OK;
    (void)snprintf(name, 64, NETWORK_FILE "%.40s", key);
    *copy = (cvr_setting){.section = "model", .key = key, .value = name};
    char *to = cvr_fs_join(folder, name);
    const int32_t status = to ? copy_file(cvr_config_get(cvr_session_config(s), "model", key, NULL), to, err)
                              : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    cvr_free(to);
    return status;
}

int32_t run_folder_begin(cvr_session *s, const char *folder, const cvr_setting *instead, size_t n, char network[64],
                         cvr_error *err) {
    cvr_setting all[MOST_INSTEAD + 1];
    cvr_text texts[N_START_FILES] = {{0}};
    cvr_session_info i;
    int32_t status = CVR_OK;
    cvr_session_describe(s, &i);
    for (size_t k = 0; k < n; k++) all[k] = instead[k];
    CVR_TRY_OUT(keep_network(s, folder, network, &all[n], err));
    cvr_config_print_with(cvr_session_config(s), all, n + (*network != '\0'), &texts[0]);
    for (int64_t k = 0; k < i.n_classes; k++) cvr_text_add_class(&texts[1], i.class_names[k]);
    describe_environment(s, &i, &texts[2]);
    for (size_t k = 0; k < N_START_FILES; k++) CVR_TRY_OUT(write_text(folder, start_files[k], &texts[k], err));
out:
    for (size_t k = 0; k < N_START_FILES; k++) cvr_text_clear(&texts[k]);
    return status;
}

static int32_t on_open(const cvr_run_info *info, void **self, cvr_error *err) {
    *self = &run;
    run.folder = info->folder;
    run.synced = false;
    return run_folder_begin(run.session, info->folder, NULL, 0, run.network, err);
}

static int32_t sync_file(const char *folder, const char *name, cvr_error *err) {
    char *path = cvr_fs_join(folder, name);
    const int32_t status = path ? cvr_fs_sync(path, false, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    cvr_free(path);
    return status;
}

int32_t run_folder_sync(const char *folder, const char *network, cvr_error *err) {
    for (size_t i = 0; i < N_START_FILES; i++) CVR_TRY(sync_file(folder, start_files[i], err));
    if (*network) CVR_TRY(sync_file(folder, network, err));
    return cvr_fs_sync(folder, true, err);
}

/* The start of a run does not wait for the disk; the first checkpoint does. */
static int32_t on_flush(void *self, cvr_error *err) {
    (void)self;
    if (run.synced) return CVR_OK;
    CVR_TRY(run_folder_sync(run.folder, run.network, err));
    run.synced = true;
    return CVR_OK;
}

static void on_close(void *self) {
    (void)self;
}

const cvr_reporter_desc *run_folder_reporter(cvr_session *s) {
    static const cvr_reporter_desc reporter = {.struct_size = sizeof reporter,
                                               .name = "run_folder",
                                               .doc = "config.ini, the network's file, classes.txt and env.txt",
                                               .open = on_open,
                                               .flush = on_flush,
                                               .close = on_close};
    run.session = s;
    return &reporter;
}
