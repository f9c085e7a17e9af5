// Weights that are no numbers, in files of any type: one line with the tensor, not a black picture. And weights
// that the storage which was asked for does not hold.
#include "pipeline/finite.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <limits>

#include "base/expect_error.h"
#include "base/finite.h"
#include "base/temp_folder.h"
#include "checkpoint/small_files.h"
#include "drawn.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

const float kInfinity = std::numeric_limits<float>::infinity();

class NotFinite : public testing::Test {
 protected:
  static const SmallModel& model() {
    static const SmallModel model(true);
    return model;
  }
  // Once for all cases.
  static const fs::path& base() {
    static const TempFolder folder;
    static const fs::path path = [&] {
      model().write_model(folder / "model");
      return folder / "model";
    }();
    return path;
  }
  static Request request() {
    Request out = small_request();
    out.steps = 1;
    return out;
  }
  // A part of the model with one number in place of another, beside the other parts.
  CheckpointPaths with(Part part, const std::string& tensor, std::size_t at, float number) const {
    Tensors tensors = model().of(part);
    tensors.at(tensor).values.at(at) = number;
    const fs::path folder = folder_ / "part" / part_folder(part);
    fs::create_directories(folder);
    model().write_folder(folder, part, tensors);
    CheckpointPaths paths{base().string(), {}, {}, {}};
    if (part == Part::kTransformer) return {folder.string(), base(), base(), base()};
    (part == Part::kClip ? paths.clip : part == Part::kT5 ? paths.t5 : paths.vae) = folder;
    return paths;
  }
  void expect(const CheckpointPaths& paths, const std::string& message) const {
    expect_error(ErrorCode::kModel, message, [&] { draw(Checkpoint::open(paths), request()); });
  }
  const TempFolder folder_;
};

TEST_F(NotFinite, EachPartNamesTheTensor) {
  expect(with(Part::kClip, "text_model.encoder.layers.1.mlp.fc1.weight", 64 * 5 + 3, NAN),
         "tensor 'text_model.encoder.layers.1.mlp.fc1.weight': row 5, column 3 is nan, a weight must be "
         "finite; the output of CLIP is not finite, either: the file is damaged, get it again");
  expect(with(Part::kT5, "encoder.block.0.layer.1.DenseReluDense.wo.weight", 64 * 2 + 1, kInfinity),
         "wo.weight': row 2, column 1 is inf, a weight must be finite; the output of T5 is not finite");
  expect(with(Part::kTransformer, "single_transformer_blocks.1.proj_out.bias", 7, -kInfinity),
         "tensor 'single_transformer_blocks.1.proj_out.bias': row 7, column 0 is -inf, a weight must be "
         "finite; the transformer's output in pass 1 is not finite");
  expect(with(Part::kTransformer, "transformer_blocks.0.norm1.linear.weight", 0, NAN),
         "norm1.linear.weight': row 0, column 0 is nan");
  expect(with(Part::kVae, "decoder.up_blocks.3.resnets.0.conv1.weight", 3, NAN),
         "conv1.weight': row 0, column 3 is nan, a weight must be finite; the decoder's output is not");
}

// Where a block quantises its input the run ends there.
TEST_F(NotFinite, InEightBitsToo) {
  const auto expect_in_8_bits = [&](const std::string& tensor, float number, const std::string& message) {
    Request in_8_bits = request();
    in_8_bits.precision = "int8";
    const CheckpointPaths paths = with(Part::kTransformer, tensor, 0, number);
    expect_error(ErrorCode::kModel, message, [&] { draw(Checkpoint::open(paths), in_8_bits); });
  };
  expect_in_8_bits("transformer_blocks.0.norm1.linear.weight", NAN,
                   "norm1.linear.weight': row 0, column 0 is nan, a weight must be finite; what a block "
                   "multiplies is not finite, either: the file is damaged, get it again");
  expect_in_8_bits("transformer_blocks.0.attn.to_q.weight", kInfinity, "row 0, column 0 is inf");
  Request text = request();
  text.text_precision = "int8";
  const auto expect_in_text = [&](const std::string& tensor, float number, const std::string& message) {
    const CheckpointPaths paths = with(Part::kT5, tensor, 0, number);
    expect_error(ErrorCode::kModel, message, [&] { draw(Checkpoint::open(paths), text); });
  };
  expect_in_text(
      "encoder.block.0.layer.0.layer_norm.weight", NAN,
      "layer_norm.weight': row 0, column 0 is nan, a weight must be finite; what a layer multiplies is not "
      "finite, either: the file is damaged, get it again");
  expect_in_text("encoder.block.1.layer.1.DenseReluDense.wi_1.weight", kInfinity, "row 0, column 0 is inf");
}

// The first tensor of the transformer's blocks, in the types of files, with a number that is none.
TEST_F(NotFinite, InEveryTypeOfFile) {
  const std::string name = "double_blocks.1.img_mlp.0.weight";
  const auto file_of = [&](DType dtype) {
    FileMaker file;
    for (auto [other, numbers] : model().in(Part::kTransformer, Names::kBfl)) {
      const bool spoiled = other == name;
      // Bytes that no other matrix has, so that they are found.
      for (float& value : numbers.values) value *= spoiled ? 1.37f : 1.0f;
      file.add(other, numbers, spoiled ? dtype : DType::kF32);
    }
    return file;
  };
  struct Case {
    DType dtype;
    std::string bytes;  // written at the beginning of the matrix
    std::string found;
  };
  const std::string inf16("\x00\x7c", 2), nan16("\x01\x7e", 2);
  for (const Case& c :
       {Case{DType::kF32, std::string("\x00\x00\x80\x7f", 4), "row 0, column 0 is inf"},
        Case{DType::kBF16, std::string("\xc0\xff", 2), "row 0, column 0 is -nan"},
        Case{DType::kF16, inf16, "row 0, column 0 is inf"},
        Case{DType::kF16, nan16, "row 0, column 0 is nan"},
        Case{DType::kQ8_0, nan16, "row 0, column 0 is nan"},  // blocks begin with their scale
        Case{DType::kQ4_0, inf16, "row 0, column "}, Case{DType::kQ4K, nan16, "row 0, column 0 is nan"},
        Case{DType::kQ5K, inf16, "row 0, column "}}) {
    SCOPED_TRACE(std::string(dtype_name(c.dtype)) + " " + c.found);
    const fs::path path = folder_ / "file";
    const bool gguf = is_block(c.dtype);
    gguf ? file_of(c.dtype).write_as_gguf(path) : file_of(c.dtype).write(path);
    {
      const TensorFile file(path);
      const std::string whole = read_text_file(path, std::size_t{1} << 30);
      const OwnedTensor matrix = file.load(*file.find(name));
      const std::string_view bytes(static_cast<const char*>(matrix.tensor.data), 64);
      const int writable = ::open(path.c_str(), O_WRONLY);
      const auto at = static_cast<off_t>(whole.find(bytes));
      ASSERT_EQ(::pwrite(writable, c.bytes.data(), c.bytes.size(), at), static_cast<ssize_t>(c.bytes.size()));
      ::close(writable);
    }
    const CheckpointPaths paths{path.string(), base(), base(), base()};
    expect(paths, "file: tensor '" + name + "': " + c.found);
    // Before it is multiplied, where it is quantised again as it is read.
    Request in_8_bits = request();
    in_8_bits.precision = "int8";
    const Checkpoint spoiled = Checkpoint::open(paths);
    expect_error(ErrorCode::kModel, "file: tensor '" + name + "' as int8: " + c.found,
                 [&] { draw(spoiled, in_8_bits); });
    expect_error(ErrorCode::kModel, ", a weight must be finite: the file is damaged, get it again",
                 [&] { draw(spoiled, in_8_bits); });
  }
}

// q, k and v share a tensor in other programs' files: rows are those of the part that has the number.
TEST_F(NotFinite, InAFusedTensorNamesThePart) {
  FileMaker file;
  for (auto [name, numbers] : model().in(Part::kTransformer, Names::kBfl)) {
    if (name == "double_blocks.0.img_attn.qkv.weight") {
      const auto width = static_cast<std::size_t>(std::lround(std::sqrt(numbers.values.size() / 3.0)));
      numbers.values.at((width + 5) * width + 2) = NAN;
    }
    file.add(name, numbers, DType::kF32);
  }
  file.write(folder_ / "file");
  expect({(folder_ / "file").string(), base(), base(), base()},
         "file: tensor 'double_blocks.0.img_attn.qkv.weight', in the rows of "
         "'transformer_blocks.0.attn.to_k.weight': row 5, column 2 is nan");
}

// What overflows without a bad weight is said, too.
TEST_F(NotFinite, WithoutABadWeightTheArithmeticIsNamed) {
  const CheckpointPaths paths = with(Part::kTransformer, "proj_out.weight", 7, 3.4e38f);
  expect_error(ErrorCode::kFailure,
               "the transformer's output in pass 1 is not finite, although the weights are; it may overflow",
               [&] { draw(Checkpoint::open(paths), request()); });
}

TEST_F(NotFinite, WhatFp8DoesNotHoldIsSaidOnLoad) {
  const CheckpointPaths paths = with(Part::kTransformer, "transformer_blocks.1.ff.net.2.weight", 5, 70'000);
  Request fp8 = request();
  fp8.weights = "fp8";
  const Drawn drawn = draw(Checkpoint::open(paths), fp8);
  ASSERT_EQ(drawn.notes.size(), 1u);
  EXPECT_EQ(drawn.notes[0],
            "values beyond 448 became 448 in 1 tensor(s), first in transformer_blocks.1.ff.net.2.weight; "
            "fp8-scaled keeps them");
  fp8.weights = "fp8-scaled";
  EXPECT_TRUE(draw(Checkpoint::open(paths), fp8).notes.empty());
}

TEST_F(NotFinite, AllFiniteSeesEveryValue) {
  std::vector<float> values(1000, std::numeric_limits<float>::max());
  EXPECT_TRUE(all_finite(values));
  EXPECT_TRUE(all_finite({}));
  for (const float bad : {NAN, -NAN, kInfinity, -kInfinity}) {
    for (const std::size_t at : {0, 500, 999}) {
      std::vector<float> spoiled = values;
      spoiled[at] = bad;
      EXPECT_FALSE(all_finite(spoiled));
    }
  }
}

}  // namespace
}  // namespace darkroom
