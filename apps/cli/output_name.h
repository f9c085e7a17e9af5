// Names of result files: templates, folders that must be writable before work starts, and never overwriting.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>

#include "darkroom/darkroom.h"

namespace cli {

// Makes a file in the folder and removes it. Throws Failure (DARKROOM_OUTPUT).
void require_writable(const std::filesystem::path& folder);

// Refuse names that no result can have: an empty one, "-", a device or a pipe; and, where names are no
// templates, {seed} and {index}. Throw Failure (DARKROOM_USAGE), `flag` in front.
void require_file_name(const std::string& flag, const std::string& path);
void require_no_places(const std::string& flag, const std::string& path);

// Where the pictures (or latents) of one run go.
class OutputName {
 public:
  // `pattern` is a file name in which {seed} and {index} (from 1) become numbers, or an existing folder,
  // then `default_name` inside it. A name without an extension gets `extension` (".png"). Checks that the
  // folder exists and a file can be made in it. Throws Failure: DARKROOM_USAGE for the pattern,
  // DARKROOM_OUTPUT for the folder.
  OutputName(const std::string& flag, const std::string& pattern, const std::string& default_name,
             const std::string& extension, bool overwrite);

  // Calls save(path, overwrite) with the name for this picture; when that exists, with -2, -3, ... before the
  // extension. With overwrite, only names of this very run are kept. Returns the path that was written.
  // `save` returns a status; any failure but a name taken meanwhile ends here, as *status.
  std::string save(uint64_t seed, int index,
                   const std::function<darkroom_status(const std::string& path, int overwrite)>& save,
                   darkroom_status* status);

 private:
  std::string flag_;
  std::filesystem::path folder_;
  std::string stem_, extension_;  // of the pattern
  bool overwrite_;
  std::set<std::string> written_;
};

}  // namespace cli
