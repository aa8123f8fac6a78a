/*
 * A sheet of pictures with what is known of them: for each a tile of panes side by side, such as the picture, the truth
 * and, where the network has said something, its prediction; one legend of the classes below. What panes there are is
 * told by the kinds of fields that a batch has (sheet_kind). A tile keeps what is to be seen, no larger than it is
 * shown, so that a batch need not outlive the call, and what is never shown costs little.
 */
#ifndef CVR_REPORTS_PICTURE_SHEET_H
#define CVR_REPORTS_PICTURE_SHEET_H

#include "picture_look.h"

#define SHEET_TILES 16
#define SHEET_PANES 3
#define SHEET_CAPTION 128

typedef struct sheet_tile {
    int64_t height, width; /* of a pane's pixels */
    int64_t factor;        /* they are shown so many times as large */
    int64_t n_panes;
    uint8_t *pixels; /* (n_panes, height, width, 3) */
    char captions[SHEET_PANES][SHEET_CAPTION];
    uint8_t seen[256]; /* 1: a class that the legend has to explain; 255 stands for PICTURE_IGNORED */
    double score;
} sheet_tile;

struct sheet_kind;

typedef struct picture_sheet {
    picture_look look;
    report_classes classes;
    const struct sheet_kind *kind; /* of its tiles, and of nothing else as long as there are any */
    char folder[REPORT_PATH];
    char file[64], title[128]; /* FILE.png in the folder; a title of "" is none */
    sheet_tile tiles[SHEET_TILES];
    int64_t n, room; /* tiles; at most `room` of them */
    int32_t changed; /* set by its owner: it is to be drawn */
    double drawn;    /* when, in seconds; 0: not yet */
} picture_sheet;

/* Pictures with fields of certain kinds. */
typedef struct sheet_kind {
    int32_t (*shows)(const cvr_batch_view *b); /* whether it has all that is to be shown */
    /* Makes the panes of row i of a batch that it shows: all of the tile but its score, by sheet_tile_open first. */
    int32_t (*fill)(const picture_sheet *s, sheet_tile *t, const cvr_batch_event *e, int64_t i, cvr_error *err);
    colour (*colour_of)(int64_t klass);
    int64_t most, most_single; /* tiles of a batch's sheet; of one with a pane each */
} sheet_kind;

/* The kind that shows a batch, or NULL. */
const sheet_kind *sheet_kind_of(const cvr_batch_view *b);
extern const sheet_kind sheet_of_masks, sheet_of_boxes;

/* At most `room` tiles. */
int32_t picture_sheet_open(picture_sheet *s, const cvr_run_info *info, int64_t room, cvr_error *err);
/* A sheet that waits is drawn: a run that was interrupted has no end. That fails with a warning alone. */
void picture_sheet_close(picture_sheet *s);

/* Row i of a batch that has a kind, as tile `place`; those from there on move back, and what is one too many goes. A
 * sheet of another kind is cleared. */
int32_t picture_sheet_add(picture_sheet *s, const cvr_batch_event *e, int64_t i, int64_t place, cvr_error *err);
/* Takes all tiles away; there is nothing to be drawn then. */
void picture_sheet_clear(picture_sheet *s);
/* Draws it, where it has changed. */
int32_t picture_sheet_draw(picture_sheet *s, cvr_error *err);
/* The same, but for one that was drawn a moment ago: it waits for a later call. */
int32_t picture_sheet_flush(picture_sheet *s, cvr_error *err);

/* ---- for kinds ---- */

/* Memory for panes of this size. */
int32_t sheet_tile_open(sheet_tile *t, const cvr_host *host, int64_t n_panes, view_size size, cvr_error *err);
static inline uint8_t *sheet_pane(const sheet_tile *t, int64_t pane) {
    return t->pixels + pane * t->height * t->width * 3;
}
/* The picture's file, without its folders. */
void sheet_tile_name(const cvr_batch_view *b, int64_t i, char *name, uint64_t size);
/* "prediction", with the task's score where there is one. */
void sheet_tile_said(const cvr_batch_event *e, int64_t i, char *words, uint64_t size);

#endif
