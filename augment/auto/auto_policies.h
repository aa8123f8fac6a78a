/*
 * The tables of auto_augment.
 */
#ifndef CVR_AUGMENT_AUTO_POLICIES_H
#define CVR_AUGMENT_AUTO_POLICIES_H

#include <stdint.h>

#define AUTO_POLICIES 3 /* imagenet, cifar10, svhn */
#define AUTO_PAIRS 25

/* An op of auto_space_auto, the tenths of its probability, and the bin of its magnitude of ten. */
typedef struct auto_try {
    int32_t op, tenths, bin;
} auto_try;

typedef struct auto_pair {
    auto_try tries[2];
} auto_pair;

extern const auto_pair auto_policies[AUTO_POLICIES][AUTO_PAIRS];

#endif
