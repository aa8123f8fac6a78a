# How tests are added. Each has a line in budget.txt: its CPU seconds in the builds that tests/run.sh makes.
find_path(CRITERION_INCLUDE criterion/criterion.h)
find_library(CRITERION_LIBRARY criterion)
if(NOT CRITERION_INCLUDE OR NOT CRITERION_LIBRARY)
  message(FATAL_ERROR "Criterion is missing: install libcriterion-dev, or configure with -DCVR_TESTS=OFF")
endif()

# Criterion's macros declare functions nowhere, and an assertion that leaves the test looks to gcc like a path that goes on.
# What takes a test's time is what it tests, so it is compiled quickly.
add_library(cvr_test_compile INTERFACE)
target_compile_options(cvr_test_compile INTERFACE $<IF:$<BOOL:${CVR_SANITIZE}>,-O0,-O1> -Wno-missing-prototypes -Wno-shadow -Wno-cast-qual -Wno-format-nonliteral
  $<$<C_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
target_include_directories(cvr_test_compile INTERFACE ${CRITERION_INCLUDE} ${PROJECT_SOURCE_DIR}/tests)
target_compile_definitions(cvr_test_compile INTERFACE
  CVR_TEST_PLUGINS="${PROJECT_BINARY_DIR}/lib/cvrun-test"
  CVR_PLUGIN_DIR="${PROJECT_BINARY_DIR}/lib/cvrun"
  CVR_TEST_DIR="${CMAKE_CURRENT_SOURCE_DIR}"
  CVR_GOLDEN_DIR="${CMAKE_CURRENT_SOURCE_DIR}/golden")

# What programs share. An archive: each takes what it uses.
add_library(cvr_test_support STATIC support/agree.c support/detector_case.c support/detector_check.c support/each_draw.c support/golden.c support/guarded.c support/left_out.c support/pack_use.c support/scratch.c support/small_net.c support/test_host.c)
target_link_libraries(cvr_test_support PUBLIC cvr_conform cvr_session cvr_compile cvr_test_compile ${CRITERION_LIBRARY} ${CMAKE_DL_LIBS} m)

# What measures a test. It has no sanitizer, so that a second is a second in every build.
add_executable(cpu_time support/cpu_time.c)
target_compile_options(cpu_time PRIVATE -O2 -Wall -Wextra)

# cvr_budget(OUT NAME): the CPU seconds of a test in this build, `-` where the build leaves it to `tests/run.sh --all`
set(CVR_BUDGET_FILE ${CMAKE_CURRENT_SOURCE_DIR}/budget.txt)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CVR_BUDGET_FILE})
file(STRINGS ${CVR_BUDGET_FILE} CVR_BUDGET_LINES)
function(cvr_budget out name)
  foreach(line IN LISTS CVR_BUDGET_LINES)
    if(line MATCHES "^${name} +([0-9.]+|-) +([0-9.]+|-) +([0-9.]+|-)$")
      if(CVR_SANITIZE STREQUAL "address")
        set(${out} ${CMAKE_MATCH_2} PARENT_SCOPE)
      elseif(CVR_SANITIZE STREQUAL "thread")
        set(${out} ${CMAKE_MATCH_3} PARENT_SCOPE)
      else()
        set(${out} ${CMAKE_MATCH_1} PARENT_SCOPE)
      endif()
      return()
    endif()
  endforeach()
  message(FATAL_ERROR "tests/budget.txt has no line for ${name}: add `${name} RELEASE ASAN TSAN`, its CPU seconds in each of "
    "these builds, or `-` where it shall not run there; measure it by `ctest -R ${name}`, then read cpu_seconds.txt in the build's folder")
endfunction()

option(CVR_SLOW_TESTS "Build the tests that tests/run.sh leaves to --all, too" ON)

# A command as a test with a budget. Where it has none, it is left to --all (label `slow`); with the thread sanitizer it is no test.
# 77 is the status of a program that can test nothing on this machine.
function(cvr_register_test name draws)
  cvr_budget(budget ${name})
  set(label quick)
  if(budget STREQUAL "-")
    if(CVR_SANITIZE STREQUAL "thread" OR NOT CVR_SLOW_TESTS)
      return()
    endif()
    set(label slow)
    set(budget 1e9)
  endif()
  if(draws)
    list(APPEND label draws)
  endif()
  add_test(NAME ${name} COMMAND cpu_time ${name} ${budget} ${PROJECT_BINARY_DIR}/cpu_seconds.txt ${ARGN})
  # the thread sanitizer waits for a second at the end of each process unless told otherwise, and scripts start a hundred
  set_tests_properties(${name} PROPERTIES TIMEOUT 900 LABELS "${label}" SKIP_RETURN_CODE 77 COST ${budget}
    ENVIRONMENT "CVRUN=$<TARGET_FILE:cvrun>;BUILD_DIR=${PROJECT_BINARY_DIR};CVR_SANITIZE=${CVR_SANITIZE};CVR_TEST_LEFT_OUT=${PROJECT_BINARY_DIR}/left_out.txt;TSAN_OPTIONS=atexit_sleep_ms=50")
endfunction()

# cvr_add_test(NAME [DRAWS] source... [LIBS library...]): a program, by Criterion or with a main of its own. DRAWS: it computes less where
# CVR_TEST_DRAWS asks for fewer draws of each random case.
function(cvr_add_test name)
  cmake_parse_arguments(PARSE_ARGV 1 T "DRAWS" "" "LIBS")
  add_executable(${name} ${T_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE cvr_test_support ${T_LIBS})
  add_dependencies(${name} cvr_manifest_file)
  # What a test puts in place of the C library's must be seen by libcvr and plugins.
  set_target_properties(${name} PROPERTIES C_VISIBILITY_PRESET default)
  cvr_register_test(${name} "${T_DRAWS}" $<TARGET_FILE:${name}>)
  if(NOT TEST ${name})
    set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL ON)
  endif()
endfunction()

# cvr_add_script(NAME [DRAWS]): tests/cli/NAME.sh against the cvrun of this build
function(cvr_add_script name)
  cmake_parse_arguments(PARSE_ARGV 1 T "DRAWS" "" "")
  cvr_register_test(${name} "${T_DRAWS}" bash ${CMAKE_CURRENT_SOURCE_DIR}/cli/${name}.sh)
endfunction()
