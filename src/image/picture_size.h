// The size of a picture file, from its header.
#pragma once

#include <filesystem>

namespace darkroom {

struct PictureSize {
  int width = 0, height = 0;  // pixels
};

// That of read_picture()'s result, turned as it is, within its limits. Pixels are read only where what
// is stored beside them is damaged, since then they decide. Errors: kFailure as read_picture(), except
// for damaged pixels.
PictureSize picture_size(const std::filesystem::path& path);

}  // namespace darkroom
