/*
 * Behind a kernel that is compiled for the host: KERNEL_CODE, a cvr_code with the one entry KERNEL_NAME, for the
 * backend `emu`.
 */
static void kernel_run(cvr_emu_machine *m, const void *params, const uint32_t *numbers) {
    kernel_params p;
    constants c;
    memcpy(&p, params, sizeof p);
    memcpy(&c, numbers, sizeof c);
    cvr_emu = m;
    kernel(p, c);
}

static const cvr_emu_entry kernel_entry = {.struct_size = sizeof kernel_entry,
                                           .name = KERNEL_NAME,
                                           .params_size = sizeof(kernel_params),
                                           .n_constants = CONSTANTS,
                                           .n_barriers = __COUNTER__,
                                           .run = kernel_run};

extern const cvr_code KERNEL_CODE;
const cvr_code KERNEL_CODE = {sizeof KERNEL_CODE, &kernel_entry, sizeof kernel_entry};
