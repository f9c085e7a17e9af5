#include "checkpoint/model_settings.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/foreign_file.h"
#include "base/json.h"
#include "options/limits.h"

namespace darkroom {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

// A few hundred words and lines; these leave room and keep a hostile file small.
constexpr std::size_t kMaxFileBytes = 1 << 20;
constexpr std::size_t kMaxWords = 16384, kMaxWordBytes = 100;
constexpr std::size_t kMaxLines = 100, kMaxLineBytes = 1000;
// Latents have a deviation near 1 and RGB a range of 2.
constexpr double kMaxPreviewFactor = 100;

std::optional<int64_t> whole(const JsonFields& fields, const std::string& name, int64_t low, int64_t high) {
  if (!fields.has(name)) return std::nullopt;
  return fields.required_integer(name, low, high);
}

std::optional<double> real(const JsonFields& fields, const std::string& name, double low, double high) {
  if (!fields.has(name)) return std::nullopt;
  return fields.number(name, 0, low, high);
}

std::optional<int64_t> edge(const JsonFields& fields, const std::string& name, int64_t multiple,
                            const std::string& where) {
  const std::optional<int64_t> pixels = whole(fields, name, 1, kMaxEdge);
  require(!pixels || *pixels % multiple == 0, ErrorCode::kModel, "{}: '{}' is {}, expected a multiple of {}",
          where, name, pixels.value_or(0), multiple);
  return pixels;
}

PromptGuide read_prompts(const json& object, const std::string& where) {
  const JsonFields fields(object, where);
  PromptGuide guide;
  guide.about = fields.text("about", "");
  require(guide.about.size() <= kMaxLineBytes, ErrorCode::kModel,
          "{}: 'about' has {} bytes, at most {} are read", where, guide.about.size(), kMaxLineBytes);
  guide.grammar = fields.texts("grammar", kMaxLines, kMaxLineBytes);
  guide.words = fields.texts("words", kMaxWords, kMaxWordBytes);
  guide.examples = fields.texts("examples", kMaxLines, kMaxLineBytes);
  return guide;
}

std::array<float, 3> rgb_triple(const JsonFields& fields, const std::string& name) {
  const std::vector<double> values = fields.numbers(name, 3, -kMaxPreviewFactor, kMaxPreviewFactor);
  return {static_cast<float>(values[0]), static_cast<float>(values[1]), static_cast<float>(values[2])};
}

PreviewMap read_preview(const json& object, int64_t latent_channels, const std::string& where) {
  const JsonFields fields(object, where);
  require(fields.has("rgb") && fields.has("bias"), ErrorCode::kModel, "{}: the field '{}' is missing", where,
          fields.has("rgb") ? "bias" : "rgb");
  const json& rows = object["rgb"];
  require(rows.is_array() && rows.size() == static_cast<std::size_t>(latent_channels), ErrorCode::kModel,
          "{}: 'rgb' must be a list of {} rows, one for each latent channel", where, latent_channels);
  PreviewMap map;
  for (const json& row : rows) {
    // A row is read as a field, so that errors are those of fields.
    const std::string name = fmt::format("rgb[{}]", map.rgb.size());
    const json field = {{name, row}};
    map.rgb.push_back(rgb_triple(JsonFields(field, where), name));
  }
  map.bias = rgb_triple(fields, "bias");
  return map;
}

}  // namespace

ModelSettings settings_from_json(const json& document, int64_t token_pixels, int64_t latent_channels,
                                 const std::string& where) {
  const JsonFields fields(document, where);
  ModelSettings settings;
  settings.width = edge(fields, "width", token_pixels, where);
  settings.height = edge(fields, "height", token_pixels, where);
  const int64_t pixels = settings.width.value_or(0) * settings.height.value_or(0);
  require(pixels <= kMaxPixels, ErrorCode::kModel,
          "{}: 'width' times 'height' is {}, at most {} pixels are allowed", where, pixels, kMaxPixels);
  settings.steps = whole(fields, "steps", 1, kMaxSteps);
  settings.cfg = real(fields, "cfg", 1, kMaxCfg);
  settings.guidance = real(fields, "guidance", 0, kMaxGuidance);
  settings.max_text_tokens = whole(fields, "max_text_tokens", 1, kMaxTextTokens);
  if (fields.has("prompts")) settings.prompts = read_prompts(document["prompts"], where + ": 'prompts'");
  if (fields.has("preview"))
    settings.preview = read_preview(document["preview"], latent_channels, where + ": 'preview'");
  return settings;
}

ModelSettings read_model_settings(const fs::path& folder, int64_t token_pixels, int64_t latent_channels) {
  const fs::path path = folder / "darkroom.json";
  if (!is_there(path)) return {};
  return settings_from_json(read_json_file(path, kMaxFileBytes), token_pixels, latent_channels,
                            path.string());
}

json to_json(const ModelSettings& settings) {
  json out = json::object();
  const auto set = [](json& object, const char* name, const auto& value) {
    if (value) object[name] = *value;
  };
  set(out, "width", settings.width);
  set(out, "height", settings.height);
  set(out, "steps", settings.steps);
  set(out, "cfg", settings.cfg);
  set(out, "guidance", settings.guidance);
  set(out, "max_text_tokens", settings.max_text_tokens);
  json prompts = json::object();
  const auto set_unless_empty = [&](const char* name, const auto& value) {
    if (!value.empty()) prompts[name] = value;
  };
  set_unless_empty("about", settings.prompts.about);
  set_unless_empty("grammar", settings.prompts.grammar);
  set_unless_empty("words", settings.prompts.words);
  set_unless_empty("examples", settings.prompts.examples);
  if (!prompts.empty()) out["prompts"] = prompts;
  if (settings.preview) out["preview"] = {{"rgb", settings.preview->rgb}, {"bias", settings.preview->bias}};
  return out;
}

}  // namespace darkroom
