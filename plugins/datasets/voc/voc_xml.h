/*
 * An XML file of Pascal VOC, as labelImg, LabelMe, CVAT and others write it too: the size of the picture, and objects
 * with a name and a box.
 */
#ifndef CVR_VOC_XML_H
#define CVR_VOC_XML_H

#include <cvr/plugin/plugin.h>

typedef struct voc_object {
    uint32_t line;
    uint32_t given; /* bit i: corner i is there */
    uint32_t bad;   /* bit i: corner i is no number */
    uint32_t difficult;
    double corners[4]; /* xmin, ymin, xmax, ymax as they are written */
    char name[256];    /* "" where there is none */
} voc_object;

typedef struct voc_page {
    int64_t height, width; /* 0: nothing is said; -1: nothing that can be */
    void *ctx;
    int32_t (*object)(void *ctx, const voc_object *o, cvr_error *err);
} voc_page;

extern const char *const voc_corner_names[4];

/* Errors name file and line. */
int32_t voc_xml_read(const cvr_host *host, const char *path, voc_page *page, cvr_error *err);

#endif
