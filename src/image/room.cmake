darkroom_room(image SOURCES image.cc resize.cc sheet.cc picture_file.cc text.cc png_write.cc png_read.cc png_text.cc a1111.cc recipe.cc
  DEPS base options LIBS PNG::PNG)
