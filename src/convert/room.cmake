darkroom_room(convert SOURCES convert.cc part_source.cc smoothed.cc target.cc layout.cc tensor_writer.cc model_files.cc small_files.cc
  DEPS checkpoint pipeline models memory weights options)
