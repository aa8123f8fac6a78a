/*
 * A sheet of pictures with masks: for each the picture, the truth and, where the network has said something, its
 * prediction, side by side, and one legend of the classes below. A tile keeps what is to be seen, no larger than it is
 * shown, so that a batch need not outlive the call, and what is never shown costs little.
 */
#ifndef CVR_REPORTS_MASK_SHEET_H
#define CVR_REPORTS_MASK_SHEET_H

#include "picture_look.h"

#define MASK_SHEET_TILES 10

typedef struct mask_tile {
    int64_t height, width;
    uint8_t *pixels;       /* (height, width, 3) */
    uint8_t *truth, *said; /* (height, width) classes, within the same memory; said NULL: nothing was */
    char name[64], words[64];
    double score;
} mask_tile;

typedef struct mask_sheet {
    picture_look look;
    report_classes classes;
    char folder[REPORT_PATH];
    char file[64], title[128]; /* FILE.png in the folder; a title of "" is none */
    mask_tile tiles[MASK_SHEET_TILES];
    int64_t n;
    int32_t changed; /* set by its owner: it is to be drawn */
    double drawn;    /* when, in seconds; 0: not yet */
} mask_sheet;

int32_t mask_sheet_open(mask_sheet *s, const cvr_run_info *info, cvr_error *err);
/* A sheet that waits is drawn: a run that was interrupted has no end. That fails with a warning alone. */
void mask_sheet_close(mask_sheet *s);

/* Row i of a batch that has a mask, as tile `place`; those from there on move back, and what is one too many goes. */
int32_t mask_sheet_add(mask_sheet *s, const cvr_batch_event *e, int64_t i, int64_t place, cvr_error *err);
/* Takes all tiles away; there is nothing to be drawn then. */
void mask_sheet_clear(mask_sheet *s);
/* Draws it, where it has changed. */
int32_t mask_sheet_draw(mask_sheet *s, cvr_error *err);
/* The same, but for one that was drawn a moment ago: it waits for a later call. */
int32_t mask_sheet_flush(mask_sheet *s, cvr_error *err);

#endif
