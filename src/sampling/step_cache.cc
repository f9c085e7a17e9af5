#include "sampling/step_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/number_text.h"
#include "base/printable.h"

namespace darkroom {
namespace {

struct Preset {
  std::string_view name;
  CacheSettings settings;
};

CacheSettings settings_of(CacheMethod method, double threshold, int most_skips = CacheSettings().most_skips) {
  CacheSettings settings;
  settings.method = method;
  settings.threshold = threshold;
  settings.most_skips = most_skips;
  return settings;
}

// The first two are thresholds that TeaCache's authors name; docs/QUALITY.md has what all gain and cost.
const Preset kPresets[] = {{"light", settings_of(CacheMethod::kTeaCache, 0.25)},
                           {"balanced", settings_of(CacheMethod::kTeaCache, 0.4)},
                           {"auto", settings_of(CacheMethod::kTeaCache, 0.4)},
                           {"fast", settings_of(CacheMethod::kTeaCache, 0.8, 5)}};

[[noreturn]] void refuse(std::string_view text) {
  fail(ErrorCode::kUsage,
       "the step cache is '{}'; there are off, light, balanced (auto), fast, and teacache, fbcache or "
       "dbcache with "
       ":THRESHOLD (0 to 10) "
       "and ,front=N ,back=N (0 to 64) ,order=N (0 to 2) ,warmup=SHARE (0 to 1) ,skips=N (1 to 100) "
       ",poly=flux|none",
       printable(text, 60));
}

// Sets one "name=value"; false for an unknown name or a value out of range.
bool set(CacheSettings& settings, std::string_view name, std::string_view value) {
  const auto store = [](auto& field, const auto& number) {
    if (number) field = *number;
    return number.has_value();
  };
  const bool by_blocks = settings.method == CacheMethod::kBlocks;
  if (name == "front" && by_blocks) return store(settings.front, number_in(value, 1, 64));
  if (name == "back" && by_blocks) return store(settings.back, number_in(value, 0, 64));
  if (name == "order") return store(settings.order, number_in(value, 0, 2));
  if (name == "warmup") return store(settings.warmup, number_in(value, 0.0, 1.0));
  if (name == "skips") return store(settings.most_skips, number_in(value, 1, 100));
  if (name == "poly" && !by_blocks && (value == "flux" || value == "none")) {
    settings.published = value == "flux";
    return true;
  }
  return false;
}

// Everything up to `mark`, which is taken away with it.
std::string_view take_until(std::string_view& text, char mark) {
  const std::size_t end = std::min(text.size(), text.find(mark));
  const std::string_view head = text.substr(0, end);
  text.remove_prefix(std::min(text.size(), end + 1));
  return head;
}

}  // namespace

CacheSettings parse_cache(std::string_view text) {
  if (text == "off") return {};
  for (const Preset& preset : kPresets) {
    if (preset.name == text) return preset.settings;
  }
  std::string_view rest = text;
  std::string_view head = take_until(rest, ',');
  const bool has_threshold = head.find(':') != std::string_view::npos;
  const std::string_view name = take_until(head, ':');
  CacheSettings settings;
  if (name == "teacache") {
    settings = settings_of(CacheMethod::kTeaCache, 0.4);
  } else if (name == "fbcache") {
    settings = settings_of(CacheMethod::kBlocks, 0.12);
  } else if (name == "dbcache") {
    settings = settings_of(CacheMethod::kBlocks, 0.12);
    settings.front = 8;
    settings.back = 0;
  } else {
    refuse(text);
  }
  if (has_threshold) {
    const auto threshold = number_in(head, 0.0, 10.0);
    if (!threshold) refuse(text);
    settings.threshold = *threshold;
  }
  if (text.ends_with(',')) refuse(text);
  while (!rest.empty()) {
    std::string_view value = take_until(rest, ',');
    const std::string_view key = without_blanks(take_until(value, '='));
    if (!set(settings, key, without_blanks(value))) refuse(text);
  }
  return settings;
}

std::string cache_text(const CacheSettings& settings) {
  const CacheSettings& s = settings;
  const std::string common = fmt::format("order={},warmup={},skips={}", s.order, s.warmup, s.most_skips);
  switch (s.method) {
    case CacheMethod::kOff:
      return "off";
    case CacheMethod::kTeaCache:
      return fmt::format("teacache:{},{},poly={}", s.threshold, common, s.published ? "flux" : "none");
    case CacheMethod::kBlocks:
      break;
  }
  return fmt::format("dbcache:{},front={},back={},{}", s.threshold, s.front, s.back, common);
}

double teacache_flux(double d) {
  constexpr double kPolynomial[] = {498.651651, -283.781631, 55.8554382, -3.82021401, 0.264230861};
  double sum = 0;
  for (const double coefficient : kPolynomial) sum = sum * d + coefficient;
  return std::max(0.0, sum);
}

StepCache::StepCache(const CacheSettings& settings, std::vector<float> sigmas)
    : settings_(settings), sigmas_(std::move(sigmas)) {}

bool StepCache::may_skip(int level) const {
  const int levels = static_cast<int>(sigmas_.size()) - 1;
  const int first = std::max(1, static_cast<int>(std::ceil(settings_.warmup * levels)));
  return settings_.method != CacheMethod::kOff && level >= first && level < levels - 1 &&
         static_cast<int>(computed_.size()) == kept_residuals() && in_a_row_ < settings_.most_skips;
}

bool StepCache::decide(int level, double distance) {
  if (settings_.method == CacheMethod::kTeaCache) {
    moved_ += settings_.published ? teacache_flux(distance) : distance;
  } else {
    moved_ = distance;
  }
  if (!may_skip(level) || !(moved_ < settings_.threshold)) return false;
  ++in_a_row_;
  ++skipped_;
  return true;
}

void StepCache::computed(int level) {
  computed_.insert(computed_.begin(), level);
  if (static_cast<int>(computed_.size()) > kept_residuals()) computed_.pop_back();
  moved_ = 0;
  in_a_row_ = 0;
}

std::vector<double> StepCache::forecast(int level) const {
  const auto sigma = [this](int at) { return static_cast<double>(sigmas_[static_cast<std::size_t>(at)]); };
  std::vector<double> weights;
  for (const int a : computed_) {
    double weight = 1;
    for (const int b : computed_) {
      if (b != a) weight *= (sigma(level) - sigma(b)) / (sigma(a) - sigma(b));
    }
    weights.push_back(weight);
  }
  return weights;
}

}  // namespace darkroom
