// The phases of a run, in its order, and what `plan --json` calls them.
#pragma once

#include <cstdint>

#include "base/names.h"

namespace darkroom {

enum class Phase : uint8_t {
  kEncodePicture,  // of a run that starts from a picture
  kEncodeClip,
  kEncodeT5,
  kModulate,
  kDenoise,
  kDecode,
};

inline constexpr Named<Phase> kPhaseNames[] = {
    {Phase::kEncodePicture, "vae encode"}, {Phase::kEncodeClip, "clip"}, {Phase::kEncodeT5, "t5"},
    {Phase::kModulate, "modulation"},      {Phase::kDenoise, "denoise"}, {Phase::kDecode, "vae"}};

constexpr std::string_view phase_name(Phase phase) { return name_of(kPhaseNames, phase); }

}  // namespace darkroom
