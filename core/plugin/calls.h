/* What the files of core use of calls.c beside cvr/plugins.h. */
#ifndef CVR_CALLS_H
#define CVR_CALLS_H

#include <cvr/plugins.h>

/* The calling thread's call, for a thread that works for it: adopt() makes it that thread's, until drop(). */
const struct call *calls_current(void);
void calls_adopt(const struct call *c);
void calls_drop(const struct call *c);

/* Registries whose descriptors have names; they change under the lock only. */
void calls_add_plugins(cvr_plugins *p);
void calls_remove_plugins(cvr_plugins *p);
void calls_lock(void);
void calls_unlock(void);

extern const cvr_launch_service calls_launches;

#endif
