/*
 * Where the state dict is. People save it by itself, or in a dictionary beside the epoch and the optimizer's state,
 * under one of a few names. Averaged weights (EMA) are taken last, since they are a choice of their own.
 */
#include "pth.h"

#define MAX_DEPTH 4

static const char *const keys[] = {"state_dict", "model_state_dict", "model",          "model_state", "net",
                                   "module",     "model_ema",        "state_dict_ema", "ema"};
#define N_KEYS (sizeof keys / sizeof *keys)

/* The dictionary under the first of the names above that has one, else the only one of tensors under any name. */
static const pth_items *step_into(const pth_items *d) {
    const pth_items *only = NULL;
    uint64_t n = 0;
    for (size_t k = 0; k < N_KEYS; k++) {
        for (uint64_t i = 0; i + 1 < d->n; i += 2) {
            if (pth_string_is(&d->v[i], keys[k]) && d->v[i + 1].kind == PTH_DICT) return d->v[i + 1].items;
        }
    }
    for (uint64_t i = 1; i < d->n; i += 2) {
        if (d->v[i].kind != PTH_DICT || !d->v[i].items->n_tensors) continue;
        only = d->v[i].items;
        n++;
    }
    return n == 1 ? only : NULL;
}

/* "'epoch', 'G', 'D'" */
static void list_keys(const pth_items *d, char *buf, size_t size) {
    size_t n = 0;
    buf[0] = '\0';
    for (uint64_t i = 0; i + 1 < d->n && i < 24; i += 2) {
        char shown[PTH_SHOWN];
        if (d->v[i].kind != PTH_STRING) continue;
        const int more = snprintf(buf + n, size - n, "%s'%s'", n ? ", " : "",
                                  pth_show(d->v[i].bytes, d->v[i].n < 40 ? d->v[i].n : 40, shown));
        if (more < 0 || (size_t)more >= size - n) {
            buf[n] = '\0';
            return;
        }
        n += (size_t)more;
    }
}

int32_t pth_state_find(const pth_value *root, const pth_items **out, cvr_error *err) {
    static const char *const kinds[] = {
        [PTH_UNSET] = "nothing",   [PTH_NONE] = "None",     [PTH_BOOL] = "a bool",       [PTH_INT] = "a number",
        [PTH_FLOAT] = "a number",  [PTH_STRING] = "a text", [PTH_TUPLE] = "a tuple",     [PTH_LIST] = "a list",
        [PTH_DICT] = "a dict",     [PTH_GLOBAL] = "a name", [PTH_STORAGE] = "a storage", [PTH_TENSOR] = "one tensor",
        [PTH_OPAQUE] = "an object"};
    char names[400];
    const pth_items *d = root->kind == PTH_DICT ? root->items : NULL;
    if (!d)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                        "holds %s, not a dict of tensors; save it anew with torch.save(model.state_dict(), ...)",
                        kinds[root->kind]);
    for (int depth = 0; d && depth < MAX_DEPTH; depth++, d = step_into(d)) {
        if (!d->n_tensors) continue;
        *out = d;
        return CVR_OK;
    }
    list_keys(root->items, names, sizeof names);
    return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                    "has no dict of tensors by itself or under 'state_dict', 'model' and the like; its keys are: %s; "
                    "save the one that you mean by itself",
                    names[0] ? names : "none");
}
