#include "text/charsmap.h"

#include "base/error.h"
#include "base/utf8.h"
#include "text/unicode.h"

namespace darkroom {

namespace {

constexpr std::size_t kMaxTrieBytes = 8 << 20;  // the real ones have under 200 kB
constexpr std::size_t kWholeClusterBytes = 6;   // clusters below this size are tried whole

// One u32 of the double array, as Darts lays it out.
constexpr bool has_leaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
constexpr uint32_t label(uint32_t unit) { return unit & (uint32_t{1} << 31 | 0xFF); }
constexpr uint32_t offset(uint32_t unit) { return unit >> 10 << ((unit & uint32_t{1} << 9) >> 6); }
constexpr uint32_t value(uint32_t unit) { return unit & ~(uint32_t{1} << 31); }

uint32_t read_u32(std::string_view bytes, std::size_t at) {
  uint32_t out = 0;
  for (std::size_t i = 4; i-- > 0;) out = out << 8 | static_cast<unsigned char>(bytes[at + i]);
  return out;
}

}  // namespace

Charsmap::Charsmap(std::string_view bytes, const std::string& where) {
  require(bytes.size() >= 4, ErrorCode::kModel, "{}: the character map has {} bytes, expected at least 4",
          where, bytes.size());
  const std::size_t trie_bytes = read_u32(bytes, 0);
  require(
      trie_bytes <= bytes.size() - 4 && trie_bytes <= kMaxTrieBytes && trie_bytes >= 4 && trie_bytes % 4 == 0,
      ErrorCode::kModel,
      "{}: the character map's trie has {} bytes, expected a multiple of 4 from 4 to {}, and {} are there",
      where, trie_bytes, kMaxTrieBytes, bytes.size() - 4);
  for (std::size_t at = 4; at < 4 + trie_bytes; at += 4) units_.push_back(read_u32(bytes, at));
  replacements_ = bytes.substr(4 + trie_bytes);
  require(is_valid_utf8(replacements_), ErrorCode::kModel,
          "{}: the character map's replacements are not valid UTF-8", where);
  check_nodes(where);
}

// Walks the nodes depth first. Darts shares equal subtrees, so a node may be reached twice, but never
// from below itself.
void Charsmap::check_nodes(const std::string& where) const {
  enum class Seen : uint8_t { kNo, kOpen, kDone };
  struct Step {
    uint32_t node, next_byte;
  };
  std::vector<Seen> seen(units_.size(), Seen::kNo);
  std::vector<Step> path;
  const auto enter = [&](uint32_t node) {
    // A node's children lie in its block of 256 units.
    require((node | 0xFF) < units_.size(), ErrorCode::kModel,
            "{}: the character map's trie points at unit {}, it has {}", where, node | 0xFF, units_.size());
    require(seen[node] != Seen::kOpen, ErrorCode::kModel,
            "{}: the character map's trie has a cycle through unit {}", where, node);
    if (seen[node] == Seen::kDone) return;
    seen[node] = Seen::kOpen;
    path.push_back({node, 1});
  };
  enter(offset(units_[0]));
  while (!path.empty()) {
    Step& step = path.back();
    if (step.next_byte > 0xFF) {
      seen[step.node] = Seen::kDone;
      path.pop_back();
      continue;
    }
    const uint32_t byte = step.next_byte++;
    const uint32_t child = step.node ^ byte;
    const uint32_t unit = units_[child];
    if (label(unit) != byte) continue;
    const uint32_t node = child ^ offset(unit);
    enter(node);  // may move `step`
    if (has_leaf(unit)) check_replacement(value(units_[node]), where);
  }
}

void Charsmap::check_replacement(uint32_t at, const std::string& where) const {
  require(at < replacements_.size(), ErrorCode::kModel,
          "{}: the character map points at byte {} of {} bytes of replacements", where, at,
          replacements_.size());
  require((static_cast<unsigned char>(replacements_[at]) & 0xC0) != 0x80, ErrorCode::kModel,
          "{}: the character map points into the middle of a character, at byte {}", where, at);
}

bool Charsmap::append_replacement(std::string_view text, std::string& out) const {
  uint32_t node = offset(units_[0]);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0) return false;
    const uint32_t child = node ^ byte;
    const uint32_t unit = units_[child];
    if (label(unit) != byte) return false;
    node = child ^ offset(unit);
    if (has_leaf(unit)) {
      const std::size_t begin = value(units_[node]);
      out.append(replacements_, begin, replacements_.find('\0', begin) - begin);
      return true;
    }
  }
  return false;
}

void Charsmap::append_cluster(std::string_view cluster, std::string& out) const {
  if (cluster.size() < kWholeClusterBytes && append_replacement(cluster, out)) return;
  for (std::size_t at = 0; at < cluster.size();) {
    const std::size_t begin = at;
    next_code_point(cluster, at);
    const std::string_view one = cluster.substr(begin, at - begin);
    if (!append_replacement(one, out)) out += one;
  }
}

std::string Charsmap::normalize(std::string_view text) const {
  if (units_.empty()) return std::string(text);
  std::string out;
  out.reserve(text.size());
  ClusterFinder clusters;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    const bool starts = clusters.starts_cluster(next_code_point(text, at));
    if (!starts || start == begin) continue;
    append_cluster(text.substr(begin, start - begin), out);
    begin = start;
  }
  append_cluster(text.substr(begin), out);
  return out;
}

}  // namespace darkroom
