/* See left_out.h. */
#include "left_out.h"
#include "layer_case.h"
#include <stdlib.h>

void leave_out(const char *what, const char *missing) {
    const char *path = getenv("CVR_TEST_LEFT_OUT");
    fprintf(stderr, "left out: %s, since this machine lacks %s\n", what, missing);
    FILE *list = path ? fopen(path, "a") : NULL;
    if (!list) return;
    fprintf(list, "%s (%s)\n", what, missing);
    (void)fclose(list);
}

bool left_out(const char *pack) {
    char missing[64];
    if (machine_has_pack(pack, missing, sizeof missing)) return false;
    if (*missing)
        leave_out(pack, missing);
    else
        fprintf(stderr, "left out: %s, which this build leaves out\n", pack); /* another build of the run has it */
    return true;
}
