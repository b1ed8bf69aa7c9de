# SPDX-License-Identifier: Apache-2.0
# The forwarder is never hurt. What is measured or made to fail here is a release build without
# sanitizers, whatever the build around it is: the shim's, the example's and the snapshot's very
# sources once more.
find_library(FIU fiu REQUIRED)
find_file(FIU_PRELOAD fiu_posix_preload.so PATHS /usr/lib PATH_SUFFIXES fiu REQUIRED)
find_program(STRACE strace REQUIRED)

function(hurt_release target)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/forwarder-shim/include
    ${PROJECT_SOURCE_DIR}/forwarder-shim/examples ${PROJECT_SOURCE_DIR}/shmlayout/include
    ${PROJECT_SOURCE_DIR}/sidecar/base ${PROJECT_SOURCE_DIR}/sidecar/snapshot)
  target_link_libraries(${target} PRIVATE house PkgConfig::LIBYAML Threads::Threads m)
  target_compile_options(${target} PRIVATE -O2 -fno-sanitize=all -ftls-model=initial-exec)
  target_link_options(${target} PRIVATE -fno-sanitize=all)
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
endfunction()

module_sources(hurt_shim_sources shim)
module_sources(hurt_calls_sources shim shmlayout snapshot base)
module_sources(hurt_example_sources fwdscope-example-forwarder)
module_sources(hurt_config_sources redact fwdscope_config)

# One call after the other, timed, while others read.
add_executable(hurt_calls hurt_calls.c hurt_readers.c ${hurt_calls_sources})
hurt_release(hurt_calls)

# The example forwarder, its start-up in the hands of the test; and the same without any shim.
add_executable(hurt_forwarder hurt_window.c ${hurt_example_sources} ${hurt_config_sources}
               ${hurt_shim_sources})
hurt_release(hurt_forwarder)
target_link_libraries(hurt_forwarder PRIVATE ${FIU})
target_link_options(hurt_forwarder PRIVATE -Wl,--wrap=telemetry_open)
add_executable(hurt_plain hurt_stub.c ${hurt_example_sources})
hurt_release(hurt_plain)

foreach(name calls file start output)
  add_test(NAME stress.hurt_${name}
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/test_hurt_${name}.py)
  set_tests_properties(stress.hurt_${name} PROPERTIES LABELS stress TIMEOUT 1800
    ENVIRONMENT "FWDSCOPE_BUILD=${PROJECT_BINARY_DIR};FIU_PRELOAD=${FIU_PRELOAD};STRACE=${STRACE}")
endforeach()
