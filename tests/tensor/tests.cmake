darkroom_test(tensor_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/tensor_test.cc DEPS tensor LABELS sanitize files)
darkroom_test(blocks_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/blocks_test.cc DEPS weights LABELS sanitize files)
