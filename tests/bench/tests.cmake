darkroom_test(bench_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/bench_test.cc DEPS bench SHARDS 2)
