#include "text/piece_trie.h"

#include <algorithm>

namespace darkroom {

PieceTrie::PieceTrie() { roots_.fill(kNone); }

PieceTrie::PieceTrie(std::vector<Entry> entries) : PieceTrie() {
  std::ranges::stable_sort(entries, {}, &Entry::piece);
  struct Range {
    std::size_t node, begin, end, depth;  // the entries whose first `depth` bytes lead to the node
  };
  nodes_.emplace_back();
  std::vector<Range> work = {{0, 0, entries.size(), 0}};
  for (std::size_t i = 0; i < work.size(); ++i) {  // breadth first: children are made together
    auto [node, begin, end, depth] = work[i];
    while (begin < end && entries[begin].piece.size() == depth) {
      if (nodes_[node].value < 0) nodes_[node].value = entries[begin].value;
      ++begin;
    }
    nodes_[node].first_child = static_cast<int32_t>(nodes_.size());
    while (begin < end) {
      const char byte = entries[begin].piece[depth];
      std::size_t stop = begin;
      while (stop < end && entries[stop].piece[depth] == byte) ++stop;
      work.push_back({nodes_.size(), begin, stop, depth + 1});
      nodes_.emplace_back().byte = static_cast<uint8_t>(byte);
      ++nodes_[node].children;
      begin = stop;
    }
  }
  for (int32_t i = 0; i < nodes_[0].children; ++i) {
    const int32_t root = nodes_[0].first_child + i;
    roots_[nodes_[static_cast<std::size_t>(root)].byte] = root;
  }
}

int32_t PieceTrie::child(int32_t node, uint8_t byte) const {
  const Node& parent = nodes_[static_cast<std::size_t>(node)];
  const auto begin = nodes_.begin() + parent.first_child;
  const auto end = begin + parent.children;
  const auto it = std::lower_bound(begin, end, byte, [](const Node& n, uint8_t b) { return n.byte < b; });
  return it != end && it->byte == byte ? static_cast<int32_t>(it - nodes_.begin()) : kNone;
}

int32_t PieceTrie::find(std::string_view text) const {
  int32_t value = -1;
  for_each_prefix(text, [&](std::size_t length, int32_t found) {
    if (length == text.size()) value = found;
  });
  return value;
}

}  // namespace darkroom
