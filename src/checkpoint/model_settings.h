// What the makers of a model recommend, and which prompts it understands: the optional darkroom.json of its
// folder.
//
// Not what the model is, which its configs say; diffusers ignores the file. Read when a model is opened.
// decide() takes a value where the request states none; the prompts serve `darkroom words` and the note about
// unknown words. docs/CLI.md shows a file.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace darkroom {

// From latents as the sampler has them, shifted and scaled, to RGB in [-1, 1].
struct PreviewMap {
  std::vector<std::array<float, 3>> rgb;  // of each latent channel
  std::array<float, 3> bias{};
};

// Empty where the file says nothing. Texts are UTF-8 of a stranger: control characters may be in them.
struct PromptGuide {
  std::string about;                 // what the model draws
  std::vector<std::string> grammar;  // the forms that a prompt may have
  std::vector<std::string> words;    // all that it knows; empty: any
  std::vector<std::string> examples;
};

// Absent where the file says nothing. Within the limits of a request (options/limits.h).
struct ModelSettings {
  std::optional<int64_t> width, height;  // pixels
  std::optional<int64_t> steps;
  std::optional<double>
      cfg;  // true classifier-free guidance; above 1, the negative prompt is "" unless one is given
  std::optional<double> guidance;
  std::optional<int64_t> max_text_tokens;
  PromptGuide prompts;
  std::optional<PreviewMap> preview;
};

// `token_pixels` is what sizes must be multiples of; a preview map has a row for each of the VAE's
// `latent_channels`. Unknown fields are ignored. Errors: kModel with `where` in front, for a field of another
// type, out of range or too long.
ModelSettings settings_from_json(const nlohmann::json& document, int64_t token_pixels,
                                 int64_t latent_channels, const std::string& where);

// folder/darkroom.json; without that file, settings that state nothing. Errors: kModel.
ModelSettings read_model_settings(const std::filesystem::path& folder, int64_t token_pixels,
                                  int64_t latent_channels);

// The fields that are stated, as in the file.
nlohmann::json to_json(const ModelSettings& settings);

}  // namespace darkroom
