darkroom_test(bench_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/bench_test.cc DEPS bench SHARDS 2)
target_compile_definitions(bench_test PRIVATE DARKROOM_SHADER_CACHE="${CMAKE_BINARY_DIR}/vulkan_shader_cache")
