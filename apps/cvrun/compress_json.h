/* What the commands that make a network smaller tell of it: notes of the compressor, and the file compress.json. */
#ifndef CVRUN_COMPRESS_JSON_H
#define CVRUN_COMPRESS_JSON_H

#include <cvr/session.h>

typedef struct compress_note {
    char *what, *text;
} compress_note;

/* Start with zeros. */
typedef struct compress_notes {
    compress_note *all;
    size_t n, capacity;
} compress_notes;

/* `note` of cvr_compress_options, with the notes as `ctx`. Past a few thousand the rest is left out. */
void compress_notes_take(void *notes, const char *what, const char *text);
void compress_notes_print(const compress_notes *notes);
void compress_notes_clear(compress_notes *notes);
/* Adds `"notes": [...]`. */
void compress_notes_json(cvr_text *t, const compress_notes *notes);

/* Writes compress.json into the folder, and prints it where `print` says so. Takes the text. */
int32_t compress_json_write(const char *folder, cvr_text *t, bool print, cvr_error *err);

#endif
