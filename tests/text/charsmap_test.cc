#include "text/charsmap.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/expect_error.h"
#include "text/base64.h"

namespace darkroom {
namespace {

constexpr uint32_t kLeaf = 1u << 8, kValue = 1u << 31;

// A trie in which the children of the node at unit n lie at n ^ byte, with the same offsets
// as the real format.
class TrieBuilder {
 public:
  explicit TrieBuilder(std::size_t units) : units_(units) { units_[0] = 256u << 10; }  // the root is node 256

  // From the child of `node` for `byte` to node `target`; `value` >= 0 makes it a key.
  TrieBuilder& edge(uint32_t node, unsigned char byte, uint32_t target, int64_t value = -1) {
    const uint32_t child = node ^ byte;
    units_[child] = (child ^ target) << 10 | (value >= 0 ? kLeaf : 0) | byte;
    if (value >= 0) units_[target] = kValue | static_cast<uint32_t>(value);
    return *this;
  }
  std::string bytes(const std::string& replacements) const {
    std::string out;
    const auto add = [&](uint32_t word) {
      for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(word >> shift & 0xFF);
    };
    add(static_cast<uint32_t>(units_.size() * 4));
    for (const uint32_t unit : units_) add(unit);
    return out + replacements;
  }

 private:
  std::vector<uint32_t> units_;
};

constexpr uint32_t kRoot = 256;

std::string two_keys() {  // "a" -> "b", "x" + U+0301 -> "yz"
  return TrieBuilder(1024)
      .edge(kRoot, 'a', 257, 0)
      .edge(kRoot, 'x', 512)
      .edge(512, 0xCC, 768)
      .edge(768, 0x81, 769, 2)
      .bytes(std::string("b\0yz\0", 5));
}

TEST(Charsmap, ReplacesKeys) {
  const Charsmap map(two_keys(), "test");
  EXPECT_EQ(map.normalize("cab"), "cbb");
  EXPECT_EQ(map.normalize("x\u0301x"), "yzx");
  EXPECT_EQ(map.normalize(""), "");
  EXPECT_EQ(map.normalize(std::string("\0a", 2)), std::string("\0b", 2));
  EXPECT_EQ(Charsmap().normalize("abc"), "abc");
}

TEST(Charsmap, ReplacesShortClustersWhole) {
  const Charsmap map(two_keys(), "test");
  EXPECT_EQ(map.normalize("a\u0301\u0302"), "b");  // 5 bytes: the rest of the cluster goes
  EXPECT_EQ(map.normalize("a\u0301\u0302\u0303"), "b\u0301\u0302\u0303");  // 7 bytes: one by one
  EXPECT_EQ(map.normalize("x\u0301\u0302\u0303"), "x\u0301\u0302\u0303");  // no code point alone is a key
}

TEST(Charsmap, LetsNodesBeShared) {
  const Charsmap map(TrieBuilder(1024)
                         .edge(kRoot, 'a', 512)
                         .edge(kRoot, 'b', 512)
                         .edge(512, 0xCC, 768)
                         .edge(768, 0x81, 769, 0)
                         .bytes(std::string("c\0", 2)),
                     "test");
  EXPECT_EQ(map.normalize("a\u0301b\u0301"), "cc");
}

TEST(Charsmap, RefusesBrokenMaps) {
  const auto refuse = [](const std::string& bytes, const std::string& fragment) {
    expect_error(ErrorCode::kModel, fragment, [&] { Charsmap(bytes, "file.json"); });
  };
  const std::string text("b\0", 2);
  refuse("", "file.json: the character map has 0 bytes");
  refuse(std::string("\xff\xff\xff\xff", 4), "4294967295");
  refuse(std::string("\3\0\0\0abcdef", 10), "multiple of 4");
  refuse(std::string("\0\0\0\0abcdef", 10), "from 4");
  refuse(TrieBuilder(256).bytes(text), "unit 511");
  refuse(TrieBuilder(511).bytes(text), "unit 511");
  refuse(TrieBuilder(512).edge(kRoot, 'a', 4096).bytes(text), "unit 4351");
  refuse(TrieBuilder(512).edge(kRoot, 'a', kRoot).bytes(text), "cycle");
  refuse(TrieBuilder(1024).edge(kRoot, 'a', 512).edge(512, 'b', kRoot).bytes(text), "cycle");
  refuse(TrieBuilder(512).edge(kRoot, 'a', 257, 2).bytes(text), "byte 2 of 2");
  refuse(TrieBuilder(512).edge(kRoot, 'a', 257, 0x7FFFFFFF).bytes(text), "byte 2147483647");
  refuse(TrieBuilder(512).edge(kRoot, 'a', 257, 0).bytes(""), "byte 0 of 0");
  refuse(TrieBuilder(512).edge(kRoot, 'a', 257, 1).bytes("\u00e9"), "middle of a character");
  refuse(TrieBuilder(512).edge(kRoot, 'a', 257, 0).bytes("\xff"), "UTF-8");
}

TEST(Base64, Decodes) {
  EXPECT_EQ(decode_base64("", "test"), "");
  EXPECT_EQ(decode_base64("Zg==", "test"), "f");
  EXPECT_EQ(decode_base64("Zm8=", "test"), "fo");
  EXPECT_EQ(decode_base64("Zm9vYmFy", "test"), "foobar");
  EXPECT_EQ(decode_base64("+/+/", "test"), "\xfb\xff\xbf");
  for (const char* bad : {"Z", "Zg=", "Zg=a", "====", "Z===", "Zm9-", "Zm9v\n"}) {
    expect_error(ErrorCode::kModel, "file.json", [&] { decode_base64(bad, "file.json"); });
  }
}

}  // namespace
}  // namespace darkroom
