# The library that programs link: libdarkroom, with include/ as its only public header folder.
darkroom_room(api SOURCES api.cc structs.cc old_callers.cc DEPS pipeline convert calibrate backends bench selftest)
target_compile_definitions(darkroom_api PRIVATE DARKROOM_BUILDING)
target_include_directories(darkroom_api PUBLIC ${PROJECT_SOURCE_DIR}/include)
add_library(darkroom INTERFACE)
target_include_directories(darkroom INTERFACE ${PROJECT_SOURCE_DIR}/include)
target_link_libraries(darkroom INTERFACE $<LINK_ONLY:darkroom_api>)

# The same for other programs: one file whose only symbols are the C API. Ours links the rooms themselves.
add_library(darkroom_shared SHARED $<TARGET_OBJECTS:darkroom_api>)
set_target_properties(darkroom_shared PROPERTIES OUTPUT_NAME darkroom LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}"
  LINK_DEPENDS "${PROJECT_SOURCE_DIR}/src/api/exports.map")
target_link_libraries(darkroom_shared PRIVATE darkroom_pipeline darkroom_convert darkroom_calibrate darkroom_backends darkroom_bench darkroom_selftest)
target_link_options(darkroom_shared PRIVATE "LINKER:--version-script=${PROJECT_SOURCE_DIR}/src/api/exports.map")
