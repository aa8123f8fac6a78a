/* compress.json, and the notes of compressors in it; see the header. */
#include "compress_json.h"
#include "cvrun.h"

#define MOST_NOTES 4096

/* A note is a line, of two columns in files: what else would break it is a blank. */
static char *one_line(const char *text) {
    char *copy = cvr_strdup(text);
    for (char *c = copy; c && *c; c++)
        if (*c == '\n' || *c == '\t') *c = ' ';
    return copy;
}

void compress_notes_take(void *notes, const char *what, const char *text) {
    compress_notes *to = notes;
    compress_note *more = to->n < MOST_NOTES ? cvr_grow(to->all, to->n, &to->capacity, sizeof *more) : NULL;
    if (!more) return;
    to->all = more;
    more[to->n] = (compress_note){one_line(what), one_line(text)};
    if (more[to->n].what && more[to->n].text) {
        to->n++;
        return;
    }
    cvr_free(more[to->n].what);
    cvr_free(more[to->n].text);
}

void compress_notes_print(const compress_notes *notes) {
    for (size_t i = 0; i < notes->n; i++) print_text("  %s: %s\n", notes->all[i].what, notes->all[i].text);
}

void compress_notes_clear(compress_notes *notes) {
    for (size_t i = 0; i < notes->n; i++) {
        cvr_free(notes->all[i].what);
        cvr_free(notes->all[i].text);
    }
    cvr_free(notes->all);
    *notes = (compress_notes){0};
}

void compress_notes_json(cvr_text *t, const compress_notes *notes) {
    cvr_text_add(t, "\"notes\": [");
    for (size_t i = 0; i < notes->n; i++) {
        cvr_text_add(t, "%s\n    {", i ? "," : "");
        cvr_text_add_json(t, notes->all[i].what);
        cvr_text_add(t, ": ");
        cvr_text_add_json(t, notes->all[i].text);
        cvr_text_add(t, "}");
    }
    cvr_text_add(t, "%s]", notes->n ? "\n  " : "");
}

int32_t compress_json_write(const char *folder, cvr_text *t, bool print, cvr_error *err) {
    char *path = cvr_fs_join(folder, "compress.json");
    const int32_t status =
        path && !t->failed ? cvr_fs_write(path, t->s, t->n, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (status == CVR_OK && print) print_page(t->s);
    cvr_text_clear(t);
    cvr_free(path);
    return status;
}
