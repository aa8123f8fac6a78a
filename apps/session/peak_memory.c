/* What the process has used at most, as Linux tells it in /proc. */
#include <cvr/session.h>
#include <stdlib.h>

uint64_t cvr_peak_memory(void) {
    char line[256];
    uint64_t kib = 0;
    FILE *f = fopen("/proc/self/status", "re");
    if (!f) return 0;
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, "VmHWM:", 6) == 0) kib = strtoull(line + 6, NULL, 10);
    }
    fclose(f);
    return kib * 1024;
}
