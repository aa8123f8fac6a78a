/* Heads of attention (emit_linear.c). */
#ifndef PJRT_EMIT_HEADS_H
#define PJRT_EMIT_HEADS_H

#include "../hlo.h"

/* (N,L,heads*E) as (N,heads,L,E) */
hlo_value heads_apart(hlo *h, hlo_value x, int64_t heads);
/* (N,heads,L,E) as (N,L,heads*E) */
hlo_value heads_together(hlo *h, hlo_value x);

#endif
