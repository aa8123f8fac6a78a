/* A set of names. */
#include <cvr/used_names.h>

/* The place that holds the name, or the free one where it would be. */
static char **place_of(const cvr_used_names *u, const char *name) {
    size_t i = (size_t)cvr_hash(name) & (u->room - 1);
    while (u->names[i] && strcmp(u->names[i], name) != 0) i = (i + 1) & (u->room - 1);
    return &u->names[i];
}

/* At most half of the places are taken. */
static int32_t make_room(cvr_used_names *u, cvr_error *err) {
    cvr_used_names more = {.n = u->n, .room = u->room ? 2 * u->room : 64};
    if (2 * (u->n + 1) <= u->room) return CVR_OK;
    more.names = cvr_calloc(more.room, sizeof *more.names);
    if (!more.names) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < u->room; i++)
        if (u->names[i]) *place_of(&more, u->names[i]) = u->names[i];
    cvr_free(u->names);
    *u = more;
    return CVR_OK;
}

int32_t cvr_used_names_take(cvr_used_names *u, const char *stem, const char *ending, char *name, size_t size,
                            cvr_error *err) {
    char **place;
    CVR_TRY(make_room(u, err));
    for (size_t i = 1;; i++) {
        const int n =
            i == 1 ? snprintf(name, size, "%s%s", stem, ending) : snprintf(name, size, "%s-%zu%s", stem, i, ending);
        if (n < 0 || (size_t)n >= size)
            return cvr_fail(err, CVR_ERR_USAGE, "%.100s...: its name is too long for that of a file with `%.60s`", stem,
                            ending);
        place = place_of(u, name);
        if (!*place) break;
    }
    *place = cvr_strdup(name);
    if (!*place) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    u->n++;
    return CVR_OK;
}

void cvr_used_names_clear(cvr_used_names *u) {
    for (size_t i = 0; i < u->room; i++) cvr_free(u->names[i]);
    cvr_free(u->names);
    *u = (cvr_used_names){0};
}
