/*
 * What a kernel that is compiled for the host sees of the backend `emu`, and how it is found: payload "emu.fn/1", whose
 * cvr_code.bytes are an array of cvr_emu_entry. For kernel.host.h and entry.host.h; nobody else has to know.
 */
#ifndef CVR_DEVICE_EMU_H
#define CVR_DEVICE_EMU_H

#include <cvr/plugin/device.h>

/* One group in progress. `thread` is the one that runs. */
typedef struct cvr_emu_machine {
    uint64_t struct_size;
    uint32_t thread, group;
    uint32_t subgroup, reserved;
    /* Waits until all threads of the group are at this place of the kernel's text. */
    void (*barrier)(struct cvr_emu_machine *m, uint32_t place);
    float (*shuffle_xor)(struct cvr_emu_machine *m, float v, uint32_t mask);
} cvr_emu_machine;

typedef struct cvr_emu_entry {
    uint64_t struct_size;
    const char *name;
    uint64_t params_size;
    uint32_t n_constants;
    uint32_t n_barriers; /* places in its text that have one */
    /* One thread, from its first statement to its last. */
    void (*run)(cvr_emu_machine *m, const void *params, const uint32_t *constants);
} cvr_emu_entry;

CVR_STATIC_ASSERT(sizeof(cvr_emu_machine) == 40, "cvr_emu_machine has padding");
CVR_STATIC_ASSERT(sizeof(cvr_emu_entry) == 40, "cvr_emu_entry has padding");

#endif
