/*
 * What the reporters share to write files: a growing text, and files that are whole or as they were before.
 */
#ifndef CVR_REPORTS_REPORT_FILE_H
#define CVR_REPORTS_REPORT_FILE_H

#include "../drawing/canvas.h"
#include <cvr/plugin/text.h>

#define REPORT_PATH 4096

/* Text that is being put together. Running out of memory is remembered and told once, by text_check. */
typedef struct text {
    const cvr_host *host;
    char *bytes; /* not terminated */
    uint64_t n, room;
    int32_t failed;
} text;

void text_open(text *t, const cvr_host *host);
void text_close(text *t);
void text_add(text *t, const void *bytes, uint64_t n);
void text_put(text *t, const char *s);
void text_int(text *t, int64_t v);
/* Nine significant digits, so that every float survives; nothing for a value that is not a number. */
void text_number(text *t, double v);
/* A CSV cell (RFC 4180), quoted where it has to be. */
void text_cell(text *t, const char *s);
/* A JSON string; bytes that are not UTF-8 become U+FFFD. */
void text_json(text *t, const char *s);
/* A JSON number; null for a value that is none. */
void text_json_number(text *t, double v);
int32_t text_check(const text *t, cvr_error *err);

/* As cvr_fail_at, for a file as a whole. */
int32_t report_fail_at(cvr_error *err, const char *path, int32_t status);
/* Fails with the path in err->file. `doing` is "write" or "read". */
int32_t report_io_error(const char *path, const char *doing, int error, cvr_error *err);
int32_t report_path(char path[REPORT_PATH], const char *folder, const char *name, cvr_error *err);
/* All of a file at the end of `t`; `exists` is 0 where there is none. */
int32_t report_read(const char *path, text *t, int32_t *exists, cvr_error *err);
/* Into a temporary file, to the disk, and over `path`: a reader sees the old bytes or the new ones. */
int32_t report_replace(const char *path, const text *t, cvr_error *err);
/* Writes `t` at offset `size` and brings it to the disk; when that fails the file is cut back to `size`. */
int32_t report_append(const char *path, uint64_t size, const text *t, cvr_error *err);
/* Drops what lies at and past `size`. */
int32_t report_cut(const char *path, uint64_t size, cvr_error *err);
/* Renames it to the first of PATH.1, PATH.2 and so on that is free, and says so. A file that is not there is fine. */
int32_t report_set_aside(const cvr_host *host, const char *path, cvr_error *err);
/* A file that is not there is fine. */
int32_t report_remove(const char *path, cvr_error *err);
/* The canvas as FOLDER/NAME.png. */
int32_t report_save_png(const canvas *c, const char *folder, const char *name, cvr_error *err);

/* Seconds on a clock that only goes on. */
double report_now(void);
/* Whether what was drawn at a time (0: not yet) may be drawn again: not at every epoch where those are short. */
int32_t report_may_draw(double drawn);

/* Copies of texts that are borrowed only for a call; NULL when memory is out. */
char *report_copy(const cvr_host *host, const char *s);
/* Zeroed. */
void *report_calloc(const cvr_host *host, uint64_t bytes);

/* The class names of a run. */
typedef struct report_classes {
    int64_t n;
    char **names; /* NULL: the run has none, so that the numbers stand for them */
} report_classes;

#define REPORT_NAME 256
int32_t report_classes_copy(report_classes *c, const cvr_host *host, int64_t n, const char *const *names,
                            cvr_error *err);
void report_classes_free(report_classes *c, const cvr_host *host);
/* The name of class `i`, or its number. */
void report_class_name(const report_classes *c, int64_t i, char name[REPORT_NAME]);
/* The same for a picture: "class 7" where the name has letters that cannot be drawn. */
void report_class_label(const report_classes *c, int64_t i, char name[REPORT_NAME]);

#endif
