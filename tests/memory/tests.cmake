darkroom_test(memory_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/budget_test.cc ${CMAKE_CURRENT_LIST_DIR}/placement_test.cc
          ${CMAKE_CURRENT_LIST_DIR}/residency_test.cc
  DEPS memory backends/dry_run LABELS sanitize threads)
