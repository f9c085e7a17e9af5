#include "text/unigram.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/error.h"
#include "base/printable.h"

namespace darkroom {

using nlohmann::json;

namespace {

constexpr std::size_t kMaxPieceBytes = 1024;       // bounds the time per byte of the prompt
constexpr std::size_t kMaxPiecesBytes = 4u << 20;  // bounds the size of the trie; T5's pieces have 250 kB
constexpr double kUnknownPenalty = 10;             // below the worst piece; a constant of SentencePiece

std::vector<UnigramModel::Piece> read_pieces(const json& vocabulary, const std::string& where) {
  require(vocabulary.is_array() && !vocabulary.empty(), ErrorCode::kModel,
          "{}: the vocabulary must be a list of [piece, score] with at least one of them", where);
  std::vector<UnigramModel::Piece> pieces;
  pieces.reserve(vocabulary.size());
  for (const json& entry : vocabulary) {
    require(entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number(),
            ErrorCode::kModel, "{}: piece {} is not a pair of a string and a number", where, pieces.size());
    pieces.push_back({.text = entry[0].get_ref<const std::string&>(), .score = entry[1].get<double>()});
  }
  return pieces;
}

}  // namespace

UnigramModel::UnigramModel(const json& vocabulary, int32_t unknown, const std::string& where)
    : UnigramModel(read_pieces(vocabulary, where), unknown, where) {}

UnigramModel::UnigramModel(const std::vector<Piece>& pieces, int32_t unknown, const std::string& where)
    : unknown_(unknown) {
  std::vector<PieceTrie::Entry> entries;
  std::unordered_set<std::string_view> seen;
  entries.reserve(pieces.size());
  seen.reserve(pieces.size());
  scores_.reserve(pieces.size());
  std::size_t total = 0;
  double lowest = std::numeric_limits<double>::infinity();
  for (const auto& [piece, score, used] : pieces) {
    const std::size_t id = scores_.size();
    scores_.push_back(used ? score : 0);
    if (!used) continue;
    total += piece.size();
    require(!piece.empty() && piece.size() <= kMaxPieceBytes && total <= kMaxPiecesBytes, ErrorCode::kModel,
            "{}: piece {} has {} bytes and all up to it {}, expected 1 to {} and at most {}", where, id,
            piece.size(), total, kMaxPieceBytes, kMaxPiecesBytes);
    if (!seen.insert(piece).second) {
      fail(ErrorCode::kModel, "{}: the piece '{}' occurs twice", where, printable(piece, 40));
    }
    require(std::isfinite(score), ErrorCode::kModel, "{}: the score of piece {} is not finite", where, id);
    lowest = std::min(lowest, score);
    entries.push_back({piece, static_cast<int32_t>(id)});
  }
  const bool known = unknown >= 0 && static_cast<std::size_t>(unknown) < pieces.size();
  require(known && pieces[static_cast<std::size_t>(unknown)].used, ErrorCode::kModel,
          "{}: the unknown piece is number {}, the vocabulary has {}", where, unknown, pieces.size());
  unknown_score_ = lowest - kUnknownPenalty;
  trie_ = PieceTrie(std::move(entries));
}

void UnigramModel::encode(std::string_view word, std::vector<int32_t>& ids) const {
  struct Best {
    double score = 0;  // of the best split of everything before this byte
    std::size_t start = std::string_view::npos;
    int32_t id = 0;  // of the piece from `start` to this byte
  };
  std::vector<Best> best(word.size() + 1);
  const auto offer = [&](std::size_t start, std::size_t end, double score, int32_t id) {
    Best& target = best[end];
    const double sum = score + best[start].score;
    if (target.start == std::string_view::npos || sum > target.score) target = {sum, start, id};
  };
  for (std::size_t start = 0; start < word.size();) {
    std::size_t next = start + 1;
    while (next < word.size() && (static_cast<unsigned char>(word[next]) & 0xC0) == 0x80) ++next;
    bool has_character = false;
    trie_.for_each_prefix(word.substr(start), [&](std::size_t length, int32_t id) {
      offer(start, start + length, scores_[static_cast<std::size_t>(id)], id);
      has_character = has_character || start + length == next;
    });
    if (!has_character) offer(start, next, unknown_score_, unknown_);
    start = next;
  }

  const std::size_t first = ids.size();
  std::size_t unknown_end = 0;  // of a run of unknown characters, 0 outside one
  const auto close_run = [&](std::size_t begin) {
    if (unknown_end == 0) return;
    const int32_t id = find(word.substr(begin, unknown_end - begin));
    ids.push_back(id >= 0 ? id : unknown_);
    unknown_end = 0;
  };
  std::size_t end = word.size();
  while (end > 0) {
    if (best[end].id != unknown_) {
      close_run(end);
      ids.push_back(best[end].id);
    } else if (unknown_end == 0) {
      unknown_end = end;
    }
    end = best[end].start;
  }
  close_run(0);
  std::reverse(ids.begin() + static_cast<std::ptrdiff_t>(first), ids.end());
}

}  // namespace darkroom
