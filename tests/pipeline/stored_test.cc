// Quantised weights through the whole pipeline: read from files, and made on the way into memory.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/expect_error.h"
#include "base/temp_folder.h"
#include "drawn.h"
#include "expected.h"
#include "options/request_json.h"
#include "pipeline/inspect.h"
#include "pipeline/phases.h"
#include "pipeline/plan.h"
#include "stored_models.h"

namespace darkroom {
namespace {

// More than a small backend needs.
const Machine kMachine{.workspace = {.bytes = std::size_t{16} << 20, .conv_bytes = 0}};

// Measured: 36.3, 33.8 and 48.9 dB.
TEST(StoredWeights, QuantisedFilesDrawNearlyTheSamePicture) {
  const TempFolder folder;
  write_stored_model(folder / "bf16", WeightStorage::kBF16, true);
  const Drawn exact = draw(Checkpoint::open(folder / "bf16"), small_request());
  EXPECT_TRUE(exact.notes.empty());
  struct Case {
    const char* name;
    WeightStorage as;
    DType dtype;
    double db;
  };
  for (const Case& c : {Case{"plain", WeightStorage::kF8, DType::kF8E4M3, 33},
                        Case{"scaled", WeightStorage::kF8Scaled, DType::kF8E4M3, 31},
                        Case{"int8", WeightStorage::kI8, DType::kI8, 45}}) {
    SCOPED_TRACE(c.name);
    write_stored_model(folder / c.name, c.as, true);
    const Checkpoint model = Checkpoint::open(folder / c.name);
    EXPECT_EQ(model.part_dtype(Part::kTransformer), c.dtype);
    EXPECT_EQ(model.part_dtype(Part::kT5), c.dtype);
    EXPECT_EQ(decide_values({}, model).precision, DType::kBF16);  // auto
    const Drawn drawn = draw(model, small_request());
    const double db = psnr(drawn.picture.image.rgb, exact.picture.image.rgb);
    RecordProperty(c.name, std::to_string(db));
    EXPECT_GE(db, c.db);
    EXPECT_NE(drawn.picture.latents, exact.picture.latents);
    // Once for each part, not for each tensor.
    EXPECT_EQ(drawn.notes.size(), c.as == WeightStorage::kF8Scaled ? 2u : 0u);
    // What is counted is what lies in the file, without the scales that nobody reads.
    const Plan plan = make_plan(model, decide_values(small_request(), model), kMachine);
    EXPECT_EQ(plan.phase(Phase::kDenoise).weight_bytes + plan.phase(Phase::kModulate).weight_bytes,
              part_size(model, Part::kTransformer).bytes);
    EXPECT_LT(part_size(model, Part::kTransformer).bytes,
              part_size(Checkpoint::open(folder / "bf16"), Part::kTransformer).bytes * 6 / 10);
    EXPECT_EQ(part_size(model, Part::kTransformer).parameters,
              part_size(Checkpoint::open(folder / "bf16"), Part::kTransformer).parameters);
    EXPECT_EQ(plan.phase(Phase::kDenoise).staging_bytes, 0u);
  }
  const nlohmann::json info = inspect(folder / "int8");
  EXPECT_EQ(info.at("parts").at(2).at("dtype"), "i8");
  EXPECT_GT(info.at("parts").at(2).at("scales"), 0);
  const nlohmann::json file = inspect(folder / "scaled/transformer");
  EXPECT_EQ(file.at("parameters"), info.at("parts").at(2).at("parameters"));
  EXPECT_GT(file.at("scales"), 0);
}

TEST(StoredWeights, MadeOnTheWayInIsWhatTheFileHolds) {
  const TempFolder folder;
  write_stored_model(folder / "bf16", WeightStorage::kBF16, false);
  const Checkpoint plain = Checkpoint::open(folder / "bf16");
  for (const auto& [name, as] :
       {std::pair("fp8", WeightStorage::kF8), std::pair("fp8-scaled", WeightStorage::kF8Scaled),
        std::pair("int8", WeightStorage::kI8)}) {
    SCOPED_TRACE(name);
    write_stored_model(folder / name, as, false);
    const Checkpoint stored = Checkpoint::open(folder / name);
    const auto made = plain.open_weights(Part::kTransformer, *parse_storage(name));
    const auto want = stored.open_weights(Part::kTransformer);
    int scaled = 0;
    stored.visit(Part::kTransformer, [&](const Param& param, Tensor&) {
      const Tensor described = made->describe(param), expected = want->describe(param);
      ASSERT_EQ(described.dtype, expected.dtype) << param.name;
      ASSERT_EQ(described.scale_count, expected.scale_count) << param.name;
      Buffer a(described.bytes_with_scales()), b(described.bytes_with_scales());
      made->read(param, {a.data(), described.bytes_with_scales()});
      want->read(param, {b.data(), described.bytes_with_scales()});
      EXPECT_EQ(std::memcmp(a.data(), b.data(), described.bytes_with_scales()), 0) << param.name;
      scaled += described.scale_count > 0 ? 1 : 0;
    });
    EXPECT_EQ(scaled > 30, as != WeightStorage::kF8);
    const Drawn from_file = draw(stored, small_request()), on_the_way = draw(plain, small_request(name));
    EXPECT_EQ(from_file.picture.latents, on_the_way.picture.latents);
    EXPECT_EQ(on_the_way.picture.recipe.weights, name);
    EXPECT_EQ(from_file.picture.recipe.weights, "as-stored");
    // The other way round, and what is there already.
    EXPECT_EQ(draw(stored, small_request(name)).picture.latents, from_file.picture.latents);
  }
  EXPECT_EQ(draw(plain, small_request("bf16")).picture.latents, draw(plain, small_request()).picture.latents);
}

Request int8_request(std::optional<int64_t> group = std::nullopt, const char* precision = "int8") {
  Request request = small_request();
  request.precision = precision;
  request.int8_group = group;
  return request;
}

// Measured: 45.8 and 47.2, 46.6 and 46.7, 48.0 and 47.6 dB.
TEST(Int8Products, DrawNearlyThePictureOfBf16) {
  const TempFolder folder;
  for (const auto& [name, as] :
       {std::pair("bf16", WeightStorage::kBF16), std::pair("fp8", WeightStorage::kF8Scaled),
        std::pair("int8", WeightStorage::kI8)}) {
    SCOPED_TRACE(name);
    write_stored_model(folder / name, as, true);
    const Checkpoint model = Checkpoint::open(folder / name);
    Request bf16 = small_request();
    bf16.precision = "bf16";
    const Drawn exact = draw(model, bf16), rows = draw(model, int8_request()),
                groups = draw(model, int8_request(16));
    for (const auto& [drawn, least] : {std::pair(&rows, 43.0), std::pair(&groups, 43.0)}) {
      const double db = psnr(drawn->picture.image.rgb, exact.picture.image.rgb);
      RecordProperty(std::string(name) + (drawn == &rows ? "_rows" : "_groups"), std::to_string(db));
      EXPECT_GE(db, least);
      EXPECT_NE(drawn->picture.latents, exact.picture.latents);
      EXPECT_EQ(drawn->notes, exact.notes);
    }
    EXPECT_NE(rows.picture.latents, groups.picture.latents);
  }
}

// What a refusal names, on the backend of draw().
std::string least_budget(const Checkpoint& model, Request request) {
  request.budget = "1MiB";
  try {
    decide(request, model, machine_of(*make_backend({.name = "cpu", .isa = "auto", .threads = 2})));
  } catch (const Error& e) {
    const std::string message = e.what(), key = "the smallest budget for this request is ";
    return std::to_string(std::stoull(message.substr(message.find(key) + key.size())));
  }
  return "accepted";
}

Request repeated(const Recipe& recipe) {
  Request again;
  load_request(with_recipe(nlohmann::json::object(), nlohmann::json::parse(to_json(recipe))), again,
               "recipe");
  return again;
}

// What a recipe says draws the same bytes; of stored int8 nothing is quantised again.
TEST(Int8Products, TheRecipeRepeatsThem) {
  const TempFolder folder;
  write_stored_model(folder / "bf16", WeightStorage::kBF16, true);
  const Checkpoint model = Checkpoint::open(folder / "bf16");
  for (const Request& request : {int8_request(), int8_request(16)}) {
    const Drawn first = draw(model, request);
    EXPECT_EQ(first.picture.recipe.precision, "int8");
    EXPECT_EQ(first.picture.recipe.int8_group, request.int8_group.value_or(0));
    const Request again = repeated(first.picture.recipe);
    EXPECT_EQ(draw(model, again).picture.latents, first.picture.latents);
    // Blocks that are streamed are quantised again each time.
    Request small = request;
    small.budget = least_budget(model, request);
    EXPECT_EQ(draw(model, small).picture.latents, first.picture.latents);
  }
  write_stored_model(folder / "int8", WeightStorage::kI8, true);
  const Checkpoint stored = Checkpoint::open(folder / "int8");
  const Plan plan = make_plan(stored, decide_values(int8_request(), stored), kMachine);
  EXPECT_EQ(plan.phase(Phase::kDenoise).staging_bytes, 0u);
}

// With half as many levels.
TEST(Int7Products, DrawThePictureOfBf16LessNearlyThanInt8) {
  const TempFolder folder;
  for (const auto& [name, as] :
       {std::pair("bf16", WeightStorage::kBF16), std::pair("fp8", WeightStorage::kF8Scaled),
        std::pair("int8", WeightStorage::kI8)}) {
    SCOPED_TRACE(name);
    write_stored_model(folder / name, as, true);
    const Checkpoint model = Checkpoint::open(folder / name);
    Request bf16 = small_request();
    bf16.precision = "bf16";
    const Drawn exact = draw(model, bf16), int8 = draw(model, int8_request()),
                rows = draw(model, int8_request(std::nullopt, "int7")),
                groups = draw(model, int8_request(16, "int7"));
    const double of_int8 = psnr(int8.picture.image.rgb, exact.picture.image.rgb);
    for (const auto& drawn : {&rows, &groups}) {
      const double db = psnr(drawn->picture.image.rgb, exact.picture.image.rgb);
      RecordProperty(std::string(name) + (drawn == &rows ? "_rows" : "_groups"), std::to_string(db));
      EXPECT_GE(db, of_int8 - 9);  // 6 dB for half the levels
      EXPECT_LT(db, of_int8);
    }
    EXPECT_NE(rows.picture.latents, groups.picture.latents);
    EXPECT_EQ(rows.picture.recipe.precision, "int7");
    Request again = repeated(groups.picture.recipe);
    again.budget = least_budget(model, again);  // blocks are quantised again each time
    EXPECT_EQ(draw(model, again).picture.latents, groups.picture.latents);
  }
}

Request int8_attention_request(const char* precision) {
  Request request = small_request();
  request.precision = precision;
  request.attention = "int8";
  return request;
}

// Alone and with the linear layers'.
TEST(Int8Attention, DrawsNearlyTheSamePictureAndIsInTheRecipe) {
  const TempFolder folder;
  write_stored_model(folder / "bf16", WeightStorage::kBF16, true);
  const Checkpoint model = Checkpoint::open(folder / "bf16");
  for (const char* precision : {"f32", "bf16", "int8"}) {
    SCOPED_TRACE(precision);
    Request exact = int8_attention_request(precision);
    exact.attention = "exact";
    const Drawn want = draw(model, exact), got = draw(model, int8_attention_request(precision));
    const double db = psnr(got.picture.image.rgb, want.picture.image.rgb);
    RecordProperty(precision, std::to_string(db));
    EXPECT_GE(db, 43);
    EXPECT_NE(got.picture.latents, want.picture.latents);
    EXPECT_EQ(got.picture.recipe.attention, "int8");
    EXPECT_EQ(want.picture.recipe.attention, "exact");
    Request again;
    load_request(with_recipe(nlohmann::json::object(), nlohmann::json::parse(to_json(got.picture.recipe))),
                 again, "recipe");
    again.budget = least_budget(model, again);
    EXPECT_EQ(draw(model, again).picture.latents, got.picture.latents);
  }
}

TEST(Int8Attention, IsPlanned) {
  const Checkpoint dev = Checkpoint::dummy("dev");
  Request request;
  request.width = request.height = 1024;
  request.budget = "1T";
  const auto bytes = [&](const char* attention) {
    request.attention = attention;
    const Job job = decide_values(request, dev);
    EXPECT_TRUE(job.notes.empty());
    return make_plan(dev, job, kMachine).phase(Phase::kDenoise).activation_bytes;
  };
  const std::size_t exact = bytes("exact"), int8 = bytes("int8");
  EXPECT_GE(int8, exact + 4608 * 3072 * 2);
  EXPECT_LE(int8, exact + 4608 * 3072 * 2 + (std::size_t{2} << 20));
}

TEST(Int8Products, AreDecidedWithTheWeights) {
  const Checkpoint dev = Checkpoint::dummy("dev");
  Request request;
  request.precision = "int8";
  request.budget = "1T";
  const Job job = decide_values(request, dev);
  EXPECT_EQ(job.precision, DType::kBF16);
  EXPECT_EQ(job.int8, Int8Products{});
  EXPECT_TRUE(job.notes.empty());
  request.precision = "bf16";
  const Plan bf16 = make_plan(dev, decide_values(request, dev), kMachine);
  const Plan plan = make_plan(dev, job, kMachine);
  const PlannedPhase &denoise = plan.phase(Phase::kDenoise), &before = bf16.phase(Phase::kDenoise);
  EXPECT_NEAR(static_cast<double>(denoise.weight_bytes) / static_cast<double>(before.weight_bytes), 0.5,
              0.02);
  EXPECT_EQ(plan.phase(Phase::kModulate).weight_bytes, bf16.phase(Phase::kModulate).weight_bytes);
  EXPECT_EQ(denoise.staging_bytes, std::size_t{5 * 3072 * 3072 * 2});  // a single block's output layer
  EXPECT_GT(denoise.activation_bytes, before.activation_bytes);
  EXPECT_EQ(to_json(dev, job, plan).at("precision"), "int8");
  request.int8_group = 128;
  EXPECT_EQ(decide_values(request, dev).notes.back(),
            "int8-group has no effect without int8 or int7 as --precision or --text-precision");
  EXPECT_FALSE(decide_values(request, dev).settled.int8_group);
  request.precision = "int8";
  request.weights = "fp8";
  EXPECT_EQ(decide_values(request, dev).notes.back(),
            "weights: the blocks' are int8, as --precision int8 multiplies; the others are fp8");
  request.weights = "auto";
  EXPECT_EQ(decide(request, dev, kMachine).job.notes,
            std::vector<std::string>{
                "weights: the blocks' are int8, as --precision int8 multiplies; the others are as stored"});
  for (const char* none : {"as-stored", "int8"}) {
    request.weights = none;
    EXPECT_TRUE(decide_values(request, dev).notes.empty());
  }
}

TEST(Int7Products, AreInt8OfFewerLevels) {
  const TempFolder folder;
  write_stored_model(folder / "bf16", WeightStorage::kBF16, true);
  write_stored_model(folder / "int8", WeightStorage::kI8, true);
  const Checkpoint bf16 = Checkpoint::open(folder / "bf16"), int8 = Checkpoint::open(folder / "int8");
  Request request = int8_request(128, "int7");
  const Job job = decide_values(request, bf16);
  EXPECT_EQ(job.precision, DType::kBF16);
  EXPECT_EQ(job.int8, (Int8Products{128, kInt7Levels}));
  EXPECT_TRUE(job.notes.empty());
  EXPECT_EQ(job.settled.precision, "int7");
  EXPECT_EQ(job.settled.int8_group, 128);
  const Plan plan = make_plan(bf16, job, kMachine);
  EXPECT_EQ(to_json(bf16, job, plan).at("precision"), "int7");
  Request of_8 = request;
  of_8.precision = "int8";
  const auto denoise = [&](const Request& of) {
    const Plan planned = make_plan(bf16, decide_values(of, bf16), kMachine);
    return planned.phase(Phase::kDenoise).peak_bytes();
  };
  EXPECT_EQ(denoise(request), denoise(of_8));
  // int8 weights have more levels, so they are changed as they are read, and it is said.
  const Job again = decide_values(request, int8);
  EXPECT_EQ(again.notes,
            std::vector<std::string>{
                "int7: the transformer's weights are int8 in the files and are rounded again, to 7 "
                "bits, as they are read; from bf16 less is lost"});
  EXPECT_GT(make_plan(int8, again, kMachine).phase(Phase::kDenoise).staging_bytes, 0u);
  EXPECT_TRUE(decide_values(of_8, int8).notes.empty());
  request.weights = "int8";
  EXPECT_EQ(decide_values(request, bf16).notes.back(),
            "weights: the blocks' are int7, as --precision int7 multiplies; the others are int8");
  Request text = int8_request(16, "bf16");
  text.text_precision = "int7";
  EXPECT_EQ(decide_values(text, bf16).text_int8, (Int8Products{16, kInt7Levels}));
  EXPECT_FALSE(decide_values(text, bf16).int8);
}

Request int8_text_request(std::optional<int64_t> group = std::nullopt) {
  Request request = small_request();
  request.precision = "bf16";
  request.text_precision = "int8";
  request.int8_group = group;
  return request;
}

// Of a token list; of T5 alone, as the job has its weights.
std::vector<float> t5_states(const Checkpoint& model, const Request& request) {
  const Job job = decide_values(request, model);
  const auto backend = make_backend({.name = "cpu", .isa = "auto", .threads = 1});
  Buffer memory(16 << 20);
  Arena arena(memory);
  const std::vector<std::vector<int32_t>> ids = {{3, 9, 4, 17, 25, 8, 1, 0, 0, 0, 0, 0}};
  return encode_t5({*backend, arena, job.text_precision}, model.config(),
                   *model.open_weights(Part::kT5, job.storage(Part::kT5)), job, ids)
      .at(0);
}

double relative_l2(const std::vector<float>& got, const std::vector<float>& wanted) {
  double error = 0, all = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    error += std::pow(static_cast<double>(got[i]) - static_cast<double>(wanted[i]), 2);
    all += std::pow(static_cast<double>(wanted[i]), 2);
  }
  return std::sqrt(error / all);
}

TEST(Int8Text, StatesAreNearlyThoseOfF32) {
  const TempFolder folder;
  for (const auto& [name, as] :
       {std::pair("bf16", WeightStorage::kBF16), std::pair("int8", WeightStorage::kI8)}) {
    SCOPED_TRACE(name);
    write_stored_model(folder / name, as, true);
    const Checkpoint model = Checkpoint::open(folder / name);
    Request exact = small_request();
    exact.text_precision = "f32";
    const std::vector<float> f32 = t5_states(model, exact), rows = t5_states(model, int8_text_request()),
                             groups = t5_states(model, int8_text_request(16));
    EXPECT_NE(rows, groups);
    Request fewer = int8_text_request();
    fewer.text_precision = "int7";
    EXPECT_GT(relative_l2(t5_states(model, fewer), f32), relative_l2(rows, f32));
    // 127 levels or 63: about twice the error. Weights stored in 8 bits have none in the one, but in the other.
    const double most = as == WeightStorage::kI8 ? 4 : 2.5;
    EXPECT_LT(relative_l2(t5_states(model, fewer), f32), most * relative_l2(rows, f32));
    exact.text_precision = "bf16";
    RecordProperty(std::string(name) + "_bf16", std::to_string(relative_l2(t5_states(model, exact), f32)));
    for (const auto& states : {rows, groups}) {
      const double off = relative_l2(states, f32);
      RecordProperty(std::string(name) + (states == rows ? "_rows" : "_groups"), std::to_string(off));
      EXPECT_LT(off, 0.04);
      EXPECT_GT(off, 0.003) << "nothing was quantised";
    }
  }
}

// Precisions are each part's own, and a recipe repeats them.
TEST(Int8Text, TheTransformerStaysAsItIs) {
  const TempFolder folder;
  write_stored_model(folder / "bf16", WeightStorage::kBF16, true);
  const Checkpoint model = Checkpoint::open(folder / "bf16");
  Request bf16 = int8_text_request(), f32 = bf16;
  bf16.text_precision = "auto";
  f32.text_precision = "f32";
  const Drawn plain = draw(model, bf16);
  for (const Request& request : {int8_text_request(), int8_text_request(16), f32}) {
    const Drawn drawn = draw(model, request);
    EXPECT_NE(drawn.picture.latents, plain.picture.latents);
    EXPECT_GE(psnr(drawn.picture.image.rgb, plain.picture.image.rgb), 40);
    EXPECT_EQ(drawn.picture.recipe.precision, "bf16");
    EXPECT_EQ(drawn.picture.recipe.text_precision, request.text_precision);
    EXPECT_EQ(drawn.picture.recipe.int8_group, request.text_precision == "int8"
                                                   ? std::optional(request.int8_group.value_or(0))
                                                   : std::nullopt);
    EXPECT_EQ(draw(model, repeated(drawn.picture.recipe)).picture.latents, drawn.picture.latents);
  }
}

TEST(Int8Text, IsDecidedWithTheWeightsOfT5) {
  const Checkpoint dev = Checkpoint::dummy("dev");
  Request request;
  request.budget = "1T";
  const Plan bf16 = make_plan(dev, decide_values(request, dev), kMachine);
  request.text_precision = "int8";
  const Job job = decide_values(request, dev);
  EXPECT_EQ(job.text_precision, DType::kBF16);
  EXPECT_EQ(job.text_int8, Int8Products{});
  EXPECT_FALSE(job.int8);
  EXPECT_TRUE(job.notes.empty());
  const Plan plan = make_plan(dev, job, kMachine);
  const PlannedPhase &t5 = plan.phase(Phase::kEncodeT5), &before = bf16.phase(Phase::kEncodeT5);
  EXPECT_NEAR(static_cast<double>(t5.streamed_bytes) / static_cast<double>(before.streamed_bytes), 0.5, 0.01);
  EXPECT_EQ(t5.staging_bytes, std::size_t{4096 * 10240 * 2});  // a matrix of the MLP
  EXPECT_GT(t5.activation_bytes, before.activation_bytes);
  for (const Phase other : {Phase::kEncodeClip, Phase::kModulate, Phase::kDenoise, Phase::kDecode}) {
    EXPECT_EQ(plan.phase(other).weight_bytes, bf16.phase(other).weight_bytes) << phase_name(other);
    EXPECT_EQ(plan.phase(other).activation_bytes, bf16.phase(other).activation_bytes) << phase_name(other);
  }
}

TEST(StoredWeights, ThePlanKnowsTheSmallerSizes) {
  const Checkpoint dev = Checkpoint::dummy("dev");
  Request request;
  request.budget = "1T";
  const Plan bf16 = make_plan(dev, decide_values(request, dev), kMachine);
  for (const char* weights : {"fp8", "fp8-scaled", "int8"}) {
    request.weights = weights;
    const Plan plan = make_plan(dev, decide_values(request, dev), kMachine);
    for (const Phase phase : {Phase::kModulate, Phase::kDenoise}) {
      const PlannedPhase &small = plan.phase(phase), &large = bf16.phase(phase);
      EXPECT_NEAR(static_cast<double>(small.weight_bytes) / static_cast<double>(large.weight_bytes), 0.5,
                  0.02)
          << phase_name(phase);
      // A modulation layer of a double block as the formula gives it, in bf16, is the largest.
      EXPECT_EQ(small.staging_bytes, std::size_t{6 * 3072 * 3072 * 2});
      EXPECT_EQ(small.peak_bytes(), small.resident_bytes + small.slot_bytes + small.staging_bytes +
                                        small.activation_bytes + small.host_bytes);
      EXPECT_EQ(small.activation_bytes, large.activation_bytes);
    }
    EXPECT_LT(plan.peak_bytes(), bf16.peak_bytes() * 6 / 10);
    EXPECT_EQ(plan.phase(Phase::kEncodeT5).weight_bytes, bf16.phase(Phase::kEncodeT5).weight_bytes);
    EXPECT_EQ(to_json(dev, decide_values(request, dev), plan).at("weights"), weights);
  }
  request.weights = "int4";
  expect_error(ErrorCode::kUsage,
               "weights is 'int4'; there are auto, as-stored, bf16, fp8, fp8-scaled, int8, q8_0, q6_k, q5_k, "
               "q4_k and q4_0",
               [&] { decide_values(request, dev); });
}

TEST(StoredWeights, BlockTypesAreAsLargeAsTheirBlocks) {
  const Checkpoint dev = Checkpoint::dummy("dev");
  Request request;
  request.budget = "1T";
  const Plan bf16 = make_plan(dev, decide_values(request, dev), kMachine);
  for (const auto& [weights, bits] :
       {std::pair("q8_0", 8.5), std::pair("q6_k", 6.5625), std::pair("q5_k", 5.5), std::pair("q4_k", 4.5),
        std::pair("q4_0", 4.5)}) {
    request.weights = weights;
    const Plan plan = make_plan(dev, decide_values(request, dev), kMachine);
    EXPECT_NEAR(static_cast<double>(plan.phase(Phase::kDenoise).weight_bytes) /
                    static_cast<double>(bf16.phase(Phase::kDenoise).weight_bytes),
                bits / 16, 0.02)
        << weights;
    EXPECT_EQ(to_json(dev, decide_values(request, dev), plan).at("weights"), weights);
  }
}

TEST(StoredWeights, MoreBitsDrawMoreOfThePicture) {
  const Checkpoint model = Checkpoint::dummy("tiny");
  const std::vector<float> full = draw(model, small_request()).picture.latents;
  double before = 0;
  for (const char* weights : {"q4_0", "q8_0"}) {
    const std::vector<float> latents = draw(model, small_request(weights)).picture.latents;
    double signal = 0, noise = 0;
    for (std::size_t i = 0; i < full.size(); ++i) {
      signal += std::pow(static_cast<double>(full[i]), 2);
      noise += std::pow(static_cast<double>(full[i]) - static_cast<double>(latents[i]), 2);
    }
    const double db = 10 * std::log10(signal / noise);
    EXPECT_GT(db, before + 10) << weights;
    before = db;
  }
}

TEST(StoredWeights, AutoTakesInt8WhereThatKeepsTheTransformerInMemory) {
  const Checkpoint dev = Checkpoint::dummy("dev");
  struct Case {
    const char* budget;
    WeightStorage weights;
    const char* note;
  };
  for (const Case& c : {Case{"24GiB", WeightStorage::kAsStored, "which stay in memory"},
                        Case{"12GiB", WeightStorage::kI8, "would be read in every step, in int8 nothing"},
                        Case{"6GiB", WeightStorage::kAsStored, "weights: as stored; as stored, "}}) {
    SCOPED_TRACE(c.budget);
    Request request = small_request("auto");
    request.budget = c.budget;
    const auto [job, plan] = decide(request, dev, kMachine);
    EXPECT_EQ(job.weights, c.weights);
    ASSERT_FALSE(job.notes.empty());
    EXPECT_NE(job.notes.back().find(c.note), std::string::npos) << job.notes.back();
    EXPECT_EQ(plan.blocks.streamed_bytes > 0, std::string(c.budget) == "6GiB");
    // The plan is that of the weights that were chosen.
    EXPECT_EQ(to_json(dev, job, plan), to_json(dev, job, make_plan(dev, job, kMachine)));
  }
}

TEST(StoredWeights, AutoTakesInt8WhereNothingElseFits) {
  const Checkpoint dev = Checkpoint::dummy("dev");
  Request request = small_request("as-stored");
  request.width = request.height = 4096;
  request.budget = "1T";
  const Plan all = make_plan(dev, decide_values(request, dev), kMachine);
  const std::size_t least = all.phase(Phase::kDenoise).peak_bytes() + all.process_bytes - all.blocks.bytes() +
                            all.least_block_bytes;
  request.budget = std::to_string(least - 1);
  expect_error(ErrorCode::kOutOfMemory, "less for a smaller picture",
               [&] { make_plan(dev, decide_values(request, dev), kMachine); });
  request.weights = "auto";
  const auto [job, plan] = decide(request, dev, kMachine);
  EXPECT_EQ(job.weights, WeightStorage::kI8);
  EXPECT_LT(plan.peak_bytes(), least);
  EXPECT_NE(job.notes.back().find("as stored, the budget would be too little"), std::string::npos);
}

// Streamed blocks are requantised again and again, resident ones once: the same picture.
TEST(StoredWeights, EveryBudgetDrawsTheSamePicture) {
  const Checkpoint model = Checkpoint::dummy("tiny");
  for (const char* weights : {"fp8", "fp8-scaled", "int8", "q8_0", "q4_0", "q4_k"}) {
    Request request = small_request(weights);
    request.max_text_tokens = 1024;  // or decoding, which keeps its weights, would need more than denoising
    request.budget = "1T";
    const Plan all = make_plan(model, decide_values(request, model), kMachine);
    const std::vector<float> expected = draw(model, request).picture.latents;
    const std::size_t most = all.phase(Phase::kDenoise).peak_bytes() + all.process_bytes;
    request.budget = std::to_string(std::max(most - all.blocks.bytes() + all.least_block_bytes,
                                             all.phase(Phase::kDecode).peak_bytes() + all.process_bytes));
    EXPECT_GT(make_plan(model, decide_values(request, model), kMachine).blocks.streamed_bytes, 0u);
    EXPECT_EQ(draw(model, request).picture.latents, expected);
  }
}

}  // namespace
}  // namespace darkroom
