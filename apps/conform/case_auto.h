/* Random cases of an op or a layer of which nothing is known but its schema: most will be refused by its shape rule. */
#ifndef CVR_CASE_AUTO_H
#define CVR_CASE_AUTO_H

#include <cvr/config.h>
#include <cvr/plugin/rng.h>

typedef struct case_subject {
    const char *prefix, *name; /* "op:" or "" */
    cvr_schema schema;
    uint32_t min_inputs, max_inputs;
    uint64_t optional; /* bit i: input i may be absent */
    bool positive;     /* numbers of inputs lie in 0..1; else they are normal */
    bool whole;        /* inputs may be whole numbers */
    bool alike;        /* all inputs have one shape */
} case_subject;

/* Writes one as a line of a file of cases (draw.h). False: it does not fit, or there is no value for a setting. */
bool case_auto(const case_subject *s, cvr_rng *rng, char *line, size_t size);

#endif
