#include "image/foreign/names.h"

#include <algorithm>
#include <optional>
#include <string>

#include "base/utf8.h"
#include "image/text.h"

namespace darkroom {
namespace {

// Theirs in lower case, with blanks between words; ours as a request states it.
struct Name {
  std::string_view theirs, ours;
};
constexpr Name kSamplers[] = {
    {"euler", "euler"},      {"heun", "heun"},       {"dpm++ 2m", "dpm++2m"},
    {"dpmpp 2m", "dpm++2m"}, {"dpm++2m", "dpm++2m"}, {"ipndm", "ipndm"},
    {"euler a", "euler-a"},  {"euler-a", "euler-a"}, {"euler ancestral", "euler-a"}};
constexpr Name kSpacings[] = {{"simple", "simple"}, {"beta", "beta"}, {"karras", "karras"}};

// Spacings that darkroom lacks; named so that they are known after a sampler's name.
constexpr std::string_view kOtherSpacings[] = {"normal",
                                               "sgm uniform",
                                               "ddim uniform",
                                               "exponential",
                                               "polyexponential",
                                               "uniform",
                                               "automatic",
                                               "linear quadratic",
                                               "kl optimal",
                                               "align your steps",
                                               "ays",
                                               "gits",
                                               "bong tangent",
                                               "turbo",
                                               "discrete",
                                               "linear",
                                               "smoothstep",
                                               "lcm",
                                               "beta57",
                                               "trailing"};

template <std::size_t kCount>
std::optional<std::string_view> ours_of(const Name (&names)[kCount], std::string_view theirs) {
  for (const Name& name : names) {
    if (name.theirs == theirs) return name.ours;
  }
  return std::nullopt;
}

// One spelling of a name: lower case, blanks for underscores, without k-diffusion's "k ".
std::string one_spelling(std::string_view name) {
  std::string out = lower_case(name);
  std::ranges::replace(out, '_', ' ');
  return out.starts_with("k ") ? out.substr(2) : out;
}

// The spacing at the end of `name`, which loses it; "" for none. InvokeAI's "k" is Karras.
std::string take_spacing(std::string* name) {
  const auto take = [&](std::string_view spacing, std::string_view meant) {
    if (!name->ends_with(' ' + std::string(spacing))) return std::string();
    name->resize(name->size() - spacing.size() - 1);
    return std::string(meant);
  };
  for (const Name& spacing : kSpacings) {
    if (const std::string found = take(spacing.theirs, spacing.theirs); !found.empty()) return found;
  }
  for (const std::string_view spacing : kOtherSpacings) {
    if (const std::string found = take(spacing, spacing); !found.empty()) return found;
  }
  return take("k", "karras");
}

}  // namespace

std::string lower_case(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

void read_spacing(std::string_view key, std::string_view name, FoundRecipe& found) {
  if (name.empty()) return;
  if (const auto ours = ours_of(kSpacings, one_spelling(name))) {
    found.recipe.spacing = *ours;
  } else {
    add_not_repeated(found, key, name, "simple instead");
  }
}

void read_sampler(std::string_view key, std::string_view name, FoundRecipe& found) {
  if (name.empty()) return;
  std::string sampler = one_spelling(name);
  auto ours = ours_of(kSamplers, sampler);
  const std::string spacing = ours ? "" : take_spacing(&sampler);
  if (!ours) ours = ours_of(kSamplers, sampler);
  if (ours) {
    found.recipe.sampler = *ours;
  } else {
    add_not_repeated(found, key, name, "euler instead");
  }
  const auto known = ours_of(kSpacings, spacing);
  if (known) {
    found.recipe.spacing = *known;
  } else if (ours && !spacing.empty()) {
    add_not_repeated(found, "Schedule", spacing, "simple instead");
  }
}

}  // namespace darkroom
