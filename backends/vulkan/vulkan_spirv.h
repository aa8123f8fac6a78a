/* What is looked at in a module of SPIR-V before a driver gets it: a driver may crash on what is not one. */
#ifndef VULKAN_SPIRV_H
#define VULKAN_SPIRV_H

#include <cvr/plugin/device.h>

/*
 * That the module has a compute entry of this name, whose groups have `threads` threads where it says so with numbers,
 * and needs no capability that the words in `features` (cvr_device_info) do not give. The message says what is wrong.
 */
int32_t vulkan_spirv_check(const cvr_code *code, const char *entry, const uint32_t threads[3], const char *features,
                           cvr_error *err);

#endif
