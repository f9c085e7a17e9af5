darkroom_test(models_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/parity_test.cc ${CMAKE_CURRENT_LIST_DIR}/strips_test.cc
  DEPS models backends backends/dry_run SHARDS 4)
