// Matrices of block types (tensor/blocks.h): packed for a product, and multiplied with few rows.
//
// A lane is a row of the matrix. Scales are then vectors like any other, and values come out as a strip wants
// them: only codes are transposed, which are a quarter to half as wide as what they become. A product of a
// scale and a code is exact in f32, so that fused and separate additions of a minimum give the same bits.
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
HWY_INLINE VU low_halves(VU unit) { return masked(unit, 15); }
HWY_INLINE VU high_halves(VU unit) { return masked(hn::ShiftRight<4>(unit), 15); }

// Four bytes below 64 less `amount` <= 64 each, as signed bytes; without borrows from one to the next.
HWY_INLINE VU bytes_less(VU unit, uint32_t amount) {
  const DU du;
  return hn::Xor(hn::Add(unit, hn::Set(du, (0x80u - amount) * 0x01010101u)), hn::Set(du, 0x80808080u));
}

template <int kByte>
HWY_INLINE V signed_byte(VU unit) {
  const DI di;
  const auto up = hn::BitCast(di, hn::ShiftLeft<24 - 8 * kByte>(unit));
  return hn::ConvertTo(D(), hn::ShiftRight<24>(up));
}
template <int kByte>
HWY_INLINE V unsigned_byte(VU unit) {
  const VU byte = hn::And(hn::ShiftRight<8 * kByte>(unit), hn::Set(DU(), 0xFFu));
  return hn::ConvertTo(D(), hn::BitCast(DI(), byte));
}

// Hands elements [e, e + 4) of every row on: scale·code, or scale·code + minimum.
template <typename Out>
HWY_INLINE void signed_four(Out& out, int64_t e, VU codes, V scale) {
  out.four(e, hn::Mul(signed_byte<0>(codes), scale), hn::Mul(signed_byte<1>(codes), scale),
           hn::Mul(signed_byte<2>(codes), scale), hn::Mul(signed_byte<3>(codes), scale));
}
template <typename Out>
HWY_INLINE void unsigned_four(Out& out, int64_t e, VU codes, V scale, V minimum) {
  out.four(e, hn::MulAdd(unsigned_byte<0>(codes), scale, minimum),
           hn::MulAdd(unsigned_byte<1>(codes), scale, minimum),
           hn::MulAdd(unsigned_byte<2>(codes), scale, minimum),
           hn::MulAdd(unsigned_byte<3>(codes), scale, minimum));
}

// factor times each byte.
HWY_INLINE void signed_scales(VU unit, V factor, V* out) {
  out[0] = hn::Mul(factor, signed_byte<0>(unit));
  out[1] = hn::Mul(factor, signed_byte<1>(unit));
  out[2] = hn::Mul(factor, signed_byte<2>(unit));
  out[3] = hn::Mul(factor, signed_byte<3>(unit));
}
HWY_INLINE void unsigned_scales(VU unit, V factor, V* out) {
  out[0] = hn::Mul(factor, unsigned_byte<0>(unit));
  out[1] = hn::Mul(factor, unsigned_byte<1>(unit));
  out[2] = hn::Mul(factor, unsigned_byte<2>(unit));
  out[3] = hn::Mul(factor, unsigned_byte<3>(unit));
}

// The signed byte that each byte below 16 stands for.
HWY_INLINE VU iq4_values(VU codes) {
  const DU du;
#if HWY_TARGET == HWY_SCALAR
  const uint32_t unit = hn::GetLane(codes);
  uint32_t out = 0;
  for (int i = 0; i < 32; i += 8) out |= uint32_t{static_cast<uint8_t>(kIQ4Values[unit >> i & 15])} << i;
  return hn::Set(du, out);
#else
  const hn::Repartition<uint8_t, DU> bytes;
  const auto table = hn::LoadDup128(bytes, reinterpret_cast<const uint8_t*>(kIQ4Values.data()));
  return hn::BitCast(du, hn::TableLookupBytes(table, hn::BitCast(bytes, codes)));
#endif
}

// values[code] of every lane.
HWY_INLINE V looked_up(const float* values, VU code) {
  const D d;
#if HWY_TARGET == HWY_AVX3
  return hn::TableLookupLanes(hn::LoadU(d, values), hn::IndicesFromVec(d, code));
#else
  return hn::GatherIndex(d, values, hn::BitCast(DI(), code));
#endif
}

// Blocks of 32: 16 bytes of halves at `at`. rest(unit, first element) makes of four halves the codes.
template <typename Rest>
HWY_INLINE void halves_of_32(const BlockRows& in, int64_t at, Rest rest) {
  VU q[4];
  in.units(at, q);
  for (int u = 0; u < 4; ++u) {
    rest(low_halves(q[u]), 4 * u);
    rest(high_halves(q[u]), 16 + 4 * u);
  }
}

// Bits [first, first + 4) of each lane, each as 16 in a byte of its own.
HWY_INLINE VU fifth_bits(VU bits, int first) {
  const DU du;
  const VU four = hn::And(hn::ShiftRightSame(bits, first), hn::Set(du, 15));
  return hn::And(hn::Mul(four, hn::Set(du, 0x02040810u)), hn::Set(du, 0x10101010u));
}

struct BlockQ8_0 {
  static constexpr DType kDType = DType::kQ8_0;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    const V d = half_at(in, 0);
    for (int half = 0; half < 2; ++half) {
      VU q[4];
      in.units(2 + 16 * half, q);
      for (int u = 0; u < 4; ++u) signed_four(out, 16 * half + 4 * u, q[u], d);
    }
  }
};

struct BlockQ4_0 {
  static constexpr DType kDType = DType::kQ4_0;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    const V d = half_at(in, 0);
    halves_of_32(in, 2, [&](VU q, int e) HWY_ATTR { signed_four(out, e, bytes_less(q, 8), d); });
  }
};

struct BlockQ4_1 {
  static constexpr DType kDType = DType::kQ4_1;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    const VU both = in.bits<uint32_t>(0);
    const V d = half_scale(both), m = half_scale(hn::ShiftRight<16>(both));
    halves_of_32(in, 4, [&](VU q, int e) HWY_ATTR { unsigned_four(out, e, q, d, m); });
  }
};

struct BlockQ5_0 {
  static constexpr DType kDType = DType::kQ5_0;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    const V d = half_at(in, 0);
    const VU fifth = in.bits<uint32_t>(2);
    halves_of_32(in, 6, [&](VU q, int e) HWY_ATTR {
      signed_four(out, e, bytes_less(hn::Or(q, fifth_bits(fifth, e)), 16), d);
    });
  }
};

struct BlockQ5_1 {
  static constexpr DType kDType = DType::kQ5_1;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    const VU both = in.bits<uint32_t>(0), fifth = in.bits<uint32_t>(4);
    const V d = half_scale(both), m = half_scale(hn::ShiftRight<16>(both));
    halves_of_32(in, 8,
                 [&](VU q, int e) HWY_ATTR { unsigned_four(out, e, hn::Or(q, fifth_bits(fifth, e)), d, m); });
  }
};

struct BlockIQ4NL {
  static constexpr DType kDType = DType::kIQ4NL;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    const V d = half_at(in, 0);
    halves_of_32(in, 2, [&](VU q, int e) HWY_ATTR { signed_four(out, e, iq4_values(q), d); });
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
      halves_of_32(in, 8 + 16 * group,
                   [&](VU q, int e) HWY_ATTR { signed_four(out, 32 * group + e, iq4_values(q), factor); });
    }
  }
};

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
      unsigned_scales(low_halves(s[i]), d, scale + 4 * i);
      unsigned_scales(high_halves(s[i]), m, minimum + 4 * i);
    }
    for (int run = 0; run < 4; ++run) {  // 16 bytes hold 16 elements of each of four groups of 32
      VU q[4];
      in.units(16 + 16 * run, q);
      for (int group = 0; group < 4; ++group) {
        const int first = run / 2 * 128 + group * 32 + run % 2 * 16;
        for (int u = 0; u < 4; ++u) {
          unsigned_four(out, first + 4 * u, masked(q[u], 3), scale[first / 16], minimum[first / 16]);
          q[u] = hn::ShiftRight<2>(q[u]);
        }
      }
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
      const VU upper = hn::ShiftLeft<4>(masked(s[2], 3));
      signed_scales(bytes_less(hn::Or(lower, upper), 32), d, scale + 4 * i);
      s[2] = hn::ShiftRight<2>(s[2]);
    }
    VU third[2][4];
    in.units(0, third[0]);
    in.units(16, third[1]);
    for (int run = 0; run < 4; ++run) {
      VU q[4];
      in.units(32 + 16 * run, q);
      VU* high = third[run % 2];
      for (int group = 0; group < 4; ++group) {
        const int first = run / 2 * 128 + group * 32 + run % 2 * 16;
        for (int u = 0; u < 4; ++u) {
          const VU code = hn::Or(masked(q[u], 3), hn::ShiftLeft<2>(masked(high[u], 1)));
          signed_four(out, first + 4 * u, bytes_less(code, 4), scale[first / 16]);
          q[u] = hn::ShiftRight<2>(q[u]);
          high[u] = hn::ShiftRight<1>(high[u]);
        }
      }
    }
  }
};

// The eight scales and minima, six bits each, of Q4_K and Q5_K.
HWY_INLINE void six_bit_scales(const BlockRows& in, V* scale, V* minimum) {
  VU head[4];
  in.units(0, head);
  const V d = half_scale(head[0]), m = hn::Neg(half_scale(hn::ShiftRight<16>(head[0])));
  unsigned_scales(masked(head[1], 63), d, scale);
  unsigned_scales(masked(head[2], 63), m, minimum);
  unsigned_scales(hn::Or(low_halves(head[3]), masked(hn::ShiftRight<2>(head[1]), 0x30)), d, scale + 4);
  unsigned_scales(hn::Or(high_halves(head[3]), masked(hn::ShiftRight<2>(head[2]), 0x30)), m, minimum + 4);
}

struct BlockQ4K {
  static constexpr DType kDType = DType::kQ4K;
  template <typename Out>
  static HWY_INLINE void decode(const BlockRows& in, Out& out) {
    V scale[8], minimum[8];
    six_bit_scales(in, scale, minimum);
    for (int run = 0; run < 8; ++run) {  // 16 bytes hold 16 elements of each of two groups of 32
      VU q[4];
      in.units(16 + 16 * run, q);
      const int low = run / 2 * 2, first = 32 * low + run % 2 * 16;
      for (int u = 0; u < 4; ++u) {
        unsigned_four(out, first + 4 * u, low_halves(q[u]), scale[low], minimum[low]);
        unsigned_four(out, first + 32 + 4 * u, high_halves(q[u]), scale[low + 1], minimum[low + 1]);
      }
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
    for (int run = 0; run < 8; ++run) {
      VU q[4];
      in.units(48 + 16 * run, q);
      VU* high = fifth[run % 2];
      const int low = run / 2 * 2, first = 32 * low + run % 2 * 16;
      for (int u = 0; u < 4; ++u) {
        const VU even = hn::Or(low_halves(q[u]), hn::ShiftLeft<4>(masked(high[u], 1)));
        const VU odd = hn::Or(high_halves(q[u]), hn::ShiftLeft<3>(masked(high[u], 2)));
        unsigned_four(out, first + 4 * u, even, scale[low], minimum[low]);
        unsigned_four(out, first + 32 + 4 * u, odd, scale[low + 1], minimum[low + 1]);
        high[u] = hn::ShiftRight<2>(high[u]);
      }
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
    for (int i = 0; i < 4; ++i) signed_scales(s[i], d, scale + 4 * i);
    for (int run = 0; run < 4; ++run) {
      const int half = run / 2, part = run % 2;  // 16 elements of each of a half's four groups of 32
      VU a[4], b[4], two[4];
      in.units(64 * half + 16 * part, a);
      in.units(64 * half + 32 + 16 * part, b);
      in.units(128 + 32 * half + 16 * part, two);
      const int first = 128 * half + 16 * part;
      const V* by = scale + first / 16;
      for (int u = 0; u < 4; ++u) {
        const int e = first + 4 * u;
        const VU fifth = masked(two[u], 0x03), other = masked(two[u], 0x0C);
        const VU third = masked(two[u], 0x30), last = masked(two[u], 0xC0);
        signed_four(out, e, bytes_less(hn::Or(low_halves(a[u]), hn::ShiftLeft<4>(fifth)), 32), by[0]);
        signed_four(out, e + 32, bytes_less(hn::Or(low_halves(b[u]), hn::ShiftLeft<2>(other)), 32), by[2]);
        signed_four(out, e + 64, bytes_less(hn::Or(high_halves(a[u]), third), 32), by[4]);
        signed_four(out, e + 96, bytes_less(hn::Or(high_halves(b[u]), hn::ShiftRight<2>(last)), 32), by[6]);
      }
    }
  }
};

// Of each byte the high half comes first.
template <typename Out>
HWY_INLINE void decode_floats(const float* values, const BlockRows& in, Out& out) {
  const V largest = scale_of(hn::BitCast(D(), in.bits<uint32_t>(0)));
  const VU code = hn::Set(DU(), 15);
  const auto value = [&](VU shifted)
                         HWY_ATTR { return hn::Mul(looked_up(values, hn::And(shifted, code)), largest); };
  for (int half = 0; half < 2; ++half) {
    VU q[4];
    in.units(4 + 16 * half, q);
    for (int u = 0; u < 4; ++u) {
      const int e = 32 * half + 8 * u;
      out.four(e, value(hn::ShiftRight<4>(q[u])), value(q[u]), value(hn::ShiftRight<12>(q[u])),
               value(hn::ShiftRight<8>(q[u])));
      out.four(e + 4, value(hn::ShiftRight<20>(q[u])), value(hn::ShiftRight<16>(q[u])),
               value(hn::ShiftRight<28>(q[u])), value(hn::ShiftRight<24>(q[u])));
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

// Sums over a row in each lane, of kM rows of x. Four for each, as a product waits for the one before it.
template <int kM>
struct RowSums {
  const float* x;
  int64_t x_stride;
  V sums[kM][4];

  HWY_INLINE void four(int64_t e, V v0, V v1, V v2, V v3) {
    const D d;
    DARKROOM_UNROLL
    for (int m = 0; m < kM; ++m) {
      const float* at = x + m * x_stride + e;
      sums[m][0] = hn::MulAdd(v0, hn::Set(d, at[0]), sums[m][0]);
      sums[m][1] = hn::MulAdd(v1, hn::Set(d, at[1]), sums[m][1]);
      sums[m][2] = hn::MulAdd(v2, hn::Set(d, at[2]), sums[m][2]);
      sums[m][3] = hn::MulAdd(v3, hn::Set(d, at[3]), sums[m][3]);
    }
  }
};

template <int kM, typename Block>
HWY_INLINE void dot_rows(BlockRows in, int64_t rows, const float* x, int64_t x_stride, int64_t depth,
                         float* out, int64_t out_stride, bool accumulate) {
  const D d;
  constexpr BlockSize kSize = block_size(Block::kDType);
  RowSums<kM> sums{x, x_stride, {}};
  DARKROOM_UNROLL
  for (int m = 0; m < kM; ++m) {
    for (int i = 0; i < 4; ++i) sums.sums[m][i] = hn::Zero(d);
  }
  for (int64_t k = 0; k < depth; k += kSize.elements) {
    Block::decode(in, sums);
    in.offset += static_cast<int64_t>(kSize.bytes);
    sums.x += kSize.elements;
  }
  for (int m = 0; m < kM; ++m) {
    const V(&s)[4] = sums.sums[m];
    HWY_ALIGN float lanes[kLanes];
    hn::Store(hn::Add(hn::Add(s[0], s[1]), hn::Add(s[2], s[3])), d, lanes);
    float* cells = out + m * out_stride;
    for (int64_t r = 0; r < kLanes && r < rows; ++r) cells[r] = accumulate ? cells[r] + lanes[r] : lanes[r];
  }
}

void dot_blocks(DType dtype, const void* w, int64_t w_stride, int64_t rows, const float* x, int64_t x_stride,
                int64_t m, int64_t depth, float* out, int64_t out_stride, bool accumulate) {
  with_block_type(dtype, [&](auto block) HWY_ATTR {
    using Block = decltype(block);
    for (int64_t first = 0; first < rows; first += kLanes) {
      const BlockRows in = block_rows(w, row_bytes(Block::kDType, w_stride), first, rows);
      int64_t i = 0;
      for (; i + 2 <= m; i += 2) {
        dot_rows<2, Block>(in, rows - first, x + i * x_stride, x_stride, depth, out + i * out_stride + first,
                           out_stride, accumulate);
      }
      if (i < m) {
        dot_rows<1, Block>(in, rows - first, x + i * x_stride, x_stride, depth, out + i * out_stride + first,
                           out_stride, accumulate);
      }
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
