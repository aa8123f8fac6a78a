/*
 * What a folder or file of data is, where nobody said so: every data set that can guess looks at it, and the surest
 * reads it. The task is known by then, so that of data that is read in several ways the one is chosen that it can use.
 */
#include "proposals.h"

static const char guessed[] = "guessed from data.root";

typedef struct guess {
    const char *name;
    int32_t sure;
    proposals says;
} guess;

typedef struct guessing {
    cvr_plugins *plugins;
    cvr_guess_args args;
    guess best;
    const char *rival; /* another that is as sure as the best */
    cvr_text asked;    /* who was */
} guessing;

static int32_t ask(guessing *g, const char *name, cvr_error *err) {
    cvr_error why = CVR_ERROR_INIT;
    const void *found = NULL;
    guess one = {.name = name};
    if (cvr_plugins_find(g->plugins, CVR_KIND_DATASET, name, &found, &why) != CVR_OK) return CVR_OK;
    const cvr_dataset_desc *desc = found;
    if (!desc->guess) return CVR_OK;
    cvr_text_add(&g->asked, "%s%s", g->asked.n ? ", " : "", name);
    const int32_t status = CVR_CALL(desc, guess, NULL, err, &g->args, proposals_add, &one.says, &one.sure);
    if (status == CVR_OK && one.sure > g->best.sure) {
        proposals_clear(&g->best.says);
        g->best = one;
        g->rival = NULL;
        return CVR_OK;
    }
    if (status == CVR_OK && one.sure > 0 && one.sure == g->best.sure) g->rival = name;
    proposals_clear(&one.says);
    return status;
}

static int32_t no_guess(const guessing *g, const settings *s, cvr_error *err) {
    if (!cvr_fs_exists(g->args.path))
        return cvr_fail(err, CVR_ERR_USAGE, "data.root = %s: no such folder or file", g->args.path);
    return cvr_fail(err, CVR_ERR_USAGE,
                    "data.root = %s: nobody knows this for data of task %s; it does not look like %s. Set data.format "
                    "(`cvrun help data`), or another run.task",
                    g->args.path, s->task->name, g->asked.s ? g->asked.s : "anything");
}

/* A split that the user has given is not guessed as well. */
static bool is_given_otherwise(const settings *s, const char *key) {
    const bool split = strcmp(key, "train") == 0 || strcmp(key, "val") == 0 || strcmp(key, "val_split") == 0;
    return split && (cvr_config_given(s->config, "data", "train") || cvr_config_given(s->config, "data", "val"));
}

static int32_t apply(settings *s, const guess *g, cvr_error *err) {
    cvr_setting setting = {.section = "data", .key = "format", .value = g->name, .base = ".", .file = guessed};
    CVR_TRY(cvr_config_suggest(s->config, &setting, false, err));
    for (size_t i = 0; i < g->says.n; i++) {
        const proposal *p = &g->says.all[i];
        if (strcmp(p->section, "data") != 0)
            return cvr_fail(err, CVR_ERR_PLUGIN, "data set %s proposes %s.%s, which is not a data set's to say",
                            g->name, p->section, p->key);
        if (is_given_otherwise(s, p->key)) continue;
        setting.key = p->key;
        setting.value = p->value;
        CVR_TRY(cvr_config_suggest(s->config, &setting, strcmp(p->key, "root") == 0, err));
    }
    cvr_log(CVR_LOG_INFO, "the data is read as %s; set data.format if it is something else", g->name);
    return CVR_OK;
}

static int32_t ask_all(guessing *g, settings *s, cvr_error *err) {
    const char *name;
    for (size_t i = 0; (name = cvr_plugins_name(g->plugins, CVR_KIND_DATASET, i)); i++) CVR_TRY(ask(g, name, err));
    if (g->best.sure <= 0) return no_guess(g, s, err);
    if (g->rival)
        return cvr_fail(err, CVR_ERR_USAGE, "data.root = %s: this may be %s or %s; set data.format", g->args.path,
                        g->best.name, g->rival);
    return apply(s, &g->best, err);
}

static uint32_t wanted_kinds(const settings *s, const char *kinds[], uint32_t room) {
    uint32_t n = 0;
    for (; n < s->n_wants && n < room; n++) kinds[n] = s->wants[n]->kind;
    return n;
}

int32_t propose_by_data(settings *s, cvr_plugins *p, bool reads, cvr_error *err) {
    const cvr_setting *format = cvr_config_given(s->config, "data", "format"),
                      *root = cvr_config_given(s->config, "data", "root");
    const char *kinds[16];
    if (!reads || (format && *format->value) || !root || !*root->value) return CVR_OK;
    char *path = cvr_fs_absolute(root->base, root->value);
    if (!path) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    guessing g = {.plugins = p,
                  .args = {.struct_size = sizeof g.args,
                           .host = cvr_plugins_host(p),
                           .path = path,
                           .kinds = kinds,
                           .n_kinds = wanted_kinds(s, kinds, sizeof kinds / sizeof *kinds),
                           .is_folder = cvr_fs_is_folder(path)}};
    const cvr_image_service *images; /* which files are pictures */
    int32_t status = cvr_plugins_image_service(p, &images, err);
    if (status == CVR_OK) status = ask_all(&g, s, err);
    proposals_clear(&g.best.says);
    cvr_text_clear(&g.asked);
    cvr_free(path);
    return cvr_config_blame(s->config, "data", "root", status, err);
}
