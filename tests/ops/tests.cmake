darkroom_test(ops_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/conformance_test.cc
  DEPS backends backends/dry_run selftest SHARDS 4 LABELS sanitize)
# A program of its own: it counts what operator new is asked for.
darkroom_test(no_text_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/no_text_test.cc DEPS ops backends/dry_run)
