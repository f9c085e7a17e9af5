#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/printable.h"
#include "image/exif.h"
#include "image/foreign/json_fields.h"
#include "image/foreign/readers.h"
#include "image/found_recipe.h"
#include "image/text.h"

namespace darkroom {
namespace {

using nlohmann::json;

// Where recipes lie, the first that is one counts.
constexpr const char* kKeys[] = {"parameters",  "invokeai_metadata", "sd-metadata", "prompt",
                                 "UserComment", "ImageDescription",  "Comment",     "Description"};
constexpr const char* kDreamKeys[] = {"Dream", "dream"};
constexpr const char* kXmpKey = "XML:com.adobe.xmp";

// Keys under which only a recipe lies; any other text there is one of an unknown kind.
bool is_recipe_key(std::string_view key) {
  return key == "parameters" || key == "invokeai_metadata" || key == "sd-metadata";
}

std::string key_list(const json& object) {
  std::string out;
  int count = 0;
  for (const auto& item : object.items()) {
    if (++count > 5) return out + ", ..";
    out += fmt::format("{}'{}'", out.empty() ? "" : ", ", printable(item.key(), 30));
  }
  return out;
}

// A text that begins as an object does, "{" and a quote, and not as "{a|b} cat".
bool begins_as_object(std::string_view text) {
  const std::size_t brace = text.find_first_not_of(" \t\r\n");
  if (brace == std::string_view::npos || text[brace] != '{') return false;
  const std::size_t quote = text.find_first_not_of(" \t\r\n", brace + 1);
  return quote != std::string_view::npos && text[quote] == '"';
}

std::optional<FoundRecipe> read_object(const json& object, const Texts& texts) {
  const auto readers = foreign_readers();
  const auto fits = std::ranges::find_if(readers, [&](const auto& reader) { return reader.fits(object); });
  if (fits == readers.end()) return std::nullopt;
  FoundRecipe found{.source = fits->source};
  fits->read(object, texts, found);
  return found;
}

[[noreturn]] void fail_unknown(const json& object, const std::string& place) {
  if (object.is_object() && object.contains("nodes") && object.contains("links")) {
    fail(ErrorCode::kFailure, "{}: ComfyUI's workflow without the graph that ran: give its values as flags",
         place);
  }
  fail(ErrorCode::kFailure,
       "{}: the recipe of another tool, which is not known: JSON with the keys {}; give its values as flags",
       place, object.is_object() ? key_list(object) : "of a list");
}

// The recipe in one text. Nothing when there is none, as in a comment of another kind.
std::optional<FoundRecipe> read_one(const std::string& key, const std::string& text, const Texts& texts,
                                    const std::string& where) {
  const std::string place = fmt::format("{}: the text '{}'", where, key);
  require(text.size() <= kMaxTextBytes, ErrorCode::kFailure, "{}: {} bytes of text, at most {} are read",
          place, text.size(), kMaxTextBytes);
  if (const std::optional<json> object = json_in(text)) {
    const bool has_objects = object->is_object() ||
                             std::ranges::any_of(*object, [](const json& item) { return item.is_object(); });
    if (object->is_object()) {
      if (auto found = read_object(*object, texts)) return found;
    }
    if (has_objects && is_recipe_key(key)) fail_unknown(*object, place);
    if (has_objects) return std::nullopt;
  }
  if (has_a1111_parameters(text)) return from_a1111_text(text, place);
  require(!begins_as_object(text) || !is_recipe_key(key), ErrorCode::kFailure,
          "{}: JSON that is damaged or cut off: give its values as flags", place);
  return key == "parameters" ? std::optional(from_a1111_text(text, place)) : std::nullopt;
}

// What no run of darkroom takes would keep the rest from being drawn, and random numbers of a sampler differ
// from program to program.
void check_values(FoundRecipe& found) {
  Recipe& recipe = found.recipe;
  if (recipe.engine.starts_with("darkroom")) return;
  if (recipe.cfg.value_or(1) < 1) {
    add_not_repeated(found, "cfg", fmt::format("{}", *recipe.cfg), "1 instead");
    recipe.cfg.reset();
  }
  if (recipe.guidance.value_or(0) < 0) {
    add_not_repeated(found, "guidance", fmt::format("{}", *recipe.guidance), "the model's own instead");
    recipe.guidance.reset();
  }
  if (recipe.sampler == "euler-a") add_not_repeated(found, "random numbers of the sampler", "");
}

// A graph beside the text tells whose noise it was, where the text itself does not.
void look_beside(const Texts& texts, FoundRecipe& found) {
  if (found.source != RecipeSource::kA1111 || !texts.contains("prompt")) return;
  const std::optional<json> graph = json_in(texts.at("prompt"));
  if (graph && graph->is_object() && is_comfyui(*graph)) found.recipe.rng = "torch-cpu";
}

std::optional<FoundRecipe> read_foreign(const Texts& texts, const std::string& where) {
  for (const char* key : kKeys) {
    const auto at = texts.find(key);
    if (at == texts.end()) continue;
    if (auto found = read_one(key, at->second, texts, where)) {
      look_beside(texts, *found);
      check_values(*found);
      return found;
    }
  }
  for (const char* key : kDreamKeys) {
    if (const auto at = texts.find(key); at != texts.end()) return read_dream(at->second);
  }
  if (const auto at = texts.find(kXmpKey); at != texts.end()) {
    return read_one("UserComment", xmp_user_comment(at->second), texts, where);
  }
  return std::nullopt;
}

}  // namespace

const char* source_word(RecipeSource source) {
  static constexpr const char* kWords[] = {"darkroom", "a1111",   "swarmui",    "fooocus", "invokeai",
                                           "comfyui",  "novelai", "drawthings", "mflux"};
  return kWords[static_cast<std::size_t>(source)];
}

const char* source_name(RecipeSource source) {
  static constexpr const char* kNames[] = {"darkroom", "A1111",   "SwarmUI",     "Fooocus", "InvokeAI",
                                           "ComfyUI",  "NovelAI", "Draw Things", "mflux"};
  return kNames[static_cast<std::size_t>(source)];
}

void add_not_repeated(FoundRecipe& found, std::string_view name, std::string_view value,
                      std::string_view instead) {
  constexpr std::size_t kMaxNames = 64, kMaxBytes = 60;
  if (found.not_repeated.size() >= kMaxNames) return;
  std::string text = clean_utf8(name.substr(0, kMaxBytes));
  if (!value.empty()) text += " " + clean_utf8(value.substr(0, kMaxBytes));
  if (value.size() > kMaxBytes) text += "..";
  if (!instead.empty()) text += fmt::format(" ({})", instead);
  if (std::ranges::find(found.not_repeated, text) == found.not_repeated.end()) {
    found.not_repeated.push_back(std::move(text));
  }
}

bool may_hold_recipe(const PictureTexts& picture) {
  const Texts& texts = picture.texts;
  if (texts.contains("darkroom") || texts.contains("parameters") || texts.contains("workflow")) return true;
  try {
    return read_foreign(texts, "").has_value();
  } catch (const Error&) {
    return true;
  }
}

FoundRecipe read_recipe(const PictureTexts& picture, const std::string& where) {
  const Texts& texts = picture.texts;
  if (const auto ours = texts.find("darkroom"); ours != texts.end()) {
    return {.recipe = from_json(ours->second, where + ": the text 'darkroom'")};
  }
  if (auto found = read_foreign(texts, where)) return *std::move(found);
  if (const auto at = texts.find("workflow"); at != texts.end()) {
    if (const auto object = json_in(at->second)) fail_unknown(*object, where + ": the text 'workflow'");
  }
  fail(ErrorCode::kFailure,
       "{}: the picture carries no recipe: none of its {} texts is one of darkroom or of a program that it "
       "knows",
       where, texts.size());
}

FoundRecipe read_recipe(const std::filesystem::path& path) {
  return read_recipe(read_picture_texts(path), path.string());
}

}  // namespace darkroom
