darkroom_test(pinhole_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/adherence_test.cc ${CMAKE_CURRENT_LIST_DIR}/preview_test.cc
  DEPS grader image base weights LIBS darkroom SHARDS 4)
