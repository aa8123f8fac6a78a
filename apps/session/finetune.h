/* Training of a network that a compressor made of another (cvr_finetune): the network that is trained is in f32; the
 * compressed one is made of it after each epoch. */
#ifndef CVR_SESSION_FINETUNE_H
#define CVR_SESSION_FINETUNE_H

#include "compress.h"

/* Of a session that opens: the method that the run folder names trains on. */
int32_t finetune_open(cvr_session *s, const cvr_compressor_desc *method, cvr_error *err);

/* While it lasts, the session's network is the compressed one. */
typedef struct conversion {
    compressing made;
    run_network trained;
    bool entered;
} conversion;
/* To be left, whatever comes of it. */
int32_t finetune_enter(cvr_session *s, conversion *c, cvr_error *err);
void finetune_leave(cvr_session *s, conversion *c);

#endif
