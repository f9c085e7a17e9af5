// LoRA files in the spellings of many programs, with random numbers, for the model of stored_models.h; and what
// they add, in f64.
#pragma once

#include <cmath>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "stored_models.h"

namespace darkroom {

struct Matrix {
  int64_t rows = 0, cols = 0;
  std::vector<double> values;
  double& at(int64_t r, int64_t c) { return values[static_cast<std::size_t>(r * cols + c)]; }
  double at(int64_t r, int64_t c) const { return values[static_cast<std::size_t>(r * cols + c)]; }
};

Matrix product(const Matrix& a, const Matrix& b);

// Which rows of a module's matrix a parameter is.
struct Slice {
  std::string param;
  int64_t first = 0, count = 0;
};

// A LoRA file in the making, and what it adds to each parameter.
class Maker {
 public:
  explicit Maker(DType dtype) : dtype_(dtype) {}

  // A random matrix in the file, as its type rounds it.
  Matrix matrix(const std::string& name, int64_t rows, int64_t cols, double scale) {
    const Shape shape = cols == 0 ? Shape{rows} : Shape{rows, cols};
    const Tensor tensor = list_.make(name, dtype_, shape);
    Matrix out{rows, std::max<int64_t>(cols, 1), {}};
    for (int64_t i = 0; i < shape.numel(); ++i) {
      const float value = static_cast<float>(scale * next());
      if (dtype_ == DType::kF32) tensor.row<float>(0)[i] = value;
      if (dtype_ == DType::kBF16) tensor.row<BFloat16>(0)[i] = to_bfloat16(value);
      if (dtype_ == DType::kF16) tensor.row<Float16>(0)[i] = to_float16(value);
      dispatch_float(dtype_, [&]<typename T>() {
        out.values.push_back(static_cast<double>(to_float(tensor.row<T>(0)[i])));
      });
    }
    return out;
  }
  void alpha(const std::string& module, float value) {
    *list_.make(module + ".alpha", DType::kF32, {1}).row<float>(0) = value;
  }
  void add(Part part, const Matrix& difference, double factor, const std::vector<Slice>& slices) {
    for (const Slice& slice : slices) {
      std::vector<double>& to = added[{part, slice.param}];
      const auto from = difference.values.begin() + slice.first * difference.cols;
      const std::size_t count = static_cast<std::size_t>(slice.count * difference.cols);
      const std::size_t at = filled_[slice.param];
      to.resize(std::max(to.size(), at + count));
      for (std::size_t i = 0; i < count; ++i) to[at + i] += factor * from[static_cast<std::ptrdiff_t>(i)];
      filled_[slice.param] += count;
    }
    filled_.clear();
  }
  void low_rank(Part part, const std::string& module, int64_t out, int64_t in,
                const std::vector<Slice>& slices, const std::string& down = ".lora_down.weight",
                const std::string& up = ".lora_up.weight", bool with_alpha = true) {
    const int64_t rank = 5;
    const double factor = with_alpha ? 3.0 / static_cast<double>(rank) : 1;
    const Matrix a = matrix(module + down, rank, in, 1 / std::sqrt(static_cast<double>(in)));
    const Matrix b = matrix(module + up, out, rank, 0.5 / std::sqrt(static_cast<double>(rank)));
    if (with_alpha) alpha(module, 3);
    add(part, product(b, a), factor, slices);
  }
  void write(const std::filesystem::path& path) const { list_.write(path); }

  std::map<std::pair<Part, std::string>, std::vector<double>> added;
  std::map<std::pair<Part, std::string>, std::vector<double>> set;

 private:
  double next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>(static_cast<int64_t>(state_ >> 40)) / 8388608.0 - 1.0;
  }
  DType dtype_;
  TensorList list_;
  std::map<std::string, std::size_t> filled_;
  uint64_t state_ = 88172645463325252u;
};

// Of the model's width.
inline constexpr int64_t kD = 64;
inline const std::string kDouble = "transformer_blocks.0.";
std::vector<Slice> whole(const std::string& param, int64_t rows);

struct LoraKind {
  const char* name;
  void (*make)(Maker&);
  DType dtype;
  bool dense;  // at all
};
std::span<const LoraKind> lora_kinds();
void make_kohya(Maker& m);
void make_diffusers(Maker& m);
void make_onetrainer(Maker& m);
void make_lokr(Maker& m);

// A folder like `base`'s, in f32, whose weights are base's as `storage` has them, and strength times what `m`
// adds.
void write_merged(const std::filesystem::path& folder, const Checkpoint& base, WeightStorage storage,
                  const Maker* m, double strength = 1);

}  // namespace darkroom
