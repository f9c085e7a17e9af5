darkroom_test(checkpoint_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/spelling_test.cc ${CMAKE_CURRENT_LIST_DIR}/recognise_test.cc
          ${CMAKE_CURRENT_LIST_DIR}/search_test.cc ${CMAKE_CURRENT_LIST_DIR}/broken_test.cc ${CMAKE_CURRENT_LIST_DIR}/broken_files_test.cc
  DEPS checkpoint SHARDS 4 LABELS sanitize files)
# Models with FLUX.1's own vocabularies, drawn.
darkroom_test(layouts_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/layouts_test.cc DEPS checkpoint pipeline backends SHARDS 2)
