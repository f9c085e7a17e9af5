// Calibration from end to end on small models, and what its factors are good for.
#include "calibrate/calibrate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <list>

#include "base/expect_error.h"
#include "base/file_map.h"
#include "base/temp_folder.h"
#include "convert/convert.h"
#include "pipeline/drawn.h"
#include "salient_model.h"
#include "weights/loaded.h"
#include "weights/safetensors.h"
#include "weights/smoothing.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

const std::string kPinhole = DARKROOM_SOURCE_DIR "/assets/pinhole";
const std::atomic<bool> kGoOn{false};

class Calibrate : public testing::Test {
 protected:
  CalibrateOptions options() {
    CalibrateOptions out{
        .out = folder_ / "factors.safetensors",
        .prompts = {"a red star on a blue background", "a large white ring on a black background"}};
    out.request.steps = 4;
    return out;
  }
  void calibrate(const Checkpoint& model, const CalibrateOptions& options, int threads = 2,
                 const std::function<void(int picture, const Progress&)>& on_progress = {}) {
    const auto backend = make_backend({.name = "cpu", .isa = "auto", .threads = threads});
    CalibrateListeners listeners;
    listeners.on_note = [&](const std::string& text) { notes_.push_back(text); };
    listeners.on_progress = [&](int picture, int, const Progress& progress) {
      if (on_progress) on_progress(picture, progress);
    };
    darkroom::calibrate(model, *backend, options, listeners, kGoOn);
  }
  std::string bytes_of(const fs::path& path) { return read_text_file(path, std::size_t{1} << 30); }
  const TempFolder folder_;
  std::vector<std::string> notes_;
};

TEST_F(Calibrate, TheFileHasEveryInput) {
  const Checkpoint model = Checkpoint::dummy("tiny");
  calibrate(model, options());
  const TensorFile file(options().out);
  std::size_t inputs = 0;
  model.visit(Part::kTransformer, [&](const Param& param, Tensor&) {
    if (!param.smooth || !has_smoothed_input(param)) return;
    ++inputs;
    const StoredTensor* salience = file.find(param.fed_by + ".salience");
    ASSERT_TRUE(salience) << param.fed_by;
    EXPECT_EQ(salience->extents, (std::vector<int64_t>{4, param.cols()}));
    const OwnedTensor values = file.load(*salience);
    for (int64_t i = 0; i < values.tensor.shape.numel(); ++i) EXPECT_GT(values.tensor.row<float>(0)[i], 0);
  });
  EXPECT_EQ(file.tensors().size(), 3 * inputs);
  // q, k, v and the MLP of a single block share one.
  EXPECT_TRUE(file.find("single_transformer_blocks.0.attn.to_q.smooth"));
  EXPECT_FALSE(file.find("single_transformer_blocks.0.proj_mlp.smooth"));
  EXPECT_FALSE(file.find("proj_out.smooth"));
  EXPECT_NO_THROW(
      Smoothing(options().out, [&](const VisitFn& visit) { model.visit(Part::kTransformer, visit); }));
}

TEST_F(Calibrate, GoesOnWhereItWasStopped) {
  const Checkpoint model = Checkpoint::dummy("tiny");
  calibrate(model, options(), 1);
  const std::string whole = bytes_of(options().out);
  fs::remove(options().out);
  const auto stop_in_second = [](int picture, const Progress& progress) {
    if (picture == 1 && progress.step == 2) throw Error(ErrorCode::kCancelled, "stopped on request");
  };
  EXPECT_THROW(calibrate(model, options(), 2, stop_in_second), Error);
  // What is not finished is no file of factors.
  expect_error(ErrorCode::kModel, "calibration did not come to its end", [&] {
    Smoothing(options().out, [&](const VisitFn& visit) { model.visit(Part::kTransformer, visit); });
  });
  int pictures = 0;
  calibrate(model, options(), 3, [&](int, const Progress& progress) {
    pictures += progress.phase == Phase::kDenoise && progress.finished;
  });
  EXPECT_EQ(pictures, 1);
  EXPECT_TRUE(std::ranges::count(notes_, "1 of 2 pictures were drawn before"));
  EXPECT_EQ(bytes_of(options().out), whole);
  // Another rule needs no picture.
  CalibrateOptions other = options();
  other.method = SmoothMethod::kPtq4Dit;
  calibrate(model, other, 2, [&](int, const Progress&) { ADD_FAILURE(); });
  EXPECT_NE(bytes_of(options().out), whole);
}

TEST_F(Calibrate, OtherFilesAreLeftAlone) {
  const Checkpoint model = Checkpoint::dummy("tiny");
  CalibrateOptions wanted = options();
  folder_.write("factors.safetensors", "my thesis");
  EXPECT_THROW(calibrate(model, wanted), Error);
  EXPECT_EQ(bytes_of(wanted.out), "my thesis");
  fs::remove(wanted.out);
  write_safetensors(wanted.out, {});
  expect_error(ErrorCode::kOutput, "is there already, and no calibration", [&] { calibrate(model, wanted); });
  fs::remove(wanted.out);
  calibrate(model, wanted);
  wanted.request.steps = 3;
  expect_error(ErrorCode::kOutput, "with other settings or prompts", [&] { calibrate(model, wanted); });
  wanted = options();
  wanted.prompts[1] += "!";
  expect_error(ErrorCode::kOutput, "with other settings or prompts", [&] { calibrate(model, wanted); });
  expect_error(ErrorCode::kOutput, "of another model",
               [&] { calibrate(Checkpoint::open(kPinhole), options()); });
}

TEST_F(Calibrate, RefusesWhatMakesNoSense) {
  const Checkpoint model = Checkpoint::dummy("tiny");
  const auto refused = [&](const char* fragment, const std::function<void(CalibrateOptions&)>& change) {
    CalibrateOptions wanted = options();
    change(wanted);
    expect_error(ErrorCode::kUsage, fragment, [&] { calibrate(model, wanted); });
    EXPECT_FALSE(fs::exists(wanted.out));
  };
  refused("needs the exact values", [](CalibrateOptions& o) { o.request.precision = "int8"; });
  refused("alpha is 1.5", [](CalibrateOptions& o) { o.alpha = 1.5; });
  refused("alpha is nan", [](CalibrateOptions& o) { o.alpha = NAN; });
  refused("one picture a prompt", [](CalibrateOptions& o) { o.request.count = 2; });
}

// The salience is part of the plan.
TEST_F(Calibrate, StaysWithinTheBudget) {
  const Checkpoint model = Checkpoint::open(kPinhole);
  CalibrateOptions wanted = options();
  const auto backend = make_backend({.name = "cpu", .isa = "auto", .threads = 1});
  Request request = wanted.request;
  request.prompt = wanted.prompts[0];
  const Plan plan = decide(request, model, machine_of(*backend)).plan;
  const std::size_t plain = plan.phase_bytes(plan.phase(Phase::kDenoise));
  std::size_t planned = 0;
  calibrate(model, wanted, 1, [&](int, const Progress& p) {
    if (p.phase == Phase::kDenoise) planned = p.planned_bytes;
  });
  std::size_t salience = 0;
  const TensorFile file(wanted.out);
  for (const StoredTensor& stored : file.tensors()) {
    if (!stored.name.ends_with(kSmoothEnding)) salience += stored.bytes;
  }
  EXPECT_EQ(planned, plain + salience);
}

// PSNR of a picture against one in bf16, mean over a few.
class Salient : public Calibrate {
 protected:
  void SetUp() override {
    write_salient_model(kPinhole, folder_ / "salient");
    Request request;  // rounded as int8 does beside its products
    request.precision = "bf16";
    for (const char* prompt : kPrompts) exact_.push_back(drawn(prompt, request));
  }
  std::vector<uint8_t> drawn(const std::string& prompt, Request request,
                             const std::string& model = "salient") {
    request.prompt = prompt;
    request.seed = 77;
    return draw(Checkpoint::open(folder_ / model), request).picture.image.rgb;
  }
  double decibels(const Request& request, const std::string& model = "salient") {
    double sum = 0, count = 0;
    for (std::size_t i = 0; i < exact_.size(); ++i) {
      const std::vector<uint8_t> got = drawn(kPrompts[i], request, model);
      for (std::size_t p = 0; p < got.size(); ++p) sum += std::pow(int{got[p]} - int{exact_[i][p]}, 2);
      count += static_cast<double>(got.size());
    }
    return 10 * std::log10(255.0 * 255.0 * count / sum);
  }
  static constexpr const char* kPrompts[] = {"a red star above a blue ring on a yellow background",
                                             "a small green heart on the left on a white background"};
  std::vector<std::vector<uint8_t>> exact_;
};

TEST_F(Salient, SmoothingKeepsWhatASalientChannelDrowns) {
  CalibrateOptions wanted = options();
  wanted.prompts = {"a large pink circle on a black background",
                    "a cyan cross next to an orange diamond on a purple "
                    "background"};
  wanted.request.steps.reset();
  calibrate(Checkpoint::open(folder_ / "salient"), wanted);
  Request in_8_bits;
  in_8_bits.precision = "int8";
  const double plain = decibels(in_8_bits);
  in_8_bits.smooth = wanted.out.string();
  const double smoothed = decibels(in_8_bits);
  std::printf("salient model in 8 bits: %.1f dB, smoothed %.1f dB\n", plain, smoothed);
  EXPECT_LT(plain, 36);
  EXPECT_GT(smoothed, 42);

  // Without a picture.
  CalibrateOptions bounds{.out = folder_ / "bounds.safetensors", .method = SmoothMethod::kWeights};
  calibrate(Checkpoint::open(folder_ / "salient"), bounds, 2, [&](int, const Progress&) { ADD_FAILURE(); });
  in_8_bits.smooth = bounds.out.string();
  const double bounded = decibels(in_8_bits);
  std::printf("from the weights alone: %.1f dB\n", bounded);
  EXPECT_GT(bounded, 42);
  expect_error(ErrorCode::kOutput, "is there already",
               [&] { calibrate(Checkpoint::open(folder_ / "salient"), bounds); });
  in_8_bits.smooth = wanted.out.string();

  // The same from a model that has them, whose weights of modulation are int8, too.
  convert(Checkpoint::open(folder_ / "salient"),
          {.out = folder_ / "smoothed", .weights = "int8", .text_weights = "as-stored", .smooth = wanted.out},
          {}, kGoOn);
  Request by_itself;
  by_itself.precision = "int8";
  in_8_bits.weights = "int8";
  EXPECT_EQ(drawn(kPrompts[0], by_itself, "smoothed"), drawn(kPrompts[0], in_8_bits));
  // In bf16 its weights are what they were, to within int8, and a note says what that takes.
  const std::vector<std::string> notes = draw(Checkpoint::open(folder_ / "smoothed"), small_request()).notes;
  EXPECT_TRUE(std::ranges::any_of(notes, [](const std::string& text) {
    return text.find("made for --precision int8; in f32 its factors are multiplied back") != text.npos;
  }));
  EXPECT_GT(decibels({}, "smoothed"), plain);

  expect_error(ErrorCode::kUsage, "smoothed already", [&] { drawn(kPrompts[0], in_8_bits, "smoothed"); });
  const Checkpoint smoothed_model = Checkpoint::open(folder_ / "smoothed");
  EXPECT_TRUE(smoothed_model.is_smoothed());
  expect_error(ErrorCode::kUsage, "has smoothing factors already",
               [&] { calibrate(smoothed_model, wanted); });
  // Other layouts have no place for factors: the weights are multiplied by them again.
  convert(smoothed_model, {.out = folder_ / "single.safetensors", .weights = "bf16", .layout = "single"}, {},
          kGoOn);
  EXPECT_FALSE(Checkpoint::open(folder_ / "single.safetensors").is_smoothed());
  EXPECT_GT(decibels({}, "single.safetensors"), plain);
}

TEST_F(Salient, FilesThatAreNotForThisModel) {
  const Checkpoint model = Checkpoint::open(folder_ / "salient");
  const auto visit = [&](const VisitFn& each) { model.visit(Part::kTransformer, each); };
  std::map<std::string, std::vector<float>> factors;
  visit([&](const Param& param, Tensor&) {
    if (param.smooth && has_smoothed_input(param))
      factors[smooth_param(param).name].assign(static_cast<std::size_t>(param.cols()), 0.5f);
  });
  const auto expect = [&](const std::string& fragment, const std::function<void(decltype(factors)&)>& change,
                          std::map<std::string, std::string> metadata = {
                              {kSmoothFormatField, kSmoothFormat}}) {
    auto changed = factors;
    change(changed);
    std::vector<NamedTensor> tensors;
    for (auto& [name, values] : changed) {
      tensors.push_back({name, Tensor(values.data(), DType::kF32, {static_cast<int64_t>(values.size())})});
    }
    const fs::path path = folder_ / "changed.safetensors";
    write_safetensors(path, tensors, {.metadata = std::move(metadata), .overwrite = true});
    if (fragment.empty()) {
      EXPECT_NO_THROW(Smoothing(path, visit));
    } else {
      expect_error(ErrorCode::kModel, fragment, [&] { Smoothing(path, visit); });
    }
  };
  const std::string name = "single_transformer_blocks.2.proj_out.smooth";
  ASSERT_TRUE(factors.contains(name));
  expect("", [](auto&) {});
  expect("holds no smoothing factors", [](auto&) {}, {});
  expect("in format 2, this version reads format 1", [](auto&) {}, {{kSmoothFormatField, "2"}});
  expect("has no '" + name + "': it was calibrated for another model", [&](auto& all) { all.erase(name); });
  expect("the model's layer has 640 inputs", [&](auto& all) { all[name].resize(639, 0.5f); });
  for (const float bad : {0.0f, -1.0f, NAN, INFINITY, 1e-40f})
    expect("at 17, a smoothing factor must be finite and above 0", [&](auto& all) { all[name][17] = bad; });
}

// Factors in a model's own files are a stranger's, too.
TEST_F(Salient, AModelsOwnFactorsAreChecked) {
  const fs::path transformer = folder_ / "salient" / "transformer" / "diffusion_pytorch_model.safetensors";
  const TensorFile file(transformer);
  std::list<OwnedTensor> loaded;
  std::vector<NamedTensor> tensors;
  for (const StoredTensor& stored : file.tensors())
    tensors.push_back({stored.name, loaded.emplace_back(file.load(stored)).tensor});
  const std::string name = "transformer_blocks.0.attn.to_q.smooth";
  std::vector<float> factors(128, 2.0f);
  const Tensor good(factors.data(), DType::kF32, {128});
  const auto opened = [&](const std::string& as, const Tensor& tensor) {
    tensors.push_back({as, tensor});
    const fs::path model = folder_ / "own";
    fs::remove_all(model);
    fs::copy(folder_ / "salient", model, fs::copy_options::recursive);
    write_safetensors(model / "transformer" / transformer.filename(), tensors, {.overwrite = true});
    tensors.pop_back();
    return Checkpoint::open(model);
  };
  EXPECT_TRUE(opened(name, good).is_smoothed());
  EXPECT_FALSE(opened("other.smooth", good).is_smoothed());  // of no input
  expect_error(ErrorCode::kModel, "the config asks for [128]",
               [&] { opened(name, Tensor(factors.data(), DType::kF32, {64})); });
  expect_error(ErrorCode::kModel, "smoothing factors are F32",
               [&] { opened(name, Tensor(factors.data(), DType::kBF16, {128})); });
  for (const float bad : {0.0f, -2.0f, NAN, INFINITY}) {
    factors[100] = bad;
    expect_error(ErrorCode::kModel, "at 100, a smoothing factor must be finite and above 0",
                 [&] { opened(name, good); });
  }
}

}  // namespace
}  // namespace darkroom
