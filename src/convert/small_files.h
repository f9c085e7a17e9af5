// What a model's folder holds beside weights: configs, tokenizers, the licence. They are copied into a
// converted one, which people share, so no link leads out of the model to a file that is not its own.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

namespace darkroom {

inline constexpr std::size_t kMaxSmallFileBytes = 64 << 20;    // of one
inline constexpr std::size_t kMaxSmallFilesBytes = 256 << 20;  // of all

// Name in the folder ("vae/config.json") to content, read whole. A link is followed when its target lies in
// the model, in the model that it is a variant of (checkpoint/model_folder.h), or in the blobs of its
// snapshot of huggingface_hub; the folder of a part may be a link to that of another model. What does not
// hold to that, is too large or cannot be read is left out and `note` says so. Errors: kModel for such a file
// that the model cannot do without, and for a folder that cannot be listed.
std::map<std::string, std::string> read_small_files(const std::filesystem::path& model,
                                                    const std::function<void(const std::string&)>& note);
// The same of one of its folders.
std::map<std::string, std::string> read_small_files(const std::filesystem::path& model,
                                                    const std::string& folder,
                                                    const std::function<void(const std::string&)>& note);

}  // namespace darkroom
