/*
 * Cases of pictures with objects in a golden file: see tests/parity/augment_boxes.py.
 */
#ifndef CVR_TEST_SCENE_CASE_H
#define CVR_TEST_SCENE_CASE_H

#include "golden_case.h"

/* Every case of the file; there are at least so many. */
void scene_cases(const char *file, uint32_t least);

#endif
