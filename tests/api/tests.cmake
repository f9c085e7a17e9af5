darkroom_test(api_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/api_test.cc ${CMAKE_CURRENT_LIST_DIR}/structs_test.cc DEPS api
  LIBS darkroom darkroom_layouts LABELS sanitize)
darkroom_test(cancel_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/cancel_test.cc DEPS base LIBS darkroom LABELS sanitize threads)
add_test(NAME cancel_long_test COMMAND cancel_test)
set_tests_properties(cancel_long_test PROPERTIES LABELS long TIMEOUT 7200 ENVIRONMENT DARKROOM_CANCEL_TRIES=5000)

darkroom_test(stored_recipe_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/stored_recipe_test.cc
  ${PROJECT_SOURCE_DIR}/tests/cli/program.cc DEPS image LABELS sanitize)
target_compile_definitions(stored_recipe_test PRIVATE DARKROOM_PROGRAM="$<TARGET_FILE:darkroom_program>")
add_dependencies(stored_recipe_test darkroom_program)

add_executable(header_is_c ${CMAKE_CURRENT_LIST_DIR}/header_is_c.c)
set_target_properties(header_is_c PROPERTIES C_STANDARD 99 C_EXTENSIONS OFF LINKER_LANGUAGE CXX)
target_link_libraries(header_is_c PRIVATE darkroom)
add_test(NAME header_is_c COMMAND header_is_c)
add_test(NAME header_compiles COMMAND ${CMAKE_CURRENT_LIST_DIR}/check_header.sh ${PROJECT_SOURCE_DIR}/include
  ${CMAKE_C_COMPILER} ${CMAKE_CXX_COMPILER})
add_test(NAME exports COMMAND ${CMAKE_CURRENT_LIST_DIR}/check_exports.sh $<TARGET_FILE:darkroom_shared>
  ${PROJECT_SOURCE_DIR}/include/darkroom/darkroom.h ${PROJECT_SOURCE_DIR}/src/api/exports.map)

# Headers as they were: 296, 288 and 272 bytes are the sizes of their darkroom_request. Each was in use until the next one
# came, so programs compiled with it exist. Programs compiled with them run with today's library, and today's structs
# begin with theirs.
set(old_headers 272 288 296)
add_library(darkroom_layouts STATIC)
foreach(version IN LISTS old_headers ITEMS today)
  add_library(layout_${version} OBJECT ${CMAKE_CURRENT_LIST_DIR}/layout.c)
  target_compile_definitions(layout_${version} PRIVATE LAYOUT=layout_${version})
  set(header_${version} ${CMAKE_CURRENT_LIST_DIR}/old_headers/${version})
  if(version STREQUAL "today")
    set(header_${version} ${PROJECT_SOURCE_DIR}/include)
  endif()
  target_include_directories(layout_${version} PRIVATE ${header_${version}})
  add_executable(caller_${version} ${CMAKE_CURRENT_LIST_DIR}/old_caller.c)
  # Linked as C++, since the sanitizers' runtime for C lacks what the library asks for.
  set_target_properties(caller_${version} PROPERTIES C_STANDARD 99 C_EXTENSIONS OFF LINKER_LANGUAGE CXX)
  target_include_directories(caller_${version} PRIVATE ${header_${version}})
  target_link_libraries(caller_${version} PRIVATE darkroom_shared)
  add_test(NAME caller_${version} COMMAND caller_${version} ${CMAKE_CURRENT_BINARY_DIR}/caller_${version}.png)
  set_tests_properties(caller_${version} PROPERTIES LABELS sanitize)
  set_property(GLOBAL APPEND PROPERTY DARKROOM_TESTS_sanitize caller_${version})
  target_sources(darkroom_layouts PRIVATE $<TARGET_OBJECTS:layout_${version}>)
endforeach()
target_compile_definitions(layout_272 PRIVATE WITHOUT_PREVIEW)
set_target_properties(darkroom_layouts PROPERTIES LINKER_LANGUAGE C)
