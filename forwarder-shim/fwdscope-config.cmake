# SPDX-License-Identifier: Apache-2.0
# find_package(fwdscope): fwdscope::static is one file to link, fwdscope::shared the library.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include(${CMAKE_CURRENT_LIST_DIR}/fwdscope-targets.cmake)
