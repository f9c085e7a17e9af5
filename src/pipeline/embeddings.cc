#include "pipeline/embeddings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file_map.h"
#include "base/half.h"
#include "memory/budget.h"
#include "pipeline/code_digest.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

std::string encoder_identity(const Checkpoint& model) {
  std::string out;
  for (const Part part : {Part::kClip, Part::kT5}) {
    out += std::string(part_folder(part)) + "\n";
    const std::vector<fs::path> files = model.files(part);
    // A formula's values depend on the code and on the sizes in the model's name.
    if (files.empty()) out += model.name() + "\n";
    for (const fs::path& file : files) out += file_identity(file);
  }
  return out;
}

// Those that change a text encoder, which then says something else.
std::string lora_identity(const Job& job) {
  std::string out;
  for (const JobLora& lora : job.loras) {
    if (!lora.use.lora->touches(Part::kClip) && !lora.use.lora->touches(Part::kT5)) continue;
    out += fmt::format("lora {} {}", lora.use.strength, file_identity(lora.path));
  }
  return out;
}

void add_ids(Sha256& sum, const std::vector<int32_t>& ids) {
  sum.add(fmt::format("{} ids\n", ids.size()));
  sum.add(std::as_bytes(std::span(ids)));
}

// Values as the job's precision has them, so nothing is lost.
template <typename T>
void append(std::vector<std::byte>& out, std::span<const float> values) {
  const std::size_t at = out.size();
  out.resize(at + values.size() * sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i) {
    T stored;
    if constexpr (std::is_same_v<T, BFloat16>) {
      stored = to_bfloat16(values[i]);
    } else {
      stored = values[i];
    }
    std::memcpy(out.data() + at + i * sizeof(T), &stored, sizeof stored);
  }
}

template <typename T>
std::vector<float> take(const char*& from, std::size_t count) {
  std::vector<float> values(count);
  for (float& value : values) {
    T stored;
    std::memcpy(&stored, from, sizeof stored);
    from += sizeof stored;
    value = to_float(stored);
  }
  return values;
}

}  // namespace

std::string file_identity(const fs::path& path) {
  constexpr std::size_t kSmall = std::size_t{4} << 20, kBeginning = std::size_t{1} << 20, kPages = 256,
                        kPage = 4096;
  const FileMap file(path);
  const std::size_t size = file.bytes().size();
  std::vector<std::byte> bytes(size <= kSmall ? size : kBeginning);
  Sha256 sum;
  file.read(0, bytes);
  sum.add(bytes);
  if (size <= kSmall) return fmt::format("{} bytes {}\n", size, hex(sum.finish()));
  bytes.resize(kPage);
  const std::size_t last = size - kPage;
  for (std::size_t page = 1; page <= kPages; ++page) {
    file.read(kBeginning + (last - kBeginning) * page / kPages, bytes);
    sum.add(bytes);
  }
  const auto written = fs::last_write_time(path).time_since_epoch().count();
  return fmt::format("{} bytes {} written {}\n", size, hex(sum.finish()), written);
}

EmbedCacheOptions embed_cache_options(const std::string& folder, const std::string& size) {
  const std::optional<std::size_t> bytes = memory::parse_bytes(size);
  require(bytes.has_value(), ErrorCode::kUsage,
          "embed-cache-size is '{}'; expected an amount such as 256MiB or 1G", size);
  return {folder, *bytes};
}

EmbeddingCache::EmbeddingCache(const EmbedCacheOptions& options, const Checkpoint& model, const Job& job,
                               const std::string& backend, std::function<void(const std::string&)> on_note)
    : model_(model), job_(job) {
  if (options.folder.empty()) return;
  try {
    facts_ = fmt::format(
        "darkroom embedding\ncode {}\nbackend {}\nprecision {}{}\n{}{}", kCodeDigest, backend,
        dtype_name(job.text_precision),
        job.text_int8 ? fmt::format(" i8 {} {}", job.text_int8->levels, job.text_int8->group) : "",
        encoder_identity(model), lora_identity(job));
  } catch (const std::exception&) {
    return;  // reading the encoders will say what is wrong with their files
  }
  entries_.emplace(options.folder, options.limit_bytes, std::move(on_note));
}

Digest EmbeddingCache::key_of(const Tokens& tokens) const {
  Sha256 sum;
  sum.add(facts_);
  add_ids(sum, tokens.clip);
  add_ids(sum, tokens.t5);
  return sum.finish();
}

std::optional<Conditioning> EmbeddingCache::find(const Tokens& tokens) const {
  if (!entries_) return std::nullopt;
  const flux::Config& config = model_.config().transformer;
  const std::size_t pooled = static_cast<std::size_t>(config.pooled_projection_dim),
                    states = static_cast<std::size_t>(job_.max_text_tokens * config.joint_attention_dim);
  const std::optional<std::string> bytes =
      entries_->find(key_of(tokens), (pooled + states) * dtype_bytes(job_.text_precision));
  if (!bytes) return std::nullopt;
  const char* from = bytes->data();
  const auto next = [&](std::size_t count) {
    return job_.text_precision == DType::kBF16 ? take<BFloat16>(from, count) : take<float>(from, count);
  };
  Conditioning found;
  found.pooled = next(pooled);
  found.states = next(states);
  return found;
}

void EmbeddingCache::store(const Tokens& tokens, const Conditioning& found) const {
  if (!entries_) return;
  std::vector<std::byte> bytes;
  for (const std::vector<float>* values : {&found.pooled, &found.states}) {
    job_.text_precision == DType::kBF16 ? append<BFloat16>(bytes, *values) : append<float>(bytes, *values);
  }
  entries_->store(key_of(tokens), bytes);
}

}  // namespace darkroom
