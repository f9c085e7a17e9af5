darkroom_test(calibrate_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/rules_test.cc ${CMAKE_CURRENT_LIST_DIR}/calibrate_test.cc
  DEPS calibrate convert backends SHARDS 2 LABELS sanitize)
