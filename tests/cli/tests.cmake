# The built program, run as a user runs it.
darkroom_test(cli_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/program.cc ${CMAKE_CURRENT_LIST_DIR}/arguments_test.cc
    ${CMAKE_CURRENT_LIST_DIR}/cache_test.cc ${CMAKE_CURRENT_LIST_DIR}/convert_test.cc ${CMAKE_CURRENT_LIST_DIR}/device_test.cc ${CMAKE_CURRENT_LIST_DIR}/generate_test.cc
    ${CMAKE_CURRENT_LIST_DIR}/help_test.cc ${CMAKE_CURRENT_LIST_DIR}/installed_test.cc ${CMAKE_CURRENT_LIST_DIR}/interrupt_test.cc
    ${CMAKE_CURRENT_LIST_DIR}/look_test.cc ${CMAKE_CURRENT_LIST_DIR}/preview_test.cc ${CMAKE_CURRENT_LIST_DIR}/reference_test.cc ${CMAKE_CURRENT_LIST_DIR}/sheet_test.cc
    ${CMAKE_CURRENT_LIST_DIR}/streams_test.cc ${CMAKE_CURRENT_LIST_DIR}/text_file_test.cc
  DEPS image weights SHARDS 6)
target_compile_definitions(cli_test PRIVATE DARKROOM_PROGRAM="$<TARGET_FILE:darkroom_program>"
  DARKROOM_SHADER_CACHE="${CMAKE_BINARY_DIR}/vulkan_shader_cache")
add_dependencies(cli_test darkroom_program)

# A source of the program that only makes strings.
darkroom_test(terminal_picture_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/terminal_picture_test.cc ${PROJECT_SOURCE_DIR}/apps/cli/terminal_picture.cc
  DEPS image text base LIBS fmt::fmt LABELS sanitize)
target_include_directories(terminal_picture_test PRIVATE ${PROJECT_SOURCE_DIR}/apps/cli)

darkroom_test(cli_text_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/text_test.cc ${PROJECT_SOURCE_DIR}/apps/cli/text.cc ${PROJECT_SOURCE_DIR}/apps/cli/interrupt.cc
  DEPS base LIBS darkroom darkroom_streams fmt::fmt LABELS sanitize)
target_include_directories(cli_text_test PRIVATE ${PROJECT_SOURCE_DIR}/apps/cli)

# A command over functions of the C API that the test defines.
find_package(CLI11 REQUIRED)
set(command ${PROJECT_SOURCE_DIR}/apps/cli)
darkroom_test(self_test_command_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/self_test_command_test.cc ${command}/self_test.cc ${command}/engine.cc ${command}/arguments.cc
    ${command}/foreign_flags.cc ${command}/progress.cc ${command}/text.cc ${command}/interrupt.cc
  DEPS base LIBS darkroom_streams CLI11::CLI11 nlohmann_json::nlohmann_json fmt::fmt LABELS sanitize)
target_include_directories(self_test_command_test PRIVATE ${command} ${PROJECT_SOURCE_DIR}/include)
