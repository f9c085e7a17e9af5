// The C API at its edges: null arguments, unknown names, errors that stay readable, stopping from a callback.
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>

#include "darkroom/darkroom.h"

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
  request_.on_progress = [](const darkroom_progress* p, void*) { return p->phase == DARKROOM_DENOISE ? 1 : 0; };
  EXPECT_EQ(darkroom_generate(engine_, model_, &request_), DARKROOM_CANCELLED);
  request_.on_progress = nullptr;
  EXPECT_EQ(darkroom_generate(engine_, model_, &request_), DARKROOM_OK);  // the engine is usable again
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
