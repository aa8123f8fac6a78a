/* A backend and one of its devices, as people write them. */
#include <ctype.h>
#include <cvr/session.h>

static bool take(char *to, size_t size, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (iscntrl((unsigned char)text[i])) return false;
    if (n == 0 || n >= size) return false;
    memcpy(to, text, n);
    return true;
}

int32_t cvr_place_parse(cvr_place *out, const char *text, cvr_error *err) {
    const char *const slash = strchr(text, '/');
    const size_t n = slash ? (size_t)(slash - text) : strlen(text);
    *out = (cvr_place){.device = ""};
    if (!take(out->backend, sizeof out->backend, text, n))
        return cvr_fail(err, CVR_ERR_USAGE, "`%.80s`: write the name of a backend, such as cpu, or NAME/DEVICE", text);
    if (slash && !take(out->device, sizeof out->device, slash + 1, strlen(slash + 1)))
        return cvr_fail(err, CVR_ERR_USAGE,
                        "`%.80s` names no device behind the `/`; write its number, UUID or name, or %s alone", text,
                        out->backend);
    return CVR_OK;
}
