darkroom_test(grader_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/caption_test.cc ${CMAKE_CURRENT_LIST_DIR}/grade_test.cc
  ${CMAKE_CURRENT_LIST_DIR}/regions_test.cc ${CMAKE_CURRENT_LIST_DIR}/scene.cc ${CMAKE_CURRENT_LIST_DIR}/world_test.cc
  DEPS grader image base LABELS sanitize)

darkroom_test(grade_program_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/program_test.cc
  ${CMAKE_CURRENT_LIST_DIR}/scene.cc ${CMAKE_CURRENT_LIST_DIR}/../cli/program.cc DEPS grader image base)
target_compile_definitions(grade_program_test PRIVATE DARKROOM_PROGRAM="$<TARGET_FILE:grade>")
add_dependencies(grade_program_test grade)
