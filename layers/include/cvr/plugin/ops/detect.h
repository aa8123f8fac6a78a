/*
 * Attributes of the ops that object detection is made of, version 1 (plugins "layer_detect" and, from roi_align on,
 * "layer_roi"). Tensors are f32 unless said otherwise. Semantics: torchvision.ops and torchvision.models.detection.
 *
 * N pictures; A rows a picture that something is chosen from or predicted for: anchors, proposals; M objects a picture
 * at most (data.max_boxes). A box is x1, y1, x2, y2 in pixels, x to the right, y downwards. `anchors` may be (A,4),
 * the same for every picture, or (N,A,4). `size` (N,2): height and width of each picture on its canvas.
 * An index (i32) names a row of another tensor's axis 1, -1: none. `count` (N) i32 tells how many rows of a result
 * are valid; they come first. A match (i32) is the object that a row stands for, or
 *     CVR_MATCH_BACKGROUND (-1): none; CVR_MATCH_BETWEEN (-2): neither an object nor background, it counts for nothing.
 * Rows past `count` are never read for a result. All ops have the same bits for any number of threads.
 *
 * grid_anchors    image (N,C,H,W), map (N,c,h,w) -> (h*w*S*R,4); cvr_grid_anchors_attrs (torchvision's AnchorGenerator)
 *     Only shapes are read. For ratios outer and sizes inner: w = size / sqrt(ratio), h = size * sqrt(ratio), the
 *     corners +-w/2, +-h/2 rounded half to even, moved by (x * (W / w_map), y * (H / h_map)), whole divisions.
 *     Order: y, x, anchor.
 * default_boxes   image, map -> (h*w*(2 + 2*R),4); cvr_default_boxes_attrs (DefaultBoxGenerator, SSD)
 *     Sides as shares of the picture: (s,s), (s',s') with s' = sqrt(s*s_next), then for each ratio a (s*sqrt(a),
 *     s/sqrt(a)) and its swap; clamped to 0..1 where `clip`. Centres ((x+.5)/fx, (y+.5)/fy) with f = side of the
 *     picture / step, or the map's side where step is 0. Times the picture's width and height.
 *
 * encode_boxes    boxes (N,A,4), anchors -> deltas (N,A,4); cvr_box_coder_attrs
 *     CVR_CODER_CENTER: dx = wx * (gx - ax) / aw, dw = ww * ln(gw / aw), likewise y and h: centres and sides
 *     CVR_CODER_CENTER_OPEN: the same; sides are decoded as large as they say (YOLOX)
 *     CVR_CODER_LTRB: (ax - x1) / aw, (ay - y1) / ah, (x2 - ax) / aw, (y2 - ay) / ah (FCOS); weights are not looked at
 * decode_boxes    deltas (N,A,4*K), anchors -> boxes (N,A,4*K); cvr_box_coder_attrs: the inverse, K boxes an anchor;
 *     dw and dh are clamped from above at ln(1000/16), but for CVR_CODER_CENTER_OPEN. Gradient for the deltas.
 * decode_boxes_backward  deltas, anchors, grad -> ddeltas; cvr_box_coder_attrs
 * clip_boxes      boxes (N,A,4*K), size (N,2) -> clamped to 0..width, 0..height. No gradient.
 * box_iou         a (N,A,4) or (A,4), b (N,M,4), [counts (N) i64] -> (N,A,M): intersection / union, NaN for 0 / 0. b
 *     may be padded where `counts` is given; the columns of padding are 0.
 *
 * match_boxes     anchors, boxes (N,M,4), counts (N) i64, [valid (N) i32] -> match (N,A) i32; cvr_match_attrs
 *     (torchvision's Matcher and SSDMatcher.) Each row takes the object of the largest IoU, the first of equal ones;
 *     below `low` it is background, below `high` between. low_quality: every row whose IoU with an object equals
 *     that object's largest gets its own best object back. each_best: then every object takes the row that is its best,
 *     a later object from an earlier one. Rows past `valid` are CVR_MATCH_BETWEEN.
 * match_points    anchors (A,4), boxes (N,M,4), counts (N) i64 -> match (N,A) i32; cvr_match_points_attrs (FCOS)
 *     s = x2 - x1 of the anchor, c its centre. Candidates are objects with max |c - centre| < radius * s, c strictly
 *     inside, and max(l,t,r,b) in (4s,8s): from 0 for the first level, without end for the last. Of these the one with
 *     the largest float(1e8 - area), the first of equal ones.
 * sim_ota         classes (N,A,K), objectness (N,A,1), deltas (N,A,4), anchors, boxes (N,M,4), labels (N,M) i64, counts
 *     (N) i64 -> match (N,A) i32, iou (N,A); cvr_sim_ota_attrs. The first two are logits.
 *     (Ge et al., "YOLOX", 2021.) An anchor surrounds the upper left corner of its cell, so the cell's centre is the
 *     anchor's lower right corner. A row may belong to an object whose centre is less than radius * (x2 - x1 of the
 *     anchor) from the cell's along x and along y; rows that may belong to some object are candidates. Of candidate i
 *     with the decoded box b_i and p = sqrt(sigmoid(classes) * sigmoid(objectness)), object o costs
 *         sum over classes of -ln(p where it is o's, else 1 - p) - iou_weight * ln(IoU(b_i, o) + 1e-8)
 *             + 1e6 where i may not belong to o
 *     with logarithms of p held at -100. An object takes its k cheapest candidates, the first of equal ones, k = the
 *     sum of its `candidates` largest IoUs cut to a whole number, at least 1; a row that several objects took is that
 *     one's which costs least of all. All other rows are background. iou: of the box and its object; 0 without. All in
 *     double. No gradient.
 * sample_rows     match (N,A) i32, seed () i64, step () i64 -> index (N,B) i32, count (N) i32; cvr_sample_rows_attrs
 *     (BalancedPositiveNegativeSampler.) min(positives, int(B * positive_fraction)) of the rows with an object and as
 *     much background as there is room for, in rising order of row. Where fewer than B are there, the rest of `index`
 *     repeats them from the first on, so that it always names rows (row 0 where there is none at all); `count` says how
 *     many are meant. CVR_DRAW_RANDOM: those with the smallest Philox numbers of (seed, key, step, picture, row), ties
 *     by row; CVR_DRAW_FIRST: the first rows.
 * gather_rows     x (N,P) or (N,P,K), with `shared` (P) or (P,K), any element type, index (N,B) i32 -> (N,B) or
 *     (N,B,K); cvr_gather_attrs. Zeros where the index is negative (a match of any kind without an object is); an index
 *     past P is an error. Gradient for x. x may be padded.
 * gather_rows_backward  grad (N,B) or (N,B,K), index -> dx; cvr_gather_rows_attrs
 * append_rows     a (N,P,K), count (N) i32, b (N,M,K), counts (N) i64 -> (N,P+M,K), count (N) i32; no attributes
 *     The rows that count of a, then those of b, then zeros. b may be padded. No gradient.
 * cut_match       match (N,A) i32, count (N) i32 -> (N,A) i32: CVR_MATCH_BETWEEN from row `count` on, so that rows that
 *     only fill a sample up count for no loss; no attributes
 * top_k           x (N,P) -> values (N,k), index (N,k) i32, count (N) i32; cvr_top_k_attrs
 *     The k largest, in falling order, equal ones by index, NaN last; k is at most P. With `above`, only those >
 *     threshold. Past `count` the index is -1 and the value 0.
 * nms             boxes (N,P,4), scores (N,P), [group (N,P) i32], [valid (N) i32] -> index (N,max_out) i32, count (N)
 *     i32; cvr_nms_attrs. Candidates have a score > score_threshold (>= with `inclusive`), both sides >= min_size, and
 *     stand before `valid`. In falling order of score, equal ones by row, each that is kept suppresses those of its
 *     group with IoU > iou_threshold; NaN does not suppress. The max_out best are kept, index -1 past them.
 *     Without `group`, and with n_groups > 0, a row's group is row % n_groups, and group 0 is left out where
 *     `background`; else all are one group. CVR_NMS_OFFSET: as torchvision does it for few boxes: every box is moved by
 *     group * (largest coordinate of the candidates + 1), in f32, and then all are one group; CVR_NMS_LOOP: group by
 *     group; CVR_NMS_AUTO: offset up to 1000 candidates with groups, else loop, as torchvision on a CPU.
 *
 * roi_align       rois (N,R,4), count (N) i32 or none, maps 1..6 (N,C,h,w) -> (N*R,C,P,Q); cvr_roi_align_attrs
 *     (He et al., "Mask R-CNN", 2017; MultiScaleRoIAlign.) The row of picture n, roi r is n * R + r; rows past `count`
 *     are 0. With several maps, finest first, a roi reads map
 *     k = floor(4 + log2(sqrt(area) / 224) + 1e-6) in f32, clamped to kmin..kmax, k - kmin, where kmin = -log2 of the
 *     first scale and kmax = -log2 of the last. Gradient for the maps, none for the rois.
 * roi_align_backward  grad (N*R,C,P,Q), rois, count or none -> dmap (N,C,h,w) of map `level`;
 *     cvr_roi_align_backward_attrs. Sums in a fixed order.
 * mask_targets    masks (N,M,H,W) u8, rois (N,R,4), match (N,R) i32 -> (N,R,S*S); cvr_mask_targets_attrs
 *     roi_align of the matched object's mask as f32: scale 1, S x S, sampling_ratio -1, not aligned; 0 without object.
 */
#ifndef CVR_PLUGIN_OPS_DETECT_H
#define CVR_PLUGIN_OPS_DETECT_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_MATCH_BACKGROUND (-1)
#define CVR_MATCH_BETWEEN (-2)

#define CVR_ANCHOR_MOST 16u
#define CVR_ROI_MOST_MAPS 6u
#define CVR_SIM_OTA_MOST 64

#define CVR_CODER_CENTER 0
#define CVR_CODER_LTRB 1
#define CVR_CODER_CENTER_OPEN 2
#define CVR_DRAW_RANDOM 0
#define CVR_DRAW_FIRST 1
#define CVR_NMS_AUTO 0
#define CVR_NMS_OFFSET 1
#define CVR_NMS_LOOP 2

typedef struct cvr_grid_anchors_attrs {
    int64_t n_sizes;
    double sizes[CVR_ANCHOR_MOST]; /* pixels */
    int64_t n_ratios;
    double ratios[CVR_ANCHOR_MOST]; /* height / width */
} cvr_grid_anchors_attrs;

typedef struct cvr_default_boxes_attrs {
    double scale, next_scale; /* s and s_next, shares of the picture */
    int64_t n_ratios;
    double ratios[CVR_ANCHOR_MOST];
    int64_t step; /* pixels; 0: the map decides */
    int64_t clip;
} cvr_default_boxes_attrs;

typedef struct cvr_box_coder_attrs {
    int64_t coder;     /* CVR_CODER_* */
    double weights[4]; /* of dx, dy, dw, dh */
} cvr_box_coder_attrs;

typedef struct cvr_match_attrs {
    double high, low;
    int64_t low_quality, each_best; /* 0 or 1 */
} cvr_match_attrs;

typedef struct cvr_match_points_attrs {
    double radius;
    int64_t n_levels;
    int64_t level_ends[8]; /* anchors before the end of each level; the last is A */
} cvr_match_points_attrs;

typedef struct cvr_sim_ota_attrs {
    int64_t coder;      /* CVR_CODER_* of the deltas */
    double weights[4];  /* of dx, dy, dw, dh */
    double radius;      /* sides of the anchor */
    double iou_weight;  /* of -ln(IoU) in what an assignment costs */
    int64_t candidates; /* at most CVR_SIM_OTA_MOST */
} cvr_sim_ota_attrs;

typedef struct cvr_sample_rows_attrs {
    int64_t rows; /* B */
    double positive_fraction;
    int64_t draw; /* CVR_DRAW_* */
    int64_t key;  /* cvr_hash of the layer's full name */
} cvr_sample_rows_attrs;

typedef struct cvr_gather_attrs {
    int64_t shared; /* 1: x has no axis for the pictures */
} cvr_gather_attrs;

typedef struct cvr_gather_rows_attrs {
    int64_t rows;   /* P */
    int64_t shared; /* 1: x had no axis for the pictures */
} cvr_gather_rows_attrs;

typedef struct cvr_top_k_attrs {
    int64_t k;
    int64_t above; /* 0 or 1 */
    double threshold;
} cvr_top_k_attrs;

typedef struct cvr_nms_attrs {
    double iou_threshold, score_threshold;
    int64_t inclusive; /* 0 or 1 */
    double min_size;
    int64_t max_out;
    int64_t n_groups, background;
    int64_t method; /* CVR_NMS_* */
} cvr_nms_attrs;

typedef struct cvr_roi_align_attrs {
    int64_t output_size[2]; /* P, Q */
    int64_t sampling_ratio; /* samples a bin and axis; < 1: ceil(side of the roi / P) */
    int64_t aligned;        /* 1: half a pixel less */
    int64_t n_scales;
    double scales[CVR_ROI_MOST_MAPS]; /* of each map to the picture: 0.25, 0.125 */
} cvr_roi_align_attrs;

typedef struct cvr_roi_align_backward_attrs {
    cvr_roi_align_attrs forward;
    int64_t level;
    int64_t size[2]; /* h, w of the map */
} cvr_roi_align_backward_attrs;

typedef struct cvr_mask_targets_attrs {
    int64_t size; /* S */
} cvr_mask_targets_attrs;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_grid_anchors_attrs) == 272, "cvr_grid_anchors_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_default_boxes_attrs) == 168, "cvr_default_boxes_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_box_coder_attrs) == 40, "cvr_box_coder_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_match_attrs) == 32, "cvr_match_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_match_points_attrs) == 80, "cvr_match_points_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_sim_ota_attrs) == 64, "cvr_sim_ota_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_sample_rows_attrs) == 32, "cvr_sample_rows_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_gather_attrs) == 8, "cvr_gather_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_gather_rows_attrs) == 16, "cvr_gather_rows_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_top_k_attrs) == 24, "cvr_top_k_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_nms_attrs) == 64, "cvr_nms_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_roi_align_attrs) == 88, "cvr_roi_align_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_roi_align_backward_attrs) == 112, "cvr_roi_align_backward_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_mask_targets_attrs) == 8, "cvr_mask_targets_attrs has padding");

#endif
