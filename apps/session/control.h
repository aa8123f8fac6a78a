/* A run in progress and who tells it what to do; files in cvr/control.h. */
#ifndef CVR_SESSION_CONTROL_H
#define CVR_SESSION_CONTROL_H

#include <cvr/control.h>
#include <cvr/session.h>

enum { CONTROL_BACKEND, CONTROL_LR, CONTROL_CHECKPOINT, CONTROL_STOP };

typedef struct control_order {
    uint32_t kind;
    double lr;
    cvr_place place; /* to move to */
} control_order;
int32_t control_parse(const char *text, control_order *o, cvr_error *err);

typedef struct control_paths {
    char *ask, *said;
} control_paths;
int32_t control_paths_open(control_paths *p, const char *folder, cvr_error *err);
void control_paths_free(control_paths *p);
/* Orders, a line each, and the file is gone; NULL: there are none. Free with cvr_free. */
int32_t control_take(const control_paths *p, uint64_t *id, char **orders, cvr_error *err);
/* Removes both files. */
void control_clear(const control_paths *p);
int32_t control_say(const control_paths *p, uint64_t id, const char *const *lines, size_t n, cvr_error *err);

/* Orders that a run has taken and not answered. Start with zeros. */
typedef struct control {
    control_paths paths;
    uint64_t id;
    bool deaf;                       /* what lies where orders are asked for cannot be read, nor removed */
    size_t n;                        /* 0: none */
    char *answers[CVR_CONTROL_MOST]; /* NULL: not yet */
    size_t moving, saving, stopping; /* of these orders the last of its kind, counted from 1; 0: none */
} control;

#endif
