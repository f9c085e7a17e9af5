#include "weights/weight_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

namespace darkroom {
namespace {

constexpr std::string_view kDiffusers = "diffusion_pytorch_model", kTransformers = "model";
constexpr std::array<std::string_view, 4> kVariants = {"", "fp16", "bf16", "fp32"};

std::vector<std::string> split_at_dots(std::string_view name) {
  std::vector<std::string> parts(1);
  for (const char c : name) {
    if (c == '.') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// The number after the last `mark` in `text`, which both are taken off its end; 0 when there is none.
int take_number(std::string& text, std::string_view mark) {
  const std::size_t at = text.rfind(mark);
  if (at == text.npos) return 0;
  const char *const begin = text.data() + at + mark.size(), *const end = text.data() + text.size();
  int number = 0;
  const auto [stop, error] = std::from_chars(begin, end, number);
  if (error != std::errc() || stop != end || begin == end || number < 1) return 0;
  text.resize(at);
  return number;
}

// Takes "-00002-of-00003" off the end of a part of a name.
void take_shard(std::string& part, WeightName& out) {
  std::string rest = part;
  const int shards = take_number(rest, "-of-"), shard = shards ? take_number(rest, "-") : 0;
  if (shard == 0) return;
  part = rest;
  out.shard = shard;
  out.shards = shards;
}

}  // namespace

std::string WeightName::shard_name(int number) const {
  return fmt::format("{}-{:05}-of-{:05}{}{}.safetensors", base, number, shards, variant.empty() ? "" : ".",
                     variant);
}

std::string WeightName::index_name() const {
  return fmt::format("{}.safetensors.index.{}{}json", base, variant, variant.empty() ? "" : ".");
}

std::optional<WeightName> parse_weight_name(std::string_view name) {
  std::vector<std::string> parts = split_at_dots(name);
  if (parts.size() < 2 || parts[0].empty()) return std::nullopt;
  WeightName out{.name = std::string(name), .base = {}, .variant = {}};
  const auto take = [&](std::string_view word) {
    const auto it = std::ranges::find(parts, word);
    if (it == parts.begin() || it == parts.end()) return false;
    parts.erase(it);
    return true;
  };
  out.index = parts.back() == "json";
  if (!out.index && parts.back() != "safetensors") return std::nullopt;
  if (out.index) parts.pop_back();
  if (!take("safetensors") || (out.index && !take("index"))) return std::nullopt;
  if (!out.index) {
    for (std::string& part : parts) take_shard(part, out);
  }
  out.base = parts[0];
  for (std::size_t i = 1; i < parts.size(); ++i) out.variant += (i > 1 ? "." : "") + parts[i];
  return out;
}

WeightRank rank_of(const WeightName& name, const std::filesystem::path& folder) {
  // Of "text_encoder_2/" the last name is empty.
  const std::filesystem::path last =
      folder.has_filename() ? folder.filename() : folder.parent_path().filename();
  const bool transformers_first = last.string().starts_with("text_encoder");
  const bool diffusers = name.base == kDiffusers, usual = diffusers || name.base == kTransformers;
  const auto* const variant = std::ranges::find(kVariants, name.variant);
  WeightRank rank;
  rank.unusual = !usual || variant == kVariants.end() || name.shard > 0;  // 1 of 1 is a whole one
  rank.variant = static_cast<int>(variant - kVariants.begin());
  rank.base = name.shard > 0 ? 3 : usual ? static_cast<int>(diffusers == transformers_first) : 2;
  rank.second_form = name.index == (name.base == kTransformers);
  return rank;
}

}  // namespace darkroom
