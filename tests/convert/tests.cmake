darkroom_test(convert_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/convert_test.cc ${CMAKE_CURRENT_LIST_DIR}/faults_test.cc
          ${CMAKE_CURRENT_LIST_DIR}/layouts_test.cc ${CMAKE_CURRENT_LIST_DIR}/lora_merge_test.cc lora_files.cc ${CMAKE_CURRENT_LIST_DIR}/small_files_test.cc ${CMAKE_CURRENT_LIST_DIR}/tokenizers_test.cc
  DEPS convert SHARDS 4 LABELS sanitize)
