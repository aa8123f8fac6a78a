/* What was found: rows and lines, in memory that two processes share. */
#include "placement.h"
#include <stdarg.h>

conform_row *board_row(conform_board *b, const char *name, const char *what) {
    for (uint32_t i = 0; i < b->n_rows; i++)
        if (strcmp(b->rows[i].name, name) == 0 && strcmp(b->rows[i].what, what) == 0) return &b->rows[i];
    if (b->n_rows == CONFORM_MOST_ROWS) return &b->rows[CONFORM_MOST_ROWS - 1];
    conform_row *r = &b->rows[b->n_rows++];
    (void)snprintf(r->name, sizeof r->name, "%s", name);
    (void)snprintf(r->what, sizeof r->what, "%s", what);
    return r;
}

void board_fail(conform_board *b, conform_row *r, const char *format, ...) {
    char text[700];
    va_list ap;
    if (r->lines++ >= CONFORM_LINES_A_ROW || b->n_failures == CONFORM_MOST_FAILURES) {
        b->unsaid++;
        return;
    }
    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    (void)snprintf(b->failures[b->n_failures++], sizeof b->failures[0], "%s, %s: %s%s%.300s%s", r->name, r->what, text,
                   *b->line ? "; case `" : "", b->line, *b->line ? "`" : "");
}

void board_doing(conform_board *b, const conform_row *r, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(b->doing, sizeof b->doing, format, ap);
    va_end(ap);
    b->doing_row = r ? r - b->rows : -1;
}

bool conform_is_asked(const conform_options *o, const conform_row *r) {
    return placement_wants(o->op, r->name) || strncmp(r->what, "kernel", 6) == 0 || r->lines > 0;
}

bool conform_passed(const conform_board *b) {
    return b->n_failures == 0 && b->unsaid == 0;
}
