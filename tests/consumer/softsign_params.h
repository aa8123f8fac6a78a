/* What the kernel of acme.softsign is given: one declaration for its host function and for the device. */
#include "cvr/device/params.h"

PARAMS(softsign_params) {
    u64 x, dy, y; /* dy 0: forward */
    u32 n, reserved;
};
