darkroom_test(pipeline_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/parity_test.cc ${CMAKE_CURRENT_LIST_DIR}/request_test.cc
  ${CMAKE_CURRENT_LIST_DIR}/embeddings_test.cc ${CMAKE_CURRENT_LIST_DIR}/settings_test.cc ${CMAKE_CURRENT_LIST_DIR}/stored_test.cc
  DEPS pipeline backends)
