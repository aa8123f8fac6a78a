# cvr_add_device_kernels(TARGET DIALECT kernel...)
#
# Compiles kernels of the dialect (cvr/device/kernel.h, docs/add-a-kernel.md) into a target. NAME.k becomes the symbol
# device_code_NAME, a cvr_code with one entry. DIALECT says for whom:
#   host    functions for the backend `emu`; needs nothing but the C compiler
#   spirv   SPIR-V for Vulkan; needs glslangValidator
#   fatbin  machine code for CUDA; needs nvcc
# A kernel's folder is searched for what it includes.
function(cvr_add_device_kernels target dialect)
  foreach(kernel ${ARGN})
    get_filename_component(kernel ${kernel} ABSOLUTE)
    get_filename_component(name ${kernel} NAME_WE)
    get_filename_component(folder ${kernel} DIRECTORY)
    set(file ${CMAKE_CURRENT_BINARY_DIR}/${target}.dir/${name}.${dialect})
    if(dialect STREQUAL "host")
      file(CONFIGURE OUTPUT ${file}.c CONTENT "/* Made by cvr_add_device_kernels. */
#define KERNEL_NAME \"@name@\"
#define KERNEL_CODE device_code_@name@
#include \"@kernel@\"
#include \"cvr/device/entry.host.h\"
" @ONLY)
      target_sources(${target} PRIVATE ${file}.c)
      set_source_files_properties(${file}.c PROPERTIES OBJECT_DEPENDS ${kernel})
    else()
      message(FATAL_ERROR "cvr_add_device_kernels: no dialect ${dialect}; there are host, spirv and fatbin")
    endif()
  endforeach()
endfunction()
