/* Device code as it is recorded: what any plugin may get wrong there is caught here, for the backends that take it. */
#ifndef HOST_RECORDER_H
#define HOST_RECORDER_H

#include <cvr/plugin/plugin.h>

/*
 * Calls `record` of the launch's payload (its `prepare` where the launch prepares) with a recorder in front of `inner`.
 * That one refuses what makes no sense for any device, and fills and copies beside what the launch touches. A `record`
 * that is refused something has failed, whatever it returns. `inner` gets checked requests, and an `err` that is never
 * NULL. A failure is CVR_ERR_PLUGIN or the kernel's own status, with the node in front of the message.
 * CVR_SERVICE_LAUNCHES is told whose code runs, so that a crash names it.
 */
int32_t host_record_code(const cvr_host *host, const cvr_launch *l, const cvr_recorder *inner, const char *backend,
                         cvr_error *err);

/* That a dispatch makes sense, and asks for no more than the device has; CVR_ERR_PLUGIN says what does not. Dispatches
 * that come through host_record_code have passed it. */
int32_t host_check_dispatch(const cvr_dispatch *d, const cvr_device_info *info, cvr_error *err);

/* Whether an address is in one of the ranges that the launch touches. */
int32_t host_touches(const cvr_launch *l, uint64_t address);

/*
 * For keys such as `cuda_check`, whose name messages begin with: parameters begin with addresses, and each of those has
 * to be in what the launch touches. The first word that is in no block of the device (`in_block`) begins the numbers.
 */
int32_t host_check_addresses(const char *key, const cvr_launch *l, const cvr_dispatch *d, const void *device,
                             int32_t (*in_block)(const void *device, uint64_t address), cvr_error *err);

#endif
