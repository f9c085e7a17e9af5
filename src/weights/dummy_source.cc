#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "weights/source.h"

namespace darkroom {
namespace {

constexpr std::size_t kWindow = 1 << 20;  // tensors begin at one of these elements of a pattern,
constexpr std::size_t kStep = 64;         // at multiples of this: aligned to 128 bytes and more
constexpr std::size_t kGroup = 8;         // elements made from one 64-bit number

// splitmix64's output function (Steele, Lea, Flood 2014): every input bit reaches every output bit.
uint64_t scrambled(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// FNV-1a (Fowler, Noll, Vo), scrambled: std::hash may differ between libraries.
uint64_t hash_of(const std::string& name) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return scrambled(hash);
}

constexpr int kNorms = 1000;  // the pattern of norm weights; the others are named by their exponent

// The 256 values of a pattern, all exact in bf16. Norms: 1 ± up to 16/128. Others: odd numbers −255 … 255
// times 2^−e.
std::array<float, 256> values_of(int pattern) {
  std::array<float, 256> values{};
  for (int i = 0; i < 256; ++i) {
    const float odd = static_cast<float>(2 * i - 255);
    values[static_cast<std::size_t>(i)] =
        pattern == kNorms ? 1.0f + static_cast<float>(i % 33 - 16) / 128.0f : std::ldexp(odd, -pattern);
  }
  return values;
}

// The odd numbers have a standard deviation of √((256² − 1)/3) = 147.8.
int exponent_for(double deviation) { return static_cast<int>(std::lround(std::log2(147.8 / deviation))); }

bool is_bias(const std::string& name) { return name.ends_with("bias"); }

int pattern_for(const std::string& name, const Shape& shape) {
  if (is_bias(name)) return exponent_for(1.0 / 64);
  if (shape.rank() <= 1) return kNorms;
  const int64_t fan_in = shape.numel() / std::max<int64_t>(shape[0], 1);
  return exponent_for(1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(fan_in, 1))));
}

template <typename T>
T stored_as(float value) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return to_bfloat16(value);
  } else {
    return value;
  }
}

// Elements [first, last) of an endless pattern, both multiples of kGroup, to out[0 …].
template <typename T>
void fill(T* out, int pattern, std::size_t first, std::size_t last) {
  std::array<T, 256> table{};
  std::ranges::transform(values_of(pattern), table.begin(), stored_as<T>);
  const uint64_t seed = scrambled(static_cast<uint64_t>(pattern) << 40);
  for (std::size_t i = first; i < last; i += kGroup) {
    uint64_t bits = scrambled(seed ^ (i / kGroup));
    for (std::size_t j = 0; j < kGroup; ++j, bits >>= 8) *out++ = table[bits & 0xFF];
  }
}

void fill(std::byte* out, DType dtype, int pattern, std::size_t first, std::size_t last) {
  if (dtype == DType::kF32) {
    fill(reinterpret_cast<float*>(out), pattern, first, last);
  } else {
    fill(reinterpret_cast<BFloat16*>(out), pattern, first, last);
  }
}

// Where in its pattern a tensor begins.
std::size_t first_element(const std::string& name) { return hash_of(name) % (kWindow / kStep) * kStep; }

}  // namespace

DummySource::DummySource(DType dtype) : dtype_(dtype) {
  require(dtype == DType::kBF16 || dtype == DType::kF32, ErrorCode::kFailure,
          "dummy weights are f32 or bf16, not {}", dtype_name(dtype));
}

void DummySource::read(const Param& param, std::span<std::byte> out) {
  read_rows(param, {0, param.shape[0]}, out);
}

void DummySource::read_rows(const Param& param, const RowRange& rows, std::span<std::byte> out) {
  const int64_t row = param.shape.numel() / std::max<int64_t>(param.shape[0], 1);
  const std::size_t element = dtype_bytes(dtype_), begin = static_cast<std::size_t>(rows.first * row),
                    end = static_cast<std::size_t>((rows.first + rows.count) * row);
  require(out.size() == (end - begin) * element, ErrorCode::kFailure,
          "dummy tensor '{}' has {} bytes, {} were asked for", param.name, (end - begin) * element,
          out.size());
  const std::size_t first = first_element(param.name);
  const int key = pattern_for(param.name, param.shape);
  const auto to = [&](std::size_t at) { return out.data() + (at - begin) * element; };
  // Groups that lie in the rows as a whole; then pieces of one, before and after.
  const std::size_t whole = std::min((begin + kGroup - 1) / kGroup * kGroup, end),
                    rest = std::max(end / kGroup * kGroup, whole);
  fill(to(whole), dtype_, key, first + whole, first + rest);
  for (const auto& [from, until] : {std::pair(begin, whole), std::pair(rest, end)}) {
    if (from == until) continue;
    std::array<float, kGroup> group{};
    const std::size_t at = from / kGroup * kGroup;
    fill(reinterpret_cast<std::byte*>(group.data()), dtype_, key, first + at, first + at + kGroup);
    std::memcpy(to(from), reinterpret_cast<const std::byte*>(group.data()) + (from - at) * element,
                (until - from) * element);
  }
}

}  // namespace darkroom
