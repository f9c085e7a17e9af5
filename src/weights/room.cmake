darkroom_room(weights
  SOURCES safetensors_header.cc safetensors.cc tensor_file.cc safetensors_writer.cc named_tensor.cc gguf_fields.cc gguf.cc
          gguf_writer.cc weight_files.cc weight_names.cc catalog.cc catalog_source.cc
          dummy_source.cc source.cc scales.cc bitsandbytes.cc companions.cc storage.cc quantize.cc quantize_blocks.cc requantize.cc requantizing_source.cc smoothing.cc check_finite.cc
  DEPS tensor)
# -O3 makes vectors of the loops over the weights of a model that is quantised as it is read.
if(NOT DARKROOM_SANITIZE)
  set_source_files_properties(${PROJECT_SOURCE_DIR}/src/weights/quantize.cc ${PROJECT_SOURCE_DIR}/src/weights/requantize.cc
    PROPERTIES COMPILE_OPTIONS -O3)
endif()
