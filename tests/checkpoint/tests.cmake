darkroom_test(checkpoint_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/spelling_test.cc ${CMAKE_CURRENT_LIST_DIR}/recognise_test.cc
          ${CMAKE_CURRENT_LIST_DIR}/search_test.cc
  DEPS checkpoint LABELS sanitize)
