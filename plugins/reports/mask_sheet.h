/*
 * A sheet of pictures with masks: for each the picture, the truth and, where the network has said something, its
 * prediction, side by side, and one legend of the classes below. Tiles are drawn when they are added, so that a batch
 * need not outlive the call.
 */
#ifndef CVR_REPORTS_MASK_SHEET_H
#define CVR_REPORTS_MASK_SHEET_H

#include "picture_look.h"

#define MASK_SHEET_TILES 10

typedef struct mask_tile {
    canvas c;
    uint8_t *seen; /* (classes), 1 for those that are in truth or prediction */
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
