// What to draw, as the user says it: one field for each option of the table in option.cc.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace darkroom {

// A LoRA, and how much of it. `sha256`, 64 digits or none, is what a recipe says of the file's bytes.
struct LoraChoice {
  std::filesystem::path path;
  double strength = 1;
  std::string sha256 = {};
  bool operator==(const LoraChoice&) const = default;
};

// An absent value, or an empty list or path, means that the user does not say. What then holds is in the
// table; many options fall back to the model's own settings.
struct Request {
  std::string prompt;
  std::optional<std::string> negative;  // takes part, even when empty, if cfg > 1
  std::optional<int64_t> steps;
  std::string sampler = "euler", spacing = "simple";
  std::vector<double> sigmas;  // in place of steps
  std::string cache = "off";
  std::optional<double> cfg;  // true classifier-free guidance (arXiv 2207.12598); 1 = off
  std::optional<double> guidance;
  std::string guidance_schedule = "constant", guidance_interval = "0,1";
  std::string cfg_method = "plain", threshold = "off";
  std::optional<uint64_t> seed;
  std::optional<int64_t> width, height;  // pixels
  std::string rng = "torch-cpu";
  std::filesystem::path noise_path;  // initial latents, packed, in place of drawn noise
  std::filesystem::path init_path, mask_path;
  std::optional<double> strength;
  std::vector<LoraChoice> loras;
  std::filesystem::path lora_dir;  // where LoRAs are found by their names
  std::optional<int64_t> count;
  bool sheet = false;  // all pictures in a grid
  std::optional<int64_t> sheet_columns;
  std::optional<int64_t> max_text_tokens;
  std::string precision = "auto", text_precision = "auto";
  std::optional<int64_t> int8_group;  // columns
  std::optional<std::string> smooth;  // "auto", "off" or a file of factors
  std::string attention = "exact";
  std::string weights = "as-stored";
  std::string budget = "auto", ram_budget = "auto";
  std::filesystem::path scratch_folder = "/var/tmp";

  bool operator==(const Request&) const = default;
};

}  // namespace darkroom
