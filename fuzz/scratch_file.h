// A file for targets whose reader wants a path.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <string_view>

namespace darkroom {

// One for the whole run, removed at its end; in memory where the system has such a folder.
class ScratchPath {
 public:
  explicit ScratchPath(std::string_view target) {
    namespace fs = std::filesystem;
    const fs::path memory = "/dev/shm";
    path_ = (fs::is_directory(memory) ? memory : fs::temp_directory_path()) /
            fmt::format("darkroom-fuzz-{}-{}.safetensors", target, ::getpid());
  }
  ~ScratchPath() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  ScratchPath(const ScratchPath&) = delete;
  ScratchPath& operator=(const ScratchPath&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace darkroom
