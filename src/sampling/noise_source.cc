// The names of noise sources, and of the cards whose size decides torch's CUDA noise.
#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/number_text.h"
#include "base/printable.h"
#include "sampling/noise.h"

namespace darkroom {
namespace {

constexpr std::string_view kCpu = "torch-cpu", kCuda = "torch-cuda", kNv = "torch-cuda:nv";

// More threads than any noise has numbers.
constexpr CudaGeometry kNvGeometry = {65536, 65536};

struct Card {
  std::string_view name;  // lower case, without blanks, "geforce" and "nvidia"
  CudaGeometry geometry;
};

// Multiprocessors and threads of each, from NVIDIA's data sheets and the compute capability's table.
constexpr Card kCards[] = {
    {"h100", {132, 2048}},
    {"h100pcie", {114, 2048}},
    {"h200", {132, 2048}},
    {"b200", {148, 2048}},
    {"a100", {108, 2048}},
    {"a10", {72, 1536}},
    {"a40", {84, 1536}},
    {"rtxa4000", {48, 1536}},
    {"rtxa5000", {64, 1536}},
    {"rtxa6000", {84, 1536}},
    {"l4", {58, 1536}},
    {"l40", {142, 1536}},
    {"l40s", {142, 1536}},
    {"rtx6000ada", {142, 1536}},
    {"t4", {40, 1024}},
    {"v100", {80, 2048}},
    {"gtx1060", {10, 2048}},
    {"gtx1070", {15, 2048}},
    {"gtx1080", {20, 2048}},
    {"gtx1080ti", {28, 2048}},
    {"rtx2060", {30, 1024}},
    {"rtx2070", {36, 1024}},
    {"rtx2070super", {40, 1024}},
    {"rtx2080", {46, 1024}},
    {"rtx2080super", {48, 1024}},
    {"rtx2080ti", {68, 1024}},
    {"rtx3050", {20, 1536}},
    {"rtx3060", {28, 1536}},
    {"rtx3060ti", {38, 1536}},
    {"rtx3070", {46, 1536}},
    {"rtx3070ti", {48, 1536}},
    {"rtx3080", {68, 1536}},
    {"rtx3080ti", {80, 1536}},
    {"rtx3090", {82, 1536}},
    {"rtx3090ti", {84, 1536}},
    {"rtx4060", {24, 1536}},
    {"rtx4060ti", {34, 1536}},
    {"rtx4070", {46, 1536}},
    {"rtx4070super", {56, 1536}},
    {"rtx4070ti", {60, 1536}},
    {"rtx4070tisuper", {66, 1536}},
    {"rtx4080", {76, 1536}},
    {"rtx4080super", {80, 1536}},
    {"rtx4090", {128, 1536}},
    {"rtx5060", {30, 1536}},
    {"rtx5060ti", {36, 1536}},
    {"rtx5070", {48, 1536}},
    {"rtx5070ti", {70, 1536}},
    {"rtx5080", {84, 1536}},
    {"rtx5090", {170, 1536}},
};

std::string plain_name(std::string_view text) {
  std::string name;
  for (const char c : text) {
    if (c == ' ' || c == '-' || c == '_') continue;
    name += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  for (const std::string_view word : {"nvidia", "geforce"}) {
    if (name.starts_with(word)) name.erase(0, word.size());
  }
  return name;
}

std::optional<CudaGeometry> read_numbers(std::string_view text) {
  const std::size_t cross = text.find('x');
  if (cross == std::string_view::npos) return std::nullopt;
  const auto processors = number_in<int64_t>(text.substr(0, cross), 1, 65536);
  const auto threads = number_in<int64_t>(text.substr(cross + 1), 256, 65536);
  if (!processors || !threads) return std::nullopt;
  return CudaGeometry{*processors, *threads};
}

CudaGeometry read_card(std::string_view text) {
  const std::string name = plain_name(text);
  if (const auto numbers = read_numbers(name)) return *numbers;
  const auto found = std::ranges::find_if(kCards, [&](const Card& card) {
    return card.name == name || (card.name.starts_with("rtx") && card.name.substr(3) == name);
  });
  if (found != std::end(kCards)) return found->geometry;
  fail(ErrorCode::kUsage,
       "rng: there is no card '{}' in the table; pass its multiprocessors (1 to 65536) and the threads of "
       "each "
       "(256 to 65536), as torch-cuda:128x1536 for an RTX 4090, or a name such as rtx3060, rtx4090, a100 or "
       "t4",
       printable(text, 40));
}

}  // namespace

int64_t fewest_cuda_threads() {
  const auto fewest =
      std::ranges::min_element(kCards, {}, [](const Card& card) { return card.geometry.threads(); });
  return fewest->geometry.threads();
}

NoiseSource parse_noise_source(std::string_view text) {
  if (text == kCpu) return {};
  if (text == kCuda) return {.kind = NoiseKind::kTorchCuda};
  if (text == kNv) return {.kind = NoiseKind::kTorchCuda, .cuda = kNvGeometry};
  require(text.starts_with(kCuda) && text.substr(kCuda.size()).starts_with(':'), ErrorCode::kUsage,
          "rng is '{}'; there are torch-cpu, torch-cuda and torch-cuda:CARD, such as torch-cuda:rtx3060 or "
          "torch-cuda:28x1536",
          printable(text, 40));
  return {.kind = NoiseKind::kTorchCuda, .cuda = read_card(text.substr(kCuda.size() + 1))};
}

std::string noise_source_text(const NoiseSource& source) {
  if (source.kind == NoiseKind::kTorchCpu) return std::string(kCpu);
  if (source.cuda.multiprocessors == 0) return std::string(kCuda);
  if (source.cuda == kNvGeometry) return std::string(kNv);
  return fmt::format("{}:{}x{}", kCuda, source.cuda.multiprocessors, source.cuda.threads_per_multiprocessor);
}

}  // namespace darkroom
