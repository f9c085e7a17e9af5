// Matrices of block types (tensor/blocks.h): packed for a product, and multiplied with few rows.
//
// A lane is a row of the matrix. Scales are then vectors like any other, and values come out as a strip wants
// them: only codes are transposed, which are a quarter to half as wide as what they become. A product of a
// scale and a code is exact in f32, so that fused and separate additions of a minimum give the same bits.
//
// Every type is read in runs: 16 elements that are code·scale + minimum, the codes bytes from 0 to 255. What
// takes a run either makes the values, or sums codes times x and applies scale and minimum to the sum.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/block_kernels.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, as Highway wants it.
#include <hwy/highway.h>

#include <algorithm>

#include "backends/cpu/kernels.h"
#include "backends/cpu/vec-inl.h"
#include "tensor/blocks.h"

HWY_BEFORE_NAMESPACE();
namespace darkroom::cpu::HWY_NAMESPACE {

// kLanes rows of a matrix, from a block of each on.
struct BlockRows {
  const uint8_t* rows[kLanes];
  int64_t offset;

  HWY_INLINE void units(int64_t at, VU (&out)[4]) const { transpose_units(rows, offset + at, out); }
  template <typename Bits>
  HWY_INLINE VU bits(int64_t at) const {
    HWY_ALIGN uint32_t all[kLanes];
    for (int64_t r = 0; r < kLanes; ++r) {
      Bits one;
      std::memcpy(&one, rows[r] + offset + at, sizeof(one));
      all[r] = one;
    }
    return hn::Load(DU(), all);
  }
};

// A NaN whose rounding to bf16 stays one, whatever the block says.
HWY_INLINE V scale_of(V v) {
  return hn::IfThenElse(hn::Eq(v, v), v, hn::BitCast(D(), hn::Set(DU(), 0x7FC00000u)));
}
// In the low half of each lane an f16.
HWY_INLINE V half_scale(VU bits) {
  return scale_of(from_bits<Float16>(hn::And(bits, hn::Set(DU(), 0xFFFFu))));
}
HWY_INLINE V half_at(const BlockRows& in, int64_t at) { return half_scale(in.bits<uint16_t>(at)); }

// The same byte in all four of a lane.
HWY_INLINE VU masked(VU unit, uint32_t byte) { return hn::And(unit, hn::Set(DU(), byte * 0x01010101u)); }
// The same bits of another unit joined to `unit`, one instruction where there is AVX-512.
HWY_INLINE VU joined(VU unit, VU other, uint32_t byte) {
  return hn::OrAnd(unit, other, hn::Set(DU(), byte * 0x01010101u));
}
HWY_INLINE VU low_halves(VU unit) { return masked(unit, 15); }
HWY_INLINE VU high_halves(VU unit) { return masked(hn::ShiftRight<4>(unit), 15); }

template <int kByte>
HWY_INLINE V unsigned_byte(VU unit) {
  const VU byte = hn::And(hn::ShiftRight<8 * kByte>(unit), hn::Set(DU(), 0xFFu));
  return hn::ConvertTo(D(), hn::BitCast(DI(), byte));
}

// The minimum of a type whose codes stand for numbers from -zero on.
HWY_INLINE V minimum_of(V scale, float zero) { return hn::Mul(scale, hn::Set(D(), -zero)); }

// factor times each byte, less `zero`.
HWY_INLINE void scales_of(VU unit, V factor, float zero, V* out) {
  const V from = hn::Set(D(), zero);
  out[0] = hn::Mul(factor, hn::Sub(unsigned_byte<0>(unit), from));
  out[1] = hn::Mul(factor, hn::Sub(unsigned_byte<1>(unit), from));
  out[2] = hn::Mul(factor, hn::Sub(unsigned_byte<2>(unit), from));
  out[3] = hn::Mul(factor, hn::Sub(unsigned_byte<3>(unit), from));
}

// The signed bytes of IQ4 are read as unsigned ones, and so are those of Q8_0.
inline constexpr float kByteZero = 128;
HWY_INLINE VU without_sign(VU unit) { return hn::Xor(unit, hn::Set(DU(), 0x80808080u)); }

// What each byte below 16 stands for, and kByteZero.
HWY_INLINE VU iq4_values(VU codes) {
  const DU du;
#if HWY_TARGET == HWY_SCALAR
  const uint32_t unit = hn::GetLane(codes);
  uint32_t out = 0;
  for (int i = 0; i < 32; i += 8) out |= uint32_t{static_cast<uint8_t>(kIQ4Values[unit >> i & 15])} << i;
  return without_sign(hn::Set(du, out));
#else
  const hn::Repartition<uint8_t, DU> bytes;
  const auto table = hn::LoadDup128(bytes, reinterpret_cast<const uint8_t*>(kIQ4Values.data()));
  return without_sign(hn::BitCast(du, hn::TableLookupBytes(table, hn::BitCast(bytes, codes))));
#endif
}

// values[code] of every lane.
HWY_INLINE V looked_up(const float* values, VU code) {
  const D d;
#if HWY_TARGET == HWY_AVX3
  return hn::TableLookupLanes(hn::LoadU(d, values), hn::IndicesFromVec(d, code));
#elif HWY_TARGET == HWY_AVX2  // two tables of eight; a gather takes three times as long
  const auto at = hn::IndicesFromVec(d, hn::And(code, hn::Set(DU(), 7)));
  const V low = hn::TableLookupLanes(hn::LoadU(d, values), at);
  const V high = hn::TableLookupLanes(hn::LoadU(d, values + 8), at);
  return hn::IfNegativeThenElse(hn::BitCast(d, hn::ShiftLeft<28>(code)), high, low);
#else
  return hn::GatherIndex(d, values, hn::BitCast(DI(), code));
#endif
}

// Blocks of 32, or groups of a larger block: 16 bytes of halves at `at`. rest(unit, element) makes of four
// halves the codes.
template <typename Out, typename Rest>
HWY_INLINE void halves_of_32(const BlockRows& in, int64_t at, Out& out, int64_t first, V scale, V minimum,
                             Rest rest) {
  VU q[4];
  in.units(at, q);
  auto low = out.run(first, scale, minimum), high = out.run(first + 16, scale, minimum);
  DARKROOM_UNROLL
  for (int u = 0; u < 4; ++u) {
    low.codes(4 * u, rest(low_halves(q[u]), 4 * u));
    high.codes(4 * u, rest(high_halves(q[u]), 16 + 4 * u));
  }
  low.end();
  high.end();
}
struct AsTheyAre {
  HWY_INLINE VU operator()(VU codes, int) const { return codes; }
};

// Four codes, and as their fifth bits those from `first` on of each lane.
HWY_INLINE VU with_fifth_bits(VU codes, VU bits, int first) {
  const DU du;
  const VU four = hn::And(hn::ShiftRightSame(bits, first), hn::Set(du, 15));
  return joined(codes, hn::Mul(four, hn::Set(du, 0x02040810u)), 16);
}

struct BlockQ8_0 {
  static constexpr DType kDType = DType::kQ8_0;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    const V d = half_at(in, 0), minimum = minimum_of(d, kByteZero);
    for (int half = 0; half < 2; ++half) {
      VU q[4];
      in.units(2 + 16 * half, q);
      auto run = out.run(16 * half, d, minimum);
      DARKROOM_UNROLL
      for (int u = 0; u < 4; ++u) run.codes(4 * u, without_sign(q[u]));
      run.end();
    }
  }
};

struct BlockQ4_0 {
  static constexpr DType kDType = DType::kQ4_0;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    const V d = half_at(in, 0);
    halves_of_32(in, 2, out, 0, d, minimum_of(d, 8), AsTheyAre());
  }
};

struct BlockQ4_1 {
  static constexpr DType kDType = DType::kQ4_1;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    const VU both = in.bits<uint32_t>(0);
    halves_of_32(in, 4, out, 0, half_scale(both), half_scale(hn::ShiftRight<16>(both)), AsTheyAre());
  }
};

struct BlockQ5_0 {
  static constexpr DType kDType = DType::kQ5_0;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    const V d = half_at(in, 0);
    const VU fifth = in.bits<uint32_t>(2);
    halves_of_32(in, 6, out, 0, d, minimum_of(d, 16),
                 [&](VU q, int e) HWY_ATTR { return with_fifth_bits(q, fifth, e); });
  }
};

struct BlockQ5_1 {
  static constexpr DType kDType = DType::kQ5_1;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    const VU both = in.bits<uint32_t>(0), fifth = in.bits<uint32_t>(4);
    halves_of_32(in, 8, out, 0, half_scale(both), half_scale(hn::ShiftRight<16>(both)),
                 [&](VU q, int e) HWY_ATTR { return with_fifth_bits(q, fifth, e); });
  }
};

struct BlockIQ4NL {
  static constexpr DType kDType = DType::kIQ4NL;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    const V d = half_at(in, 0);
    halves_of_32(in, 2, out, 0, d, minimum_of(d, kByteZero),
                 [](VU q, int) HWY_ATTR { return iq4_values(q); });
  }
};

struct BlockIQ4XS {
  static constexpr DType kDType = DType::kIQ4XS;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    const DU du;
    VU head[4];
    in.units(0, head);
    const V d = half_scale(head[0]);
    VU lower = head[1], upper = hn::ShiftRight<16>(head[0]);
    for (int group = 0; group < 8; ++group) {
      const VU scale =
          hn::Or(hn::And(lower, hn::Set(du, 15)), hn::ShiftLeft<4>(hn::And(upper, hn::Set(du, 3))));
      lower = hn::ShiftRight<4>(lower);
      upper = hn::ShiftRight<2>(upper);
      const V wide = hn::ConvertTo(D(), hn::Sub(hn::BitCast(DI(), scale), hn::Set(DI(), 32)));
      const V factor = hn::Mul(d, wide);
      halves_of_32(in, 8 + 16 * group, out, 32 * group, factor, minimum_of(factor, kByteZero),
                   [](VU q, int) HWY_ATTR { return iq4_values(q); });
    }
  }
};

// The runs of a part of Q2_K and Q3_K: 16 bytes hold a run of each of four groups of 32. rest(codes, u) adds
// what else there is of unit u.
template <typename Out, typename Minimum, typename Rest>
HWY_INLINE void two_bit_runs(const BlockRows& in, int64_t at, int part, Out& out, const V* scale,
                             Minimum minimum, Rest rest) {
  VU q[4];
  in.units(at + 16 * part, q);
  for (int group = 0; group < 4; ++group) {
    const int i = part / 2 * 8 + group * 2 + part % 2;
    auto run = out.run(16 * i, scale[i], minimum(i));
    DARKROOM_UNROLL
    for (int u = 0; u < 4; ++u) {
      run.codes(4 * u, rest(masked(q[u], 3), u));
      q[u] = hn::ShiftRight<2>(q[u]);
    }
    run.end();
  }
}

struct BlockQ2K {
  static constexpr DType kDType = DType::kQ2K;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    const VU both = in.bits<uint32_t>(80);
    const V d = half_scale(both), m = hn::Neg(half_scale(hn::ShiftRight<16>(both)));
    V scale[16], minimum[16];
    VU s[4];
    in.units(0, s);
    for (int i = 0; i < 4; ++i) {
      scales_of(low_halves(s[i]), d, 0, scale + 4 * i);
      scales_of(high_halves(s[i]), m, 0, minimum + 4 * i);
    }
    for (int part = 0; part < 4; ++part) {
      two_bit_runs(
          in, 16, part, out, scale, [&](int i) HWY_ATTR { return minimum[i]; }, AsTheyAre());
    }
  }
};

struct BlockQ3K {
  static constexpr DType kDType = DType::kQ3K;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    VU tail[4];  // two bytes of codes, twelve of scales, d
    in.units(94, tail);
    const V d = half_scale(hn::ShiftRight<16>(tail[3]));
    VU s[3];
    for (int i = 0; i < 3; ++i) s[i] = hn::Or(hn::ShiftRight<16>(tail[i]), hn::ShiftLeft<16>(tail[i + 1]));
    V scale[16];
    for (int i = 0; i < 4; ++i) {
      const VU lower = i < 2 ? low_halves(s[i]) : high_halves(s[i - 2]);
      scales_of(joined(lower, hn::ShiftLeft<4>(s[2]), 0x30), d, 32, scale + 4 * i);
      s[2] = hn::ShiftRight<2>(s[2]);
    }
    VU third[2][4];
    in.units(0, third[0]);
    in.units(16, third[1]);
    for (int part = 0; part < 4; ++part) {
      VU* high = third[part % 2];
      two_bit_runs(
          in, 32, part, out, scale, [&](int i) HWY_ATTR { return minimum_of(scale[i], 4); },
          [&](VU q, int u) HWY_ATTR {
            const VU code = joined(q, hn::ShiftLeft<2>(high[u]), 4);
            high[u] = hn::ShiftRight<1>(high[u]);
            return code;
          });
    }
  }
};

// The eight scales and minima, six bits each, of Q4_K and Q5_K.
HWY_INLINE void six_bit_scales(const BlockRows& in, V* scale, V* minimum) {
  VU head[4];
  in.units(0, head);
  const V d = half_scale(head[0]), m = hn::Neg(half_scale(hn::ShiftRight<16>(head[0])));
  scales_of(masked(head[1], 63), d, 0, scale);
  scales_of(masked(head[2], 63), m, 0, minimum);
  scales_of(joined(low_halves(head[3]), hn::ShiftRight<2>(head[1]), 0x30), d, 0, scale + 4);
  scales_of(joined(high_halves(head[3]), hn::ShiftRight<2>(head[2]), 0x30), m, 0, minimum + 4);
}

struct BlockQ4K {
  static constexpr DType kDType = DType::kQ4K;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    V scale[8], minimum[8];
    six_bit_scales(in, scale, minimum);
    for (int part = 0; part < 8; ++part) {  // 16 bytes hold a run of each of two groups of 32
      VU q[4];
      in.units(16 + 16 * part, q);
      const int low = part / 2 * 2, first = 32 * low + part % 2 * 16;
      auto even = out.run(first, scale[low], minimum[low]);
      auto odd = out.run(first + 32, scale[low + 1], minimum[low + 1]);
      DARKROOM_UNROLL
      for (int u = 0; u < 4; ++u) {
        even.codes(4 * u, low_halves(q[u]));
        odd.codes(4 * u, high_halves(q[u]));
      }
      even.end();
      odd.end();
    }
  }
};

struct BlockQ5K {
  static constexpr DType kDType = DType::kQ5K;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    V scale[8], minimum[8];
    six_bit_scales(in, scale, minimum);
    VU fifth[2][4];
    in.units(16, fifth[0]);
    in.units(32, fifth[1]);
    for (int part = 0; part < 8; ++part) {
      VU q[4];
      in.units(48 + 16 * part, q);
      VU* high = fifth[part % 2];
      const int low = part / 2 * 2, first = 32 * low + part % 2 * 16;
      auto even = out.run(first, scale[low], minimum[low]);
      auto odd = out.run(first + 32, scale[low + 1], minimum[low + 1]);
      DARKROOM_UNROLL
      for (int u = 0; u < 4; ++u) {
        even.codes(4 * u, joined(low_halves(q[u]), hn::ShiftLeft<4>(high[u]), 16));
        odd.codes(4 * u, joined(high_halves(q[u]), hn::ShiftLeft<3>(high[u]), 16));
        high[u] = hn::ShiftRight<2>(high[u]);
      }
      even.end();
      odd.end();
    }
  }
};

struct BlockQ6K {
  static constexpr DType kDType = DType::kQ6K;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    const V d = half_at(in, 208);
    V scale[16];
    VU s[4];
    in.units(192, s);
    for (int i = 0; i < 4; ++i) scales_of(without_sign(s[i]), d, kByteZero, scale + 4 * i);
    for (int part = 0; part < 4; ++part) {
      const int half = part / 2;  // a run of each of a half's four groups of 32
      VU two[4];
      in.units(128 + 16 * part, two);
      for (int pair = 0; pair < 2; ++pair) {
        VU q[4];
        in.units(64 * half + 32 * pair + 16 * (part % 2), q);
        const int low = 8 * half + part % 2 + 2 * pair, high = low + 4;
        auto first = out.run(16 * low, scale[low], minimum_of(scale[low], 32));
        auto third = out.run(16 * high, scale[high], minimum_of(scale[high], 32));
        DARKROOM_UNROLL
        for (int u = 0; u < 4; ++u) {
          first.codes(4 * u, joined(low_halves(q[u]), hn::ShiftLeft<4>(two[u]), 0x30));
          third.codes(4 * u, joined(high_halves(q[u]), two[u], 0x30));
          two[u] = hn::ShiftRight<2>(two[u]);
        }
        first.end();
        third.end();
      }
    }
  }
};

// Of each byte the high half comes first.
template <typename Out>
HWY_INLINE void decode_floats(const float* values, const BlockRows& in, Out& out) {
  const V largest = scale_of(hn::BitCast(D(), in.bits<uint32_t>(0))), none = hn::Zero(D());
  const VU code = hn::Set(DU(), 15);
  const auto value = [&](VU shifted) HWY_ATTR { return looked_up(values, hn::And(shifted, code)); };
  for (int half = 0; half < 2; ++half) {
    VU q[4];
    in.units(4 + 16 * half, q);
    for (int pair = 0; pair < 2; ++pair) {
      auto run = out.run(32 * half + 16 * pair, largest, none);
      DARKROOM_UNROLL
      for (int i = 0; i < 2; ++i) {
        const VU u = q[2 * pair + i];
        run.values(8 * i, value(hn::ShiftRight<4>(u)), value(u), value(hn::ShiftRight<12>(u)),
                   value(hn::ShiftRight<8>(u)));
        run.values(8 * i + 4, value(hn::ShiftRight<20>(u)), value(hn::ShiftRight<16>(u)),
                   value(hn::ShiftRight<28>(u)), value(hn::ShiftRight<24>(u)));
      }
      run.end();
    }
  }
}

struct BlockNF4 {
  static constexpr DType kDType = DType::kNF4;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    decode_floats(kNF4Values.data(), in, out);
  }
};

struct BlockFP4 {
  static constexpr DType kDType = DType::kFP4;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    decode_floats(kFP4Values.data(), in, out);
  }
};

template <typename F>
HWY_INLINE void with_block_type(DType dtype, F f) {
  switch (dtype) {
    case DType::kQ8_0:
      return f(BlockQ8_0());
    case DType::kQ4_0:
      return f(BlockQ4_0());
    case DType::kQ4_1:
      return f(BlockQ4_1());
    case DType::kQ5_0:
      return f(BlockQ5_0());
    case DType::kQ5_1:
      return f(BlockQ5_1());
    case DType::kQ2K:
      return f(BlockQ2K());
    case DType::kQ3K:
      return f(BlockQ3K());
    case DType::kQ4K:
      return f(BlockQ4K());
    case DType::kQ5K:
      return f(BlockQ5K());
    case DType::kQ6K:
      return f(BlockQ6K());
    case DType::kIQ4NL:
      return f(BlockIQ4NL());
    case DType::kIQ4XS:
      return f(BlockIQ4XS());
    case DType::kNF4:
      return f(BlockNF4());
    case DType::kFP4:
      return f(BlockFP4());
    default:
      return;
  }
}

// Rows [first, first + kLanes) of `rows`; those beyond repeat the last one.
HWY_INLINE BlockRows block_rows(const void* begin, std::size_t stride_bytes, int64_t first, int64_t rows) {
  BlockRows out;
  for (int64_t r = 0; r < kLanes; ++r) {
    const std::size_t row = static_cast<std::size_t>(std::min(first + r, rows - 1));
    out.rows[r] = static_cast<const uint8_t*>(begin) + row * stride_bytes;
  }
  out.offset = 0;
  return out;
}

// To nearest even, in the upper half; what is below it is left over. Not of a NaN with every bit set.
HWY_INLINE VU rounded(V v) {
  const DU du;
  const VU u = hn::BitCast(du, v);
  const VU odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1u));
  return hn::Add(hn::Add(u, hn::Set(du, 0x7FFFu)), odd);
}

// A vector's width of a strip.
template <Form kForm>
struct StripColumn {
  float* column;

  struct Run {
    float* column;
    V scale, minimum;
    HWY_INLINE void codes(int64_t e, VU codes) {
      values(e, unsigned_byte<0>(codes), unsigned_byte<1>(codes), unsigned_byte<2>(codes),
             unsigned_byte<3>(codes));
    }
    HWY_INLINE void values(int64_t e, V v0, V v1, V v2, V v3) {
      four(e, hn::MulAdd(v0, scale, minimum), hn::MulAdd(v1, scale, minimum), hn::MulAdd(v2, scale, minimum),
           hn::MulAdd(v3, scale, minimum));
    }
    HWY_INLINE void end() {}

    HWY_INLINE void four(int64_t e, V v0, V v1, V v2, V v3) {
      const D d;
      if constexpr (kForm == Form::kF32) {
        float* to = column + e * kCols;
        hn::Store(v0, d, to);
        hn::Store(v1, d, to + kCols);
        hn::Store(v2, d, to + 2 * kCols);
        hn::Store(v3, d, to + 3 * kCols);
      } else {
        float* to = column + e / 2 * kCols;
        hn::Store(pair(v0, v1), d, to);
        hn::Store(pair(v2, v3), d, to + kCols);
      }
    }
    static HWY_INLINE V pair(V low, V high) {
      const DU du;
      const VU upper = hn::And(rounded(high), hn::Set(du, 0xFFFF0000u));
      return hn::BitCast(D(), hn::Or(upper, hn::ShiftRight<16>(rounded(low))));
    }
  };
  HWY_INLINE Run run(int64_t first, V scale, V minimum) const {
    return {column + (kForm == Form::kF32 ? first : first / 2) * kCols, scale, minimum};
  }
};

template <Form kForm>
void pack_blocks(DType dtype, const void* begin, int64_t stride, int64_t rows, int64_t depth, float* out) {
  with_block_type(dtype, [&](auto block) HWY_ATTR {
    using Block = decltype(block);
    constexpr BlockSize kSize = block_size(Block::kDType);
    constexpr int64_t kSteps = kForm == Form::kF32 ? kSize.elements : kSize.elements / 2;
    for (int64_t vector = 0; vector < 2; ++vector) {
      BlockRows in = block_rows(begin, row_bytes(Block::kDType, stride), vector * kLanes, rows);
      StripColumn<kForm> column{out + vector * kLanes};
      for (int64_t k = 0; k < depth; k += kSize.elements) {
        Block::decode(in, column);
        in.offset += static_cast<int64_t>(kSize.bytes);
        column.column += kSteps * kCols;
      }
    }
  });
}

// Sums over a row in each lane, of kM rows of x in runs (small_m.cc).
template <int kM>
struct RowSums {
  const float* x;
  int64_t x_stride;
  V sums[kM];

  struct Run {
    RowSums& all;
    const float* x;
    V scale, minimum;
    V sums[kM];
    // Byte 1 and 2 stay where they are: x is that much smaller.
    HWY_INLINE void codes(int64_t e, VU codes) {
      const DU du;
      values(e, whole(hn::And(codes, hn::Set(du, 0xFFu))), whole(hn::And(codes, hn::Set(du, 0xFF00u))),
             whole(hn::And(codes, hn::Set(du, 0xFF0000u))), whole(hn::ShiftRight<24>(codes)));
    }
    HWY_INLINE void values(int64_t e, V v0, V v1, V v2, V v3) {
      const D d;
      DARKROOM_UNROLL
      for (int m = 0; m < kM; ++m) {
        const float* at = x + m * all.x_stride + e;
        sums[m] = hn::MulAdd(v0, hn::Set(d, at[0]), sums[m]);
        sums[m] = hn::MulAdd(v1, hn::Set(d, at[1]), sums[m]);
        sums[m] = hn::MulAdd(v2, hn::Set(d, at[2]), sums[m]);
        sums[m] = hn::MulAdd(v3, hn::Set(d, at[3]), sums[m]);
      }
    }
    // The two parts together first: they are larger than their sum, and would be rounded as such.
    HWY_INLINE void end() {
      DARKROOM_UNROLL
      for (int m = 0; m < kM; ++m) {
        const V total = hn::Set(D(), x[m * all.x_stride + kRun]);
        all.sums[m] = hn::Add(all.sums[m], hn::MulAdd(sums[m], scale, hn::Mul(total, minimum)));
      }
    }
    static HWY_INLINE V whole(VU v) { return hn::ConvertTo(D(), hn::BitCast(DI(), v)); }
  };
  HWY_INLINE Run run(int64_t first, V scale, V minimum) {
    Run out{*this, x + run_floats(first), scale, minimum, {}};
    DARKROOM_UNROLL
    for (int m = 0; m < kM; ++m) out.sums[m] = hn::Zero(D());
    return out;
  }
};

// Asks for what block `in` is of the rows `ahead` bytes further on; it is needed some microseconds later. Left
// alone, processors do not see the order of 16 rows that are read side by side, nor beyond a page.
HWY_INLINE void prefetch_block(const BlockRows& in, int64_t bytes, std::size_t ahead) {
  constexpr int64_t kLine = 64;
  for (int64_t at = (in.offset + kLine - 1) / kLine * kLine; at < in.offset + bytes; at += kLine) {
    for (int64_t r = 0; r < kLanes; ++r) prefetch_l2(in.rows[r], ahead + static_cast<std::size_t>(at));
  }
}

template <int kM, typename Block>
HWY_INLINE void dot_rows(BlockRows in, int64_t rows, const float* x, int64_t x_stride, int64_t depth,
                         float* out, int64_t out_stride, bool accumulate, std::size_t ahead) {
  const D d;
  constexpr BlockSize kSize = block_size(Block::kDType);
  RowSums<kM> sums{x, x_stride, {}};
  DARKROOM_UNROLL
  for (int m = 0; m < kM; ++m) sums.sums[m] = hn::Zero(d);
  for (int64_t k = 0; k < depth; k += kSize.elements) {
    if (ahead > 0) prefetch_block(in, kSize.bytes, ahead);
    Block::decode(in, sums);
    in.offset += static_cast<int64_t>(kSize.bytes);
    sums.x += run_floats(kSize.elements);
  }
  for (int m = 0; m < kM; ++m) {
    HWY_ALIGN float lanes[kLanes];
    hn::Store(sums.sums[m], d, lanes);
    float* cells = out + m * out_stride;
    for (int64_t r = 0; r < kLanes && r < rows; ++r) cells[r] = accumulate ? cells[r] + lanes[r] : lanes[r];
  }
}

void dot_blocks(DType dtype, const void* w, int64_t w_stride, int64_t rows, const float* x, int64_t x_stride,
                int64_t m, int64_t depth, float* out, int64_t out_stride, bool accumulate) {
  with_block_type(dtype, [&](auto block) HWY_ATTR {
    using Block = decltype(block);
    const std::size_t stride_bytes = row_bytes(Block::kDType, w_stride);
    for (int64_t first = 0; first < rows; first += kLanes) {
      const BlockRows in = block_rows(w, stride_bytes, first, rows);
      for_row_groups<kManySums ? 4 : 2>(m, [&](int64_t i, auto count) HWY_ATTR {
        dot_rows<count(), Block>(in, rows - first, x + i * x_stride, x_stride, depth,
                                 out + i * out_stride + first, out_stride, accumulate,
                                 i == 0 ? stride_bytes * kLanes : 0);
      });
    }
  });
}

void set_block_kernels(KernelTable& table) {
  table.gemm.pack_blocks = pack_blocks<Form::kF32>;
  table.emulated_bf16.pack_blocks = pack_blocks<Form::kPairs>;
  table.dot_blocks = dot_blocks;
}

}  // namespace darkroom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace darkroom::cpu {
void add_block_kernels(CpuIsa isa, KernelTable& table) { DARKROOM_FOR_ISA(isa, set_block_kernels(table)); }
}  // namespace darkroom::cpu
#endif
