# cvr_add_device_kernels(TARGET DIALECT kernel...)
#
# Compiles kernels of the dialect (cvr/device/kernel.h, docs/add-a-kernel.md) into a target. NAME.k becomes the symbol
# device_code_NAME, a cvr_code with the entry NAME. DIALECT says for whom:
#   host    functions for the backend `emu`; needs nothing but the C compiler
#   spirv   SPIR-V for Vulkan 1.3; needs CVR_GLSLANG
#   fatbin  machine code for CUDA, for each of CVR_CUDA_ARCHS, and PTX of the last; needs CVR_NVCC. What it takes of registers is in
#           TARGET.kernels/NAME.fatbin.txt of the build's folder
# Files that a kernel includes are looked for in its own folder and in cvr/device. A target may have several dialects only as several
# targets, since the symbols are the same.
find_program(CVR_GLSLANG glslangValidator DOC "compiles device kernels for Vulkan (Debian: glslang-tools)")
find_program(CVR_SPIRV_VAL spirv-val DOC "checks what CVR_GLSLANG made (Debian: spirv-tools)")
find_program(CVR_NVCC nvcc HINTS /usr/local/cuda/bin DOC "compiles device kernels for CUDA")
set(CVR_CUDA_ARCHS "75;80;86;89;90;100;120" CACHE STRING "what device kernels for CUDA are compiled for: 90 is sm_90")
mark_as_advanced(CVR_GLSLANG CVR_SPIRV_VAL CVR_NVCC CVR_CUDA_ARCHS)

set(CVR_DEVICE_FOLDER ${CMAKE_CURRENT_LIST_DIR})

# The text around a kernel in each dialect.
set(CVR_DEVICE_HOST "/* Made by cvr_add_device_kernels. */
#define KERNEL_NAME \"@name@\"
#define KERNEL_CODE device_code_@name@
#include \"@kernel@\"
#include \"cvr/device/entry.host.h\"
")
set(CVR_DEVICE_GLSL "#version 460
#extension GL_GOOGLE_include_directive : require
#define CVR_DEVICE_GLSL
#include \"@base@\"
#include \"cvr/device/entry.glsl.h\"
")
set(CVR_DEVICE_CUDA "#define KERNEL_NAME @name@
#include \"@kernel@\"
#include \"cvr/device/entry.cuda.h\"
")
# The cvr_code of a binary is laid down by the assembler, which alone knows how long the binary is: 24 is the struct's size.
set(CVR_DEVICE_BYTES "/* Made by cvr_add_device_kernels. */
__asm__(\".section .rodata\\n\"
        \".balign 16\\n\"
        \"1: .incbin \\\"@binary@\\\"\\n\"
        \"2: .section .data.rel.ro, \\\"aw\\\"\\n\"
        \".balign 8\\n\"
        \".globl device_code_@name@\\n\"
        \".hidden device_code_@name@\\n\"
        \".type device_code_@name@, %object\\n\"
        \"device_code_@name@: .quad 24, 1b, 2b - 1b\\n\"
        \".size device_code_@name@, 24\\n\"
        \".text\\n\");
typedef int device_code_@name@_is_above; /* a translation unit has at least one declaration */
")

# What a kernel includes, so that it is compiled anew when that changes.
function(cvr_device_includes out folder include)
  file(GLOB headers CONFIGURE_DEPENDS ${folder}/*.h ${include}/cvr/device/*.h)
  set(${out} ${headers} PARENT_SCOPE)
endfunction()

# The folder that has cvr/device, in the tree and installed.
function(cvr_device_include out)
  if(CVR_PREFIX)
    set(${out} ${CVR_PREFIX}/include PARENT_SCOPE)
  else()
    get_filename_component(include ${CVR_DEVICE_FOLDER}/../backends/device/include ABSOLUTE)
    set(${out} ${include} PARENT_SCOPE)
  endif()
endfunction()

# cvr_compile_device_kernel(OUT DIALECT KERNEL FOLDER): the file that becomes the kernel's SPIR-V or fatbin
function(cvr_compile_device_kernel out dialect kernel folder)
  get_filename_component(name ${kernel} NAME_WE)
  get_filename_component(base ${kernel} NAME)
  get_filename_component(own ${kernel} DIRECTORY)
  cvr_device_include(include)
  cvr_device_includes(headers ${own} ${include})
  set(binary ${folder}/${name}.${dialect})
  if(dialect STREQUAL "spirv")
    file(CONFIGURE OUTPUT ${folder}/${name}.comp CONTENT "${CVR_DEVICE_GLSL}" @ONLY)
    set(check)
    if(CVR_SPIRV_VAL)
      set(check COMMAND ${CVR_SPIRV_VAL} --target-env vulkan1.3 --scalar-block-layout ${binary})
    endif()
    add_custom_command(OUTPUT ${binary} DEPENDS ${kernel} ${headers} ${folder}/${name}.comp VERBATIM
      COMMAND ${CVR_GLSLANG} --quiet --target-env vulkan1.3 -V -e ${name} --source-entrypoint main -I${include} -I${own}
        ${folder}/${name}.comp -o ${binary} ${check})
  else()
    file(CONFIGURE OUTPUT ${folder}/${name}.cu CONTENT "${CVR_DEVICE_CUDA}" @ONLY)
    set(archs)
    foreach(arch ${CVR_CUDA_ARCHS})
      list(APPEND archs -gencode arch=compute_${arch},code=sm_${arch})
      set(last ${arch})
    endforeach()
    # what the assembler tells of registers goes to a file, and to the terminal where something is wrong
    add_custom_command(OUTPUT ${binary} BYPRODUCTS ${binary}.txt DEPENDS ${kernel} ${headers} ${folder}/${name}.cu VERBATIM
      COMMAND sh -c "told=$1; shift; \"$@\" 2>\"$told\" || { cat \"$told\" >&2; exit 1; }" sh ${binary}.txt
        ${CVR_NVCC} -fatbin -fmad=false -Werror all-warnings -Xptxas -v ${archs} -gencode arch=compute_${last},code=compute_${last}
        -I${include} -I${own} ${folder}/${name}.cu -o ${binary})
  endif()
  set(${out} ${binary} PARENT_SCOPE)
endfunction()

function(cvr_add_device_kernels target dialect)
  if(dialect STREQUAL "spirv" AND NOT CVR_GLSLANG)
    message(FATAL_ERROR "${target}: glslangValidator is missing (install glslang-tools)")
  elseif(dialect STREQUAL "fatbin" AND NOT CVR_NVCC)
    message(FATAL_ERROR "${target}: nvcc is missing (install the CUDA toolkit, or name it by -DCVR_NVCC=)")
  elseif(NOT dialect MATCHES "^(host|spirv|fatbin)$")
    message(FATAL_ERROR "cvr_add_device_kernels: there is no dialect ${dialect}; there are host, spirv and fatbin")
  endif()
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/${target}.kernels)
  foreach(kernel ${ARGN})
    get_filename_component(kernel ${kernel} ABSOLUTE)
    get_filename_component(name ${kernel} NAME_WE)
    if(dialect STREQUAL "host")
      set(source ${folder}/${name}.c)
      file(CONFIGURE OUTPUT ${source} CONTENT "${CVR_DEVICE_HOST}" @ONLY)
      set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS ${kernel})
    else()
      cvr_compile_device_kernel(binary ${dialect} ${kernel} ${folder})
      set(source ${folder}/${name}.code.c)
      file(CONFIGURE OUTPUT ${source} CONTENT "${CVR_DEVICE_BYTES}" @ONLY)
      set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS ${binary})
    endif()
    target_sources(${target} PRIVATE ${source})
  endforeach()
endfunction()
