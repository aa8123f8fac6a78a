/*
 * Pictures and the masks that go with them, by their files' names.
 */
#ifndef CVR_MASK_LIST_H
#define CVR_MASK_LIST_H

#include <cvr/plugin/plugin.h>

/* Where the two paths lie in the list's text. The mask's file need not be there: whoever reads it is told. */
typedef struct mask_item {
    uint64_t picture, mask;
} mask_item;

typedef struct mask_list {
    const cvr_host *host;
    char *text;
    uint64_t text_n, text_room;
    mask_item *items;
    uint64_t n, room;
} mask_list;

void mask_list_free(mask_list *l);
int32_t mask_list_add(mask_list *l, const char *picture, const char *mask, cvr_error *err);

/* Two trees of files: pictures STEM IMAGE_SUFFIX .jpg and masks STEM MASK_SUFFIX .png, in folders of the same names,
 * whatever the endings. Files without the suffix are something else; where both are in one folder and IMAGE_SUFFIX is
 * empty, what ends in MASK_SUFFIX is a mask. */
typedef struct mask_trees {
    const char *images, *masks;
    const char *image_suffix, *mask_suffix;
    const char *suffix_key; /* how a user sets mask_suffix, for messages; "": not at all */
} mask_trees;
/* `warns`: files that are left out are told. */
int32_t mask_list_trees(mask_list *l, const cvr_image_service *image, const mask_trees *trees, int32_t warns,
                        cvr_error *err);

/* Keeps the part that a seeded draw gives to this split. */
void mask_list_split(mask_list *l, uint32_t split, double val_split, uint64_t seed);

static inline const char *mask_list_picture(const mask_list *l, int64_t i) {
    return l->text + l->items[i].picture;
}
static inline const char *mask_list_mask(const mask_list *l, int64_t i) {
    return l->text + l->items[i].mask;
}

#endif
