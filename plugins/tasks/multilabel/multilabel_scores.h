/* The scores of a whole split, kept for ranking: how good a class's ranking is depends on all of its pictures. */
#ifndef CVR_MULTILABEL_SCORES_H
#define CVR_MULTILABEL_SCORES_H

#include <cvr/plugin/plugin.h>

/* What is known of one class. */
typedef struct multilabel_class {
    uint64_t positives, predicted, right;
    double ap; /* average precision; NaN without positives */
} multilabel_class;

typedef struct multilabel_scores {
    const cvr_host *host;
    int64_t n_classes;
    float threshold;        /* a logit from here on says that the class is there */
    uint64_t n, room;       /* pictures; pictures that fit */
    float *logits;          /* (n, n_classes) */
    uint8_t *truths;        /* likewise: 1 where the class is there */
    uint64_t *order;        /* (n), for ranking one class */
    uint64_t *ranked;       /* pictures that the aps below were computed of */
    multilabel_class *each; /* (n_classes) */
} multilabel_scores;

/* threshold: a probability in 0..1 */
int32_t multilabel_scores_open(const cvr_host *host, int64_t n_classes, double threshold, multilabel_scores **out,
                               cvr_error *err);
/* n pictures more. logits, shares: (n, n_classes) f32; a class is there where its share is over a half. */
int32_t multilabel_scores_add(multilabel_scores *s, const float *logits, const float *shares, int64_t n,
                              cvr_error *err);
/* Counts and average precisions of all classes, of the pictures so far. */
const multilabel_class *multilabel_scores_rank(const multilabel_scores *s);
void multilabel_scores_close(multilabel_scores *s);

/* The logit of a probability: log(p / (1 - p)). */
double multilabel_logit(double p);

#endif
