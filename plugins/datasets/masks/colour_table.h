/*
 * Masks in colours: which class each colour stands for, from a file.
 */
#ifndef CVR_COLOUR_TABLE_H
#define CVR_COLOUR_TABLE_H

#include "../name_table.h"

#define MASK_IGNORED 255 /* the class of pixels that do not count */

typedef struct colour_row {
    uint32_t rgb; /* red << 16 | green << 8 | blue */
    uint32_t klass;
} colour_row;

typedef struct colour_table {
    const cvr_host *host;
    colour_row *rows; /* ascending by rgb */
    uint64_t n, room;
    uint64_t ignored; /* a bit for each name of the list of ignored classes that has a row */
} colour_table;

void colour_table_free(colour_table *t);

/*
 * Reads a file of rows, separated by commas, tabs or blanks: `red green blue name` as CamVid's label_colors.txt has
 * them, or `name,red,green,blue` as class_dict.csv does, with or without a line of titles. Classes are numbered as they
 * come, into the empty `classes`; rows of one name are one class. The classes `ignored`, a list with commas, whatever
 * the case of letters, do not count and get no number. Errors name file and line.
 */
int32_t colour_table_read(colour_table *t, const char *path, const char *ignored, name_table *classes, cvr_error *err);
/* Warns of ignored classes that the file does not have: a slip would train what shall not count. Void, which CamVid's
 * data set names unasked, need not be there. */
void colour_table_warn(const colour_table *t, const char *path, const char *ignored);

/* The row of a colour, or NULL. */
const colour_row *colour_table_find(const colour_table *t, uint32_t rgb);

#endif
