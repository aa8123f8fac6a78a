/*
 * What stands for boxes where cvrun was built without expat.
 */
#include "voc.h"

static int32_t open_none(const cvr_dataset_args *args, void **self, cvr_error *err) {
    (void)args;
    *self = NULL;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                    "this cvrun reads no XML files; install expat (Debian: libexpat1-dev) and build it again");
}

const cvr_dataset_desc voc_boxes = {.struct_size = sizeof voc_boxes, .name = "voc", .open = open_none};
