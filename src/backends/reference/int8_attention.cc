#include "backends/reference/int8_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace darkroom::reference {
namespace {

using Floats = std::vector<float>;

std::size_t index(int64_t i) { return static_cast<std::size_t>(i); }

// 2^z as AttentionArgs has it.
float power_of_two(float z) {
  z = std::max(z, -64.0f);
  const float n = std::nearbyintf(z), r = z - n;
  const float p = ((kPowerOfTwo[2] * r + kPowerOfTwo[1]) * r + kPowerOfTwo[0]) * r + 1.0f;
  return std::ldexp(p, static_cast<int>(n));
}

void check(const char* what, const Tensor& t, const Floats& values, float most) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i]) && std::fabs(values[i]) <= most) continue;
    fail_attended(what, t, static_cast<int64_t>(i) / t.cols());
  }
}

// Takes the mean of each column off x[rows, cols], and returns it.
Floats centre(Floats& x, int64_t rows, int64_t cols) {
  Floats means(index(cols));
  for (int64_t c = 0; c < cols; ++c) {
    double sum = 0;
    for (int64_t first = 0; first < rows; first += kInt8KeyBlock) {
      double of_block = 0;
      for (int64_t r = first; r < std::min(rows, first + kInt8KeyBlock); ++r)
        of_block += static_cast<double>(x[index(r * cols + c)]);
      sum += of_block;
    }
    means[index(c)] = static_cast<float>(sum / static_cast<double>(rows));
    for (int64_t r = 0; r < rows; ++r) x[index(r * cols + c)] -= means[index(c)];
  }
  return means;
}

// `count` numbers `stride` apart become whole; returns their scale.
float quantise(float* x, int64_t count, int64_t stride) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(x[i * stride]));
  const float scale = largest < kLeastQuantised ? 1.0f : largest / 127.0f, inverse = 1.0f / scale;
  for (int64_t i = 0; i < count; ++i) x[i * stride] = std::nearbyintf(x[i * stride] * inverse);
  return scale;
}

// Everything in 8 bits, as whole numbers in f32.
struct Operands {
  int64_t heads, dim, keys;
  Floats q, k, v, q_scales, k_scales, v_scales, means;
  int64_t width() const { return heads * dim; }
};

// The part of each head in each row by itself.
Floats quantise_rows(Floats& x, int64_t dim) {
  Floats scales;
  for (std::size_t i = 0; i < x.size(); i += index(dim)) scales.push_back(quantise(&x[i], dim, 1));
  return scales;
}

// One row of one head, while the blocks of keys pass by.
struct Row {
  const Operands& in;
  int64_t row, head;
  float factor, largest = 0, total = 0;
  Floats result = Floats(index(in.dim));

  float score(int64_t key) const {
    const float *q = &in.q[index(row * in.width() + head * in.dim)],
                *k = &in.k[index(key * in.width() + head * in.dim)];
    int32_t sum = 0;
    for (int64_t c = 0; c < in.dim; ++c) sum += static_cast<int32_t>(q[c]) * static_cast<int32_t>(k[c]);
    return static_cast<float>(sum) * in.k_scales[index(key * in.heads + head)];
  }

  void add_block(int64_t first, int64_t count) {
    Floats scores;
    for (int64_t j = first; j < first + count; ++j) scores.push_back(score(j));
    const float of_block = *std::ranges::max_element(scores);
    const float before = first == 0 ? of_block : largest;
    largest = std::max(before, of_block);
    const float keep = power_of_two((before - largest) * factor),
                add = power_of_two((of_block - largest) * factor);
    std::vector<int32_t> p;
    int32_t sum = 0;
    for (const float t : scores) {
      p.push_back(
          static_cast<int32_t>(std::nearbyintf(power_of_two((t - of_block) * factor) * kMostInt8Weight)));
      sum += p.back();
    }
    total = total * keep + static_cast<float>(sum) * add;
    const float* scales = &in.v_scales[index(first / kInt8KeyBlock * in.width() + head * in.dim)];
    for (int64_t c = 0; c < in.dim; ++c) {
      int32_t products = 0;
      for (int64_t j = 0; j < count; ++j) {
        products +=
            p[index(j)] * static_cast<int32_t>(in.v[index((first + j) * in.width() + head * in.dim + c)]);
      }
      float& x = result[index(c)];
      x = x * keep + static_cast<float>(products) * scales[c] * add;
    }
  }
};

}  // namespace

std::vector<float> int8_attention(const AttentionArgs& a, const Floats& q, Floats k, Floats v) {
  check("k", a.k, k, kMostInt8Attended);
  check("v", a.v, v, kMostInt8Attended);
  check("q", a.q, q, std::numeric_limits<float>::max());
  Operands in{a.heads, a.q.cols() / a.heads, a.k.rows(), q, std::move(k), std::move(v), {}, {}, {}, {}};
  const int64_t width = in.width();
  centre(in.k, in.keys, width);
  in.means = centre(in.v, in.keys, width);
  in.q_scales = quantise_rows(in.q, in.dim);
  in.k_scales = quantise_rows(in.k, in.dim);
  for (int64_t first = 0; first < in.keys; first += kInt8KeyBlock) {
    for (int64_t c = 0; c < width; ++c) {
      const int64_t count = std::min(kInt8KeyBlock, in.keys - first);
      in.v_scales.push_back(quantise(&in.v[index(first * width + c)], count, width));
    }
  }
  Floats out(index(a.q.rows() * width));
  for (int64_t i = 0; i < a.q.rows(); ++i) {
    for (int64_t h = 0; h < a.heads; ++h) {
      Row row{in, i, h, in.q_scales[index(i * a.heads + h)] * a.scale * kLog2E};
      for (int64_t first = 0; first < in.keys; first += kInt8KeyBlock) {
        row.add_block(first, std::min(kInt8KeyBlock, in.keys - first));
      }
      const float inverse = 1.0f / row.total;
      for (int64_t c = 0; c < in.dim; ++c) {
        out[index(i * width + h * in.dim + c)] =
            row.result[index(c)] * inverse + in.means[index(h * in.dim + c)];
      }
    }
  }
  return out;
}

}  // namespace darkroom::reference
