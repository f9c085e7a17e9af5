// The reference backend with one function that gives wrong results, as a driver may.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "backend_functions.h"
#include "backends/reference/reference.h"
#include "ops/backend.h"

namespace darkroom {

class SpoiledBackend final : public Backend {
 public:
  // `spoil` gets the function's name before each call, and says whether its result is to be wrong; it may throw.
  using Spoil = std::function<bool(const std::string& function)>;
  explicit SpoiledBackend(Spoil spoil, Identity identity = {"a card", "a driver 1.2", "M", "kernels"})
      : spoil_(std::move(spoil)), identity_(std::move(identity)) {}

  std::string name() const override { return "vulkan a card"; }
  Device device() const override { return inner_->device(); }
  Identity identity() const override { return identity_; }
#define DARKROOM_SPOIL(function, Args)       \
  void function(const Args& args) override { \
    const bool wrong = spoil_(#function);    \
    inner_->function(args);                  \
    if (wrong) spoil(result_of(args));       \
  }
  DARKROOM_BACKEND_FUNCTIONS(DARKROOM_SPOIL)
#undef DARKROOM_SPOIL
  void upload(std::span<const float> host, const Tensor& out) override { inner_->upload(host, out); }
  void download(const Tensor& x, std::span<float> host) override { inner_->download(x, host); }

 private:
  template <typename Args>
  static Tensor result_of(const Args& args) {
    if constexpr (requires { args.out; }) {
      return args.out;
    } else {
      return args.x;
    }
  }
  // The last element of the last row, where a tile's edge is.
  static void spoil(const Tensor& out) {
    const int64_t r = out.rows() - 1, c = out.cols() - 1;
    if (out.dtype == DType::kF32) out.row<float>(r)[c] += 0.5f;
    if (out.dtype == DType::kBF16)
      out.row<BFloat16>(r)[c] = to_bfloat16(to_float(out.row<BFloat16>(r)[c]) + 0.5f);
  }

  std::unique_ptr<Backend> inner_ = make_reference_backend();
  Spoil spoil_;
  Identity identity_;
};

}  // namespace darkroom
