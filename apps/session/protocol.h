/*
 * How a task that says something of each pixel (cvr_task_desc.dense) looks at pictures in validation and prediction,
 * and on what it is measured: val.protocol, stride, flip and scales, settled with resize_size and crop_size.
 */
#ifndef CVR_PROTOCOL_H
#define CVR_PROTOCOL_H

#include <cvr/base.h>

#define PROTOCOL_NAMES "auto|resized|original|crop"
enum { PROTOCOL_AUTO, PROTOCOL_RESIZED, PROTOCOL_ORIGINAL, PROTOCOL_CROP };
#define MOST_SCALES 12

typedef struct protocol {
    int64_t kind;           /* PROTOCOL_*, but not AUTO; AUTO: the task says nothing of pixels */
    int64_t resize, crop;   /* of the pipeline that makes the pictures: shorter side, centre crop; 0: none */
    int64_t window, stride; /* sides of the windows, and pixels from one to the next; 0: whole pictures */
    bool flip;
    size_t n_scales;
    double scales[MOST_SCALES];
    bool single; /* validation takes pictures one by one, so that none is padded to the size of another */
    bool views;  /* pictures are looked at one by one, and what was said of them is merged: see views.c */
    bool reread; /* masks are of another size than the pictures: they are read beside them, untouched */
    char words[320];
} protocol;

struct settings;
/* From [val], once the task is known. `predicts`: for pictures without masks. */
int32_t protocol_settle(const struct settings *s, bool predicts, protocol *out, cvr_error *err);

#endif
