darkroom_test(pipeline_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/parity_test.cc ${CMAKE_CURRENT_LIST_DIR}/request_test.cc
  ${CMAKE_CURRENT_LIST_DIR}/embeddings_test.cc ${CMAKE_CURRENT_LIST_DIR}/settings_test.cc ${CMAKE_CURRENT_LIST_DIR}/model_folder_test.cc
  ${CMAKE_CURRENT_LIST_DIR}/source_picture_test.cc ${CMAKE_CURRENT_LIST_DIR}/stored_test.cc
  ${CMAKE_CURRENT_LIST_DIR}/preview_test.cc ${CMAKE_CURRENT_LIST_DIR}/finite_test.cc ${CMAKE_CURRENT_LIST_DIR}/notes_test.cc
  DEPS pipeline backends SHARDS 6)
if(DARKROOM_HAS_VULKAN)
  darkroom_test(device_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/device_test.cc lora_files.cc
    DEPS pipeline backends/vulkan backends/reference SHARDS 2)
  target_compile_definitions(device_test PRIVATE
    DARKROOM_SHADER_CACHE="${CMAKE_BINARY_DIR}/vulkan_shader_cache")
endif()
darkroom_test(lora_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/lora_test.cc lora_files.cc DEPS pipeline backends SHARDS 2 LABELS sanitize)
# A program of its own each: the resident set of other tests would count.
# A case a process: what one leaves in the heap would count in the next.
darkroom_test(plan_memory_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/memory_test.cc DEPS pipeline backends SHARDS 5)
darkroom_test(plan_memory_long_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/memory_long_test.cc DEPS pipeline backends LABELS long)
set_tests_properties(plan_memory_long_test PROPERTIES TIMEOUT 7200)
# It counts what operator new is asked for.
darkroom_test(host_bytes_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/host_bytes_test.cc DEPS pipeline backends)
