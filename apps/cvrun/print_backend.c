/* What computed, for people. */
#include "cvrun.h"

void print_backend(const cvr_session_info *i) {
    print_text("backend %s: %s; %s\n", i->backend, i->device, i->precision);
}
