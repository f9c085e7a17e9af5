// When a step may leave out most of the transformer, and what replaces it: the decision and the
// forecast, without tensors.
//
// From step to step the middle blocks change their input by nearly the same amount (the residual). A signal
// that is cheap to compute says how far the input has moved; while it has moved little, the residual of
// earlier steps, carried forward, is added instead of running the blocks. One object per picture and prompt.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace darkroom {

enum class CacheMethod : uint8_t {
  kOff,
  // The modulated input of the first block, its relative changes summed up through the polynomial published
  // for FLUX.1 dev (TeaCache, arXiv 2411.19108).
  kTeaCache,
  // What the first blocks add, relative to the last computed step (first-block cache, ParaAttention; with
  // more blocks before and some after that always run: DBCache, cache-dit).
  kBlocks,
};

struct CacheSettings {
  CacheMethod method = CacheMethod::kOff;
  double threshold = 0;   // a step is left out below it
  int front = 1;          // kBlocks: blocks that always run first, at least 1
  int back = 0;           // kBlocks: blocks that always run last
  int order = 1;          // of the forecast: 0 the last residual, 1 a straight line through two, 2 a parabola
  double warmup = 0.2;    // share of the steps, at the start, that are always computed
  int most_skips = 3;     // in a row
  bool published = true;  // kTeaCache: the polynomial; else the changes as they are

  bool operator==(const CacheSettings&) const = default;
};

// "off"; "light", "balanced" or "auto", "fast"; "teacache", "fbcache", "dbcache", each with :THRESHOLD and
// then any of ,front=N ,back=N ,order=N ,warmup=SHARE ,skips=N ,poly=flux|none. Errors: kUsage with the text
// and what is allowed.
CacheSettings parse_cache(std::string_view text);
// What parse_cache() reads the same settings from.
std::string cache_text(const CacheSettings& settings);

class StepCache {
 public:
  // sigmas as Schedule has them.
  StepCache(const CacheSettings& settings, std::vector<float> sigmas);

  // Whether the signal of this level is worth computing a distance for: it is not where the
  // step must be computed.
  bool may_skip(int level) const;
  // distance: of this level's signal, relative; from the level before (kTeaCache) or the last computed one
  // (kBlocks). To be called for each level in turn, but where there is nothing to compare with. True: leave
  // the blocks out.
  bool decide(int level, double distance);
  // To be called when a level's residual has been computed.
  void computed(int level);

  // Weights of the last residuals, the newest first, whose sum replaces this level's: polynomials in sigma.
  std::vector<double> forecast(int level) const;
  int kept_residuals() const { return settings_.order + 1; }
  int skipped() const { return skipped_; }

 private:
  CacheSettings settings_;
  std::vector<float> sigmas_;
  std::vector<int> computed_;  // levels, the newest first, at most kept_residuals()
  double moved_ = 0;           // kTeaCache: since the last computed level
  int in_a_row_ = 0, skipped_ = 0;
};

// TeaCache's estimate for FLUX.1 dev of how much the output changes when the modulated input
// does; never below 0.
double teacache_flux(double distance);

}  // namespace darkroom
