// The noise a picture starts from, as PyTorch's random generators draw it, so that a seed gives the picture
// that it gives in diffusers and ComfyUI.
//
// Not a general random library: normal numbers with mean 0 and deviation 1 in f32, nothing else. Results are
// the same on every CPU. An object belongs to one thread at a time; the functions may run anywhere.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace darkroom {

enum class NoiseKind {
  kTorchCpu,   // torch.Generator("cpu"): MT19937. ComfyUI, and diffusers with a CPU generator
  kTorchCuda,  // torch.Generator("cuda"): Philox4x32-10
};

// torch.Generator("cpu").manual_seed(seed) followed by torch.randn(n, generator=...) in f32.
//
// Bit for bit what torch 2.13 gives on x86-64 with AVX2. A torch that runs without AVX2, or on another
// architecture, uses its C library's log, sin and cos and differs in the last bits.
class TorchCpuGenerator {
 public:
  // torch's MT19937 takes the low 32 bits: seeds that differ by 2^32 give the same noise.
  explicit TorchCpuGenerator(uint64_t seed);

  // Fills `out` and advances the stream as one torch.randn call of out.size() elements does. The size
  // matters: below 16 elements torch draws in double precision and keeps one of each pair for the next short
  // call; above, a rest that does not fill a block of 16 redraws the last 16.
  void randn(std::span<float> out);

 private:
  void fill_uniform(std::span<float> out);
  double next_double_normal();

  std::mt19937 engine_;
  std::optional<double> kept_normal_;  // the sine half of the last pair of a short call
};

// How many threads a CUDA device runs torch's random kernels with; it decides which thread draws which
// element. The default is a device large enough for one thread per element: right for every GPU when the
// noise has at most multiprocessors · threads_per_multiprocessor elements (H100: 270,336; 1024×1024
// pixels need 262,144).
struct CudaGeometry {
  int64_t multiprocessors = 0;                // 0: no limit
  int64_t threads_per_multiprocessor = 2048;  // 2048: A100, H100; 1536: RTX 30, 40, 50; 1024: T4

  int64_t threads() const { return multiprocessors * threads_per_multiprocessor; }
  bool operator==(const CudaGeometry&) const = default;
};

// The fewest threads among the cards that parse_noise_source() knows by name: noise of more numbers is not
// the same on all cards.
int64_t fewest_cuda_threads();

// Whose random numbers, with what decides them.
struct NoiseSource {
  NoiseKind kind = NoiseKind::kTorchCpu;
  CudaGeometry cuda = {};

  bool operator==(const NoiseSource&) const = default;
};

// "torch-cpu"; "torch-cuda", a card that is not named and has no limit of threads; "torch-cuda:nv", the same
// numbers where no card is meant (A1111's "NV"); "torch-cuda:CARD" with a card's name, such as "rtx3060" or
// "RTX 3060", or with its multiprocessors and the threads of each, "28x1536". Errors: kUsage.
NoiseSource parse_noise_source(std::string_view text);
// Its text, with numbers for a card: "torch-cuda:28x1536".
std::string noise_source_text(const NoiseSource& source);

// torch.Generator("cuda").manual_seed(seed) followed by torch.randn(n, device="cuda") in f32.
//
// Same integers as the device; the float values are not promised to the bit, because the device's own sine
// and cosine are approximate (errors near 1e-6).
class TorchCudaGenerator {
 public:
  // All 64 bits of the seed count. Errors: kUsage for a geometry that is negative or too small
  // for one block of 256.
  explicit TorchCudaGenerator(uint64_t seed, CudaGeometry geometry = {});

  // Fills `out` and advances the stream as one torch.randn call of out.size() elements does.
  void randn(std::span<float> out);

 private:
  uint64_t seed_;
  CudaGeometry geometry_;
  uint64_t call_offset_ = 0;  // counters, each good for four numbers, that every thread has used so far
};

// Standard normal numbers: each call fills `out` as one torch.randn call of the generator that `source`
// names, seeded once. A pipeline whose dtype is bf16 rounds these values to bf16 (torch 2.13 does
// exactly that; older versions drew another stream): the caller's choice. Copies share the stream.
// Errors: kUsage as TorchCudaGenerator.
using Randn = std::function<void(std::span<float> out)>;
Randn torch_randn(const NoiseSource& source, uint64_t seed);

// What lies at noise level `sigma` between a picture and noise: sigma · noise + (1 - sigma) · picture in f32,
// the bits of diffusers' scale_noise on f32 tensors. All of one size; `out` may be either.
void mix_noise(std::span<const float> picture, std::span<const float> noise, float sigma,
               std::span<float> out);

}  // namespace darkroom
