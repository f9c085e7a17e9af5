darkroom_room(weights
  SOURCES safetensors_header.cc safetensors.cc tensor_file.cc safetensors_writer.cc named_tensor.cc gguf_fields.cc gguf.cc
          gguf_writer.cc weight_files.cc weight_names.cc catalog.cc catalog_source.cc
          dummy_source.cc source.cc scales.cc bitsandbytes.cc companions.cc storage.cc quantize.cc quantize_blocks.cc requantize.cc requantizing_source.cc smoothing.cc check_finite.cc
  DEPS tensor)
# What a model is quantised by as it is read.
darkroom_vectorise(weights quantize.cc requantize.cc)
