# The compile options that everything here is built with.
add_library(cvr_compile INTERFACE)
target_compile_definitions(cvr_compile INTERFACE _POSIX_C_SOURCE=200809L _XOPEN_SOURCE=700)
if(NOT CVR_SANITIZE)
  target_compile_options(cvr_compile INTERFACE
    -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wvla -Wformat=2)
endif()
target_compile_options(cvr_compile INTERFACE -fno-strict-aliasing -ffp-contract=off -fno-math-errno)
# A build with a sanitizer is not asked for warnings: gcc sees things that are not there once a sanitizer has added its
# own branches, and looking takes a twelfth of the time.
if(CVR_SANITIZE)
  target_compile_options(cvr_compile INTERFACE -w)
elseif(CVR_WERROR)
  target_compile_options(cvr_compile INTERFACE -Werror)
endif()
if(CVR_SANITIZE STREQUAL "address")
  # `undefined` leaves out casts of floats: what a file or a setting says may be larger than any integer.
  target_compile_options(cvr_compile INTERFACE -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(cvr_compile INTERFACE -fsanitize=address,undefined,float-cast-overflow)
elseif(CVR_SANITIZE STREQUAL "thread")
  target_compile_options(cvr_compile INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(cvr_compile INTERFACE -fsanitize=thread)
elseif(CVR_SANITIZE)
  message(FATAL_ERROR "CVR_SANITIZE is '${CVR_SANITIZE}'; use address or thread")
endif()
