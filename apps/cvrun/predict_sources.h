/* Which pictures `cvrun predict` is to look at. */
#ifndef CVRUN_PREDICT_SOURCES_H
#define CVRUN_PREDICT_SOURCES_H

#include "cvrun.h"

typedef struct path_list {
    char **paths;
    size_t n, capacity;
} path_list;

/*
 * The pictures of each source in turn: a picture; a folder, with all those below it, in byte order of their paths; a
 * text file that lists pictures, a path a line, relative to the current folder or else to the file's; a shell pattern
 * for any of them; or several of them with commas between. Start with an empty list.
 */
int32_t sources_list(cvr_plugins *plugins, const char *const *sources, size_t n, path_list *out, cvr_error *err);
void sources_clear(path_list *l);

#endif
