/*
 * The pictures of a tree of class folders, as torchvision's ImageFolder lists them.
 */
#ifndef CVR_FOLDER_LIST_H
#define CVR_FOLDER_LIST_H

#include <cvr/plugin/plugin.h>

/* One picture. `path` lies in the list's text, from its start: folder and name, NUL-terminated. */
typedef struct folder_item {
    uint64_t path;
    uint64_t name; /* where the file's own name begins, in the same text */
    int64_t label;
} folder_item;

/* Things that grow; all memory is the host's. */
typedef struct folder_list {
    const cvr_host *host;
    const cvr_image_service *image;
    char *text;
    uint64_t text_n, text_room;
    folder_item *items;
    uint64_t n, room;
    uint64_t *classes; /* where each class's name lies in `text`; byte order */
    uint64_t n_classes, classes_room;
    uint64_t unread;        /* pictures that were passed over, since no codec reads their format */
    char first_unread[512]; /* one of them */
    uint64_t outside;       /* pictures beside the class folders */
    char first_outside[512];
} folder_list;

void folder_list_free(folder_list *l);
/* 1 where `path` is a folder. */
int32_t folder_exists(const char *path);
/* The folders in `root`, each a class; names that begin with a dot are not. */
int32_t folder_list_classes(folder_list *l, const char *root, cvr_error *err);
/* Adds the pictures under root/CLASS, sorted by folder and then by name. A class without pictures is an error. A link
 * to nowhere with a picture's name is listed, so that whoever reads it is told; names that begin with a dot are not. */
int32_t folder_list_class(folder_list *l, const char *root, int64_t label, cvr_error *err);
/* Adds all pictures under `root`, sorted likewise, without a label: -1. */
int32_t folder_list_flat(folder_list *l, const char *root, cvr_error *err);
/* Says how many pictures were passed over, if any were. */
void folder_list_warn(const folder_list *l, const char *root);
/* Keeps, of every class, the part that a seeded draw gives to this split. */
void folder_list_split(folder_list *l, uint32_t split, double val_split, uint64_t seed);

#endif
