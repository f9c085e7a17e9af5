#include "pipeline/lora_info.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/lora_keys.h"

namespace darkroom {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxText = 200, kMaxWords = 8, kMaxTargets = 100;

// What kind a piece shows; "" for one that several kinds have.
std::string_view kind_of(LoraPiece piece) {
  switch (piece) {
    case LoraPiece::kDown:
      return "LoRA";
    case LoraPiece::kLokrW1:
    case LoraPiece::kLokrW1A:
      return "LoKr";
    case LoraPiece::kLohaW1A:
      return "LoHa";
    case LoraPiece::kDiff:
    case LoraPiece::kDiffBias:
      return "difference";
    case LoraPiece::kSet:
      return "replacement";
    case LoraPiece::kDora:
      return "DoRA";
    default:
      return "";
  }
}

// "double_blocks_N_img_attn_qkv" of "lora_unet_double_blocks_11_img_attn_qkv".
std::string target_of(std::string_view module) {
  for (const std::string_view prefix : {"lora_unet_", "lora_transformer_", "lycoris_", "base_model.model.",
                                        "diffusion_model.", "transformer."}) {
    if (module.starts_with(prefix)) module.remove_prefix(prefix.size());
  }
  std::string out;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  bool numbered = false;
  for (std::size_t i = 0; i < module.size(); ++i) {
    const bool begins = is_digit(module[i]) && i > 0 && (module[i - 1] == '.' || module[i - 1] == '_');
    if (!begins || numbered) {
      out += module[i];
      continue;
    }
    std::size_t end = i;
    while (end < module.size() && is_digit(module[end])) ++end;
    const bool whole = end < module.size() && (module[end] == '.' || module[end] == '_');
    out += whole ? std::string("N") : std::string(module.substr(i, end - i));
    numbered = whole;  // only the block's number: "ff.net.0.proj" keeps its own
    i = end - 1;
  }
  return out.substr(0, kMaxText);
}

std::string text_of(const std::map<std::string, std::string>& metadata, const char* name) {
  const auto found = metadata.find(name);
  return found == metadata.end() ? "" : found->second.substr(0, kMaxText);
}

// The words that most of the training's captions had.
std::vector<std::string> frequent_words(const std::map<std::string, std::string>& metadata) {
  constexpr std::size_t kMaxBytes = std::size_t{4} << 20;
  const auto found = metadata.find("ss_tag_frequency");
  if (found == metadata.end() || found->second.size() > kMaxBytes) return {};
  std::map<std::string, double> counts;
  try {
    const json folders = parse_json(found->second, "ss_tag_frequency");
    if (!folders.is_object()) return {};
    for (const auto& [folder, words] : folders.items()) {
      if (!words.is_object()) continue;
      for (const auto& [word, count] : words.items()) {
        if (count.is_number()) counts[word.substr(0, kMaxText)] += count.get<double>();
      }
    }
  } catch (const Error&) {  // metadata of a stranger, which nothing depends on
    return {};
  }
  std::vector<std::pair<double, std::string>> ranked;
  for (const auto& [word, count] : counts) ranked.emplace_back(-count, word);
  std::ranges::sort(ranked);
  std::vector<std::string> out;
  for (const auto& [count, word] : ranked) {
    if (out.size() < kMaxWords) out.push_back(word);
  }
  return out;
}

}  // namespace

json describe_lora(const Catalog& catalog) {
  std::map<std::string, std::set<LoraPiece>> modules;
  std::map<std::string, int> ranks, alphas, targets, styles, kinds;
  std::string_view made_for;
  for (const std::string_view name : catalog.names()) {
    const std::optional<LoraKey> key = split_lora_name(name);
    if (!key) continue;
    modules[std::string(key->module)].insert(key->piece);
    const StoredTensor& stored = *catalog.stored(name);
    const bool ranked = key->piece == LoraPiece::kDown || key->piece == LoraPiece::kLohaW1B ||
                        key->piece == LoraPiece::kLokrW2B;
    if (ranked && !stored.extents.empty()) ++ranks[std::to_string(stored.extents[0])];
    if (key->piece == LoraPiece::kAlpha && stored.elements == 1 && stored.dtype && is_float(*stored.dtype)) {
      const auto owned = catalog.load(name);
      dispatch_float(*stored.dtype, [&]<typename T>() {
        ++alphas[fmt::format("{}", to_float(*static_cast<const T*>(owned->tensor.data)))];
      });
    }
  }
  for (const auto& [module, pieces] : modules) {
    bool any = false;
    for (const LoraPiece piece : pieces) {
      const std::string_view kind = kind_of(piece);
      if (kind.empty()) continue;
      ++kinds[std::string(kind)];
      any = true;
    }
    if (!any) continue;
    ++styles[std::string(lora_style(module))];
    if (targets.size() < kMaxTargets || targets.contains(target_of(module))) ++targets[target_of(module)];
    const std::string_view other = other_lora_model(module);
    if (!other.empty() && made_for != "Stable Diffusion XL") made_for = other;
  }
  if (kinds.empty()) return {};
  const auto most = std::ranges::max_element(styles, {}, [](const auto& entry) { return entry.second; });
  json out = {{"names", most->first}, {"kinds", kinds},   {"modules", modules.size()},
              {"ranks", ranks},       {"alphas", alphas}, {"targets", targets}};
  if (!made_for.empty()) out["made_for"] = made_for;
  const std::map<std::string, std::string>& metadata = catalog.files().at(0)->metadata();
  std::vector<std::string> words = frequent_words(metadata);
  if (std::string phrase = text_of(metadata, "modelspec.trigger_phrase"); !phrase.empty())
    words.insert(words.begin(), std::move(phrase));
  if (!words.empty()) out["trigger_words"] = words;
  for (const auto& [name, shown] :
       {std::pair("ss_output_name", "title"), std::pair("modelspec.title", "title"),
        std::pair("ss_base_model_version", "base")}) {
    const std::string text = text_of(metadata, name);
    if (!text.empty() && !out.contains(shown)) out[shown] = text;
  }
  return out;
}

}  // namespace darkroom
