/* A sheet of pictures with the names of their classes. */
#ifndef CVR_REPORTS_LABEL_SHEET_H
#define CVR_REPORTS_LABEL_SHEET_H

#include "picture_look.h"

typedef struct label_sheet {
    const picture_look *look;
    const report_classes *classes;
} label_sheet;

/* The first pictures of a batch, with or without labels, as FOLDER/FILE.png; nothing where it has no pictures. */
int32_t label_sheet_write(const label_sheet *t, const cvr_batch_event *e, const char *folder, const char *file,
                          cvr_error *err);

#endif
