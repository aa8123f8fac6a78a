/* The cases of emu_test and emu_detect_test: families of layers, and how the backend `emu` runs each. */
#ifndef CVR_TEST_EMU_SHARE_H
#define CVR_TEST_EMU_SHARE_H

#include <stddef.h>
#include <stdint.h>

/* As backends/emu packs its settings. */
typedef struct emu_keys {
    int64_t order, subgroup;
} emu_keys;

typedef struct emu_share {
    emu_keys keys;
    const char *folder; /* as in agree_what */
    const char *families[8];
} emu_share;

extern const emu_share emu_shares[];
extern const size_t n_emu_shares;

#endif
