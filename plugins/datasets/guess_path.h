/*
 * For data sets that guess whether a folder is theirs (cvr_dataset_desc.guess): what is there, by name.
 */
#ifndef CVR_GUESS_PATH_H
#define CVR_GUESS_PATH_H

#include <cvr/plugin/plugin.h>
#include <dirent.h>
#include <unistd.h>

#define GUESS_MOST_ENTRIES 1000 /* of a folder that are looked at */
/* Shares of the pictures that validate where the data has none for that. */
#define GUESS_VAL_SPLIT "0.1"

/* 1 where `name` is in the folder. */
static inline int32_t guess_has(const char *folder, const char *name) {
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    return n > 0 && n < (int)sizeof path && access(path, F_OK) == 0;
}

/* The first of these names, ended by NULL, that is in the folder; or NULL. */
static inline const char *guess_first(const char *folder, const char *const *names) {
    for (; *names; names++) {
        if (guess_has(folder, *names)) return *names;
    }
    return NULL;
}

static inline int32_t guess_ends(const char *path, const char *ending) {
    const size_t n = strlen(path), k = strlen(ending);
    return n > k && strcmp(path + n - k, ending) == 0;
}

/* Whether one of the first entries of the folder is as `is` says; those that begin with a dot do not count. */
typedef int32_t (*guess_fn)(const void *ctx, const char *folder, const char *name);
static inline int32_t guess_any(const char *folder, guess_fn is, const void *ctx) {
    DIR *const d = opendir(folder);
    int32_t found = 0;
    const struct dirent *e;
    for (int i = 0; d && !found && i < GUESS_MOST_ENTRIES && (e = readdir(d)); i++)
        found = e->d_name[0] != '.' && is(ctx, folder, e->d_name);
    if (d) (void)closedir(d);
    return found;
}

/* The folder of a file, or the folder itself. */
static inline int32_t guess_folder(const cvr_guess_args *g, char folder[4096], cvr_error *err) {
    char *slash;
    const int n = snprintf(folder, 4096, "%s", g->path);
    if (n < 0 || n >= 4096) return cvr_fail(err, CVR_ERR_INVALID, "a path of over 4095 bytes; move the data");
    if (!g->is_folder && (slash = strrchr(folder, '/'))) *slash = '\0';
    return CVR_OK;
}

#endif
