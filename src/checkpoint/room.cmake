darkroom_room(checkpoint
  SOURCES part.cc spellings.cc recognise.cc derive.cc part_files.cc own_config.cc search.cc tokenizers.cc checkpoint.cc model_folder.cc model_settings.cc
          lora_keys.cc lora.cc lora_dense.cc lora_source.cc lora_merge.cc
  DEPS models weights text options sampling)
# Its one loop is most of the time of merging.
darkroom_vectorise(checkpoint lora_merge.cc)
