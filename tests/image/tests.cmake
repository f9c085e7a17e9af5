darkroom_test(image_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/image_test.cc ${CMAKE_CURRENT_LIST_DIR}/png_test.cc
  ${CMAKE_CURRENT_LIST_DIR}/recipe_test.cc ${CMAKE_CURRENT_LIST_DIR}/resize_test.cc ${CMAKE_CURRENT_LIST_DIR}/sheet_test.cc
  ${CMAKE_CURRENT_LIST_DIR}/a1111_test.cc ${CMAKE_CURRENT_LIST_DIR}/foreign_recipe_test.cc
  ${CMAKE_CURRENT_LIST_DIR}/comfyui_test.cc ${CMAKE_CURRENT_LIST_DIR}/picture_texts_test.cc
  ${CMAKE_CURRENT_LIST_DIR}/exif_test.cc ${CMAKE_CURRENT_LIST_DIR}/read_picture_test.cc ${CMAKE_CURRENT_LIST_DIR}/picture_size_test.cc
  DEPS image LABELS sanitize)
