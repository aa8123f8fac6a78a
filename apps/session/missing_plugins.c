/* Plugins of CVR_PLUGIN_PATH that a run was made with: training writes them down as run.plugins, and whoever opens the
 * run later is told which of them are not here any more. */
#include "session_parts.h"

int32_t session_note_plugins(cvr_session *s, cvr_error *err) {
    cvr_text t = {0};
    for (size_t i = 0; i < cvr_plugins_count(s->plugins); i++) {
        const cvr_plugin_info *p = cvr_plugins_info(s->plugins, i);
        if (p->state == CVR_PLUGIN_LOADED && p->foreign) cvr_text_add(&t, "%s%s", t.n ? ", " : "", p->id);
    }
    if (t.failed) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    cvr_free(s->plugins_used);
    s->plugins_used = t.s;
    s->set.run->plugins = t.s ? t.s : "";
    return CVR_OK;
}

/* The next of run.plugins that no manifest lists, from `at` on; its length goes to `n`. NULL: there is none. */
static const char *missing_plugin(const cvr_session *s, const char *at, size_t *n) {
    for (at += strspn(at, ", "); *at; at += strspn(at, ", ")) {
        bool here = false;
        *n = strcspn(at, ", ");
        for (size_t i = 0; i < cvr_plugins_count(s->plugins) && !here; i++) {
            const char *id = cvr_plugins_info(s->plugins, i)->id;
            here = strlen(id) == *n && memcmp(id, at, *n) == 0;
        }
        if (!here) return at;
        at += *n;
    }
    return NULL;
}

/* run.plugins, also before it is bound. */
static const char *recorded(const cvr_session *s) {
    const cvr_setting *given = s->set.config ? cvr_config_given(s->set.config, "run", "plugins") : NULL;
    return given ? given->value : "";
}

#define MISSING "the run was made with plugin %.*s, which no manifest lists here; put its folder into CVR_PLUGIN_PATH"

void session_warn_missing(const cvr_session *s) {
    size_t n;
    for (const char *id = recorded(s); (id = missing_plugin(s, id, &n)); id += n)
        cvr_log(CVR_LOG_WARNING, MISSING, (int)n, id);
}

void session_blame_missing(const cvr_session *s, cvr_error *err) {
    size_t n;
    char why[500];
    const char *id = err && s->plugins ? missing_plugin(s, recorded(s), &n) : NULL;
    if (!id) return;
    const char *list = strstr(err->message, "; there are "), *hint = strstr(err->message, "; did you mean ");
    const bool not_found = strstr(err->message, "there is no ") || strstr(err->message, "unknown key ");
    const char *end = !not_found ? NULL : list ? list : hint;
    (void)snprintf(why, sizeof why, "%.*s", end ? (int)(end - err->message) : 499, err->message);
    if (not_found)
        (void)snprintf(err->message, sizeof err->message, MISSING " (%s)", (int)n, id, why);
    else
        (void)snprintf(err->message, sizeof err->message, "%s; " MISSING, why, (int)n, id);
}

int32_t session_check_record(const cvr_session *s, cvr_error *err) {
    const cvr_setting *given = cvr_config_given(s->set.config, "run", "plugins");
    if (!given || given->line) return CVR_OK;
    return cvr_config_blame(s->set.config, "run", "plugins",
                            cvr_fail(err, CVR_ERR_USAGE,
                                     "run.plugins is cvrun's own record of a run; put the folders of plugins into "
                                     "CVR_PLUGIN_PATH"),
                            err);
}
