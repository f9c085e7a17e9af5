// Reading tests/fixtures/sampling.json, which tools/fixtures/sampling.py wrote with torch and diffusers.
#pragma once

#include <fmt/format.h>

#include <bit>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"

namespace darkroom {

inline nlohmann::json sampling_fixture(const char* part) {
  return read_json_file(DARKROOM_SOURCE_DIR "/tests/fixtures/sampling.json", 1 << 20).at(part);
}

// The f32 bit patterns of `values`, eight hexadecimal digits each: two lists are equal exactly
// when their bits are.
inline std::string bits(std::span<const float> values) {
  std::string out;
  for (const float value : values) out += fmt::format("{:08x}", std::bit_cast<uint32_t>(value));
  return out;
}

inline std::vector<float> from_bits(const std::string& text) {
  std::vector<float> out;
  for (std::size_t i = 0; i + 8 <= text.size(); i += 8) {
    out.push_back(std::bit_cast<float>(static_cast<uint32_t>(std::stoul(text.substr(i, 8), nullptr, 16))));
  }
  return out;
}

// FNV-1a over the 32-bit words of `values`.
inline std::string hash(std::span<const float> values) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const float value : values) hash = (hash ^ std::bit_cast<uint32_t>(value)) * 0x100000001B3u;
  return fmt::format("{:016x}", hash);
}

}  // namespace darkroom
