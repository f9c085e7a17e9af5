// The C API at its edges: null arguments, unknown names, errors that stay readable, stopping from a callback.
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/temp_folder.h"
#include "darkroom/darkroom.h"
#include "model_folder.h"

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

// A program that was built before a field was there: what lies behind its struct is not looked at.
TEST_F(Api, AnOlderCallersShorterStructIsEnough) {
  request_.prompt = "a";
  request_.weights = "no such kind";
  char* plan = nullptr;
  EXPECT_EQ(darkroom_plan(engine_, model_, &request_, &plan), DARKROOM_USAGE);
  request_.struct_size = offsetof(darkroom_request, weights);
  EXPECT_EQ(darkroom_plan(engine_, model_, &request_, &plan), DARKROOM_OK) << error();
  darkroom_free(plan);
}

TEST_F(Api, TheBenchIsTheCpuBackends) {
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

TEST_F(Api, ASheetComesBehindThePicturesAndHasNoLatents) {
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
}

}  // namespace
