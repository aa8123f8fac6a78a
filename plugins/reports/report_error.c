/*
 * What the reporters say when the operating system refuses.
 */
#include "report_file.h"
#include <errno.h>

int32_t report_fail_at(cvr_error *err, const char *path, int32_t status) {
    return cvr_fail_at(err, path, 0, status);
}

int32_t report_io_error(const char *path, const char *doing, int error, cvr_error *err) {
    const int full = error == ENOSPC || error == EDQUOT || error == EFBIG;
    char why[128];
    if (strerror_r(error, why, sizeof why) != 0) (void)snprintf(why, sizeof why, "error %d", error);
    const int32_t status = cvr_fail(err, CVR_ERR_IO, "cannot %s it: %s; %s and resume with cvrun train --resume", doing,
                                    why, full ? "free space" : "see to its permissions and its disk");
    return report_fail_at(err, path, status);
}
