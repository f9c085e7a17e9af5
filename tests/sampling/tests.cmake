darkroom_test(sampling_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/noise_test.cc ${CMAKE_CURRENT_LIST_DIR}/schedule_test.cc
  ${CMAKE_CURRENT_LIST_DIR}/sampler_test.cc ${CMAKE_CURRENT_LIST_DIR}/sampler_memory_test.cc
  ${CMAKE_CURRENT_LIST_DIR}/guidance_test.cc ${CMAKE_CURRENT_LIST_DIR}/step_cache_test.cc DEPS sampling LABELS sanitize)
