darkroom_test(image_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/image_test.cc ${CMAKE_CURRENT_LIST_DIR}/png_test.cc
  ${CMAKE_CURRENT_LIST_DIR}/recipe_test.cc ${CMAKE_CURRENT_LIST_DIR}/resize_test.cc ${CMAKE_CURRENT_LIST_DIR}/sheet_test.cc
  DEPS image LABELS sanitize)
