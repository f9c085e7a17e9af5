// A fixed set of byte strings with a number each, to be found as prefixes of a text. Not a map to be
// changed: built once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace darkroom {

class PieceTrie {
 public:
  struct Entry {
    std::string_view piece;  // not empty; only read while building
    int32_t value;           // >= 0
  };

  PieceTrie();
  // The pieces must differ; of equal ones the first counts.
  explicit PieceTrie(std::vector<Entry> entries);

  // Calls found(length, value) for every piece that `text` begins with, shortest first.
  template <typename Found>
  void for_each_prefix(std::string_view text, const Found& found) const {
    int32_t node = text.empty() ? kNone : roots_[static_cast<unsigned char>(text[0])];
    for (std::size_t length = 1; node != kNone; ++length) {
      if (nodes_[static_cast<std::size_t>(node)].value >= 0) {
        found(length, nodes_[static_cast<std::size_t>(node)].value);
      }
      node = length < text.size() ? child(node, static_cast<unsigned char>(text[length])) : kNone;
    }
  }

  // The value of the piece that is all of `text`, -1 for none.
  int32_t find(std::string_view text) const;

 private:
  static constexpr int32_t kNone = -1;
  struct Node {
    int32_t value = -1;
    int32_t first_child = 0;
    uint16_t children = 0;  // lie side by side, by rising byte
    uint8_t byte = 0;
  };
  int32_t child(int32_t node, uint8_t byte) const;

  std::vector<Node> nodes_;
  std::array<int32_t, 256> roots_;  // node 0's children by byte
};

}  // namespace darkroom
