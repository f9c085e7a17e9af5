darkroom_test(options_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/options_test.cc DEPS options sampling weights LABELS sanitize files)
