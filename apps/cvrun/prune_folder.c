/* See prune_folder.h. */
#include "prune_folder.h"
#include "run_folder.h"
#include <errno.h>
#include <unistd.h>

#define INSIDE "pruning"
#define MOST_BYTES (16u << 20)

static int32_t memory_out(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

/* FOLDER/pruning/NAME. Free with cvr_free. */
static char *inside(const char *folder, const char *name) {
    char *within = cvr_fs_join(folder, INSIDE), *path = within ? cvr_fs_join(within, name) : NULL;
    cvr_free(within);
    return path;
}

static char *step_file(const prune_folder *f, int64_t step) {
    char name[64];
    (void)snprintf(name, sizeof name, "step%lld.txt", (long long)step + 1);
    return inside(f->path, name);
}

static bool has(const char *folder, const char *name) {
    char *path = cvr_fs_join(folder, name);
    const bool there = path && cvr_fs_exists(path);
    cvr_free(path);
    return there;
}

/* ---- what was asked ---- */

int32_t prune_folder_words(cvr_text *t, const char *origin, const arguments *a, cvr_error *err) {
    cvr_text_add(t, "%s\n", origin);
    for (size_t i = 0; i < a->n_settings; i++) {
        if (strchr(a->settings[i], '\n'))
            return cvr_fail(err, CVR_ERR_USAGE, "%.60s: a setting has no line breaks here", a->settings[i]);
        cvr_text_add(t, "%s\n", a->settings[i]);
    }
    return t->failed ? memory_out(err) : CVR_OK;
}

static int32_t read_words(const char *folder, cvr_text *t, cvr_error *err) {
    char *path = inside(folder, "asked.txt");
    uint8_t *bytes = NULL;
    uint64_t n;
    const int32_t status = path ? cvr_fs_read(path, MOST_BYTES, &bytes, &n, err) : memory_out(err);
    cvr_free(path);
    CVR_TRY(status);
    cvr_text_add_bytes(t, bytes, (size_t)n);
    cvr_free(bytes);
    return t->failed ? memory_out(err) : CVR_OK;
}

/* ---- taking a folder ---- */

/* The folder appears with the words in it, so that whoever is stopped here finds it again, or nothing. */
static int32_t make_folder(const char *path, const char *words, bool *made, cvr_error *err) {
    char part[4200];
    (void)snprintf(part, sizeof part, "%s.part%ld", path, (long)getpid());
    char *weights = cvr_fs_join(part, "weights"), *within = cvr_fs_join(part, INSIDE),
         *asked = inside(part, "asked.txt");
    int32_t status;
    CVR_TRY_OUT(weights && within && asked ? CVR_OK : memory_out(err));
    CVR_TRY_OUT(cvr_fs_mkdirs(weights, err));
    CVR_TRY_OUT(cvr_fs_mkdirs(within, err));
    CVR_TRY_OUT(cvr_fs_write(asked, words, strlen(words), err));
    *made = rename(part, path) == 0;
    if (*made) goto out;
    const int why = errno;
    (void)unlink(asked);
    (void)rmdir(within);
    (void)rmdir(weights);
    (void)rmdir(part);
    if (why != EEXIST && why != ENOTEMPTY && why != ENOTDIR) {
        cvr_fail(err, CVR_ERR_IO, "cannot make this folder: %s", strerror(why));
        status = cvr_fail_at(err, path, 0, CVR_ERR_IO);
    }
out:
    cvr_free(weights);
    cvr_free(within);
    cvr_free(asked);
    return status;
}

/* Whether these words have begun this folder, and nobody is at work there. */
static int32_t is_begun(const char *path, const char *words, bool *begun, cvr_error *err) {
    char *within = cvr_fs_join(path, INSIDE);
    cvr_text asked = {0};
    bool busy = false;
    int32_t status = within ? CVR_OK : memory_out(err);
    *begun = false;
    if (status == CVR_OK && has(within, "asked.txt") && !has(path, "compress.json")) {
        status = read_words(path, &asked, err);
        *begun = status == CVR_OK && strcmp(asked.s, words) == 0;
        if (*begun) status = run_folder_busy(within, &busy, err);
        *begun = *begun && !busy;
    }
    cvr_text_clear(&asked);
    cvr_free(within);
    return status;
}

static int32_t lock(prune_folder *f, cvr_error *err) {
    char *within = cvr_fs_join(f->path, INSIDE);
    const int32_t status = within ? run_folder_lock(within, &f->lock, err) : memory_out(err);
    cvr_free(within);
    return status;
}

int32_t prune_folder_claim(prune_folder *f, const char *origin, const char *words, cvr_error *err) {
    bool ours = false;
    f->lock = -1;
    for (int i = 1; !ours; i++) {
        const int n = i == 1 ? snprintf(f->path, sizeof f->path, "%s-pruned", origin)
                             : snprintf(f->path, sizeof f->path, "%s-pruned-%d", origin, i);
        if (n < 0 || (size_t)n >= sizeof f->path - 64)
            return cvr_fail(err, CVR_ERR_USAGE, "%.100s...: too long for a folder's path; shorten it", origin);
        CVR_TRY(cvr_fs_exists(f->path) ? is_begun(f->path, words, &ours, err)
                                       : make_folder(f->path, words, &ours, err));
    }
    return lock(f, err);
}

int32_t prune_folder_open(prune_folder *f, const char *path, arguments *a, cvr_text *words, cvr_error *err) {
    char *real = cvr_fs_absolute(".", path), *asked = inside(path, "asked.txt");
    int32_t status = real && asked ? CVR_OK : memory_out(err);
    f->lock = -1;
    if (status == CVR_OK && !cvr_fs_exists(asked))
        status = cvr_fail(err, CVR_ERR_USAGE,
                          "%s was not begun by cvrun prune; training that was interrupted goes on by: cvrun train "
                          "--resume %s",
                          path, path);
    if (status == CVR_OK) (void)snprintf(f->path, sizeof f->path, "%s", real);
    cvr_free(real);
    cvr_free(asked);
    CVR_TRY(status);
    CVR_TRY(lock(f, err));
    CVR_TRY(read_words(f->path, words, err));
    a->path = NULL;
    a->n_settings = 0;
    for (char *line = words->s, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        if (!a->path)
            a->path = line;
        else if (a->n_settings < sizeof a->settings / sizeof *a->settings)
            a->settings[a->n_settings++] = line;
        else
            return cvr_fail(err, CVR_ERR_FORMAT, "%s/" INSIDE "/asked.txt has more settings than a command takes",
                            f->path);
    }
    return a->path ? CVR_OK : cvr_fail(err, CVR_ERR_FORMAT, "%s/" INSIDE "/asked.txt names no run", f->path);
}

void prune_folder_leave(prune_folder *f) {
    if (f->lock >= 0) close(f->lock);
    f->lock = -1;
}

void prune_folder_discard(prune_folder *f, const char *first_step) {
    char *weights = cvr_fs_join(first_step, "weights"), *within = cvr_fs_join(f->path, INSIDE),
         *names[] = {inside(f->path, "asked.txt"), inside(f->path, ".lock")};
    prune_folder_leave(f);
    if (weights && within && strcmp(first_step, f->path) != 0 && rmdir(weights) == 0) (void)rmdir(first_step);
    for (size_t i = 0; i < 2; i++) {
        if (names[i]) (void)unlink(names[i]);
        cvr_free(names[i]);
    }
    if (within) (void)rmdir(within);
    run_folder_discard(f->path);
    cvr_free(weights);
    cvr_free(within);
}

/* ---- steps ---- */

int32_t prune_folder_step(const prune_folder *f, int64_t step, int64_t steps, char path[4096], cvr_error *err) {
    (void)snprintf(path, 4096, "%s", f->path);
    if (step + 1 < steps) {
        const int n = snprintf(path, 4096, "%s/" INSIDE "/step%lld", f->path, (long long)step + 1);
        if (n < 0 || n >= 4096) return cvr_fail(err, CVR_ERR_USAGE, "%.100s...: too long for a folder's path", f->path);
    }
    char *weights = cvr_fs_join(path, "weights");
    const int32_t status = weights ? cvr_fs_mkdirs(weights, err) : memory_out(err);
    cvr_free(weights);
    return status;
}

int32_t prune_step_write(const prune_folder *f, int64_t step, const char *method, const compress_notes *notes,
                         cvr_error *err) {
    char *path = step_file(f, step);
    cvr_text t = {0};
    cvr_text_add(&t, "%s\n", method);
    for (size_t i = 0; i < notes->n; i++) cvr_text_add(&t, "%s\t%s\n", notes->all[i].what, notes->all[i].text);
    const int32_t status = path && !t.failed ? cvr_fs_write(path, t.s, t.n, err) : memory_out(err);
    cvr_text_clear(&t);
    cvr_free(path);
    return status;
}

int32_t prune_step_read(const prune_folder *f, int64_t step, bool *pruned, char method[64], compress_notes *notes,
                        cvr_error *err) {
    char *path = step_file(f, step), *save = NULL;
    uint8_t *bytes = NULL;
    uint64_t n;
    *pruned = path && cvr_fs_exists(path);
    const int32_t status = !path ? memory_out(err) : *pruned ? cvr_fs_read(path, MOST_BYTES, &bytes, &n, err) : CVR_OK;
    cvr_free(path);
    if (status != CVR_OK || !*pruned) return status;
    compress_notes_clear(notes);
    const char *line = strtok_r((char *)bytes, "\n", &save);
    (void)snprintf(method, 64, "%s", line ? line : "");
    for (char *note; (note = strtok_r(NULL, "\n", &save));) {
        char *tab = strchr(note, '\t');
        if (!tab) continue;
        *tab = '\0';
        compress_notes_take(notes, note, tab + 1);
    }
    cvr_free(bytes);
    return CVR_OK;
}
