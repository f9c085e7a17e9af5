darkroom_test(cache_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/disk_cache_test.cc DEPS cache LABELS sanitize)
