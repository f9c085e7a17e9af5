#include "checkpoint/own_config.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"

namespace darkroom {

nlohmann::json own_config(const PartFiles& files, std::string_view entry) {
  if (!files.catalog) return nullptr;
  for (const auto& file : files.catalog->files()) {
    const auto text = file->metadata().find(std::string(kConfigKey));
    if (text == file->metadata().end()) continue;
    const std::string where = fmt::format("{}: {}", file->where(), kConfigKey);
    nlohmann::json all = parse_json(text->second, where);
    require(all.is_object(), ErrorCode::kModel, "{}: this is no JSON object", where);
    const auto found = all.find(std::string(entry));
    if (found != all.end()) return std::move(*found);
  }
  return nullptr;
}

std::string own_config_place(const PartFiles& files, std::string_view entry) {
  return fmt::format("{}: {}, {}", files.where.string(), kConfigKey, entry);
}

std::map<std::string, std::string> own_tokenizer(const PartFiles& files, std::string_view entry) {
  std::map<std::string, std::string> out;
  const nlohmann::json texts = own_config(files, entry);
  if (texts.is_null()) return out;
  const std::string where = own_config_place(files, entry);
  require(texts.is_object(), ErrorCode::kModel, "{}: this is no JSON object", where);
  for (const auto& [name, text] : texts.items()) {
    require(text.is_string(), ErrorCode::kModel, "{}: '{}' is no text", where, printable(name, 40));
    out[name] = text.get<std::string>();
  }
  return out;
}

}  // namespace darkroom
