darkroom_room(checkpoint
  SOURCES part.cc spellings.cc recognise.cc derive.cc part_files.cc own_config.cc search.cc tokenizers.cc checkpoint.cc model_folder.cc model_settings.cc
          lora_keys.cc lora.cc lora_dense.cc lora_source.cc lora_merge.cc
  DEPS models weights text options sampling)
# -O3 makes vectors of its one loop, which is most of the time of merging.
if(NOT DARKROOM_SANITIZE)
  set_source_files_properties(${PROJECT_SOURCE_DIR}/src/checkpoint/lora_merge.cc PROPERTIES COMPILE_OPTIONS -O3)
endif()
