darkroom_room(convert SOURCES convert.cc part_source.cc part_writer.cc requantize.cc dummy_files.cc small_files.cc
  DEPS checkpoint pipeline models memory weights)
