#include "image/picture_file.h"

#include <cstddef>

#include "base/file_map.h"

namespace darkroom {

std::string read_picture_file(const std::filesystem::path& path) {
  constexpr std::size_t kMaxBytes = std::size_t{256} << 20;
  return with_picture_errors([&] { return read_text_file(path, kMaxBytes); });
}

}  // namespace darkroom
