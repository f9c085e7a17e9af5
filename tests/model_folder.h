// The folder of a model that works and has a darkroom.json of the test's choice.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

namespace darkroom {

// The parts are links to those of the small checkpoint in the fixtures.
inline void make_model_folder(const std::filesystem::path& folder, const std::string& darkroom_json) {
  namespace fs = std::filesystem;
  const fs::path checkpoint = DARKROOM_SOURCE_DIR "/tests/fixtures/pipelines/dev_small";
  fs::create_directories(folder);
  for (const auto& entry : fs::directory_iterator(checkpoint)) {
    if (entry.is_directory()) fs::create_directory_symlink(entry.path(), folder / entry.path().filename());
  }
  fs::copy_file(checkpoint / "model_index.json", folder / "model_index.json");
  std::ofstream(folder / "darkroom.json") << darkroom_json;
}

}  // namespace darkroom
