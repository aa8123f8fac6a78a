/* Device code that is recorded by backends which keep it in the host's memory: what any plugin may get wrong is caught
 * here. */
#ifndef HOST_RECORDER_H
#define HOST_RECORDER_H

#include <cvr/plugin/plugin.h>

/*
 * Calls `record` of the launch's payload (its `prepare` where the launch prepares) with a recorder in front of `inner`.
 * That one refuses what makes no sense for any device, and fills and copies beside what the launch touches. A `record`
 * that is refused something has failed, whatever it returns. `inner` gets checked requests, and an `err` that is never
 * NULL. A failure is CVR_ERR_PLUGIN or the kernel's own status, with the node in front of the message.
 */
int32_t host_record_code(const cvr_launch *l, const cvr_recorder *inner, const char *backend, cvr_error *err);

#endif
