// Latents in a .safetensors file: tensor "latents", f32 [1, tokens, channels], packed, as diffusers'
// output_type="latent" returns them and its latents= argument takes them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace darkroom {

// Errors: kModel for a file that is none; kUsage, with both numbers, when it holds another number of values.
std::vector<float> read_latents(const std::filesystem::path& path, int64_t tokens, int64_t channels);

// Errors: kOutput; an existing file is one unless `overwrite`.
void write_latents(const std::filesystem::path& path, std::span<const float> latents, int64_t tokens,
                   int64_t channels, bool overwrite);

}  // namespace darkroom
