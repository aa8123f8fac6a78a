/* A command's own section: its keys need no section on the command line. */
#include "cvrun.h"

/* Keys without a section are those of the command's own, but for the short ones that stand for a setting of another
 * section (core/config/recipe.c); `batch`, `epochs` and `lr` of those are left to the command. */
static bool is_elsewhere(const char *setting) {
    static const char *const words[] = {"imgsz",   "device", "workers", "name",   "seed",
                                        "weights", "data",   "model",   "backend"};
    const size_t n = strcspn(setting, "=");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i]) == n && strncmp(words[i], setting, n) == 0) return true;
    return memchr(setting, '.', n) != NULL || !setting[n];
}

int32_t take_own_settings(arguments *a, const char *section, cvr_text *own, cvr_error *err) {
    for (size_t i = 0; i < a->n_settings; i++) {
        if (is_elsewhere(a->settings[i])) continue;
        cvr_text_add(&own[i], "%s.%s", section, a->settings[i]);
        if (own[i].failed) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        a->settings[i] = own[i].s;
    }
    return CVR_OK;
}
