darkroom_test(ops_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/conformance_test.cc op_cases.cc
  DEPS backends backends/dry_run SHARDS 4 LABELS sanitize)
