# The headers that take most of the time to compile, read once: a fifth of the processor seconds of a build.
# They are the standard library, fmt, nlohmann/json and GoogleTest only, so rooms stay apart. A file that lacks one of
# these includes is seen with -DDARKROOM_PRECOMPILE=OFF. Off by itself under ccache, which then could not cache.
set(precompile_default OFF)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT CMAKE_CXX_COMPILER_LAUNCHER MATCHES "ccache")
  set(precompile_default ON)
endif()
option(DARKROOM_PRECOMPILE "Precompile the headers of other projects" ${precompile_default})

# What runs once or does not count, tests and the command line, gains nothing from -O2 but a longer build.
set(light_flags $<$<CONFIG:Release>:-O1>)

# darkroom_precompiled(NAME FLAGS "flag;..." LIBS target ... HEADERS "<header>" ...): a set of headers. FLAGS have -fPIC
# for libraries and -fPIE for programs, as the compiler takes a precompiled header for one of them only.
function(darkroom_precompiled name)
  cmake_parse_arguments(SET "" "" "FLAGS;LIBS;HEADERS" ${ARGN})
  if(NOT DARKROOM_PRECOMPILE)
    return()
  endif()
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/${name}.cc CONTENT "")
  add_library(${name} OBJECT ${CMAKE_BINARY_DIR}/${name}.cc)
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${name} PRIVATE ${SET_FLAGS})
  target_link_libraries(${name} PRIVATE ${SET_LIBS})
  target_precompile_headers(${name} PRIVATE <algorithm> <cmath> <cstdint> <filesystem> <fstream> <functional> <map>
    <memory> <optional> <span> <string> <string_view> <utility> <vector> ${SET_HEADERS})
endfunction()

# darkroom_reuse(TARGET NAME): compiles the target with that set.
function(darkroom_reuse target name)
  if(DARKROOM_PRECOMPILE)
    target_precompile_headers(${target} REUSE_FROM ${name})
  endif()
endfunction()

darkroom_precompiled(precompiled_library FLAGS -fPIC
  LIBS fmt::fmt nlohmann_json::nlohmann_json HEADERS <fmt/format.h> <nlohmann/json.hpp>)
