/* What the tests of detectors that start from a classifier's weights share. */
#ifndef CVR_TEST_DETECTOR_WEIGHTS_H
#define CVR_TEST_DETECTOR_WEIGHTS_H

#include "support/detector_check.h"

/* A classifier's file fills the features of a detector; what it has no place for is told, unless a new head may be
 * made. names: of a parameter in the file and in the detector, which must be alike; the last are NULL. */
void detector_check_file(const detector_subject *s, const detector_recipe *classifier, const detector_recipe *detector,
                         const char *const names[][2]);

#endif
