darkroom_test(self_test_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/self_test_test.cc DEPS selftest backends/reference LABELS sanitize)
