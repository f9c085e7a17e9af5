darkroom_room(image
  SOURCES image.cc resize.cc sheet.cc picture_file.cc picture_source.cc picture_size.cc text.cc
    png_write.cc png_read.cc png_text.cc jpeg_read.cc jpeg_text.cc webp_read.cc webp_text.cc
    read_picture.cc picture_texts.cc exif.cc a1111.cc recipe.cc read_recipe.cc
    foreign/readers.cc foreign/json_fields.cc foreign/names.cc foreign/a1111_line.cc foreign/swarmui.cc
    foreign/fooocus.cc foreign/invokeai.cc foreign/comfyui.cc foreign/novelai.cc foreign/mflux.cc
    foreign/draw_things.cc
  DEPS base options LIBS PNG::PNG JPEG::JPEG PkgConfig::WEBP)
