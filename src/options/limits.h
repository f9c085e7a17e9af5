// The most that anyone may ask for. More is a slip of the keyboard or an attack, not a wish.
//
// They hold for requests (by the table of options), for what a model's own settings recommend,
// and for the samplers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace darkroom {

inline constexpr int64_t kMaxPixels = 16 * 1024 * 1024;
inline constexpr int64_t kMaxEdge = 16384;
inline constexpr int64_t kMaxSteps = 1000;
inline constexpr double kMaxCfg = 100;
inline constexpr double kMaxGuidance = 1000;
inline constexpr int64_t kMaxTextTokens = 4096;
inline constexpr int64_t kMaxCount = 1000;
inline constexpr double kMaxLoraStrength = 4;  // and its negative
inline constexpr std::size_t kMaxLoras = 32;
inline constexpr int64_t kMaxInt8Group = 65536;
inline constexpr std::size_t kMaxPromptBytes = 1 << 20;

}  // namespace darkroom
