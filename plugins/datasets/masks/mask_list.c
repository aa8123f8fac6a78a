/*
 * Finding the mask of each picture. The key of both is the path below its folder, without suffix and ending.
 */
#include "mask_list.h"
#include "../dataset_picture.h"
#include "../folder/folder_list.h"
#include "../name_table.h"
#include "../split_draw.h"

#define MOST_PATH 4096

void mask_list_free(mask_list *l) {
    if (l->text) l->host->free(l->host, l->text);
    if (l->items) l->host->free(l->host, l->items);
    *l = (mask_list){.host = l->host};
}

static int32_t out_of_memory(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the list of pictures");
}

static int32_t add_text(mask_list *l, const char *s, uint64_t *at, cvr_error *err) {
    const uint64_t n = strlen(s) + 1;
    char *const text = dataset_grow(l->host, l->text, l->text_n, n, &l->text_room, 1);
    if (!text) return out_of_memory(err);
    l->text = text;
    *at = l->text_n;
    memcpy(text + l->text_n, s, n);
    l->text_n += n;
    return CVR_OK;
}

int32_t mask_list_add(mask_list *l, const char *picture, const char *mask, cvr_error *err) {
    mask_item item;
    mask_item *const items = dataset_grow(l->host, l->items, l->n, 1, &l->room, sizeof *items);
    if (!items) return out_of_memory(err);
    l->items = items;
    CVR_TRY(add_text(l, picture, &item.picture, err));
    CVR_TRY(add_text(l, mask, &item.mask, err));
    items[l->n++] = item;
    return CVR_OK;
}

/* One listing of files, and what is known of their names. */
typedef struct listing {
    folder_list files;
    name_table keys; /* key i is that of file of[i] */
    const char *root, *suffix;
    const char *other; /* what names end in that are not of this listing, although in its folder; "": there are none */
    uint64_t *of, of_room;
} listing;

static void listing_free(listing *l) {
    if (l->of) l->files.host->free(l->files.host, l->of);
    name_table_free(&l->keys);
    folder_list_free(&l->files);
}

static const char *path_at(const listing *l, uint64_t i) {
    return l->files.text + l->files.items[i].path;
}

static int32_t ends_in(const char *s, const char *suffix) {
    const size_t length = strlen(s), n = strlen(suffix);
    return length >= n && strcmp(s + length - n, suffix) == 0;
}

/* The file's key, or 0 where its name does not end in the suffix. */
static int32_t key_at(const listing *l, uint64_t i, char key[MOST_PATH]) {
    const char *const below = path_at(l, i) + strlen(l->root) + 1;
    (void)snprintf(key, MOST_PATH, "%s", below);
    char *const dot = strrchr(key, '.');
    if (dot) *dot = '\0';
    if (!ends_in(key, l->suffix) || (*l->other && ends_in(key, l->other))) return 0;
    key[strlen(key) - strlen(l->suffix)] = '\0';
    return 1;
}

static int32_t fail_twins(const listing *l, uint64_t i, uint64_t k, cvr_error *err) {
    const int32_t status =
        cvr_fail(err, CVR_ERR_FORMAT, "another file has this name but for its ending, %.400s; remove one of the two",
                 path_at(l, k));
    return cvr_fail_at(err, path_at(l, i), 0, status);
}

static int32_t listing_make(listing *l, cvr_error *err) {
    char key[MOST_PATH];
    CVR_TRY(folder_list_flat(&l->files, l->root, err));
    for (uint64_t i = 0; i < l->files.n; i++) {
        int64_t number;
        if (!key_at(l, i, key)) continue;
        const uint64_t next = l->keys.n;
        uint64_t *const of = dataset_grow(l->files.host, l->of, next, 1, &l->of_room, sizeof *of);
        if (!of) return out_of_memory(err);
        l->of = of;
        CVR_TRY(name_table_put(&l->keys, key, &number, err));
        if (number != (int64_t)next) return fail_twins(l, i, l->of[number], err);
        l->of[next] = i;
    }
    return CVR_OK;
}

/* A mask whose name begins as the first picture's does tells the suffix; "" where there is none. */
static const char *guess_suffix(const listing *pictures, const listing *masks) {
    const char *const key = name_table_get(&pictures->keys, 0);
    const size_t n = strlen(key);
    for (int64_t i = 0; i < (int64_t)masks->keys.n; i++) {
        const char *const name = name_table_get(&masks->keys, i);
        if (strncmp(name, key, n) == 0 && name[n]) return name + n;
    }
    return "";
}

/* Not one picture has a mask: the names follow another rule. */
static int32_t fail_strangers(const mask_trees *t, const listing *pictures, const listing *masks, cvr_error *err) {
    const char *const key = name_table_get(&pictures->keys, 0), *const suffix = guess_suffix(pictures, masks);
    int32_t status;
    if (*suffix && *t->suffix_key && !*t->mask_suffix)
        status = cvr_fail(err, CVR_ERR_USAGE, "no picture has a mask here by its name; set %s = %.100s", t->suffix_key,
                          suffix);
    else
        status = cvr_fail(err, CVR_ERR_USAGE,
                          "no picture has a mask here by its name; the mask of %.200s%s is to be called %.200s%s, with "
                          ".png or another ending",
                          key, t->image_suffix, key, t->mask_suffix);
    return cvr_fail_at(err, t->masks, 0, status);
}

/* A mask that no picture goes with is not used: perhaps the pictures are missing. */
static void warn_unused(const cvr_host *host, const listing *masks, uint64_t used) {
    char line[1200];
    if (used == masks->keys.n) return;
    (void)snprintf(line, sizeof line, "%.1000s: %llu of %llu masks go with no picture and are left out", masks->root,
                   (unsigned long long)(masks->keys.n - used), (unsigned long long)masks->keys.n);
    host->log(host, CVR_LOG_WARNING, line);
}

/* Where the picture's mask is, or would be. */
static int32_t mask_path(const mask_trees *t, const listing *masks, const char *key, char path[MOST_PATH],
                         uint64_t *found, cvr_error *err) {
    const int64_t number = name_table_find(&masks->keys, key);
    if (number >= 0) {
        ++*found;
        return dataset_path(path, MOST_PATH, "", path_at(masks, masks->of[number]), err);
    }
    const int n = snprintf(path, MOST_PATH, "%s/%s%s.png", t->masks, key, t->mask_suffix);
    return n >= 0 && n < MOST_PATH ? CVR_OK
                                   : cvr_fail(err, CVR_ERR_INVALID, "a path of over 4095 bytes; move the data");
}

static int32_t pair(mask_list *l, const mask_trees *t, const listing *pictures, const listing *masks, uint64_t *found,
                    cvr_error *err) {
    char path[MOST_PATH];
    for (uint64_t i = 0; i < pictures->keys.n; i++) {
        CVR_TRY(mask_path(t, masks, name_table_get(&pictures->keys, (int64_t)i), path, found, err));
        CVR_TRY(mask_list_add(l, path_at(pictures, pictures->of[i]), path, err));
    }
    if (l->n == 0)
        return cvr_fail_at(err, t->images, 0,
                           cvr_fail(err, CVR_ERR_USAGE, "no picture here is called ...%s", t->image_suffix));
    return *found ? CVR_OK : fail_strangers(t, pictures, masks, err);
}

int32_t mask_list_trees(mask_list *l, const cvr_image_service *image, const mask_trees *t, int32_t warns,
                        cvr_error *err) {
    const int32_t together = strcmp(t->images, t->masks) == 0 && !*t->image_suffix;
    listing pictures = {.files = {.host = l->host, .image = image},
                        .keys = {.host = l->host},
                        .root = t->images,
                        .suffix = t->image_suffix,
                        .other = together ? t->mask_suffix : ""},
            masks = {.files = {.host = l->host, .image = image},
                     .keys = {.host = l->host},
                     .root = t->masks,
                     .suffix = t->mask_suffix,
                     .other = ""};
    uint64_t found = 0;
    int32_t status;
    CVR_TRY_OUT(listing_make(&pictures, err));
    CVR_TRY_OUT(listing_make(&masks, err));
    CVR_TRY_OUT(pair(l, t, &pictures, &masks, &found, err));
    if (warns) {
        folder_list_warn(&pictures.files, t->images);
        warn_unused(l->host, &masks, found);
    }
out:
    listing_free(&pictures);
    listing_free(&masks);
    return status;
}

void mask_list_split(mask_list *l, uint32_t split, double val_split, uint64_t seed) {
    split_draw draw;
    uint64_t kept = 0;
    split_draw_start(&draw, l->n, val_split, seed, "masks");
    for (uint64_t i = 0; i < l->n; i++)
        if (split_draw_next(&draw) == split) l->items[kept++] = l->items[i];
    l->n = kept;
}
