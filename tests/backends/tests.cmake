darkroom_test(cpu_backend_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/cpu_products_test.cc
  ${CMAKE_CURRENT_LIST_DIR}/cpu_rows_test.cc ${CMAKE_CURRENT_LIST_DIR}/cpu_isa_test.cc
  ${CMAKE_CURRENT_LIST_DIR}/cpu_int8_test.cc ${CMAKE_CURRENT_LIST_DIR}/cpu_int8_attention_test.cc DEPS backends/cpu backends/reference SHARDS 4 LABELS sanitize)
if(DARKROOM_HAS_VULKAN)
  darkroom_test(vulkan_backend_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/vulkan_pointwise_test.cc
    ${CMAKE_CURRENT_LIST_DIR}/vulkan_conformance_test.cc ${CMAKE_CURRENT_LIST_DIR}/vulkan_device_test.cc
    ${CMAKE_CURRENT_LIST_DIR}/vulkan_linear_test.cc ${CMAKE_CURRENT_LIST_DIR}/vulkan_rows_test.cc
    ${CMAKE_CURRENT_LIST_DIR}/vulkan_embed_test.cc ${CMAKE_CURRENT_LIST_DIR}/vulkan_attention_test.cc ${CMAKE_CURRENT_LIST_DIR}/vulkan_conv_test.cc
    DEPS backends/vulkan backends/reference selftest LABELS sanitize)
  darkroom_test(vulkan_fake_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/vulkan_fake_test.cc
    ${CMAKE_CURRENT_LIST_DIR}/vulkan_hazards_test.cc ${CMAKE_CURRENT_LIST_DIR}/fake_vulkan.cc DEPS backends/vulkan LABELS sanitize threads)
  target_compile_definitions(vulkan_backend_test PRIVATE
    DARKROOM_SHADER_CACHE="${CMAKE_BINARY_DIR}/vulkan_shader_cache")
endif()
darkroom_test(checked_backend_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/checked_test.cc DEPS backends LABELS sanitize)
