darkroom_room(weights
  SOURCES safetensors_header.cc safetensors.cc safetensors_writer.cc weight_files.cc weight_names.cc catalog.cc catalog_source.cc
          dummy_source.cc source.cc scales.cc companions.cc storage.cc quantize.cc quantize_blocks.cc
          requantizing_source.cc
  DEPS tensor)
