/* Which plugin knows the format of a file of weights. */
#include "session_parts.h"

const cvr_weights_desc *weights_format(cvr_plugins *p, const cvr_mapping *m, const char *path, cvr_error *err) {
    const char *name;
    for (size_t i = 0; (name = cvr_plugins_name(p, CVR_KIND_WEIGHTS, i)); i++) {
        const void *desc;
        const int32_t status = cvr_plugins_find(p, CVR_KIND_WEIGHTS, name, &desc, err);
        if (status == CVR_ERR_NOMEM) return NULL;
        if (status != CVR_OK) continue;
        const cvr_weights_desc *w = desc;
        const size_t n = strlen(path), length = strlen(w->extension);
        int32_t known = !m && n > length && strcmp(path + n - length, w->extension) == 0;
        if (m) CVR_CALL_TO(known, w, probe, path, m->bytes, m->n < 64 ? m->n : 64, m->n);
        if (known) return w;
    }
    return NULL;
}

int32_t weights_format_unknown(cvr_plugins *p, cvr_error *err) {
    if (err && err->code == CVR_ERR_NOMEM) return err->code; /* a plugin that might have known it could not be loaded */
    cvr_text known = {0};
    const char *name;
    for (size_t i = 0; (name = cvr_plugins_name(p, CVR_KIND_WEIGHTS, i)); i++)
        cvr_text_add(&known, "%s%s", i ? ", " : "", name);
    const int32_t status = cvr_fail(
        err, CVR_ERR_FORMAT, "is no file of weights that any plugin knows (%s), or out of memory; give another file",
        known.s ? known.s : "there is none");
    cvr_text_clear(&known);
    return status;
}
