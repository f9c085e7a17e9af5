#include "base/sha256.h"

#include <gtest/gtest.h>

namespace darkroom {
namespace {

std::string digest_of(std::string_view text) { return hex(sha256(std::as_bytes(std::span(text)))); }

// The examples of FIPS 180-4, and one whose length needs more than one byte.
TEST(Sha256, TheStandardsExamples) {
  EXPECT_EQ(digest_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(digest_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(digest_of(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// Every length around the end of a block, in pieces of every size.
TEST(Sha256, PiecesDoNotMatter) {
  std::string text;
  for (int i = 0; i < 130; ++i) text += static_cast<char>(i);
  for (std::size_t length = 50; length <= text.size(); ++length) {
    const std::string_view whole = std::string_view(text).substr(0, length);
    for (const std::size_t piece : {1, 7, 63, 64, 65}) {
      Sha256 sum;
      for (std::size_t at = 0; at < length; at += piece) sum.add(whole.substr(at, piece));
      EXPECT_EQ(hex(sum.finish()), digest_of(whole)) << length << " by " << piece;
    }
  }
}

}  // namespace
}  // namespace darkroom
