darkroom_room(pipeline
  SOURCES preview.cc prompt_words.cc request.cc phases.cc embeddings.cc host_bytes.cc
          plan.cc decide.cc pipeline.cc
          finite.cc loras.cc lora_info.cc latents_file.cc source_picture.cc inspect.cc
  DEPS checkpoint memory cache models options sampling image text backends/dry_run)

# Cached embeddings are those of one state of the code: a kernel that adds in another order gives other bytes.
file(GLOB_RECURSE library_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*.h ${PROJECT_SOURCE_DIR}/src/*.cc
  ${PROJECT_SOURCE_DIR}/src/*.comp ${PROJECT_SOURCE_DIR}/src/*.glsl)
set(compiler "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION} ${CMAKE_CXX_FLAGS} ${CMAKE_BUILD_TYPE}")
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/code_digest.cc
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR}/src "-DCOMPILER=${compiler}"
          -DOUTPUT=${CMAKE_BINARY_DIR}/code_digest.cc -P ${PROJECT_SOURCE_DIR}/cmake/code_digest.cmake
  DEPENDS ${library_sources} ${PROJECT_SOURCE_DIR}/cmake/code_digest.cmake VERBATIM)
target_sources(darkroom_pipeline PRIVATE ${CMAKE_BINARY_DIR}/code_digest.cc)
