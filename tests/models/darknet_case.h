/* What the tests of Darknet's networks share: those of tests/golden/darknet, with weights, as programs. A failure is
 * the test's. */
#ifndef CVR_TEST_DARKNET_CASE_H
#define CVR_TEST_DARKNET_CASE_H

#include "../apps/session/session_parts.h"
#include "support/detector_check.h"
#include "support/scratch.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#define DARKNET_MOST_NUMBERS 8192

typedef struct darknet_net {
    detector_net net;
    cvr_device *device;
    cvr_program *program;
    cvr_arena *arena;
} darknet_net;

void darknet_good(int32_t status);
/* The path of a file; lives until the fourth call after it. */
const char *darknet_golden(const char *name);
void darknet_open(detector_subject *s);
void darknet_close(detector_subject *s);
/* NAME.cfg for pictures of `side` x `side`, on the CPU. */
void darknet_net_open(const detector_subject *s, const char *name, int64_t side, darknet_net *n);
void darknet_net_close(darknet_net *n);
int32_t darknet_load(const detector_subject *s, darknet_net *n, const char *path);
void darknet_plan_net(const detector_subject *s, darknet_net *n);
/* Runs it with a picture of tests/parity/darknet.py. */
void darknet_run(darknet_net *n, int number, int side);
/* Numbers of a result; returns how many. */
int64_t darknet_result(const darknet_net *n, const char *name, double *out);
size_t darknet_read_file(const char *path, uint8_t *bytes, size_t most);
void darknet_write_file(const char *path, const uint8_t *bytes, size_t n);

#endif
