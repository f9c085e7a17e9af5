// The C API at its edges: null arguments, unknown names, errors that stay readable, stopping from a callback.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/temp_folder.h"
#include "darkroom/darkroom.h"
#include "model_folder.h"
#include "process_peak.h"

namespace {

class Api : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(darkroom_create(nullptr, &engine_), DARKROOM_OK);
    ASSERT_EQ(darkroom_open_dummy(engine_, "tiny", &model_), DARKROOM_OK);
    darkroom_request_init(&request_);
    request_.prompt = "x";
    request_.width = request_.height = 32;
    request_.steps = 1;
    request_.max_text_tokens = 8;
  }
  void TearDown() override {
    darkroom_close(model_);
    darkroom_destroy(engine_);
  }
  std::string error() const { return darkroom_last_error(engine_); }

  darkroom_engine* engine_ = nullptr;
  darkroom_model* model_ = nullptr;
  darkroom_request request_;
};

TEST_F(Api, NullAndUnfilledArgumentsAreUsageErrors) {
  EXPECT_EQ(darkroom_create(nullptr, nullptr), DARKROOM_USAGE);
  EXPECT_EQ(darkroom_generate(nullptr, model_, &request_), DARKROOM_USAGE);
  EXPECT_EQ(darkroom_generate(engine_, nullptr, &request_), DARKROOM_USAGE);
  EXPECT_NE(error(), "");
  request_.struct_size = 0;
  EXPECT_EQ(darkroom_generate(engine_, model_, &request_), DARKROOM_USAGE);
  darkroom_request_init(&request_);
  EXPECT_EQ(darkroom_generate(engine_, model_, &request_), DARKROOM_USAGE);  // no prompt
  EXPECT_EQ(darkroom_info(engine_, nullptr, nullptr), DARKROOM_USAGE);
  EXPECT_EQ(darkroom_info(engine_, "/nonexistent", nullptr), DARKROOM_MODEL);
  darkroom_close(nullptr);
  darkroom_destroy(nullptr);
  darkroom_free(nullptr);
  darkroom_cancel(nullptr);
}

TEST_F(Api, TheBenchLeavesOutTheReference) {
  darkroom_options options;
  darkroom_options_init(&options);
  options.backend = "reference";
  darkroom_engine* engine = nullptr;
  ASSERT_EQ(darkroom_create(&options, &engine), DARKROOM_OK);
  char* text = nullptr;
  EXPECT_EQ(darkroom_bench(engine, nullptr, &text), DARKROOM_USAGE);
  EXPECT_NE(std::string(darkroom_last_error(engine)).find("reference"), std::string::npos);
  darkroom_destroy(engine);
}

TEST_F(Api, BadNamesAreRefusedInOneLine) {
  darkroom_model* model = nullptr;
  EXPECT_EQ(darkroom_open_dummy(engine_, "enormous", &model), DARKROOM_USAGE);
  EXPECT_EQ(model, nullptr);
  EXPECT_EQ(error().find('\n'), std::string::npos);
  EXPECT_EQ(darkroom_open(engine_, "/nonexistent", &model), DARKROOM_MODEL);
  EXPECT_NE(error().find("/nonexistent"), std::string::npos);

  darkroom_options options;
  darkroom_options_init(&options);
  options.isa = "avx1024";
  darkroom_engine* engine = nullptr;
  EXPECT_EQ(darkroom_create(&options, &engine), DARKROOM_USAGE);
  ASSERT_NE(engine, nullptr);
  EXPECT_NE(std::string(darkroom_last_error(engine)), "");
  EXPECT_NE(darkroom_generate(engine, model_, &request_), DARKROOM_OK);
  darkroom_destroy(engine);
}

TEST_F(Api, ACallbackStopsTheRun) {
  request_.on_progress = [](const darkroom_progress* p, void*) {
    return p->phase == DARKROOM_DENOISE ? 1 : 0;
  };
  EXPECT_EQ(darkroom_generate(engine_, model_, &request_), DARKROOM_CANCELLED);
  request_.on_progress = nullptr;
  EXPECT_EQ(darkroom_generate(engine_, model_, &request_), DARKROOM_OK);  // the engine is usable again
}

// What the header lets a callback do with the engine in the middle of its call, and what not.
TEST_F(Api, ACallbackMaySaveAndAskButNotDraw) {
  struct Seen {
    darkroom_engine* engine;
    darkroom_model* model;
    const darkroom_request* request;
    darkroom::TempFolder folder;
    int calls = 0;
    std::string png() const { return folder / "picture.png"; }
  } seen{engine_, model_, &request_, {}};
  request_.user = &seen;
  request_.on_picture = [](const darkroom_picture* p, void* user) {
    Seen& s = *static_cast<Seen*>(user);
    const auto answers = [](darkroom_status status, char* text) {
      darkroom_free(text);
      return status == DARKROOM_OK;
    };
    char* text = nullptr;
    EXPECT_EQ(darkroom_save_png(s.engine, p, s.png().c_str(), 1, 0), DARKROOM_OK);
    EXPECT_EQ(darkroom_save_latents(s.engine, p, (s.folder / "l.safetensors").c_str(), 0), DARKROOM_OK);
    EXPECT_TRUE(answers(darkroom_plan(s.engine, s.model, s.request, &text), text));
    EXPECT_TRUE(answers(darkroom_tokenize(s.engine, s.model, "x", 8, &text), text));
    EXPECT_TRUE(answers(darkroom_model_settings(s.engine, s.model, &text), text));
    EXPECT_TRUE(answers(darkroom_info(s.engine, s.png().c_str(), &text), text));
    EXPECT_TRUE(answers(darkroom_read_recipe(s.engine, s.png().c_str(), &text), text));
    EXPECT_TRUE(answers(darkroom_describe_cpu(s.engine, &text), text));
    darkroom_model* other = nullptr;
    EXPECT_EQ(darkroom_open_dummy(s.engine, "tiny", &other), DARKROOM_OK);
    EXPECT_STREQ(darkroom_model_name(other), "dummy-tiny");
    darkroom_close(other);

    EXPECT_EQ(darkroom_generate(s.engine, s.model, s.request), DARKROOM_USAGE);
    EXPECT_NE(std::string(darkroom_last_error(s.engine)).find("callback"), std::string::npos);
    EXPECT_EQ(darkroom_bench(s.engine, nullptr, &text), DARKROOM_USAGE);
    EXPECT_EQ(darkroom_self_test(s.engine, nullptr, &text), DARKROOM_USAGE);
    darkroom_conversion conversion;
    darkroom_conversion_init(&conversion);
    EXPECT_EQ(darkroom_convert(s.engine, s.model, &conversion), DARKROOM_USAGE);
    darkroom_calibration calibration;
    darkroom_calibration_init(&calibration);
    EXPECT_EQ(darkroom_calibrate(s.engine, s.model, &calibration), DARKROOM_USAGE);
    EXPECT_EQ(darkroom_save_png(s.engine, p, s.png().c_str(), 1, 0), DARKROOM_OUTPUT) << "it exists";
    EXPECT_NE(std::string(darkroom_last_error(s.engine)).find("picture.png"), std::string::npos);

    // Another engine is free.
    darkroom_engine* second = nullptr;
    EXPECT_EQ(darkroom_create(nullptr, &second), DARKROOM_OK);
    darkroom_request request = *s.request;
    request.on_picture = nullptr;
    EXPECT_EQ(darkroom_generate(second, s.model, &request), DARKROOM_OK) << darkroom_last_error(second);
    darkroom_destroy(second);
    s.calls++;
    return 0;
  };
  ASSERT_EQ(darkroom_generate(engine_, model_, &request_), DARKROOM_OK) << error();
  EXPECT_EQ(seen.calls, 1);
  EXPECT_EQ(error(), "");
  seen.calls = 0;
  std::filesystem::remove_all(seen.folder / "l.safetensors");
  std::filesystem::remove_all(seen.png());
  EXPECT_EQ(darkroom_generate(engine_, model_, &request_), DARKROOM_OK) << "refusals inside leave no trace";
  EXPECT_EQ(seen.calls, 1);
}

TEST_F(Api, ARunAfterAnErrorDrawsWhatItWouldHaveDrawn) {
  std::vector<uint8_t> rgb;
  request_.has_seed = 1;
  request_.seed = 3;
  request_.user = &rgb;
  request_.on_picture = [](const darkroom_picture* p, void* user) {
    static_cast<std::vector<uint8_t>*>(user)->assign(p->rgb, p->rgb + 32 * 32 * 3);
    return 0;
  };
  ASSERT_EQ(darkroom_generate(engine_, model_, &request_), DARKROOM_OK) << error();
  const std::vector<uint8_t> first = rgb;
  darkroom_request wrong = request_;
  wrong.steps = -1;
  EXPECT_EQ(darkroom_generate(engine_, model_, &wrong), DARKROOM_USAGE);
  wrong = request_;
  wrong.budget = "1MiB";
  EXPECT_EQ(darkroom_generate(engine_, model_, &wrong), DARKROOM_OUT_OF_MEMORY);
  wrong = request_;
  wrong.noise_path = "/nonexistent.safetensors";
  EXPECT_EQ(darkroom_generate(engine_, model_, &wrong), DARKROOM_MODEL);
  EXPECT_NE(error(), "");
  rgb.clear();
  EXPECT_EQ(darkroom_generate(engine_, model_, &request_), DARKROOM_OK) << error();
  EXPECT_EQ(error(), "");
  EXPECT_EQ(rgb, first);
}

// A picture that a program makes itself, or keeps a copy of.
TEST_F(Api, PicturesAreSavedFromWhatTheyHave) {
  const darkroom::TempFolder folder;
  const std::string path = folder / "p.png";
  const std::vector<uint8_t> rgb(4 * 2 * 3, 128);
  darkroom_picture picture{};
  picture.struct_size = sizeof(picture);
  picture.width = 4;
  picture.height = 2;
  picture.rgb = rgb.data();
  const auto save = [&](int metadata) {
    return darkroom_save_png(engine_, &picture, path.c_str(), metadata, 1);
  };
  EXPECT_EQ(save(0), DARKROOM_OK) << error();
  EXPECT_EQ(save(1), DARKROOM_USAGE);
  EXPECT_NE(error().find("recipe"), std::string::npos) << error();
  picture.struct_size = offsetof(darkroom_picture, seed);
  EXPECT_EQ(save(0), DARKROOM_OK) << error();
  picture.struct_size = offsetof(darkroom_picture, rgb);
  EXPECT_EQ(save(0), DARKROOM_USAGE);
  picture.struct_size = sizeof(picture) + 4;
  EXPECT_EQ(save(0), DARKROOM_USAGE);
  picture.struct_size = sizeof(picture);
  for (const int width : {0, -4}) {
    picture.width = width;
    EXPECT_EQ(save(0), DARKROOM_USAGE) << width;
  }
  EXPECT_EQ(darkroom_save_latents(engine_, &picture, path.c_str(), 1), DARKROOM_USAGE);
  const float latent = 1;
  picture.latents = &latent;
  picture.latent_tokens = -1;
  picture.latent_channels = -1;
  EXPECT_EQ(darkroom_save_latents(engine_, &picture, path.c_str(), 1), DARKROOM_USAGE);
  EXPECT_EQ(darkroom_save_png(engine_, nullptr, path.c_str(), 0, 1), DARKROOM_USAGE);
}

// A program may have held much more than a run needs, and may watch its own peak.
TEST_F(Api, PeaksAreOfTheRunAndTheProcesssOwnMarkIsLeftAlone) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer keeps what was freed";
#endif
  constexpr std::size_t kHeld = std::size_t{256} << 20;
  std::vector<char>(kHeld, 1).clear();
  const std::size_t mark = darkroom::peak_bytes();
  ASSERT_GT(mark, kHeld);
  struct Seen {
    uint64_t run = 0, phase = 0;
  } seen;
  request_.user = &seen;
  request_.on_progress = [](const darkroom_progress* p, void* user) {
    Seen& s = *static_cast<Seen*>(user);
    s.run = p->peak_bytes;
    s.phase = std::max(s.phase, p->phase_peak_bytes);
    EXPECT_GE(s.run, p->phase_peak_bytes);
    return 0;
  };
  for (int run = 0; run < 2; ++run) {
    ASSERT_EQ(darkroom_generate(engine_, model_, &request_), DARKROOM_OK) << error();
    EXPECT_GT(seen.run, uint64_t{1} << 20);
    EXPECT_LT(seen.run, kHeld) << "what the program held before is not the run's";
    EXPECT_EQ(seen.run, seen.phase);
    seen = {};
  }
  const darkroom::TempFolder folder;
  const std::string out = folder / "new";
  darkroom_conversion conversion;
  darkroom_conversion_init(&conversion);
  conversion.out = out.c_str();
  conversion.weights = "bf16";
  conversion.user = &seen;
  conversion.on_progress = [](const darkroom_convert_progress* p, void* user) {
    static_cast<Seen*>(user)->run = p->peak_bytes;
    return 0;
  };
  ASSERT_EQ(darkroom_convert(engine_, model_, &conversion), DARKROOM_OK) << error();
  EXPECT_GT(seen.run, uint64_t{1} << 20);
  EXPECT_LT(seen.run, kHeld);
  EXPECT_EQ(darkroom::peak_bytes(), mark);
}

// Pictures are counted by prompts; the factors then serve a request.
TEST_F(Api, CalibratesForRequestsIn8Bits) {
  const darkroom::TempFolder folder;
  const std::string out = folder / "factors.safetensors";
  struct Seen {
    int picture = -1, pictures = 0, drawn = 0;
  } seen;
  darkroom_request request = request_;
  request.prompt = nullptr;
  request.user = &seen;
  request.on_picture = [](const darkroom_picture*, void* user) { return ++static_cast<Seen*>(user)->drawn; };
  request.on_progress = [](const darkroom_progress* p, void* user) {
    static_cast<Seen*>(user)->picture = p->picture;
    static_cast<Seen*>(user)->pictures = p->pictures;
    return 0;
  };
  darkroom_calibration calibration;
  darkroom_calibration_init(&calibration);
  EXPECT_EQ(darkroom_calibrate(engine_, model_, &calibration), DARKROOM_USAGE);
  calibration.request = &request;
  calibration.out = out.c_str();
  for (const char* prompts : {"[1]", "\"a\"", "["}) {
    calibration.prompts = prompts;
    EXPECT_EQ(darkroom_calibrate(engine_, model_, &calibration), DARKROOM_USAGE) << prompts;
    EXPECT_NE(error().find("prompts"), std::string::npos) << error();
  }
  calibration.prompts = R"(["a red star", "a blue ring"])";
  calibration.method = "guess";
  EXPECT_EQ(darkroom_calibrate(engine_, model_, &calibration), DARKROOM_USAGE);
  calibration.method = nullptr;
  ASSERT_EQ(darkroom_calibrate(engine_, model_, &calibration), DARKROOM_OK) << error();
  EXPECT_EQ(seen.picture, 1);
  EXPECT_EQ(seen.pictures, 2);
  EXPECT_EQ(seen.drawn, 0);
  const std::string settings = R"({"precision": "int8", "smooth": ")" + out + "\"}";
  request_.settings = settings.c_str();
  EXPECT_EQ(darkroom_generate(engine_, model_, &request_), DARKROOM_OK) << error();
}

TEST_F(Api, TheVersionIsOneNumber) {
  EXPECT_EQ(darkroom_version_number(), DARKROOM_VERSION_NUMBER);
  const int number = darkroom_version_number();
  EXPECT_EQ(std::string(darkroom_version()), std::to_string(number / 10000) + "." +
                                                 std::to_string(number / 100 % 100) + "." +
                                                 std::to_string(number % 100));
}

TEST_F(Api, ASheetComesAfterThePicturesAndHasNoLatents) {
  struct Seen {
    darkroom_engine* engine;
    int pictures = 0, sheets = 0;
    std::vector<uint8_t> first, corner;
    nlohmann::json recipe;
    darkroom_status latents = DARKROOM_OK;
  } seen{engine_, 0, 0, {}, {}, {}, DARKROOM_OK};
  request_.count = 2;
  request_.has_seed = 1;
  request_.seed = 7;
  request_.user = &seen;
  request_.on_picture = [](const darkroom_picture* p, void* user) {
    Seen& s = *static_cast<Seen*>(user);
    EXPECT_EQ(s.sheets, 0);
    if (s.pictures++ == 0) s.first.assign(p->rgb, p->rgb + 32 * 3);
    return 0;
  };
  request_.on_sheet = [](const darkroom_picture* p, void* user) {
    Seen& s = *static_cast<Seen*>(user);
    s.sheets++;
    EXPECT_EQ(p->width, 72);
    EXPECT_EQ(p->height, 32);
    EXPECT_EQ(p->seed, 7u);
    EXPECT_EQ(p->latents, nullptr);
    s.corner.assign(p->rgb, p->rgb + 32 * 3);
    s.recipe = nlohmann::json::parse(p->recipe);
    s.latents = darkroom_save_latents(s.engine, p, "never-written.safetensors", 1);
    return 0;
  };
  ASSERT_EQ(darkroom_generate(engine_, model_, &request_), DARKROOM_OK) << error();
  EXPECT_EQ(seen.pictures, 2);
  EXPECT_EQ(seen.sheets, 1);
  EXPECT_EQ(seen.corner, seen.first);
  EXPECT_EQ(seen.recipe.at("seeds"), (nlohmann::json{7, 8}));
  EXPECT_EQ(seen.recipe.at("pictures"), 2);
  EXPECT_EQ(seen.latents, DARKROOM_USAGE);
  request_.width = request_.height = 1024;
  request_.count = 1000;
  EXPECT_EQ(darkroom_generate(engine_, model_, &request_), DARKROOM_USAGE);
  EXPECT_NE(error().find("33016x33016"), std::string::npos) << error();
  EXPECT_EQ(seen.pictures, 2) << "nothing is drawn for a sheet that is refused";
}

TEST_F(Api, AModelOpensFromItsParts) {
  const std::string folder = DARKROOM_SOURCE_DIR "/tests/fixtures/pipelines/dev_small";
  const std::string transformer = folder + "/transformer", clip = folder + "/text_encoder",
                    t5 = folder + "/text_encoder_2";
  darkroom_model_files files;
  darkroom_model_files_init(&files);
  EXPECT_EQ(files.struct_size, sizeof files);
  darkroom_model* model = nullptr;
  EXPECT_EQ(darkroom_open_files(engine_, &files, &model), DARKROOM_USAGE);  // no model
  EXPECT_EQ(darkroom_open_files(engine_, nullptr, &model), DARKROOM_USAGE);
  files.model = transformer.c_str();
  files.clip = clip.c_str();
  EXPECT_EQ(darkroom_open_files(engine_, &files, nullptr), DARKROOM_USAGE);
  // A caller who knows no hub_cache.
  files.struct_size = offsetof(darkroom_model_files, hub_cache);
  files.hub_cache = reinterpret_cast<const char*>(8);
  ASSERT_EQ(darkroom_open_files(engine_, &files, &model), DARKROOM_OK) << error();
  char* text = nullptr;
  request_.prompt = "a";
  EXPECT_EQ(darkroom_plan(engine_, model, &request_, &text), DARKROOM_OK) << error();
  darkroom_free(text);
  darkroom_close(model);
  darkroom_model_files_init(&files);
  files.model = transformer.c_str();
  files.vae = t5.c_str();
  EXPECT_EQ(darkroom_open_files(engine_, &files, &model), DARKROOM_MODEL);
  EXPECT_EQ(model, nullptr);
  EXPECT_NE(error().find(t5), std::string::npos) << error();
}

TEST_F(Api, ModelSettingsAreThoseOfTheFolder) {
  using nlohmann::json;
  char* text = nullptr;
  ASSERT_EQ(darkroom_model_settings(engine_, model_, &text), DARKROOM_OK) << error();
  EXPECT_STREQ(text, "{}");
  darkroom_free(text);
  const darkroom::TempFolder folder;
  darkroom::make_model_folder(folder / "m", R"({"width": 32, "height": 48, "steps": 2, "cfg": 1.5,
    "prompts": {"words": ["x"]}, "unknown": 1})");
  darkroom_model* model = nullptr;
  ASSERT_EQ(darkroom_open(engine_, (folder / "m").c_str(), &model), DARKROOM_OK) << error();
  ASSERT_EQ(darkroom_model_settings(engine_, model, &text), DARKROOM_OK) << error();
  EXPECT_EQ(
      json::parse(text),
      json::parse(R"({"width": 32, "height": 48, "steps": 2, "cfg": 1.5, "prompts": {"words": ["x"]}})"));
  darkroom_free(text);
  EXPECT_EQ(darkroom_model_settings(engine_, nullptr, &text), DARKROOM_USAGE);
  EXPECT_EQ(darkroom_model_settings(engine_, model, nullptr), DARKROOM_USAGE);

  // An initialised request takes them, and the recipe has what was really used.
  darkroom_request request;
  darkroom_request_init(&request);
  request.prompt = "X, y";
  struct Seen {
    json recipe;
    std::string notes;
  } seen;
  request.user = &seen;
  request.on_picture = [](const darkroom_picture* p, void* user) {
    static_cast<Seen*>(user)->recipe = json::parse(p->recipe);
    return 0;
  };
  request.on_note = [](const char* note, void* user) { static_cast<Seen*>(user)->notes += note; };
  EXPECT_EQ(darkroom_generate(engine_, model, &request), DARKROOM_OK) << error();
  EXPECT_EQ(seen.recipe.at("height"), 48);
  EXPECT_EQ(seen.recipe.at("steps"), 2);
  EXPECT_EQ(seen.recipe.at("cfg"), 1.5);
  EXPECT_EQ(seen.notes, "the model does not know the word y; 'darkroom words' lists those it knows");
  request.cfg = -1;
  EXPECT_EQ(darkroom_generate(engine_, model, &request), DARKROOM_USAGE);
  darkroom_close(model);
}

TEST_F(Api, AnswersAreJson) {
  using nlohmann::json;
  char* text = nullptr;
  ASSERT_EQ(darkroom_plan(engine_, model_, &request_, &text), DARKROOM_OK) << error();
  EXPECT_EQ(json::parse(text).at("phases").size(), 5u);
  darkroom_free(text);
  ASSERT_EQ(darkroom_tokenize(engine_, model_, "ab", 0, &text), DARKROOM_OK) << error();
  EXPECT_EQ(json::parse(text).at("clip").size(), 77u);
  darkroom_free(text);
  ASSERT_EQ(darkroom_describe_cpu(engine_, &text), DARKROOM_OK) << error();
  EXPECT_FALSE(json::parse(text).at("supported").empty());
  darkroom_free(text);
  ASSERT_EQ(darkroom_describe_devices(engine_, &text), DARKROOM_OK) << error();
  EXPECT_TRUE(json::parse(text).at("devices").is_array());
  darkroom_free(text);
}

}  // namespace
