#include "image/foreign/a1111_line.h"

#include <algorithm>
#include <limits>

#include "base/number_text.h"
#include "image/foreign/names.h"
#include "options/option.h"

namespace darkroom {
namespace {

// Those that Recipe has besides the options' own.
constexpr std::string_view kOwnKeys[] = {"Guidance", "Size",           "Model",    "Version",
                                         "Passes",   "Skipped passes", "Pictures", "Columns"};

// Those that other programs write besides.
constexpr std::string_view kOtherKeys[] = {"Model hash",
                                           "Clip skip",
                                           "Hires steps",
                                           "Hires upscale",
                                           "Hires upscaler",
                                           "VAE",
                                           "VAE hash",
                                           "Variation seed",
                                           "ENSD",
                                           "Eta",
                                           "Shift",
                                           "Lora hashes",
                                           "TI hashes",
                                           "Scheduler",
                                           "Face restoration",
                                           "Variation seed strength",
                                           "Seed resize from",
                                           "Refiner",
                                           "Refiner switch at",
                                           "Token merging ratio",
                                           "Mask blur",
                                           "Diffusion in Low Bits",
                                           "Module 1",
                                           "Module 2",
                                           "Module 3",
                                           "Conditional mask weight",
                                           "Hires CFG Scale",
                                           "Noise multiplier",
                                           "Batch size",
                                           "Batch pos",
                                           "Civitai resources",
                                           "Civitai metadata",
                                           "Pipeline",
                                           "Parser",
                                           "Backend",
                                           "App",
                                           "Operations",
                                           "Tiling",
                                           "Hashes",
                                           "Beta schedule alpha"};

constexpr std::string_view kHarmless[] = {"model hash",
                                          "vae hash",
                                          "hashes",
                                          "date",
                                          "created date",
                                          "user",
                                          "app",
                                          "backend",
                                          "operations",
                                          "parser",
                                          "batch pos",
                                          "time taken",
                                          "civitai metadata",
                                          "pipeline",
                                          "lora hashes",
                                          "refiner hash",
                                          "base model hash",
                                          "performance",
                                          "image cfg scale"};

template <std::size_t kCount>
bool is_among(const std::string_view (&list)[kCount], std::string_view key) {
  return std::ranges::find(list, key) != std::end(list);
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  return first == std::string_view::npos ? ""
                                         : text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

bool is_number(std::string_view text) { return number_in(trimmed(text), -1e300, 1e300).has_value(); }

bool is_size(std::string_view text) {
  const std::size_t cross = text.find('x');
  return cross != std::string_view::npos && is_number(text.substr(0, cross)) &&
         is_number(text.substr(cross + 1));
}

// "ComfyUI", "Fooocus v2.5": those that draw noise on the CPU whatever the device.
bool draws_noise_on_cpu(std::string_view version) {
  const std::string name = lower_case(version);
  return name.find("comfyui") != std::string::npos || name.find("fooocus") != std::string::npos ||
         name.find("swarmui") != std::string::npos;
}

void name_loras_in(const std::string& prompt, FoundRecipe& found) {
  std::string_view rest = prompt;
  for (std::size_t at; (at = rest.find('<')) != std::string_view::npos;) {
    rest.remove_prefix(at + 1);
    const std::size_t end = rest.find_first_of("<>\n");
    if (end == std::string_view::npos) return;
    const std::string_view tag = rest.substr(0, end);
    for (const std::string_view kind : {"lora:", "lyco:", "hypernet:"}) {
      if (rest[end] != '>' || !lower_case(tag.substr(0, kind.size())).starts_with(kind)) continue;
      add_not_repeated(found, kind == "hypernet:" ? "hypernet" : "LoRA", tag.substr(kind.size()));
    }
    rest.remove_prefix(end);
  }
}

// The first "(words:1.2)"; one shows the kind.
std::string_view weighted_words(std::string_view prompt) {
  std::size_t open = std::string_view::npos;
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    if (prompt[i] == '(') open = i;
    if (prompt[i] != ')' || open == std::string_view::npos) continue;
    const std::string_view group = prompt.substr(open, i + 1 - open);
    const std::size_t colon = group.rfind(':');
    if (colon != std::string_view::npos && is_number(group.substr(colon + 1, group.size() - colon - 2)))
      return group;
    open = std::string_view::npos;
  }
  return {};
}

}  // namespace

std::string_view known_key(std::string_view key) {
  const std::string wanted = lower_case(trimmed(key));
  const auto same = [&](std::string_view name) { return lower_case(name) == wanted; };
  if (wanted.size() > 40) return {};
  for (const Option& option : options()) {
    if (!option.a1111.empty() && same(option.a1111)) return option.a1111;
  }
  const auto own = std::ranges::find_if(kOwnKeys, same);
  if (own != std::end(kOwnKeys)) return *own;
  const auto other = std::ranges::find_if(kOtherKeys, same);
  return other != std::end(kOtherKeys) ? *other : std::string_view();
}

bool are_parameters(const Pairs& pairs) {
  bool has_steps = false, has_bad_steps = false;
  int known = 0, sound = 0;
  for (const auto& [key, value] : pairs) {
    const std::string_view name = known_key(key);
    if (name == "Steps" || name == "Sigmas") {
      const bool good = name == "Sigmas" || is_number(value);
      (good ? has_steps : has_bad_steps) = true;
      continue;
    }
    known += !name.empty();
    sound += (name == "Seed" || name == "CFG scale") ? is_number(value) : name == "Size" && is_size(value);
  }
  // Steps that are no number may be words of a prompt; other values then have to show that they are not.
  return known >= 2 && (has_steps || (has_bad_steps && sound >= 1));
}

bool read_foreign_pair(std::string_view key, const std::string& value, FoundRecipe& found) {
  const std::string_view text = trimmed(value);
  if (key == "Sampler") {
    read_sampler(key, text, found);
  } else if (key == "Schedule type" || key == "Scheduler") {
    read_spacing(key, text, found);
  } else if (key == "Seed" && text == "-1") {
    add_not_repeated(found, key, text, "it means any");
  } else if (key == "Clip skip" && text == "1") {
    return true;  // the usual one
  } else {
    if (key == "Version" && draws_noise_on_cpu(text)) found.recipe.rng = "torch-cpu";
    return false;
  }
  return true;
}

void name_pair(std::string_view key, const std::string& value, FoundRecipe& found) {
  const std::string name = lower_case(trimmed(key)), text = lower_case(trimmed(value));
  const bool off = text.empty() || text == "none" || text == "false";
  if (off || (is_among(kHarmless, name) && name != "lora hashes")) return;
  const auto is_lora = [](const std::string& other) { return other.starts_with("LoRA "); };
  if (name == "lora hashes" && std::ranges::any_of(found.not_repeated, is_lora))
    return;  // the prompt has them
  add_not_repeated(found, key, value);
}

void name_prompt_syntax(FoundRecipe& found) {
  for (const std::string& prompt : {found.recipe.prompt, found.recipe.negative.value_or("")}) {
    name_loras_in(prompt, found);
    if (const std::string_view words = weighted_words(prompt); !words.empty()) {
      add_not_repeated(found, "weights of words", words, "read as plain text");
    }
  }
}

}  // namespace darkroom
