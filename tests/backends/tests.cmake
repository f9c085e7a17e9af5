darkroom_test(cpu_backend_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/cpu_products_test.cc
  ${CMAKE_CURRENT_LIST_DIR}/cpu_rows_test.cc ${CMAKE_CURRENT_LIST_DIR}/cpu_isa_test.cc
  ${CMAKE_CURRENT_LIST_DIR}/cpu_int8_test.cc ${CMAKE_CURRENT_LIST_DIR}/cpu_int8_attention_test.cc DEPS backends/cpu backends/reference SHARDS 4 LABELS sanitize)
if(DARKROOM_HAS_VULKAN)
  darkroom_test(vulkan_backend_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/vulkan_pointwise_test.cc
    ${CMAKE_CURRENT_LIST_DIR}/vulkan_plans_test.cc
    ${CMAKE_CURRENT_LIST_DIR}/vulkan_conformance_test.cc ${CMAKE_CURRENT_LIST_DIR}/vulkan_device_test.cc
    ${CMAKE_CURRENT_LIST_DIR}/vulkan_linear_test.cc ${CMAKE_CURRENT_LIST_DIR}/vulkan_rows_test.cc
    ${CMAKE_CURRENT_LIST_DIR}/vulkan_embed_test.cc ${CMAKE_CURRENT_LIST_DIR}/vulkan_attention_test.cc ${CMAKE_CURRENT_LIST_DIR}/vulkan_conv_test.cc
    DEPS backends/vulkan backends/reference selftest LABELS sanitize)
  darkroom_test(vulkan_fake_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/vulkan_fake_test.cc
    ${CMAKE_CURRENT_LIST_DIR}/vulkan_hazards_test.cc ${CMAKE_CURRENT_LIST_DIR}/fake_vulkan.cc DEPS backends/vulkan LABELS sanitize threads)
  target_compile_definitions(vulkan_backend_test PRIVATE
    DARKROOM_SHADER_CACHE="${CMAKE_BINARY_DIR}/vulkan_shader_cache")

  # Cooperative matrices, on a Mesa that has them and that tools/new_lavapipe.sh sets up: `make gpu-matrix`.
  add_executable(vulkan_matrix_test EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/vulkan_matrix_test.cc
    ${CMAKE_CURRENT_LIST_DIR}/vulkan_conformance_test.cc)
  target_include_directories(vulkan_matrix_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(vulkan_matrix_test PRIVATE DARKROOM_SHADER_CACHE="${CMAKE_BINARY_DIR}/new_lavapipe/shaders")
  target_compile_options(vulkan_matrix_test PRIVATE ${light_flags})
  target_link_libraries(vulkan_matrix_test PRIVATE darkroom_selftest darkroom_backends_vulkan darkroom_backends_reference GTest::gtest_main)
  add_test(NAME vulkan_matrix_test COMMAND ${CMAKE_CURRENT_LIST_DIR}/on_new_lavapipe.sh ${CMAKE_BINARY_DIR}/new_lavapipe
    $<TARGET_FILE:vulkan_matrix_test>)
  add_test(NAME vulkan_matrix_spirv COMMAND ${PROJECT_SOURCE_DIR}/tools/matrix_spirv.sh --check ${CMAKE_BINARY_DIR}/spirv)
  set_tests_properties(vulkan_matrix_test vulkan_matrix_spirv PROPERTIES LABELS gpu-matrix SKIP_RETURN_CODE 77
    ENVIRONMENT "GTEST_BRIEF=1")
endif()
darkroom_test(checked_backend_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/checked_test.cc DEPS backends LABELS sanitize)
