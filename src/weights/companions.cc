// What lies beside quantised matrices: known, harmless, or a reason to refuse the file.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"
#include "weights/scales.h"
#include "weights/smoothing.h"

namespace darkroom {
namespace {

using nlohmann::json;

constexpr std::string_view kWeight = ".weight", kFormat = ".comfy_quant";
constexpr std::string_view kFormatsInMetadata = "_quantization_metadata";
constexpr std::size_t kMaxFormatBytes = 1 << 16;

bool is_quantised(const StoredTensor& tensor) {
  return tensor.name.ends_with(kWeight) &&
         (tensor.dtype == DType::kF8E4M3 || tensor.dtype == DType::kF8E5M2 || tensor.dtype == DType::kI8);
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

// Words of quantisation in what follows a layer's name.
bool sounds_quantised(std::string_view rest) {
  static constexpr std::string_view kWords[] = {"scale", "zero_point", "zeropoint", "zeros",
                                                "zp",    "absmax",     "quant",     "scb"};
  const std::string lower = lower_case(rest);
  return std::ranges::any_of(kWords, [&](std::string_view word) { return lower.find(word) != lower.npos; });
}

// The layers that a tensor of this name may belong to: the one that it lies in, and by words of quantisation
// in its name also those of X.weight.scale and X_scale. A few for any name, so that hostile ones take no
// time.
std::vector<std::string_view> layers_of(std::string_view name) {
  constexpr int kMaxUnderscores = 8;
  std::vector<std::string_view> layers;
  const std::size_t dot = name.rfind('.'), leaf = dot == name.npos ? 0 : dot + 1;
  if (leaf > 0 && name.substr(leaf) != "bias") layers.push_back(name.substr(0, dot));
  const std::size_t under = name.find(".weight.");
  if (under != name.npos && sounds_quantised(name.substr(under))) layers.push_back(name.substr(0, under));
  if (!sounds_quantised(name.substr(leaf))) return layers;
  std::size_t at = name.find('_', leaf);
  for (int i = 0; i < kMaxUnderscores && at != name.npos; ++i, at = name.find('_', at + 1)) {
    layers.push_back(name.substr(0, at));
  }
  return layers;
}

// The text of a tensor of bytes; empty for another type, or more than a format needs.
std::string text_of(const Catalog& catalog, const StoredTensor& tensor) {
  const bool fits = tensor.dtype == DType::kU8 && tensor.bytes <= kMaxFormatBytes;
  std::string text(fits ? tensor.bytes : 0, '\0');
  if (fits) catalog.read(tensor.name, 0, std::as_writable_bytes(std::span(text)));
  return text;
}

// A format as ComfyUI describes it: one that means stored times scale, and no word that would change that.
void check_format(const json& format, const std::string& where) {
  static constexpr std::string_view kFormats[] = {"float8_e4m3fn", "float8_e5m2", "int8_tensorwise"};
  static constexpr std::string_view kHarmless[] = {"format", "full_precision_matrix_mult"};
  const std::string name = JsonFields(format, where).text("format", "");
  require(std::ranges::find(kFormats, name) != std::end(kFormats), ErrorCode::kModel,
          "{}: the format '{}' is not known; float8_e4m3fn, float8_e5m2 and int8_tensorwise are", where,
          printable(name, 40));
  for (const auto& [key, value] : format.items()) {
    const bool off = value.is_null() || value == json(false);
    require(off || std::ranges::find(kHarmless, key) != std::end(kHarmless), ErrorCode::kModel,
            "{}: '{}' is not known; what the weights mean cannot be told", where, printable(key, 40));
  }
}

// The same in a file's metadata, for all its layers.
void check_metadata(const TensorFile& file) {
  const auto it = file.metadata().find(std::string(kFormatsInMetadata));
  if (it == file.metadata().end()) return;
  const std::string where = file.where() + ": " + std::string(kFormatsInMetadata);
  const json document = parse_json(it->second, where);
  const JsonFields fields(document, where);
  if (!fields.has("layers")) return;
  const json& layers = document["layers"];
  require(layers.is_object(), ErrorCode::kModel, "{}: 'layers' is no object", where);
  for (const auto& [layer, format] : layers.items()) check_format(format, where + " of " + printable(layer));
}

// Smoothing factors, one for each column of the layer's matrix; what others call so may be anything.
bool is_smoothing(const StoredTensor& tensor, const StoredTensor& weight) {
  return tensor.name.ends_with(kSmoothEnding) && tensor.dtype == DType::kF32 && weight.extents.size() == 2 &&
         tensor.extents == std::vector<int64_t>{weight.extents[1]};
}

void require_known(const Catalog& catalog, const StoredTensor& tensor) {
  if (tensor.name.ends_with(kWeight) || is_scale_name(tensor.name)) return;
  for (const std::string_view layer : layers_of(tensor.name)) {
    const StoredTensor* weight = catalog.stored(std::string(layer) + std::string(kWeight));
    if (!weight || !is_quantised(*weight) || is_smoothing(tensor, *weight)) continue;
    fail(ErrorCode::kModel,
         "{}: tensor '{}' lies beside '{}', {}, and is not known; what those weights mean cannot be told",
         catalog.where(tensor.name), printable(tensor.name), printable(weight->name), weight->describe());
  }
}

void check_quantised(const Catalog& catalog, const StoredTensor& weight) {
  const std::string layer = weight.name.substr(0, weight.name.size() - kWeight.size());
  std::string first;
  for (const std::string_view ending : kScaleEndings) {
    const std::string name = layer + std::string(ending);
    if (!catalog.stored(name)) continue;
    require(first.empty(), ErrorCode::kModel, "{}: tensor '{}' has two scales, '{}' and '{}'",
            catalog.where(weight.name), printable(weight.name), printable(first), printable(name));
    first = name;
  }
  const StoredTensor* format = catalog.stored(layer + std::string(kFormat));
  if (!format) return;
  const std::string where =
      fmt::format("{}: tensor '{}'", catalog.where(format->name), printable(format->name));
  check_format(parse_json(text_of(catalog, *format), where), where);
}

}  // namespace

void check_companions(const Catalog& catalog) {
  for (const auto& file : catalog.files()) check_metadata(*file);
  bool quantised = false;
  const std::vector<std::string_view> names = catalog.names();
  for (const std::string_view name : names) {
    if (!is_quantised(*catalog.stored(name))) continue;
    quantised = true;
    check_quantised(catalog, *catalog.stored(name));
  }
  if (!quantised) return;
  for (const std::string_view name : names) require_known(catalog, *catalog.stored(name));
}

}  // namespace darkroom
