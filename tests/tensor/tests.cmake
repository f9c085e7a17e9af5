darkroom_test(tensor_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/tensor_test.cc DEPS tensor LABELS sanitize)
