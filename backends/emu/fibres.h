/*
 * Fibres: functions with stacks of their own, of which one runs at a time and says when another may. All are in the
 * thread that created them. They call one function over and over, so that a stack is set up once.
 */
#ifndef EMU_FIBRES_H
#define EMU_FIBRES_H

#include <cvr/plugin/host.h>

typedef struct fibres fibres;

/* `body(ctx, i)` is what fibre i does between two starts. Between stacks lies a page that nobody may touch. */
typedef void (*fibre_body)(void *ctx, uint32_t i);
int32_t fibres_create(fibres **out, const cvr_host *host, uint32_t n, fibre_body body, void *ctx, cvr_error *err);
void fibres_destroy(fibres **f);

/* Runs fibre i from where it waits, or its body from the start, until it waits or its body returns. True: it returned.
 */
int fibre_resume(fibres *f, uint32_t i);
/* Called in a fibre: back to whoever resumed it. */
void fibre_wait(fibres *f);

#endif
