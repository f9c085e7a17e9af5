// SHA-256 (FIPS 180-4): names for contents, and a check that bytes are still those that were written.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace darkroom {

using Digest = std::array<uint8_t, 32>;

// Takes bytes piece by piece; where the pieces end does not matter.
class Sha256 {
 public:
  void add(std::span<const std::byte> bytes);
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
  // The digest of all bytes so far. Ends the object's use.
  Digest finish();

 private:
  void take_block(const uint8_t* block);

  std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> block_{};  // bytes that wait for a whole block
  uint64_t bytes_ = 0;
};

Digest sha256(std::span<const std::byte> bytes);

// 64 lower-case digits.
std::string hex(const Digest& digest);

}  // namespace darkroom
