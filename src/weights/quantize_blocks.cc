#include "weights/quantize_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "weights/finite.h"

// Each type is a search: codes for some candidates of a group's scale (and offset), the least squares fit to
// those codes, and the candidate whose fit leaves the least error; then codes and fit in turns. Four groups
// go side by side in the lanes of a vector, so that nothing is summed across lanes.
namespace darkroom {
namespace {

constexpr int kLanes = 4;  // what every 64-bit x86 and ARM has
using Lanes [[gnu::vector_size(16)]] = float;
using Ints [[gnu::vector_size(16)]] = int32_t;

constexpr float kLargestScale = 65504, kLeastScale = 0x1p-24f;
// No type reaches beyond 65504·128·32, and all values are multiples of 2^-24: what lies outside these two is
// saturated or 0 anyway, and in between no sum of squares overflows.
constexpr float kLargestValue = 0x1p29f, kLeastValue = 0x1p-26f;

Lanes broadcast(float x) { return Lanes{x, x, x, x}; }
Lanes least(Lanes a, Lanes b) { return b < a ? b : a; }
Lanes largest(Lanes a, Lanes b) { return a < b ? b : a; }
Lanes inverse(Lanes x) {  // of 0: 0
  const Lanes one = broadcast(1), zero{};
  return x != zero ? one / (x != zero ? x : one) : zero;
}

// To the nearest integer of [low, high], ties to even: adding 3·2^22 leaves no bits for a fraction.
Lanes code(Lanes x, float low, float high) {
  const Lanes clamped = least(largest(x, broadcast(low)), broadcast(high));
  return (clamped + 12582912.0f) - 12582912.0f;
}

// Values j of four groups of n that follow each other, of which `count` are there; the others become 0.
template <int n>
void load(const float* from, int count, Lanes (&x)[n]) {
  for (int j = 0; j < n; ++j) x[j] = Lanes{};
  for (int lane = 0; lane < count; ++lane) {
    for (int j = 0; j < n; ++j) x[j][lane] = from[lane * n + j];
  }
  const Lanes most = broadcast(kLargestValue), few = broadcast(kLeastValue), zero{};
  for (int j = 0; j < n; ++j) {
    const Lanes clamped = least(largest(x[j], -most), most);
    x[j] = largest(clamped, -clamped) < few ? zero : clamped;
  }
}

// The nearest f16 that is not infinite and, unless `scale` is, not 0.
Float16 to_scale(float scale) {
  if (scale == 0) return {};
  return to_float16(std::copysign(std::clamp(std::fabs(scale), kLeastScale, kLargestScale), scale));
}
float rounded_scale(float scale) { return to_float(to_scale(scale)); }
Lanes rounded_scales(Lanes scales) {
  for (int lane = 0; lane < kLanes; ++lane) scales[lane] = rounded_scale(scales[lane]);
  return scales;
}

template <int n>
void range(const Lanes (&x)[n], Lanes& low, Lanes& high) {
  low = high = x[0];
  for (int j = 1; j < n; ++j) {
    low = least(low, x[j]);
    high = largest(high, x[j]);
  }
}

// The value of the largest magnitude.
template <int n>
Lanes peak_of(const Lanes (&x)[n]) {
  Lanes low, high;
  range(x, low, high);
  return -low > high ? low : high;
}

struct Sums {
  Lanes q{}, qq{}, xq{};
};

// Of the codes of x·inverse + shift.
template <int n>
Sums sums_of(const Lanes (&x)[n], Lanes inverse_step, Lanes shift, float low, float high) {
  Sums sums;
  for (int j = 0; j < n; ++j) {
    const Lanes q = code(x[j] * inverse_step + shift, low, high);
    sums.q += q;
    sums.qq += q * q;
    sums.xq += x[j] * q;
  }
  return sums;
}

// The squared error of what step·code + base comes to.
template <int n>
Lanes error_of(const Lanes (&x)[n], Lanes step, Lanes base, float low, float high) {
  const Lanes inverse_step = inverse(step), shift = -base * inverse_step;
  Lanes error{};
  for (int j = 0; j < n; ++j) {
    const Lanes q = code(x[j] * inverse_step + shift, low, high);
    const Lanes left = x[j] - (q * step + base);
    error += left * left;
  }
  return error;
}

// The codes, plus `add`, in the order of the values.
template <int n>
void store_codes(const Lanes (&x)[n], Lanes step, Lanes base, float low, float high, int add, uint8_t* out) {
  const Lanes inverse_step = inverse(step), shift = -base * inverse_step;
  for (int j = 0; j < n; ++j) {
    const Lanes q = code(x[j] * inverse_step + shift, low, high);
    const Ints whole = __builtin_convertvector(q, Ints);
    for (int lane = 0; lane < kLanes; ++lane) out[lane * n + j] = static_cast<uint8_t>(whole[lane] + add);
  }
}

// ---- x ≈ step·q, q of [-half, half - 1] ----

// Where the peak comes to lie, in steps.
template <int half>
constexpr float kReaches[] = {-half, -half - 0.6f, -half + 0.4f, half - 1, half - 0.6f};

template <int half, int n>
Lanes fit_step(const Lanes (&x)[n]) {
  const Lanes to_one = inverse(peak_of(x));
  Lanes best{}, step{};
  const auto consider = [&](Lanes inverse_step) {
    const Sums sums = sums_of(x, inverse_step, Lanes{}, -half, half - 1);
    const Lanes fit = sums.xq * inverse(sums.qq), gain = fit * sums.xq;
    step = gain > best ? fit : step;
    best = gain > best ? gain : best;
  };
  for (const float reach : kReaches<half>) consider(to_one * reach);
  for (int turn = 0; turn < 2; ++turn) consider(inverse(step));
  return step;
}

// ---- x ≈ step·q + base, q of [0, levels] ----

struct Line {
  Lanes step{}, base{};
};

// What codes the least and the largest value come to, beyond 0 and `levels`.
struct Margin {
  float low, high;
};
constexpr Margin kMargins[] = {{0, 0}, {-0.4f, 0}, {0, 0.4f}, {-0.4f, 0.4f}, {0.3f, 0}, {0, -0.3f}};

// only_below: the base may not be above 0.
template <int levels, bool only_below, int n>
Line fit_line(const Lanes (&values)[n]) {
  Lanes low, high, x[n], sum{};
  range(values, low, high);
  if (only_below) low = least(low, Lanes{});
  for (int j = 0; j < n; ++j) {
    x[j] = values[j] - low;
    sum += x[j];
  }
  const Lanes to_one = inverse(high - low);
  Lanes best = broadcast(-1);
  constexpr float count = n;
  Line line;  // of x
  const auto consider = [&](Lanes inverse_step, Lanes shift) {
    const Sums sums = sums_of(x, inverse_step, shift, 0, levels);
    const Lanes slope = (count * sums.xq - sum * sums.q) * inverse(count * sums.qq - sums.q * sums.q);
    Lanes base = (sum - slope * sums.q) / count;
    if (only_below) base = least(base, -low);
    const Lanes step = (sums.xq - base * sums.q) * inverse(sums.qq);
    // The sum of squares less the error.
    const Lanes gain =
        step * (2.0f * sums.xq - step * sums.qq - 2.0f * base * sums.q) + base * (2.0f * sum - count * base);
    line.step = gain > best ? step : line.step;
    line.base = gain > best ? base : line.base;
    best = gain > best ? gain : best;
  };
  for (const Margin& margin : kMargins) {
    consider(to_one * (levels + margin.high - margin.low), broadcast(margin.low));
  }
  for (int turn = 0; turn < 2; ++turn) {
    const Lanes inverse_step = inverse(line.step);
    consider(inverse_step, -line.base * inverse_step);
  }
  // What is left of a base of 0 is rounding, and would hide what f16 has of a `low` that is tiny.
  line.base = low + (largest(line.base, -line.base) > line.step * 1e-4f ? line.base : Lanes{});
  return line;
}

// ---- Blocks of 32, four at a time ----

constexpr int kSmall = 32;

void put(uint8_t* to, Float16 x) { std::memcpy(to, &x.bits, sizeof x.bits); }

// Elements j and j + 16 share byte j.
void put_nibbles(uint8_t* to, const uint8_t* codes) {
  for (int j = 0; j < 16; ++j) to[j] = static_cast<uint8_t>((codes[j] & 15) | (codes[j + 16] << 4));
}

// Bit j of four bytes is the fifth of element j.
void put_fifth_bits(uint8_t* to, const uint8_t* codes) {
  for (int byte = 0; byte < 4; ++byte) {
    int bits = 0;
    for (int j = 0; j < 8; ++j) bits |= (codes[8 * byte + j] >> 4) << j;
    to[byte] = static_cast<uint8_t>(bits);
  }
}

void quantize_q8_0(const Lanes (&x)[kSmall], int count, uint8_t* out) {
  const Lanes peak = peak_of(x), magnitude = largest(peak, -peak);
  Lanes step = rounded_scales(magnitude / 127.0f), best = error_of(x, step, Lanes{}, -127, 127);
  for (const float reach : {126.3f, 126.6f, 127.2f, 127.4f}) {
    const Lanes other = rounded_scales(magnitude / reach), error = error_of(x, other, Lanes{}, -127, 127);
    step = error < best ? other : step;
    best = least(error, best);
  }
  uint8_t codes[kLanes * kSmall];
  store_codes(x, step, Lanes{}, -127, 127, 0, codes);
  for (int block = 0; block < count; ++block, out += 2 + kSmall) {
    put(out, to_float16(step[block]));
    std::memcpy(out + 2, codes + block * kSmall, kSmall);
  }
}

// q4_0 and q5_0.
template <int half>
void quantize_around_zero(const Lanes (&x)[kSmall], int count, uint8_t* out) {
  constexpr int high_bits = half == 16 ? 4 : 0;
  const Lanes step = rounded_scales(fit_step<half>(x));
  uint8_t codes[kLanes * kSmall];
  store_codes(x, step, Lanes{}, -half, half - 1, half, codes);
  for (int block = 0; block < count; ++block, out += 2 + high_bits + 16) {
    put(out, to_float16(step[block]));
    if (high_bits > 0) put_fifth_bits(out + 2, codes + block * kSmall);
    put_nibbles(out + 2 + high_bits, codes + block * kSmall);
  }
}

// q4_1 and q5_1. The base is rounded first, the step fitted to what is left.
template <int levels>
void quantize_line(const Lanes (&x)[kSmall], int count, uint8_t* out) {
  constexpr int high_bits = levels == 31 ? 4 : 0;
  const Line line = fit_line<levels, false>(x);
  Lanes base, above[kSmall];
  for (int lane = 0; lane < kLanes; ++lane) {
    base[lane] = to_float(to_float16(std::clamp(line.base[lane], -kLargestScale, kLargestScale)));
  }
  for (int j = 0; j < kSmall; ++j) above[j] = x[j] - base;
  const Sums sums = sums_of(above, inverse(line.step), Lanes{}, 0, levels);
  const Lanes fit = sums.xq * inverse(sums.qq);
  const Lanes step = rounded_scales(fit > Lanes{} ? fit : line.step);
  uint8_t codes[kLanes * kSmall];
  store_codes(above, step, Lanes{}, 0, levels, 0, codes);
  for (int block = 0; block < count; ++block, out += 4 + high_bits + 16) {
    put(out, to_float16(step[block]));
    put(out + 2, to_float16(base[block]));
    if (high_bits > 0) put_fifth_bits(out + 4, codes + block * kSmall);
    put_nibbles(out + 4 + high_bits, codes + block * kSmall);
  }
}

// ---- Super-blocks of 256: groups of n whose scales are small integers times a scale of all ----

constexpr int kSuper = 256;

template <int n>
struct Groups {
  static constexpr int kFours = kSuper / n / kLanes;
  Lanes x[kFours][n];
};

float sum_of(Lanes x) { return (x[0] + x[1]) + (x[2] + x[3]); }

// What a super-block becomes: its codes, the integers of its groups, and its two scales.
struct Super {
  float step = 0, base = 0;  // as f16 has them
  int scales[16] = {}, offsets[16] = {};
  uint8_t codes[kSuper] = {};
};

// x ≈ step·scale·q, scale of [-most - 1, most], q of [-half, half - 1]: q3_k and q6_k.
template <int half, int n, int most>
void fit_super_steps(const Groups<n>& groups, Super& out) {
  constexpr int fours = Groups<n>::kFours;
  Lanes steps[fours], scales[fours];
  for (int k = 0; k < fours; ++k) steps[k] = fit_step<half>(groups.x[k]);
  float peak = 0;
  for (const Lanes& four : steps) {
    for (int lane = 0; lane < kLanes; ++lane) {
      if (std::fabs(four[lane]) > std::fabs(peak)) peak = four[lane];
    }
  }
  float least_error = 0;
  float super = rounded_scale(peak / (-most - 1));
  for (int turn = 0; turn < 2 && super != 0; ++turn) {
    Lanes found[fours];
    float error = 0;
    double ax = 0, aa = 0;  // of a = scale·q
    for (int k = 0; k < fours; ++k) {
      const Lanes middle = code(steps[k] / super, -most - 1, most);
      Lanes best = error_of(groups.x[k], middle * super, Lanes{}, -half, half - 1);
      found[k] = middle;
      for (const float away : {-1.0f, 1.0f}) {
        const Lanes other = code(middle + away, -most - 1, most);
        const Lanes its_error = error_of(groups.x[k], other * super, Lanes{}, -half, half - 1);
        found[k] = its_error < best ? other : found[k];
        best = least(its_error, best);
      }
      error += sum_of(best);
      const Sums sums = sums_of(groups.x[k], inverse(found[k] * super), Lanes{}, -half, half - 1);
      ax += static_cast<double>(sum_of(found[k] * sums.xq));
      aa += static_cast<double>(sum_of(found[k] * found[k] * sums.qq));
    }
    if (turn == 0 || error < least_error) {
      least_error = error;
      out.step = super;
      std::copy_n(found, fours, scales);
    }
    if (aa > 0) super = rounded_scale(static_cast<float>(ax / aa));
  }
  for (int k = 0; k < fours; ++k) {
    if (out.step == 0) scales[k] = Lanes{};
    store_codes(groups.x[k], scales[k] * out.step, Lanes{}, -half, half - 1, half,
                out.codes + k * kLanes * n);
    for (int lane = 0; lane < kLanes; ++lane) {
      out.scales[k * kLanes + lane] = static_cast<int>(scales[k][lane]);
    }
  }
}

// x ≈ step·scale·q − base·offset, scale and offset of [0, most], q of [0, levels]: q2_k, q4_k and q5_k.
template <int levels, int n, int most>
void fit_super_lines(const Groups<n>& groups, Super& out) {
  constexpr int fours = Groups<n>::kFours;
  Line lines[fours];
  Lanes mean[fours], mean_code[fours], most_step{}, most_base{};
  for (int k = 0; k < fours; ++k) {
    lines[k] = fit_line<levels, true>(groups.x[k]);
    mean[k] = Lanes{};
    for (const Lanes& x : groups.x[k]) mean[k] += x;
    mean[k] /= static_cast<float>(n);
    mean_code[k] = (mean[k] - lines[k].base) * inverse(lines[k].step);
    most_step = largest(most_step, lines[k].step);
    most_base = largest(most_base, -lines[k].base);
  }
  float step = 0, base = 0, least_error = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    step = std::max(step, most_step[lane]);
    base = std::max(base, most_base[lane]);
  }
  step = rounded_scale(step / most);
  base = rounded_scale(base / most);
  Lanes scales[fours], offsets[fours];
  for (int turn = 0; turn < 2; ++turn) {
    const Lanes to_scales = inverse(broadcast(step)), to_offsets = inverse(broadcast(base));
    Lanes scale_found[fours], offset_found[fours];
    float error = 0;
    double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;  // of a = scale·q and b = offset
    for (int k = 0; k < fours; ++k) {
      const Lanes middle = code(lines[k].step * to_scales, 0, most);
      Lanes best = broadcast(HUGE_VALF);
      scale_found[k] = offset_found[k] = Lanes{};
      for (const float away : {0.0f, -1.0f, 1.0f}) {
        const Lanes scale = code(middle + away, 0, most);
        const Lanes between = code((scale * step * mean_code[k] - mean[k]) * to_offsets, 0, most);
        for (const float off : {0.0f, -1.0f, 1.0f}) {
          const Lanes offset = code(between + off, 0, most);
          const Lanes its_error = error_of(groups.x[k], scale * step, -offset * base, 0, levels);
          const auto better = its_error < best;
          scale_found[k] = better ? scale : scale_found[k];
          offset_found[k] = better ? offset : offset_found[k];
          best = better ? its_error : best;
        }
      }
      error += sum_of(best);
      const Lanes scale = scale_found[k], offset = offset_found[k], inverse_step = inverse(scale * step);
      const Sums sums = sums_of(groups.x[k], inverse_step, offset * base * inverse_step, 0, levels);
      aa += static_cast<double>(sum_of(scale * scale * sums.qq));
      ab += static_cast<double>(sum_of(scale * offset * sums.q));
      bb += static_cast<double>(n * sum_of(offset * offset));
      ax += static_cast<double>(sum_of(scale * sums.xq));
      bx += static_cast<double>(n * sum_of(offset * mean[k]));
    }
    if (turn == 0 || error < least_error) {
      least_error = error;
      out.step = step;
      out.base = base;
      std::copy_n(scale_found, fours, scales);
      std::copy_n(offset_found, fours, offsets);
    }
    // step·aa − base·ab = ax and step·ab − base·bb = bx
    const double det = aa * bb - ab * ab;
    if (!(det > 1e-6 * aa * bb)) break;
    const double next_step = (ax * bb - bx * ab) / det, next_base = (ax * ab - bx * aa) / det;
    if (!(next_step > 0 && next_base > 0)) break;
    step = rounded_scale(static_cast<float>(next_step));
    base = rounded_scale(static_cast<float>(next_base));
  }
  for (int k = 0; k < fours; ++k) {
    store_codes(groups.x[k], scales[k] * out.step, -offsets[k] * out.base, 0, levels, 0,
                out.codes + k * kLanes * n);
    for (int lane = 0; lane < kLanes; ++lane) {
      out.scales[k * kLanes + lane] = static_cast<int>(scales[k][lane]);
      out.offsets[k * kLanes + lane] = static_cast<int>(offsets[k][lane]);
    }
  }
}

// Four runs of 32 of each half share 32 bytes, two bits each: bits `shift` and up of the codes.
void put_pairs(uint8_t* to, const uint8_t* codes, int shift) {
  for (int half = 0; half < 2; ++half, codes += 128, to += 32) {
    for (int j = 0; j < 32; ++j) {
      int bits = 0;
      for (int run = 0; run < 4; ++run) bits |= (codes[32 * run + j] >> shift & 3) << 2 * run;
      to[j] = static_cast<uint8_t>(bits);
    }
  }
}

// Bit `run` of byte j is bit `bit` of element j of that run of 32.
void put_bits(uint8_t* to, const uint8_t* codes, int bit) {
  for (int j = 0; j < 32; ++j) {
    int bits = 0;
    for (int run = 0; run < 8; ++run) bits |= (codes[32 * run + j] >> bit & 1) << run;
    to[j] = static_cast<uint8_t>(bits);
  }
}

// Runs of `run` at a time, two of them in as many bytes.
void put_low_nibbles(uint8_t* to, const uint8_t* codes, int run) {
  for (int first = 0; first < kSuper; first += 2 * run) {
    for (int j = 0; j < run; ++j) {
      *to++ = static_cast<uint8_t>((codes[first + j] & 15) | (codes[first + run + j] & 15) << 4);
    }
  }
}

void put_q2_k(const Super& from, uint8_t* out) {
  for (int g = 0; g < 16; ++g) out[g] = static_cast<uint8_t>(from.scales[g] | from.offsets[g] << 4);
  put_pairs(out + 16, from.codes, 0);
  put(out + 80, to_float16(from.step));
  put(out + 82, to_float16(from.base));
}

void put_q3_k(const Super& from, uint8_t* out) {
  put_bits(out, from.codes, 2);
  put_pairs(out + 32, from.codes, 0);
  uint8_t* const scales = out + 96;  // four bits each, then the upper two
  std::memset(scales, 0, 12);
  for (int g = 0; g < 16; ++g) {
    const int scale = from.scales[g] + 32;
    scales[g % 8] |= static_cast<uint8_t>((scale & 15) << 4 * (g / 8));
    scales[8 + g % 4] |= static_cast<uint8_t>((scale >> 4) << 2 * (g / 4));
  }
  put(out + 108, to_float16(from.step));
}

// The head of q4_k and q5_k. The upper two bits of the last four scales and offsets are with the first four.
void put_six_bit_scales(const Super& from, uint8_t* out) {
  put(out, to_float16(from.step));
  put(out + 2, to_float16(from.base));
  const int *scales = from.scales, *offsets = from.offsets;
  for (int g = 0; g < 4; ++g) {
    out[4 + g] = static_cast<uint8_t>(scales[g] | scales[g + 4] >> 4 << 6);
    out[8 + g] = static_cast<uint8_t>(offsets[g] | offsets[g + 4] >> 4 << 6);
    out[12 + g] = static_cast<uint8_t>((scales[g + 4] & 15) | (offsets[g + 4] & 15) << 4);
  }
}

void put_q4_k(const Super& from, uint8_t* out) {
  put_six_bit_scales(from, out);
  put_low_nibbles(out + 16, from.codes, 32);
}

void put_q5_k(const Super& from, uint8_t* out) {
  put_six_bit_scales(from, out);
  put_bits(out + 16, from.codes, 4);
  put_low_nibbles(out + 48, from.codes, 32);
}

void put_q6_k(const Super& from, uint8_t* out) {
  put_low_nibbles(out, from.codes, 64);
  put_pairs(out + 128, from.codes, 4);
  for (int g = 0; g < 16; ++g) out[192 + g] = static_cast<uint8_t>(from.scales[g]);
  put(out + 208, to_float16(from.step));
}

// ---- All blocks of a row ----

template <typename Quantize>
void for_small_blocks(DType dtype, const float* values, int64_t elements, uint8_t* out, Quantize quantize) {
  Lanes x[kSmall];
  for (int64_t done = 0; done < elements; done += kLanes * kSmall) {
    const int count = static_cast<int>(std::min<int64_t>(kLanes, (elements - done) / kSmall));
    load(values + done, count, x);
    quantize(x, count, out + row_bytes(dtype, done));
  }
}

template <int n, typename Fit, typename Put>
void for_super_blocks(DType dtype, const float* values, int64_t elements, uint8_t* out, Fit fit,
                      Put put_block) {
  Groups<n> groups;
  for (int64_t done = 0; done < elements; done += kSuper) {
    for (int k = 0; k < Groups<n>::kFours; ++k) load(values + done + k * kLanes * n, kLanes, groups.x[k]);
    Super super;
    fit(groups, super);
    put_block(super, out + row_bytes(dtype, done));
  }
}

}  // namespace

bool is_quantizable_block(DType dtype) {
  switch (dtype) {
    case DType::kQ8_0:
    case DType::kQ4_0:
    case DType::kQ4_1:
    case DType::kQ5_0:
    case DType::kQ5_1:
    case DType::kQ2K:
    case DType::kQ3K:
    case DType::kQ4K:
    case DType::kQ5K:
    case DType::kQ6K:
      return true;
    default:
      return false;
  }
}

void quantize_blocks(DType dtype, const float* values, int64_t elements, std::byte* out) {
  require(is_quantizable_block(dtype), ErrorCode::kFailure, "quantising to {} is not supported",
          dtype_name(dtype));
  require(elements % block_size(dtype).elements == 0, ErrorCode::kFailure,
          "quantising {} elements to {}, expected a multiple of {}", elements, dtype_name(dtype),
          block_size(dtype).elements);
  if (largest_bits(values, elements) >= kInfinityBits) fail_not_finite(values, elements, 0, 0);
  auto* const to = reinterpret_cast<uint8_t*>(out);
  const auto small = [&](auto quantize) { for_small_blocks(dtype, values, elements, to, quantize); };
  switch (dtype) {
    case DType::kQ8_0:
      return small(quantize_q8_0);
    case DType::kQ4_0:
      return small(quantize_around_zero<8>);
    case DType::kQ5_0:
      return small(quantize_around_zero<16>);
    case DType::kQ4_1:
      return small(quantize_line<15>);
    case DType::kQ5_1:
      return small(quantize_line<31>);
    case DType::kQ2K:
      return for_super_blocks<16>(dtype, values, elements, to, fit_super_lines<3, 16, 15>, put_q2_k);
    case DType::kQ3K:
      return for_super_blocks<16>(dtype, values, elements, to, fit_super_steps<4, 16, 31>, put_q3_k);
    case DType::kQ4K:
      return for_super_blocks<32>(dtype, values, elements, to, fit_super_lines<15, 32, 63>, put_q4_k);
    case DType::kQ5K:
      return for_super_blocks<32>(dtype, values, elements, to, fit_super_lines<31, 32, 63>, put_q5_k);
    default:
      return for_super_blocks<16>(dtype, values, elements, to, fit_super_steps<32, 16, 127>, put_q6_k);
  }
}

}  // namespace darkroom
