#include "checkpoint/lora.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file_map.h"
#include "base/json.h"
#include "base/printable.h"
#include "checkpoint/checkpoint.h"

namespace darkroom {
namespace {

constexpr int64_t kMaxRank = 4096;
constexpr double kMaxAlpha = 1e6;
constexpr std::size_t kMaxMetadataBytes = 1 << 20;

std::size_t bit(LoraPiece piece) { return std::size_t{1} << static_cast<std::size_t>(piece); }

// [a, b] of a matrix or of a 1x1 convolution's weight; anything else as it is.
std::vector<int64_t> matrix_extents(const StoredTensor& stored) {
  std::vector<int64_t> extents = stored.extents;
  while (extents.size() > 2 && extents.back() == 1) extents.pop_back();
  return extents;
}

bool is_readable(const StoredTensor& stored) { return stored.dtype && is_float(*stored.dtype); }

// One number of any type.
std::optional<double> number_of(const TensorFile& file, const StoredTensor& stored) {
  if (stored.elements != 1 || !stored.dtype || is_block(*stored.dtype)) return std::nullopt;
  const OwnedTensor owned = file.load(stored);
  const void* data = owned.tensor.data;
  switch (*stored.dtype) {
    case DType::kI64:
      return static_cast<double>(*static_cast<const int64_t*>(data));
    case DType::kI32:
      return *static_cast<const int32_t*>(data);
    default:
      break;
  }
  if (!is_float(*stored.dtype)) return std::nullopt;
  return dispatch_float(*stored.dtype, [&]<typename T>() {
    return static_cast<double>(to_float(*static_cast<const T*>(data)));
  });
}

std::string extents_text(const std::vector<int64_t>& extents) {
  return fmt::format("[{}]", fmt::join(extents, ", "));
}

}  // namespace

Digest file_digest(const std::filesystem::path& path) {
  const FileMap file(path);
  std::vector<std::byte> piece(std::size_t{1} << 20);
  Sha256 sum;
  for (std::size_t at = 0; at < file.bytes().size(); at += piece.size()) {
    const auto part = std::span(piece).first(std::min(piece.size(), file.bytes().size() - at));
    file.read(at, part);
    sum.add(part);
  }
  return sum.finish();
}

std::shared_ptr<const Lora> Lora::open(const std::filesystem::path& path, const Checkpoint& model) {
  return std::make_shared<const Lora>(TensorFile(path), LoraNames(model));
}

LoraNames::LoraNames(const Checkpoint& model) : has_guidance_(model.config().is_dev()) {
  const SpellingSizes sizes = model.spelling_sizes();
  for (const Part part : {Part::kClip, Part::kT5, Part::kTransformer}) {
    model.visit(part, [&](const Param& given, Tensor&) {
      Param param = given;
      param.lora_down = param.lora_up = nullptr;  // valid during the visit only
      for (StoredPlace& place : lora_places(part, param, sizes)) {
        std::vector<Target>& targets = targets_[place.name];
        targets.push_back({part, param, std::move(place)});
      }
    });
  }
}

const std::vector<LoraNames::Target>* LoraNames::find(std::string_view module) const {
  const auto found = targets_.find(module);
  return found == targets_.end() ? nullptr : &found->second;
}

Lora::Lora(TensorFile file, const LoraNames& names) : file_(std::move(file)) {
  sort_names();
  for (auto& [name, module] : modules_) {
    const std::vector<LoraNames::Target>* targets = names.find(name);
    if (!targets) continue;
    for (const auto& [part, param, place] : *targets) take(part, param, place, name, module);
  }
  tell_rest(names.has_guidance());
}

// By module, with the alphas of peft's metadata.
void Lora::sort_names() {
  for (const StoredTensor& stored : file_.tensors()) {
    const std::optional<LoraKey> key = split_lora_name(stored.name);
    if (!key || !modules_[std::string(key->module)].pieces.emplace(key->piece, &stored).second) {
      strangers_.push_back(&stored);
    }
  }
  const auto metadata = file_.metadata().find("lora_adapter_metadata");
  if (metadata == file_.metadata().end() || metadata->second.size() > kMaxMetadataBytes) return;
  nlohmann::json object;
  try {
    object = parse_json(metadata->second, file_.where());
  } catch (const Error&) {  // as if it were not there
    return;
  }
  if (!object.is_object()) return;
  for (const auto& [name, value] : object.items()) {
    constexpr std::string_view kAlpha = "lora_alpha", kPattern = "alpha_pattern", kRoot = "use_rslora";
    if (name.ends_with(kAlpha) && value.is_number()) {
      metadata_alphas_[name.substr(0, name.size() - kAlpha.size())] = value.get<double>();
    } else if (name.ends_with(kPattern) && value.is_object()) {
      for (const auto& [module, alpha] : value.items()) {
        if (!alpha.is_number()) continue;
        metadata_alphas_[name.substr(0, name.size() - kPattern.size()) + module] = alpha.get<double>();
      }
    } else if (name.ends_with(kRoot) && value.is_boolean()) {
      root_of_rank_ = value.get<bool>();
    }
  }
}

const Lora::Change* Lora::find(Part part, const std::string& param) const {
  const auto& changes = changes_[static_cast<std::size_t>(part)];
  const auto found = changes.find(param);
  return found == changes.end() ? nullptr : &found->second;
}

std::size_t Lora::header_bytes() const {
  std::size_t bytes = 0;
  for (const StoredTensor& stored : file_.tensors()) bytes += 640 + 4 * stored.name.size();
  return bytes;
}

void Lora::require_shape(const StoredTensor& stored, std::vector<int64_t> expected) const {
  if (!is_readable(stored)) {
    fail(ErrorCode::kModel, "{}: tensor '{}' is {}: a LoRA in this type is not supported", file_.where(),
         printable(stored.name), stored.describe());
  }
  if (matrix_extents(stored) == expected) return;
  fail(ErrorCode::kModel, "{}: tensor '{}' is {}, the model asks for {}", file_.where(),
       printable(stored.name), stored.describe(), extents_text(expected));
}

void Lora::refuse_unsupported(const Param& param, std::string_view name, const Module& module) const {
  const auto has = [&](LoraPiece piece) { return module.pieces.contains(piece); };
  const auto down = module.pieces.find(LoraPiece::kDown);
  const bool other_inputs = param.name == "x_embedder.weight" && down != module.pieces.end() &&
                            matrix_extents(*down->second).size() == 2 &&
                            matrix_extents(*down->second)[1] == 2 * param.shape[1];
  if (other_inputs || has(LoraPiece::kReshape)) {
    fail(ErrorCode::kModel,
         "{}: this is a control LoRA (Canny or Depth): its '{}' takes more inputs than the model's {}, the "
         "others "
         "being a control picture, which is not supported",
         file_.where(), printable(name), param.shape[1]);
  }
  if (has(LoraPiece::kDora)) {
    fail(ErrorCode::kModel,
         "{}: this is a DoRA ('{}' has magnitudes), which is not supported; a LoRA, LoKr or LoHa is",
         file_.where(), printable(name));
  }
  if (has(LoraPiece::kTucker)) {
    fail(ErrorCode::kModel, "{}: '{}' is a Tucker decomposition of a convolution, which FLUX.1 has none of",
         file_.where(), printable(name));
  }
}

// alpha/rank, from the file's own tensor or else from its metadata; 1 without either.
double Lora::factor_of(std::string_view name, Module& module, int64_t rank) const {
  std::optional<double> alpha;
  const auto stored = module.pieces.find(LoraPiece::kAlpha);
  if (stored != module.pieces.end()) {
    module.used |= bit(LoraPiece::kAlpha);
    alpha = number_of(file_, *stored->second);
    if (!alpha || !(std::fabs(*alpha) <= kMaxAlpha)) {
      fail(ErrorCode::kModel, "{}: tensor '{}' ({}) is {}, expected one number of at most {}", file_.where(),
           printable(stored->second->name), stored->second->describe(),
           alpha ? fmt::format("{}", *alpha) : "no number", kMaxAlpha);
    }
  } else {
    // "transformer." + module first, then the whole component's, then that of a file without components.
    auto found = metadata_alphas_.find(name);
    const std::size_t dot = name.find('.');
    if (found == metadata_alphas_.end() && dot != name.npos)
      found = metadata_alphas_.find(name.substr(0, dot + 1));
    if (found == metadata_alphas_.end()) found = metadata_alphas_.find("");
    if (found != metadata_alphas_.end() && std::fabs(found->second) <= kMaxAlpha) alpha = found->second;
  }
  if (!alpha) return 1;
  return *alpha / (root_of_rank_ ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank));
}

void Lora::take(Part part, const Param& param, const StoredPlace& place, std::string_view name,
                Module& module) {
  module.matched = true;
  Change change;
  const bool is_matrix = param.role == Role::kMatrix;
  if (is_matrix) refuse_unsupported(param, name, module);
  if (is_matrix || param.role == Role::kTable) {
    take_matrix(param, place, name, module, change);
  } else if (param.role == Role::kVector) {
    take_vector(param, place, name, module, change);
  }
  if (change.low_rank.empty() && change.dense.empty()) return;
  Change& all = changes_[static_cast<std::size_t>(part)][param.name];
  std::ranges::move(change.low_rank, std::back_inserter(all.low_rank));
  std::ranges::move(change.dense, std::back_inserter(all.dense));
}

void Lora::take_whole(const Param& param, const StoredPlace& place, const StoredTensor& stored,
                      Dense::Kind kind, double factor, Change& change) const {
  std::vector<int64_t> shape{place.rows.empty() ? param.shape[0] : place.all_rows};
  if (param.shape.rank() == 2) shape.push_back(param.shape[1]);
  require_shape(stored, shape);
  change.dense.push_back({kind, {&stored, nullptr, nullptr, nullptr}, factor, place.rows});
}

void Lora::take_vector(const Param& param, const StoredPlace& place, std::string_view name, Module& module,
                       Change& change) const {
  const auto take_piece = [&](LoraPiece piece, Dense::Kind kind, double factor) {
    const auto found = module.pieces.find(piece);
    if (found == module.pieces.end()) return;
    module.used |= bit(piece);
    take_whole(param, place, *found->second, kind, factor, change);
  };
  if (!param.name.ends_with(".bias")) {
    take_piece(LoraPiece::kDiff, Dense::Kind::kDiff, 1);
    return take_piece(LoraPiece::kSet, Dense::Kind::kSet, 1);
  }
  take_piece(LoraPiece::kDiffBias, Dense::Kind::kDiff, 1);
  const auto down = module.pieces.find(LoraPiece::kDown);
  const int64_t rank = down == module.pieces.end() || down->second->extents.empty()
                           ? 1
                           : std::max<int64_t>(1, down->second->extents[0]);
  if (module.pieces.contains(LoraPiece::kUpBias))
    take_piece(LoraPiece::kUpBias, Dense::Kind::kDiff, factor_of(name, module, rank));
}

void Lora::take_matrix(const Param& param, const StoredPlace& place, std::string_view name, Module& module,
                       Change& change) const {
  using P = LoraPiece;
  const int64_t out = place.rows.empty() ? param.shape[0] : place.all_rows, in = param.shape[1];
  const auto piece = [&](P which) -> const StoredTensor* {
    const auto found = module.pieces.find(which);
    if (found == module.pieces.end()) return nullptr;
    module.used |= bit(which);
    return found->second;
  };
  // One extent of a factor, which the other factor then must have.
  const auto extent = [&](const StoredTensor& stored, std::size_t which) {
    const std::vector<int64_t> extents = matrix_extents(stored);
    if (extents.size() != 2 || extents[0] < 1 || extents[1] < 1) {
      fail(ErrorCode::kModel, "{}: tensor '{}' is {}, expected a matrix", file_.where(),
           printable(stored.name), stored.describe());
    }
    return extents[which];
  };
  const auto rank_of = [&](const StoredTensor& stored, std::size_t which) {
    const int64_t rank = extent(stored, which);
    require(rank <= kMaxRank, ErrorCode::kModel, "{}: tensor '{}' has rank {}, at most {} are allowed",
            file_.where(), printable(stored.name), rank, kMaxRank);
    return rank;
  };
  const auto require_all = [&](bool all) {
    if (all) return;
    fail(ErrorCode::kModel, "{}: of '{}' a tensor is missing: it has only '{}'", file_.where(),
         printable(name), printable(module.pieces.begin()->second->name));
  };
  if (const StoredTensor* diff = piece(P::kDiff))
    take_whole(param, place, *diff, Dense::Kind::kDiff, 1, change);
  if (const StoredTensor* set = piece(P::kSet)) take_whole(param, place, *set, Dense::Kind::kSet, 1, change);
  if (param.role != Role::kMatrix) return;
  const StoredTensor *down = piece(P::kDown), *up = piece(P::kUp);
  if (down || up) {
    require_all(down && up);
    const int64_t rank = rank_of(*down, 0);
    require_shape(*down, {rank, in});
    require_shape(*up, {out, rank});
    change.low_rank.push_back({down, up, rank, factor_of(name, module, rank), place.rows});
  }
  const StoredTensor *w1 = piece(P::kLokrW1), *w1a = piece(P::kLokrW1A), *w1b = piece(P::kLokrW1B),
                     *w2 = piece(P::kLokrW2), *w2a = piece(P::kLokrW2A), *w2b = piece(P::kLokrW2B);
  if (w1 || w1a || w1b || w2 || w2a || w2b) {
    require_all((w1 || (w1a && w1b)) && (w2 || (w2a && w2b)));
    const int64_t a = extent(w1 ? *w1 : *w1a, 0), b = extent(w1 ? *w1 : *w1b, 1);
    const StoredTensor &left = w2 ? *w2 : *w2a, &right = w2 ? *w2 : *w2b;
    if (out % a != 0 || in % b != 0) {
      fail(ErrorCode::kModel, "{}: tensor '{}' is {}, which does not divide the model's [{}, {}]",
           file_.where(), printable((w1 ? w1 : w1a)->name), (w1 ? w1 : w1a)->describe(), out, in);
    }
    const int64_t c = out / a, d = in / b;
    // As in LyCORIS: alpha means something where a factor has a rank, the second one's if both have.
    std::optional<int64_t> rank;
    if (w1) {
      require_shape(*w1, {a, b});
    } else {
      rank = rank_of(*w1b, 0);
      require_shape(*w1a, {a, *rank});
      require_shape(*w1b, {*rank, b});
    }
    if (w2) {
      require_shape(*w2, {c, d});
    } else {
      rank = rank_of(right, 0);
      require_shape(left, {c, *rank});
      require_shape(right, {*rank, d});
    }
    if (!rank) module.used |= bit(P::kAlpha);
    const double factor = rank ? factor_of(name, module, *rank) : 1;
    change.dense.push_back({Dense::Kind::kLokr,
                            {w1 ? w1 : w1a, w1 ? nullptr : w1b, &left, w2 ? nullptr : &right},
                            factor,
                            place.rows});
  }
  const StoredTensor *h1a = piece(P::kLohaW1A), *h1b = piece(P::kLohaW1B), *h2a = piece(P::kLohaW2A),
                     *h2b = piece(P::kLohaW2B);
  if (h1a || h1b || h2a || h2b) {
    require_all(h1a && h1b && h2a && h2b);
    const int64_t rank = rank_of(*h1b, 0), second = rank_of(*h2b, 0);
    require_shape(*h1a, {out, rank});
    require_shape(*h1b, {rank, in});
    require_shape(*h2a, {out, second});
    require_shape(*h2b, {second, in});
    change.dense.push_back(
        {Dense::Kind::kLoha, {h1a, h1b, h2a, h2b}, factor_of(name, module, rank), place.rows});
  }
}

void Lora::tell_rest(bool has_guidance) {
  constexpr std::size_t kShown = 3;
  std::vector<std::string_view> rest;
  std::size_t biases = 0, guidance = 0;
  std::string_view made_for;
  for (const StoredTensor* stored : strangers_) rest.push_back(stored->name);
  for (const auto& [name, module] : modules_) {
    if (made_for != "Stable Diffusion XL") {
      const std::string_view other = other_lora_model(name);
      if (!other.empty()) made_for = other;
    }
    const bool idle = !has_guidance && is_guidance_module(name);
    for (const auto& [piece, stored] : module.pieces) {
      if (module.used & bit(piece)) continue;
      const bool is_bias = piece == LoraPiece::kDiffBias || piece == LoraPiece::kUpBias;
      if (idle) {
        ++guidance;
      } else if (module.matched && is_bias) {
        ++biases;
      } else {
        rest.push_back(stored->name);
      }
    }
  }
  const std::string name = std::filesystem::path(file_.where()).filename().string();
  if (!touches(Part::kClip) && !touches(Part::kT5) && !touches(Part::kTransformer)) {
    if (guidance > 0) {
      notes_.push_back(name + ": it changes the guidance alone, which schnell has none of");
      return;
    }
    if (!made_for.empty())
      fail(ErrorCode::kModel, "{}: this is a LoRA for {}, not for FLUX.1", file_.where(), made_for);
    fail(ErrorCode::kModel, "{}: none of its {} tensors is a LoRA's for this model{}", file_.where(),
         file_.tensors().size(),
         file_.tensors().empty() ? ""
                                 : fmt::format("; the first is '{}'", printable(file_.tensors()[0].name)));
  }
  if (!rest.empty()) {
    std::string shown;
    for (std::size_t i = 0; i < std::min(kShown, rest.size()); ++i) {
      shown += fmt::format("{}'{}'", i ? ", " : "", printable(rest[i]));
    }
    notes_.push_back(fmt::format("{}: {} of its {} tensors match nothing in this model: {}{}", name,
                                 rest.size(), file_.tensors().size(), shown,
                                 rest.size() > kShown ? ", ..." : ""));
  }
  if (biases > 0) {
    notes_.push_back(
        fmt::format("{}: {} bias difference(s) left out: the model has no such bias", name, biases));
  }
}

}  // namespace darkroom
