// What stops a conversion leaves nothing that could be taken for a model.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cmath>

#include "base/expect_error.h"
#include "base/new_folder.h"
#include "base/temp_folder.h"
#include "convert/convert.h"
#include "large_model.h"
#include "weights/loaded.h"
#include "weights/safetensors.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

class ConvertFaults : public testing::Test {
 protected:
  ConvertFaults() { make_large_model(in_, 64, 64); }
  void convert_in(const ConvertListeners& listeners = {}, const std::string& kind = "int8") {
    convert(Checkpoint::open(in_), {.out = out_, .weights = kind}, listeners, cancel_);
  }
  // Demands this error, and that the model is all that is in the folder then.
  void expect_nothing(ErrorCode code, const std::string& part, const ConvertListeners& listeners = {}) {
    expect_error(code, part, [&] { convert_in(listeners); });
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 1);
  }
  // Writes the transformer's file: what was in it before, and one tensor more.
  void write_with(const Catalog& before, const std::string& name, const Tensor& tensor) const {
    std::vector<NamedTensor> tensors = {{name, tensor}};
    std::vector<OwnedTensor> others;
    for (const std::string_view other : before.names()) {
      others.push_back(before.load(other).value());
      tensors.push_back({std::string(other), others.back().tensor});
    }
    write_safetensors(weights_, tensors, {.overwrite = true});
  }
  // Overwrites bytes of the large matrix.
  void spoil(const void* bytes, std::size_t count, std::size_t offset) const {
    const TensorFile file(weights_);
    const int writable = ::open(weights_.c_str(), O_WRONLY);
    pwrite_all(writable, bytes, count, data_begin(weights_) + file.find(kLargeName)->begin + offset);
    ::close(writable);
  }

  const TempFolder folder_;
  const fs::path in_ = folder_ / "in", out_ = folder_ / "out";
  const fs::path weights_ = in_ / "transformer" / "diffusion_pytorch_model.safetensors";
  std::atomic<bool> cancel_{false};
};

TEST_F(ConvertFaults, OptionsAreCheckedFirst) {
  expect_error(ErrorCode::kUsage, "the kind of weights is 'fp4'; there are as-stored, bf16, ",
               [&] { convert_in({}, "fp4"); });
  expect_error(ErrorCode::kUsage, "q4_k is a type of GGUF files; add --layout gguf",
               [&] { convert_in({}, "q4_k"); });
  const auto into = [&](const fs::path& out) {
    return [this, out] { convert(Checkpoint::open(in_), {.out = out, .weights = "fp8"}, {}, cancel_); };
  };
  expect_error(ErrorCode::kUsage, "this is the model itself", into(in_ / "transformer" / ".."));
  expect_error(ErrorCode::kUsage, "the name of what is to be written is empty", into(""));
  expect_error(ErrorCode::kOutput, "taken: already exists; choose another name",
               into(folder_.write("taken", "")));
  expect_error(ErrorCode::kOutput, "absent/out: cannot write there: No such file",
               into(folder_ / "absent/out"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 2);
  into(folder_ / "slash/")();
  EXPECT_NO_THROW(Checkpoint::open(folder_ / "slash"));
}

TEST_F(ConvertFaults, ABrokenModelIsRefusedInOneLine) {
  const float nan = NAN;
  spoil(reinterpret_cast<const char*>(&nan) + 2, 2, (5 * 64 + 3) * 2);
  expect_nothing(ErrorCode::kModel,
                 "diffusion_pytorch_model.safetensors: tensor 'extra.weight': row 5, column 3 is "
                 "nan, a weight must be finite");
  fs::resize_file(weights_, fs::file_size(weights_) - 1);
  expect_nothing(ErrorCode::kModel, "diffusion_pytorch_model.safetensors: cut short: the file has ");
  fs::remove(weights_);
  expect_nothing(ErrorCode::kModel, "transformer: the folder holds no .safetensors file");
}

TEST_F(ConvertFaults, AModelThatLacksATensorIsRefused) {
  std::vector<float> values(64);
  write_safetensors(weights_, std::vector<NamedTensor>{{"a", Tensor(values.data(), DType::kF32, {8, 8})}},
                    {.overwrite = true});
  expect_nothing(ErrorCode::kModel, "there is no tensor 'x_embedder.weight'");
}

TEST_F(ConvertFaults, AMatrixOfNoWeightsTypeIsRefused) {
  const Catalog before(in_ / "transformer");
  std::vector<int32_t> numbers(64);
  for (const auto& [dtype, message] :
       {std::pair(DType::kI32, "tensor 'numbers.weight' is I32 [8, 8]: weights of this type are not"),
        std::pair(DType::kI8, "'numbers.weight' is I8 [8, 8] and has no scale; ")}) {
    write_with(before, "numbers.weight", Tensor(numbers.data(), dtype, {8, 8}));
    expect_nothing(ErrorCode::kModel, message);
  }
}

TEST_F(ConvertFaults, AScaleWithoutItsMatrixIsRefused) {
  const Catalog before(in_ / "transformer");
  float scale = 2;
  for (const std::string name : {"numbers.weight_scale", "numbers.scale_weight"}) {
    write_with(before, name, Tensor(&scale, DType::kF32, {1}));
    expect_nothing(ErrorCode::kModel,
                   "tensor '" + name + "' is a scale, but the matrix that it belongs to is not");
  }
}

TEST_F(ConvertFaults, AFileThatIsCutWhileItIsReadIsAnError) {
  const ConvertListeners listeners{.on_progress =
                                       [&](const ConvertProgress& p) {
                                         if (p.part == Part::kT5 && p.finished)
                                           fs::resize_file(weights_, 100'000);
                                       },
                                   .on_note = {}};
  expect_nothing(ErrorCode::kModel, "while in use", listeners);
}

TEST_F(ConvertFaults, StoppingLeavesNothing) {
  int events = 0;
  const ConvertListeners listeners{.on_progress = [&](const ConvertProgress&) { cancel_ = ++events == 100; },
                                   .on_note = {}};
  expect_nothing(ErrorCode::kCancelled, "stopped on request", listeners);
  cancel_ = false;
  convert_in();
  EXPECT_NO_THROW(Checkpoint::open(out_));
}

TEST_F(ConvertFaults, AnOutThatAppearsMeanwhileIsKept) {
  const ConvertListeners listeners{.on_progress = [&](const ConvertProgress&) { fs::create_directory(out_); },
                                   .on_note = {}};
  expect_error(ErrorCode::kOutput, "out: cannot rename the finished folder: File exists",
               [&] { convert_in(listeners); });
  EXPECT_TRUE(fs::is_empty(out_));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 2);
}

// kill -9 at the first tensor, in the middle and when all weights are there.
TEST_F(ConvertFaults, AKilledProcessLeavesNoModelAndIsNoticed) {
  int events = 0;
  {
    const ConvertListeners count{.on_progress = [&](const ConvertProgress&) { ++events; }, .on_note = {}};
    convert_in(count);
    fs::remove_all(out_);
  }
  std::size_t left = 0;
  for (const int last : {1, events / 2, events}) {
    SCOPED_TRACE(last);
    const pid_t child = fork();
    if (child == 0) {
      int seen = 0;
      convert_in({.on_progress =
                      [&](const ConvertProgress&) {
                        if (++seen == last) ::raise(SIGKILL);
                      },
                  .on_note = {}});
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    EXPECT_FALSE(fs::exists(out_));
    const std::vector<AbandonedFolder> abandoned = abandoned_folders(out_);
    ASSERT_EQ(abandoned.size(), ++left);
    for (const AbandonedFolder& folder : abandoned) {
      expect_error(ErrorCode::kModel, "there is no transformer/config.json",
                   [&] { Checkpoint::open(folder.path); });
    }
  }
  std::vector<std::string> notes;
  convert_in({.on_progress = {}, .on_note = [&](const std::string& note) { notes.push_back(note); }});
  ASSERT_EQ(notes.size(), 3u);
  EXPECT_NE(notes[2].find("left behind by a run that was killed"), std::string::npos) << notes[2];
  EXPECT_NO_THROW(Checkpoint::open(out_));
}

}  // namespace
}  // namespace darkroom
