/*
 * The data set "scenes": items of Fashion-MNIST's pictures (Xiao, Rasul, Vollgraf 2017) on a textured ground. Where
 * every item lies is known to the pixel, so that detection and segmentation can be tried and tested without downloads.
 *
 * A scene is made in two steps, each a pure function of (seed, split, index): scene_place says which items lie where
 * and which of their pixels are seen, and the painters make pixels of that. All that follows the first draws is integer
 * arithmetic, so that scenes have the same bits on every machine.
 */
#ifndef CVR_SCENES_H
#define CVR_SCENES_H

#include <cvr/plugin/plugin.h>

#define PICTURE 28 /* pixels of a side of an item's picture */
#define PICTURE_PIXELS (28 * 28)
#define CUT (PICTURE + 2) /* the same with a border of one empty pixel */
#define MOST_ITEMS 64     /* of a scene */

/* Which fields samples carry; the order is that of the choices of data.fields. */
#define FIELDS_ALL 0
#define FIELDS_BOXES 1
#define FIELDS_INSTANCES 2
#define FIELDS_MASK 3
#define FIELDS_LABEL 4

/* Laid out as the schema in scenes_dataset.c says. */
typedef struct scene_attrs {
    int64_t objects[2];   /* items of a scene: fewest, most */
    double item_scale[2]; /* of 28 pixels: least, most */
    double overlap;       /* most IoU of two boxes */
    double rotate;        /* most degrees, either way */
    int64_t flip, colour; /* 0 or 1 */
    double texture;       /* contrast of the ground, 0..1 */
    double noise;         /* standard deviation, of 0..1 */
    int64_t size[2];      /* scenes of the two splits */
    int64_t fields;       /* FIELDS_* */
} scene_attrs;

/* What the streams of random numbers of a scene are for. They are apart, so that another ground leaves the items where
 * they are. */
#define STREAM_PLACE 1u
#define STREAM_GROUND 2u
#define STREAM_NOISE 3u

typedef struct scenes {
    const cvr_host *host;
    scene_attrs a;
    uint64_t key; /* of the seed and the split */
    uint32_t split;
    uint32_t reserved;
    int64_t side, channels;
    uint8_t *pictures; /* (n_pictures, 28, 28) */
    uint8_t *labels;   /* (n_pictures) */
    int64_t n_pictures;
} scenes;

/* An item's picture without what was around it. */
typedef struct cutout {
    uint8_t inside[CUT * CUT]; /* 1: the item's own */
    uint8_t value[CUT * CUT];
} cutout;

typedef struct scene_item {
    int64_t picture;        /* which of the pictures */
    int32_t matrix[4];      /* from pixels of the patch to those of the picture, both from their centres; 16.16 */
    int32_t scale;          /* 24.8 */
    int32_t size;           /* side of the square patch that it is drawn in */
    int32_t left, top;      /* of the patch in the scene; its empty edges may lie outside */
    int32_t x1, y1, x2, y2; /* box of the pixels that are seen; x2 and y2 are the first outside */
    int32_t seen;           /* how many they are */
    uint8_t label;
    uint8_t tint[3];
} scene_item;

typedef struct scene {
    int32_t n;
    scene_item items[MOST_ITEMS]; /* nearest first: an item hides parts of those after it */
    uint8_t *owner;               /* (side, side): 1 + the item that is seen there, 0: ground */
} scene;

/* Bytes of memory that scene_place needs at `scratch`. */
uint64_t scene_scratch(const scenes *d);
/* Which items lie where in scene `index`; `owner` lies in `scratch`. */
void scene_place(const scenes *d, int64_t index, uint8_t *scratch, scene *out);

void scene_cut_out(const uint8_t *picture, cutout *c);
/* The pixels of the item's patch that are its own: (size, size), 0 or 1. */
void scene_item_mask(const scene_item *item, const cutout *c, uint8_t *mask);
/* Paints the item over `rgb` (side, side, 3). */
void scene_item_paint(const scene_item *item, const cutout *c, uint8_t *rgb, int64_t side);

/* Bytes of memory that scene_ground needs at `scratch`, 8-byte aligned. */
uint64_t scene_ground_scratch(const scenes *d);
/* Paints the ground of scene `index`, (side, side, 3). */
void scene_ground(const scenes *d, int64_t index, void *scratch, uint8_t *rgb);
/* What a camera would add. */
void scene_noise(const scenes *d, int64_t index, uint8_t *rgb);

/* RGB of a colour: hue in 0..1535, saturation and value in 0..255. */
void scene_colour(int32_t hue, int32_t saturation, int32_t value, uint8_t rgb[3]);

static inline uint64_t scene_key(const scenes *d, uint32_t stream) {
    return cvr_rng_mix(d->key, stream);
}

/* Uniform integer of low..high, both included. */
static inline int32_t scene_draw(cvr_rng *rng, int32_t low, int32_t high) {
    return low + (int32_t)cvr_rng_below(rng, (uint64_t)(high - low) + 1);
}

static inline int32_t scene_clamp(int32_t v, int32_t low, int32_t high) {
    return v < low ? low : v > high ? high : v;
}

#endif
