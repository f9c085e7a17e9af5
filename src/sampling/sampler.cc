#include "sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <deque>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "base/finite.h"
#include "base/names.h"
#include "base/printable.h"

namespace darkroom {
namespace {

constexpr Named<SamplerKind> kKinds[] = {{SamplerKind::kEuler, "euler"},
                                         {SamplerKind::kHeun, "heun"},
                                         {SamplerKind::kDpm2m, "dpm++2m"},
                                         {SamplerKind::kIpndm, "ipndm"},
                                         {SamplerKind::kAncestral, "euler-a"}};

constexpr std::size_t kHistory = 3;  // velocities that kIpndm uses, this step's among them
// By how much errors of the velocities grow at most in one of equal steps, by order, and how much more than
// that is taken.
constexpr double kEqualStepGain[kHistory] = {1, 2, 11.0 / 3};
constexpr double kMoreGain = 1.22;

void require_valid(std::span<const float> sigmas, std::span<const float> latents,
                   const SamplerOptions& options) {
  require(sigmas.size() >= 2, ErrorCode::kUsage, "{} sigmas, expected at least 2", sigmas.size());
  require(all_finite(sigmas), ErrorCode::kUsage, "a sigma is not a finite number");
  require(all_finite(latents), ErrorCode::kUsage,
          "the latents are not finite before the first step: check the noise or picture they come from");
  require(options.kind != SamplerKind::kAncestral || options.randn, ErrorCode::kUsage,
          "the sampler euler-a needs a source of noise");
  if (options.kind == SamplerKind::kEuler) return;
  for (std::size_t i = 0; i < sigmas.size(); ++i) {
    require(sigmas[i] >= 0 && sigmas[i] <= 1.000001f && (i == 0 || sigmas[i] < sigmas[i - 1]),
            ErrorCode::kUsage, "sigma {} is {}; the sampler {} needs falling ones in [0, 1]", i, sigmas[i],
            sampler_name(options.kind));
  }
}

// One way of going from a level to the next; holds what it remembers of earlier steps.
class Solver {
 public:
  Solver(std::span<const float> sigmas, const Denoiser& denoise, const SamplerOptions& options,
         std::size_t count)
      : sigmas_(sigmas), denoise_(denoise), options_(options), velocity_(count) {}

  void step(std::size_t i, std::span<float> x) {
    denoise_(x, static_cast<int>(i), sigmas_[i], velocity_);
    switch (options_.kind) {
      case SamplerKind::kEuler:
        return euler(i, x);
      case SamplerKind::kHeun:
        return heun(i, x);
      case SamplerKind::kDpm2m:
        return dpm2m(i, x);
      case SamplerKind::kIpndm:
        return ipndm(i, x);
      case SamplerKind::kAncestral:
        return ancestral(i, x);
    }
  }
  std::span<const float> velocity() const { return velocity_; }

 private:
  double sigma(std::size_t i) const { return static_cast<double>(sigmas_[i]); }

  void euler(std::size_t i, std::span<float> x) const {
    const float change = sigmas_[i + 1] - sigmas_[i];
    for (std::size_t j = 0; j < x.size(); ++j) x[j] += change * velocity_[j];
  }

  // The mean of the velocities at both ends; at 0 there is none.
  void heun(std::size_t i, std::span<float> x) {
    if (i + 2 == sigmas_.size()) return euler(i, x);
    const double change = sigma(i + 1) - sigma(i);
    other_.assign(x.begin(), x.end());
    for (std::size_t j = 0; j < x.size(); ++j) other_[j] = static_cast<float>(x[j] + change * velocity_[j]);
    end_.resize(x.size());
    denoise_(other_, static_cast<int>(i) + 1, sigmas_[i + 1], end_);
    for (std::size_t j = 0; j < x.size(); ++j) {
      x[j] = static_cast<float>(x[j] + change * 0.5 * (static_cast<double>(velocity_[j]) + end_[j]));
    }
  }

  // x' = σ'/σ·x + (1 - σ'/σ)·D with D the predicted picture x - σv, extrapolated in λ = log((1 - σ)/σ):
  // the exponential integrator in the flow's own terms. First order where λ is infinite: from noise
  // level 1, and to 0.
  void dpm2m(std::size_t i, std::span<float> x) {
    const double ratio = sigma(i + 1) / sigma(i);
    const auto lambda = [this](std::size_t at) { return std::log1p(-sigma(at)) - std::log(sigma(at)); };
    double extrapolated = 0;
    if (i > 0 && sigma(i + 1) > 0 && sigma(i - 1) < 1) {
      extrapolated = (lambda(i + 1) - lambda(i)) / (2 * (lambda(i) - lambda(i - 1)));
    }
    other_.resize(x.size());
    for (std::size_t j = 0; j < x.size(); ++j) {
      const double picture = x[j] - sigma(i) * velocity_[j];
      const double used =
          extrapolated == 0 ? picture : picture + extrapolated * (picture - static_cast<double>(other_[j]));
      x[j] = static_cast<float>(ratio * x[j] + (1 - ratio) * used);
      other_[j] = static_cast<float>(picture);
    }
  }

  // ∫ of the polynomial through the last velocities from σ to σ', of the highest order that magnifies errors
  // little more than it does in equal steps: steps that grow quickly, as few steps do, extrapolate too far.
  // To 0 the way is as long as several steps, so that one is plain.
  void ipndm(std::size_t i, std::span<float> x) {
    history_.push_front({sigma(i), velocity_});
    if (history_.size() > kHistory) history_.pop_back();
    std::vector<double> weights = step_weights(i, sigma(i + 1) > 0 ? history_.size() : 1);
    while (gain(i, weights) > kMoreGain * kEqualStepGain[weights.size() - 1]) {
      weights = step_weights(i, weights.size() - 1);
    }
    for (std::size_t j = 0; j < x.size(); ++j) {
      double sum = x[j];
      for (std::size_t a = 0; a < weights.size(); ++a) {
        sum += weights[a] * static_cast<double>(history_[a].velocity[j]);
      }
      x[j] = static_cast<float>(sum);
    }
  }

  // The share of each of the last `order` velocities in step i, by Gauss' rule of two points, exact to cubic.
  std::vector<double> step_weights(std::size_t i, std::size_t order) const {
    const double middle = (sigma(i) + sigma(i + 1)) / 2, reach = (sigma(i + 1) - sigma(i)) / 2;
    std::vector<double> weights(order);
    for (const double at : {middle - reach / std::sqrt(3.0), middle + reach / std::sqrt(3.0)}) {
      for (std::size_t a = 0; a < order; ++a) {
        double lagrange = 1;
        for (std::size_t b = 0; b < order; ++b) {
          if (b != a) lagrange *= (at - history_[b].sigma) / (history_[a].sigma - history_[b].sigma);
        }
        weights[a] += reach * lagrange;
      }
    }
    return weights;
  }

  // By how much errors of the velocities grow at most in step i.
  double gain(std::size_t i, const std::vector<double>& weights) const {
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0, [](double before, double weight) {
      return before + std::abs(weight);
    });
    return sum / (sigma(i) - sigma(i + 1));
  }

  // With x = (1 - σ)·picture + σ·noise: down to σ_d = σ'²/σ, scaled to the picture's share at σ', and noise
  // for the rest of the variance.
  void ancestral(std::size_t i, std::span<float> x) {
    if (sigma(i + 1) == 0) return euler(i, x);
    const double down = sigma(i + 1) * sigma(i + 1) / sigma(i), grow = (1 - sigma(i + 1)) / (1 - down);
    const double fresh = std::sqrt(std::max(0.0, sigma(i + 1) * sigma(i + 1) - grow * grow * down * down));
    other_.resize(x.size());
    options_.randn(other_);
    for (std::size_t j = 0; j < x.size(); ++j) {
      const double moved = x[j] + (down - sigma(i)) * velocity_[j];
      x[j] = static_cast<float>(grow * moved + fresh * static_cast<double>(other_[j]));
    }
  }

  struct Past {
    double sigma;
    std::vector<float> velocity;
  };
  std::span<const float> sigmas_;
  const Denoiser& denoise_;
  const SamplerOptions& options_;
  std::vector<float> velocity_, other_, end_;
  std::deque<Past> history_;
};

}  // namespace

SamplerKind parse_sampler(std::string_view name) {
  if (const auto kind = value_named(kKinds, name)) return *kind;
  fail(ErrorCode::kUsage, "unknown sampler '{}'; there are euler, heun, dpm++2m, ipndm and euler-a",
       printable(name, 40));
}

std::string_view sampler_name(SamplerKind kind) { return name_of(kKinds, kind); }

int sampler_evaluations(SamplerKind kind, int steps) {
  return kind == SamplerKind::kHeun ? 2 * steps - 1 : steps;
}

bool opens_step(SamplerKind kind, int evaluation) {
  return kind != SamplerKind::kHeun || evaluation % 2 == 0;
}

int sampler_vectors(SamplerKind kind) {
  switch (kind) {
    case SamplerKind::kEuler:
      return 1;
    case SamplerKind::kHeun:
      return 3;
    case SamplerKind::kIpndm:
      return 2 + static_cast<int>(kHistory);  // one more while the oldest leaves
    case SamplerKind::kDpm2m:
    case SamplerKind::kAncestral:
      break;
  }
  return 2;
}

void sample(std::span<const float> sigmas, std::span<float> latents, const Denoiser& denoise,
            const SamplerOptions& options) {
  require_valid(sigmas, latents, options);
  const int steps = static_cast<int>(sigmas.size()) - 1;
  Solver solver(sigmas, denoise, options, latents.size());
  for (int step = 0; step < steps; ++step) {
    const std::size_t i = static_cast<std::size_t>(step);
    solver.step(i, latents);
    if (options.constrain) options.constrain(sigmas[i + 1], latents);
    require(all_finite(latents), ErrorCode::kFailure,
            "the transformer's output is not finite at step {} of {}; the weights may be damaged or may "
            "overflow in this precision: try --precision f32",
            step + 1, steps);
    if (options.on_step) options.on_step({step, steps, sigmas[i], sigmas[i + 1], latents, solver.velocity()});
  }
}

}  // namespace darkroom
