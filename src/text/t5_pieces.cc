#include "text/t5_pieces.h"

#include "base/error.h"
#include "base/printable.h"
#include "base/utf8.h"
#include "text/built_in.h"

namespace darkroom {
namespace {

constexpr std::size_t kMaxPieces = 1 << 20, kSentinels = 100;

}  // namespace

void T5Pieces::add(std::string token, float score, int32_t type) {
  tokens.push_back(std::move(token));
  scores.push_back(score);
  token_type.push_back(type);
}

void check_pieces(const T5Pieces& pieces, const std::string& where) {
  const std::size_t count = pieces.tokens.size();
  require(
      count >= 1 && count <= kMaxPieces && pieces.scores.size() == count && pieces.token_type.size() == count,
      ErrorCode::kModel, "{}: {} tokens, {} scores and {} types, expected as many of each, 1 to {}", where,
      count, pieces.scores.size(), pieces.token_type.size(), kMaxPieces);
  require(pieces.add_space_prefix, ErrorCode::kModel,
          "{}: add_space_prefix is false, and T5 puts a space in front of each text", where);
  for (std::size_t i = 0; i < count; ++i) {
    const int32_t type = pieces.token_type[i];
    require(type >= T5Pieces::kNormal && type <= T5Pieces::kUnused, ErrorCode::kModel,
            "{}: token {} has the type {}, T5's have 1 to 5", where, i, type);
    if (type != T5Pieces::kUnused && !is_valid_utf8(pieces.tokens[i])) {
      fail(ErrorCode::kModel, "{}: token {}, '{}', is not valid UTF-8", where, i,
           printable(pieces.tokens[i], 40));
    }
    require(type != T5Pieces::kUnknown || static_cast<int64_t>(i) == pieces.unknown, ErrorCode::kModel,
            "{}: token {} is of the unknown type, and the unknown token's id is {}", where, i,
            pieces.unknown);
  }
  for (const auto& [name, id] : {std::pair("end", pieces.eos), std::pair("unknown", pieces.unknown),
                                 std::pair("padding", pieces.padding)}) {
    const bool is_piece = id >= 0 && static_cast<std::size_t>(id) < count &&
                          pieces.token_type[static_cast<std::size_t>(id)] != T5Pieces::kUnused;
    require(is_piece, ErrorCode::kModel, "{}: the {} token has the id {}, which is none of the {} tokens",
            where, name, id, count);
  }
}

T5Pieces with_sentinels(T5Pieces pieces, const std::string& where) {
  check_pieces(pieces, where);
  const std::size_t all = pieces.size();
  std::size_t end = all;
  while (end > 0 && pieces.token_type[end - 1] == T5Pieces::kUnused) --end;
  pieces.tokens.resize(end);
  pieces.scores.resize(end);
  pieces.token_type.resize(end);
  bool own = false;
  for (std::size_t i = 0; i < end; ++i) {
    own |= pieces.token_type[i] != T5Pieces::kUnused && pieces.tokens[i].starts_with("<extra_id_");
  }
  // In the order of their ids the last one comes first.
  for (std::size_t i = kSentinels; !own && all - end >= kSentinels && i-- > 0;) {
    pieces.add(fmt::format("<extra_id_{}>", i), T5Pieces::kUserDefinedScore, T5Pieces::kUserDefined);
  }
  return pieces;
}

T5Pieces built_in_t5() {
  BuiltInPieces data = built_in_t5_pieces();
  T5Pieces pieces;
  pieces.tokens = std::move(data.texts);
  pieces.scores = std::move(data.scores);
  pieces.precompiled_charsmap = std::move(data.charsmap);
  pieces.token_type.resize(pieces.tokens.size(), T5Pieces::kNormal);
  pieces.token_type[static_cast<std::size_t>(pieces.unknown)] = T5Pieces::kUnknown;
  for (const int32_t id : {pieces.eos, pieces.padding}) {
    pieces.token_type[static_cast<std::size_t>(id)] = T5Pieces::kControl;
  }
  for (std::size_t i = 0; i < kSentinels; ++i) pieces.add("", 0, T5Pieces::kUnused);
  return with_sentinels(std::move(pieces), "T5 tokenizer");
}

}  // namespace darkroom
