// The models in the box draw what the caption says: real weights through the whole program,
// judged by the grader.
//
// A few captions a model, and other instruction sets round differently, so the bar lies below what
// docs/PINHOLE.md measures on hundreds: it catches a broken step, not a small loss of quality.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "base/temp_folder.h"
#include "darkroom/darkroom.h"
#include "expected.h"
#include "grader/judge.h"
#include "image/png.h"

namespace {

namespace fs = std::filesystem;
namespace grader = darkroom::grader;

const std::string kPinhole = DARKROOM_SOURCE_DIR "/assets/pinhole";

const std::vector<std::string> kCaptions = {
    "a red star above a blue ring on a yellow background",
    "a small green heart on the left on a white background",
    "a cyan cross next to an orange diamond on a purple background",
    "a large pink circle on a black background",
    "a white square at the bottom on a green background",
    "a yellow triangle left of a brown square on a cyan background",
    "a purple ring on the right on a grey background",
    "a black diamond above a white circle on a red background",
    "a small blue square at the top on a pink background",
    "an orange circle next to a green triangle on a blue background",
    "a large grey heart on an orange background",
    "a brown cross left of a red heart on a white background",
};

struct Size {
  int width, height;
};

// What a run starts from; absent for noise alone.
struct Source {
  const char *init = nullptr, *mask = nullptr;
  double strength = -1;  // the default
};

// Sanitizers make a picture some forty times slower: there a few of them must do.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kDrawn = 2;
#else
constexpr std::size_t kDrawn = 12;
#endif

class Pinhole : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(darkroom_create(nullptr, &engine_), DARKROOM_OK); }
  void TearDown() override {
    darkroom_close(model_);
    darkroom_destroy(engine_);
  }

  darkroom::Image draw(const std::string& caption, uint64_t seed, Size size, const Source& source = {},
                       const char* settings = nullptr) {
    darkroom::Image image;
    darkroom_request request;
    darkroom_request_init(&request);
    request.prompt = caption.c_str();
    request.width = size.width;
    request.height = size.height;
    request.has_seed = 1;
    request.seed = seed;
    request.init_path = source.init;
    request.mask_path = source.mask;
    request.strength = source.strength;
    request.settings = settings;
    request.user = &image;
    request.on_picture = [](const darkroom_picture* picture, void* user) {
      const std::size_t bytes = std::size_t{3} * static_cast<std::size_t>(picture->width * picture->height);
      *static_cast<darkroom::Image*>(user) = {
          picture->width, picture->height, {picture->rgb, picture->rgb + bytes}};
      return 0;
    };
    EXPECT_EQ(darkroom_generate(engine_, model_, &request), DARKROOM_OK) << darkroom_last_error(engine_);
    return image;
  }

  // Draws the captions, each with a seed of its own. Every claim must hold in that share of the pictures, and
  // every background must be right.
  void expect_adherence(const std::string& folder, Size size, double share) {
    ASSERT_EQ(darkroom_open(engine_, folder.c_str(), &model_), DARKROOM_OK) << darkroom_last_error(engine_);
    std::size_t right = 0;
    std::string wrong;
    for (std::size_t i = 0; i < kDrawn; ++i) {
      const std::string& caption = kCaptions[i];
      const grader::Found found = grader::look_at(draw(caption, 100 + i, size), caption);
      const grader::Verdict verdict = grader::judge(grader::parse_caption(caption, "caption"), found);
      right += verdict.holds ? 1 : 0;
      for (const grader::Judgement& claim : verdict.claims) {
        EXPECT_TRUE(claim.holds || claim.type != grader::ClaimType::kBackground)
            << caption << ": " << claim.seen;
        if (!claim.holds) wrong += caption + ": " + claim.expected + ", seen " + claim.seen + "\n";
      }
    }
    EXPECT_GE(right, static_cast<std::size_t>(share * kDrawn)) << wrong;
    RecordProperty("right", static_cast<int>(right));
  }

  darkroom_engine* engine_ = nullptr;
  darkroom_model* model_ = nullptr;
};

constexpr double kMost = 0.84;  // 10 of 12

TEST_F(Pinhole, BaseDrawsWhatTheCaptionSays) { expect_adherence(kPinhole, {0, 0}, kMost); }

TEST_F(Pinhole, WideToo) { expect_adherence(kPinhole, {192, 128}, kMost); }

TEST_F(Pinhole, TallToo) { expect_adherence(kPinhole, {128, 192}, kMost); }

TEST_F(Pinhole, DevDrawsWhatTheCaptionSays) { expect_adherence(kPinhole + "/dev", {0, 0}, kMost); }

TEST_F(Pinhole, SchnellDrawsWhatTheCaptionSays) { expect_adherence(kPinhole + "/schnell", {0, 0}, kMost); }

// Products in 8 bits beside the same picture in bf16. Measured: 47.2, 45.2 and 48.0 dB.
TEST_F(Pinhole, Int8DrawsThePictureOfBf16) {
  for (const char* variant : {"", "/dev", "/schnell"}) {
    SCOPED_TRACE(variant);
    darkroom_close(model_);
    ASSERT_EQ(darkroom_open(engine_, (kPinhole + variant).c_str(), &model_), DARKROOM_OK);
    const auto drawn = [&](const char* settings) { return draw(kCaptions[0], 9, {0, 0}, {}, settings).rgb; };
    const std::vector<uint8_t> bf16 = drawn(R"({"precision": "bf16"})");
    const double db = darkroom::psnr(drawn(R"({"precision": "int8"})"), bf16);
    EXPECT_GE(db, 42);
    EXPECT_LT(db, 60) << "nothing was quantised";
    const double fewer = darkroom::psnr(drawn(R"({"precision": "int7"})"), bf16);
    RecordProperty(std::string("int7") + variant, std::to_string(fewer));
    EXPECT_GE(fewer, db - 9);  // 6 dB for half the levels
    EXPECT_LT(fewer, db) << "no level was given up";
    const double text = darkroom::psnr(drawn(R"({"precision": "bf16", "text_precision": "int8"})"), bf16);
    RecordProperty(std::string("text") + variant, std::to_string(text));
    EXPECT_GE(text, 40);
    EXPECT_LT(text, 70) << "nothing was quantised";
  }
}

// A square is drawn beside a circle that is there already, and the circle stays as it is.
TEST_F(Pinhole, InpaintsBesideWhatIsThere) {
  ASSERT_EQ(darkroom_open(engine_, kPinhole.c_str(), &model_), DARKROOM_OK) << darkroom_last_error(engine_);
  const darkroom::TempFolder folder;
  const std::string init = folder.path() / "init.png", mask = folder.path() / "mask.png";
  const darkroom::Image before = draw("a red circle on the left on a white background", 3, {128, 128});
  darkroom::write_png(before, init);
  darkroom::Image right_half = before;
  for (std::size_t i = 0; i < right_half.rgb.size(); ++i) right_half.rgb[i] = i / 3 % 128 < 64 ? 0 : 255;
  darkroom::write_png(right_half, mask);
  const std::string caption = "a red circle next to a blue square on a white background";
  const darkroom::Image after = draw(caption, 4, {0, 0}, {init.c_str(), mask.c_str(), 0.9});
  const grader::Verdict verdict =
      grader::judge(grader::parse_caption(caption, "caption"), grader::look_at(after, caption));
  EXPECT_TRUE(verdict.holds);
  double squares = 0, count = 0;
  for (std::size_t i = 0; i < after.rgb.size(); ++i) {
    if (i / 3 % 128 >= 48) continue;  // near the border the decoder sees both
    squares += std::pow(static_cast<double>(after.rgb[i]) - before.rgb[i], 2);
    ++count;
  }
  EXPECT_LT(std::sqrt(squares / count), 5) << "of 255: what the autoencoder changes";
}

// What a stranger downloads with the repository.
TEST(PinholeFiles, FitInSixteenMebibytes) {
  uintmax_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(kPinhole)) {
    if (entry.is_regular_file() && !entry.is_symlink()) bytes += entry.file_size();
  }
  EXPECT_GT(bytes, 0U);
  EXPECT_LE(bytes, uintmax_t{16} << 20);
}

}  // namespace
