// The parts of a FLUX.1 pipeline that have weights.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace darkroom {

// In the order in which a run needs them.
enum class Part : uint8_t { kClip, kT5, kTransformer, kVae };
inline constexpr std::array<Part, 4> kParts = {Part::kClip, Part::kT5, Part::kTransformer, Part::kVae};

// The folder of a part in diffusers layout: "text_encoder", "text_encoder_2", "transformer", "vae".
std::string_view part_folder(Part part);
// What people call it: "CLIP-L text encoder", "T5 text encoder", "transformer", "VAE".
std::string_view part_title(Part part);

}  // namespace darkroom
