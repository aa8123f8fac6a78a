/*
 * Published weights by torchvision's names. Nothing is ever downloaded: a file is taken from model.weights_path or from
 * where PyTorch and timm keep what they have downloaded, and else the error says where to get it.
 */
#define _GNU_SOURCE /* dladdr */
#include "presets.h"
#include "sha256.h"
#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <stdlib.h>

typedef struct preset {
    const char *model, *name;    /* as asked for */
    cvr_text line, known, found; /* of the table: "URL resize=256 ..."; and the names that there are for the model */
    const char *file;            /* looked for in place of a name: the end of a line's URL; NULL: the name */
} preset;

/* ---- the table ---- */

/* IMAGENET1K_V1, DEFAULT */
static bool is_preset_name(const char *s) {
    bool letters = isupper((unsigned char)*s);
    for (; *s && letters; s++) letters = isupper((unsigned char)*s) || isdigit((unsigned char)*s) || *s == '_';
    return letters;
}

char *preset_data_file(const char *name) {
    Dl_info where;
    if (!dladdr((void *)(uintptr_t)&preset_apply, &where) || !where.dli_fname) return NULL;
    char *real = realpath(where.dli_fname, NULL);
    if (!real) real = realpath("/proc/self/exe", NULL); /* of a program, what it was called by */
    char *lib = real ? cvr_fs_dirname(real) : NULL;
    char *share = lib ? cvr_fs_join(lib, "../share/cvrun") : NULL;
    char *file = share ? cvr_fs_join(share, name) : NULL;
    free(real);
    cvr_free(lib);
    cvr_free(share);
    return file;
}

static int32_t on_line(void *ctx, const char *section, const char *key, const char *value, uint32_t line,
                       cvr_error *err) {
    preset *p = ctx;
    (void)line;
    if (strcmp(section, p->model) != 0) return CVR_OK;
    cvr_text_add(&p->known, "%s%s", p->known.n ? ", " : "", key);
    const size_t url = strcspn(value, " "), n = p->file ? strlen(p->file) : 0;
    const bool found = p->file ? url > n && value[url - n - 1] == '/' && memcmp(value + url - n, p->file, n) == 0
                               : strcmp(key, p->name) == 0;
    if (found) cvr_text_add(&p->line, "%s", value);
    if (found && p->file) cvr_text_add(&p->found, "%s", key);
    return p->known.failed || p->line.failed ? cvr_fail(err, CVR_ERR_NOMEM, "out of memory") : CVR_OK;
}

/* Its line; DEFAULT stands for another. */
static int32_t find_line(preset *p, const char *table, cvr_error *err) {
    char other[64];
    CVR_TRY(cvr_ini_read(table, on_line, p, err));
    if (p->line.n && p->line.n < sizeof other && is_preset_name(p->line.s)) {
        (void)snprintf(other, sizeof other, "%s", p->line.s);
        p->name = other;
        cvr_text_clear(&p->line);
        cvr_text_clear(&p->known);
        const int32_t status = cvr_ini_read(table, on_line, p, err);
        p->name = "DEFAULT";
        CVR_TRY(status);
    }
    if (p->line.n) return CVR_OK;
    if (p->known.n)
        return cvr_fail(err, CVR_ERR_USAGE, "model.weights = %s: %s has no weights of this name, but %s", p->name,
                        p->model, p->known.s);
    return cvr_fail(err, CVR_ERR_USAGE,
                    "model.weights = %s: no weights are known by name for the model `%s`; give the path of a file",
                    p->name, p->model);
}

/* ---- its file on this machine ---- */

static void look_in(cvr_text *looked, const char *root, const char *rest, const char *file, char **found) {
    if (!root || *found) return;
    cvr_text path = {0};
    cvr_text_add(&path, "%s%s/%s", root, rest, file);
    cvr_text_add(looked, "%s%s%s", looked->n ? ", " : "", root, rest);
    if (path.s && cvr_fs_exists(path.s))
        *found = path.s;
    else
        cvr_text_clear(&path);
}

/* HUB/models--timm--NAME/snapshots/REVISION/model.safetensors */
static void look_in_hub(cvr_text *looked, const char *root, const char *rest, const char *hub, char **found) {
    cvr_text snapshots = {0};
    if (!root || *found || !hub) return;
    cvr_text_add(&snapshots, "%s%s/models--timm--%s/snapshots", root, rest, hub);
    cvr_text_add(looked, ", %s%s", root, rest);
    DIR *dir = snapshots.s ? opendir(snapshots.s) : NULL;
    for (const struct dirent *e; dir && !*found && (e = readdir(dir));) {
        cvr_text path = {0};
        cvr_text_add(&path, "%s/%s/model.safetensors", snapshots.s, e->d_name);
        if (e->d_name[0] != '.' && path.s && cvr_fs_exists(path.s))
            *found = path.s;
        else
            cvr_text_clear(&path);
    }
    if (dir) closedir(dir);
    cvr_text_clear(&snapshots);
}

static const char *environment(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static char *find_file(const cvr_config *c, const char *file, const char *hub, cvr_text *looked) {
    const cvr_setting *given = cvr_config_given(c, "model", "weights_path");
    char *own = given ? cvr_fs_absolute(given->base, given->value) : NULL;
    const char *home = environment("HOME"), *torch = environment("TORCH_HOME"), *cache = environment("XDG_CACHE_HOME"),
               *hf = environment("HF_HOME"), *hf_cache = environment("HF_HUB_CACHE");
    char *found = NULL;
    look_in(looked, own, "", file, &found);
    cvr_free(own);
    look_in(looked,
            torch   ? torch
            : cache ? cache
                    : home,
            torch   ? "/hub/checkpoints"
            : cache ? "/torch/hub/checkpoints"
                    : "/.cache/torch/hub/checkpoints",
            file, &found);
    look_in_hub(looked,
                hf_cache ? hf_cache
                : hf     ? hf
                : cache  ? cache
                         : home,
                hf_cache ? ""
                : hf     ? "/hub"
                : cache  ? "/huggingface/hub"
                         : "/.cache/huggingface/hub",
                hub, &found);
    return found;
}

/* "resnet50-0676ba61.pth" has the first digits of its SHA-256 in its name. */
static const char *digits_of(const char *file, size_t *n) {
    const char *dash = strrchr(file, '-');
    *n = dash ? strspn(dash + 1, "0123456789abcdef") : 0;
    return *n >= 8 && dash[1 + *n] == '.' ? dash + 1 : "";
}

static int32_t check_sum(const char *path, const char *file, cvr_error *err) {
    size_t n;
    char hex[65];
    cvr_mapping map;
    const char *digits = digits_of(file, &n), *base = strrchr(path, '/');
    if (!*digits || !base || strcmp(base + 1, file) != 0) return CVR_OK;
    CVR_TRY(cvr_fs_map(path, &map, err));
    sha256_hex(map.bytes, map.n, hex);
    cvr_fs_unmap(&map);
    if (strncmp(hex, digits, n) == 0) return CVR_OK;
    cvr_fail(err, CVR_ERR_FORMAT,
             "its SHA-256 begins with %.8s and not with %.*s: the file is damaged or another; get it anew", hex, (int)n,
             digits);
    return cvr_fail_at(err, path, 0, CVR_ERR_FORMAT);
}

static int32_t not_here(const preset *p, const char *file, const char *url, const cvr_text *looked, cvr_error *err) {
    size_t n;
    const char *digits = digits_of(file, &n);
    return cvr_fail(err, CVR_ERR_NOTFOUND,
                    "model.weights = %s: %s is not on this machine; get it from %s (SHA-256 %.*s...) and set "
                    "model.weights_path to its folder. Looked in %s",
                    p->name, file, url, (int)n, digits, looked->s ? looked->s : "no folder");
}

/* ---- what goes with it ---- */

/* Its words, as settings that the recipe may overrule. */
static int32_t suggest(cvr_config *c, const char *line, cvr_error *err) {
    static const struct {
        const char *word, *section, *key;
        bool sized; /* not where the recipe has a size of its own */
    } all[] = {
        {"mean", "data", "mean", false},          {"std", "data", "std", false},
        {"crop", "data", "img_size", true},       {"crop", "val", "crop_size", true},
        {"resize", "val", "resize_size", true},   {"interpolation", "val", "interpolation", false},
        {"val_crop", "val", "crop_size", true},   {"img_size", "data", "img_size", true},
        {"norm_eps", "model", "norm_eps", false}, {"reduced_tail", "model", "reduced_tail", false},
    };
    const bool sized = cvr_config_given(c, "data", "img_size") != NULL;
    cvr_setting s = {.section = "model", .key = "in_channels", .value = "3", .file = "the weights"};
    CVR_TRY(cvr_config_suggest(c, &s, false, err));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char *value = cvr_line_key(line, all[i].word);
        s.section = all[i].section;
        s.key = all[i].key;
        s.value = value;
        const int32_t status = value && !(sized && all[i].sized) ? cvr_config_suggest(c, &s, false, err) : CVR_OK;
        cvr_free(value);
        CVR_TRY(status);
    }
    return CVR_OK;
}

static int32_t names_of(const char *line, char **classes, cvr_error *err) {
    char *name = cvr_line_key(line, "classes");
    cvr_text file = {0};
    if (!name) return CVR_OK;
    cvr_text_add(&file, "%s.txt", name);
    *classes = file.s ? preset_data_file(file.s) : NULL;
    cvr_text_clear(&file);
    cvr_free(name);
    return *classes ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

static int32_t use(cvr_config *c, const preset *p, char **classes, cvr_error *err) {
    const size_t length = strcspn(p->line.s, " ");
    char *url = cvr_strndup(p->line.s, length), *hub = cvr_line_key(p->line.s, "hub"), *path = NULL;
    cvr_text looked = {0};
    int32_t status;
    if (!url) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    const char *slash = strrchr(url, '/'), *file = slash ? slash + 1 : url;
    path = find_file(c, file, hub, &looked);
    if (!path) CVR_TRY_OUT(not_here(p, file, url, &looked, err));
    CVR_TRY_OUT(check_sum(path, file, err));
    const cvr_setting weights = {
        .section = "model", .key = "weights", .value = path, .base = ".", .file = "the weights"};
    CVR_TRY_OUT(cvr_config_suggest(c, &weights, true, err));
    CVR_TRY_OUT(suggest(c, p->line.s, err));
    CVR_TRY_OUT(names_of(p->line.s, classes, err));
out:
    cvr_text_clear(&looked);
    cvr_free(url);
    cvr_free(hub);
    cvr_free(path);
    return status;
}

/* A file that has the name of published weights of this model, and their sum, is taken for them: its pictures are made
 * as theirs. */
static int32_t recognise(cvr_config *c, const char *model, const cvr_setting *weights, const char *table,
                         char **classes, cvr_error *err) {
    const char *slash = strrchr(weights->value, '/');
    preset p = {.model = model, .file = slash ? slash + 1 : weights->value};
    cvr_error other = CVR_ERROR_INIT;
    char *path = cvr_fs_absolute(weights->base, weights->value);
    int32_t status;
    if (!path) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    CVR_TRY_OUT(cvr_ini_read(table, on_line, &p, err));
    if (!p.line.n) goto out;
    if (check_sum(path, p.file, &other) == CVR_ERR_FORMAT) {
        cvr_log(CVR_LOG_WARNING,
                "%s has the name of %s's %s, but another SHA-256: only its numbers are taken, and nothing is known of "
                "its pictures and classes",
                path, model, p.found.s);
        goto out;
    }
    CVR_TRY_OUT(suggest(c, p.line.s, err));
    CVR_TRY_OUT(names_of(p.line.s, classes, err));
    cvr_log(CVR_LOG_INFO, "%s is %s's %s: its sizes, mean, std and classes are the defaults (cvrun cfg shows them)",
            p.file, model, p.found.s);
out:
    cvr_free(path);
    cvr_text_clear(&p.line);
    cvr_text_clear(&p.known);
    cvr_text_clear(&p.found);
    return status;
}

int32_t preset_apply(cvr_config *c, char **classes, cvr_error *err) {
    const cvr_setting *weights = cvr_config_given(c, "model", "weights"), *model = cvr_config_given(c, "model", "name");
    *classes = NULL;
    if (!weights || !model || !*weights->value) return CVR_OK;
    preset p = {.model = model->value, .name = weights->value};
    char *table = preset_data_file("weights.ini");
    int32_t status;
    if (!table) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    if (!is_preset_name(weights->value)) {
        status = cvr_fs_exists(table) ? recognise(c, model->value, weights, table, classes, err) : CVR_OK;
        goto out;
    }
    CVR_TRY_OUT(find_line(&p, table, err));
    CVR_TRY_OUT(use(c, &p, classes, err));
out:
    if (status != CVR_OK) cvr_config_blame(c, "model", "weights", status, err);
    cvr_text_clear(&p.line);
    cvr_text_clear(&p.known);
    cvr_free(table);
    return status;
}
