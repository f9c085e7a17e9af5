// What the text encoders say of a prompt, kept on disk, so that a prompt seen before needs neither of them.
//
// An entry's key is a digest of all that its bytes depend on: the token ids (which stand for the prompt, the
// token limit and the tokenizers), the encoders' files and LoRAs on them, the precision, the backend with its instruction set,
// and the library's own code. The files are told apart by their contents, not by their paths; of a large one
// these are its size, the time it was last written to, its first MiB (where the header is) and 256 pages
// spread over it, as reading T5-XXL whole would take longer than is saved.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "cache/disk_cache.h"
#include "checkpoint/checkpoint.h"
#include "pipeline/phases.h"

namespace darkroom {

// Where embeddings are kept, and how many bytes of them. No folder: nowhere.
struct EmbedCacheOptions {
  std::filesystem::path folder;
  std::size_t limit_bytes = std::size_t{256} << 20;
};

// `size` as memory::parse_bytes() reads it. Errors: kUsage.
EmbedCacheOptions embed_cache_options(const std::string& folder, const std::string& size);

// A line that is another when the file's contents are, without its path. Errors: kModel.
std::string file_identity(const std::filesystem::path& path);

class EmbeddingCache {
 public:
  // Looks at the encoders' files. `model` and `job` must outlive this. It never fails: what keeps it from
  // working is said by `on_note`, or later by the encoders that then run.
  EmbeddingCache(const EmbedCacheOptions& options, const Checkpoint& model, const Job& job,
                 const std::string& backend, std::function<void(const std::string&)> on_note);

  std::optional<Conditioning> find(const Tokens& tokens) const;
  void store(const Tokens& tokens, const Conditioning& found) const;

 private:
  Digest key_of(const Tokens& tokens) const;

  const Checkpoint& model_;
  const Job& job_;
  std::string facts_;  // what a key depends on besides the ids
  std::optional<cache::DiskCache> entries_;
};

}  // namespace darkroom
