darkroom_test(gguf_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/gguf_test.cc DEPS weights LABELS sanitize files)
darkroom_test(weights_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/safetensors_test.cc ${CMAKE_CURRENT_LIST_DIR}/catalog_test.cc
          ${CMAKE_CURRENT_LIST_DIR}/source_test.cc ${CMAKE_CURRENT_LIST_DIR}/quantize_test.cc
          ${CMAKE_CURRENT_LIST_DIR}/quantize_blocks_test.cc ${CMAKE_CURRENT_LIST_DIR}/requantizing_source_test.cc
          ${CMAKE_CURRENT_LIST_DIR}/check_finite_test.cc
  DEPS weights LABELS sanitize files)
