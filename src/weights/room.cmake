darkroom_room(weights
  SOURCES safetensors_header.cc safetensors.cc safetensors_writer.cc weight_files.cc catalog.cc catalog_source.cc
          dummy_source.cc source.cc scales.cc quantize.cc requantize.cc
  DEPS tensor)
