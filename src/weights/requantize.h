// A matrix from one storage into another, a run of rows at a time: the loop of whoever requantises
// (weights/requantizing_source.h, convert). The numbers are those of weights/quantize.h and depend neither on
// the runs nor on the threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "tensor/tensor.h"

namespace darkroom {

// Where the rows of a matrix come from and where they go.
struct Requantization {
  std::string place;  // opens messages: "FILE: tensor 'NAME'"
  Shape shape;        // [rows, cols]
  DType dtype;        // what they become: f32, or what quantize_rows() makes (of i8, of the levels of `room`)
  int64_t run_rows;   // at most so many at a time
  // What columns are multiplied by before, f32 [cols]; empty: nothing.
  std::span<const float> columns = {};
  // Rows from `first` on, at most `count` and at least one, in any storage, with their scales. Valid until
  // the next call. In order; for f8 with a scale all rows twice.
  std::function<Tensor(int64_t first, int64_t count)> read;
  // Memory for the same rows, and what is done with it when they are there.
  std::function<Tensor(int64_t first, int64_t count)> room;
  std::function<void(int64_t first, const Tensor& rows)> done = {};
  // Calls task(0) ... task(count - 1), from any threads; empty: one after the other.
  std::function<void(int64_t count, const std::function<void(int64_t)>& task)> run_tasks = {};
};

// `scales` gets one number (f8), one for each row (i8), or is empty. True when values were clamped: beyond
// 448 in f8 without a scale, beyond 65504 in f16. Errors: kModel, "PLACE: row 3, column 5 is nan, a weight
// must be finite", or "PLACE, counted from row 4096: row .."; what the functions throw.
bool requantize(const Requantization& work, std::span<float> scales);

// What one thread allocates meanwhile for a matrix stored like this, and whose columns are multiplied.
std::size_t requantize_bytes(const Tensor& stored, bool columns = false);

// "values beyond 65504 became 65504 in 2 tensor(s), first in PLACE; bf16 keeps them", for f16 and plain f8.
std::string clamped_note(DType dtype, std::size_t tensors, const std::string& place);

}  // namespace darkroom
