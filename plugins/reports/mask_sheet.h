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
    const picture_look *look;
    const report_classes *classes;
    mask_tile tiles[MASK_SHEET_TILES];
    int64_t n;
} mask_sheet;

/* Row i of a batch that has a mask, as tile `place`; those from there on move back, and what is one too many goes. */
int32_t mask_sheet_add(mask_sheet *s, const cvr_batch_event *e, int64_t i, int64_t place, cvr_error *err);
/* FOLDER/NAME.png; `title` may be "". Nothing where there are no tiles. */
int32_t mask_sheet_save(const mask_sheet *s, const char *title, const char *folder, const char *name, cvr_error *err);
/* Takes all tiles away. */
void mask_sheet_clear(mask_sheet *s);

#endif
