darkroom_test(base_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/number_text_test.cc ${CMAKE_CURRENT_LIST_DIR}/half_test.cc ${CMAKE_CURRENT_LIST_DIR}/threads_test.cc
          ${CMAKE_CURRENT_LIST_DIR}/file_map_test.cc ${CMAKE_CURRENT_LIST_DIR}/foreign_file_test.cc ${CMAKE_CURRENT_LIST_DIR}/new_folder_test.cc
          ${CMAKE_CURRENT_LIST_DIR}/json_test.cc ${CMAKE_CURRENT_LIST_DIR}/scratch_file_test.cc
          ${CMAKE_CURRENT_LIST_DIR}/sha256_test.cc ${CMAKE_CURRENT_LIST_DIR}/utf8_test.cc
  DEPS base LABELS sanitize files threads)
