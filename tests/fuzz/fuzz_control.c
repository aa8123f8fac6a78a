/* Fuzz target: apps/session/control_files.c, the files by which a run in progress is told what to do. */
#include "../../apps/session/control.h"
#include "fuzz.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    char *path = strdup(fuzz_file("control.ask", bytes, n)), *lines, *save = NULL;
    fuzz_check(path != NULL, "out of memory");
    const control_paths p = {path, path};
    cvr_error err = CVR_ERROR_INIT;
    uint64_t id = 0;
    const int32_t status = control_take(&p, &id, &lines, &err);
    fuzz_check_error(status, &err);
    fuzz_check(status == CVR_OK || !lines, "orders beside an error");
    fuzz_check(access(path, F_OK) != 0, "orders that were read stay");
    for (char *line = lines ? strtok_r(lines, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
        control_order o;
        cvr_error_init(&err);
        const int32_t read = control_parse(line, &o, &err);
        fuzz_check_line(read, &err); /* it repeats words, which are cleaned where they are printed */
        if (read != CVR_OK) continue;
        fuzz_check(o.kind <= CONTROL_STOP, "an order of no kind");
        fuzz_check(o.kind != CONTROL_LR || (isfinite(o.lr) && o.lr > 0), "a learning rate of %g", o.lr);
        fuzz_check(o.kind != CONTROL_BACKEND || *o.place.backend, "a backend without a name");
        fuzz_check(o.kind != CONTROL_BACKEND || !*o.place.device == !strchr(line, '/'), "a device that nobody named");
        fuzz_check(!strpbrk(o.place.backend, "/\r") && !strchr(o.place.device, '\r'), "a place of several lines");
    }
    cvr_free(lines);
    free(path);
    return 0;
}
