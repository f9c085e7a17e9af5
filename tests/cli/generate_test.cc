// `darkroom generate`: names, seeds, repeating a picture, files that appear whole or not at all.
#include <signal.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "cli/program.h"
#include "image/pictures.h"
#include "image/png.h"
#include "image/read_picture.h"
#include "weights/tensor_file.h"

namespace cli_test {
namespace {

class CliGenerate : public ProgramTest {
 protected:
  std::vector<uint8_t> pixels(const std::string& name) const {
    return darkroom::read_png(folder() / name).rgb;
  }
  // Demands success; returns what is on standard output.
  std::string draw(const Words& more) const {
    const Result result = run(small_picture(more));
    EXPECT_EQ(result.code, 0) << result.err;
    return result.out;
  }
};

TEST_F(CliGenerate, ADrawnSeedIsPrintedAndDrawsThePictureAgain) {
  const Result first = run(small_picture({"-p", "a red circle"}));
  ASSERT_EQ(first.code, 0) << first.err;
  std::smatch match;
  ASSERT_TRUE(std::regex_search(first.err, match, std::regex("seed ([0-9]+)"))) << first.err;
  const std::string seed = match[1];
  EXPECT_EQ(first.out, "darkroom-" + seed + ".png\n");
  EXPECT_EQ(draw({"-p", "a red circle", "--seed", seed, "-o", "again.png"}), "again.png\n");
  EXPECT_EQ(pixels("again.png"), pixels("darkroom-" + seed + ".png"));
  draw({"-p", "a red circle", "--seed", seed + "1", "-o", "other.png"});
  EXPECT_NE(pixels("other.png"), pixels("again.png"));
}

TEST_F(CliGenerate, StandardOutputHasPathsAndNothingElse) {
  const Result loud = run(small_picture({"a", "-s", "5", "-n", "2"}));
  EXPECT_EQ(loud.code, 0) << loud.err;
  EXPECT_EQ(loud.out, "darkroom-5.png\ndarkroom-6.png\n");
  for (const char* phase :
       {"encode text: ", "modulate: ", "denoise: 1 steps, ", "decode: ", "seed 5, 32x32", "seed 6"})
    EXPECT_NE(loud.err.find(phase), std::string::npos) << phase << loud.err;
  EXPECT_EQ(loud.err.find('\r'), std::string::npos);
  EXPECT_EQ(loud.err.find('\x1b'), std::string::npos);
  const Result quiet = run(small_picture({"a", "-s", "7", "--quiet"}));
  EXPECT_EQ(quiet.out, "darkroom-7.png\n");
  EXPECT_EQ(quiet.err, "");
}

TEST_F(CliGenerate, FilesAreNeverReplacedUnasked) {
  folder().write("a.png", "mine");
  EXPECT_EQ(draw({"a", "-s", "1", "-o", "a.png"}), "a-2.png\n");
  EXPECT_EQ(draw({"a", "-s", "2", "-o", "a.png"}), "a-3.png\n");
  EXPECT_EQ(std::filesystem::file_size(folder() / "a.png"), 4u);
  const auto second = pixels("a-2.png");
  EXPECT_EQ(draw({"a", "-s", "2", "-o", "a.png", "--overwrite"}), "a.png\n");
  EXPECT_EQ(pixels("a.png"), pixels("a-3.png"));
  EXPECT_EQ(pixels("a-2.png"), second);
  EXPECT_NE(second, pixels("a-3.png"));
  EXPECT_EQ(files(), (Words{"a-2.png", "a-3.png", "a.png"}));
  // A link that leads nowhere is a name that is taken.
  std::filesystem::create_symlink("nowhere", folder() / "b.png");
  EXPECT_EQ(draw({"a", "-s", "1", "-o", "b.png"}), "b-2.png\n");
  EXPECT_FALSE(std::filesystem::exists(folder() / "nowhere"));
}

TEST_F(CliGenerate, SeveralPicturesHaveSeveralNamesEvenWithOverwrite) {
  EXPECT_EQ(draw({"a", "-s", "18446744073709551615", "-n", "2", "-o", "{index}-of-{seed}"}),
            "1-of-18446744073709551615.png\n2-of-0.png\n");
  EXPECT_EQ(draw({"a", "-s", "1", "-n", "2", "-o", "x.png", "--overwrite", "--save-latents", "x"}),
            "x.png\nx-2.png\n");
  EXPECT_TRUE(std::filesystem::exists(folder() / "x.safetensors"));
  EXPECT_TRUE(std::filesystem::exists(folder() / "x-2.safetensors"));
  EXPECT_NE(pixels("x.png"), pixels("x-2.png"));
  std::filesystem::create_directory(folder() / "sub");
  EXPECT_EQ(draw({"a", "-s", "1", "-o", "sub"}), "sub/darkroom-1.png\n");
  EXPECT_EQ(pixels("sub/darkroom-1.png"), pixels("x.png"));
}

TEST_F(CliGenerate, LikeRepeatsThePictureAndFlagsWin) {
  // Everything that a recipe can hold, none of it the default.
  const Words original = {"generate",
                          "--dummy",
                          "tiny",
                          "-p",
                          "caf\xc3\xa9, \"two\"\nlines",
                          "--negative",
                          "blue",
                          "--cfg",
                          "2.5",
                          "-g",
                          "4.25",
                          "--sigmas",
                          "1,0.7,0.2",
                          "-W",
                          "48",
                          "-H",
                          "32",
                          "-s",
                          "18446744073709551615",
                          "--rng",
                          "torch-cuda",
                          "--precision",
                          "f32",
                          "--weights",
                          "int8",
                          "--max-text-tokens",
                          "9",
                          "-o",
                          "a.png"};
  ASSERT_EQ(run(original).code, 0);
  const Words repeat = {"generate", "--dummy", "tiny", "--like", "a.png", "-o"};
  const auto like = [&](Words words) {
    words.insert(words.begin(), repeat.begin(), repeat.end());
    const Result result = run(words);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.err.find("note"), std::string::npos) << result.err;
  };
  like({"b.png"});
  EXPECT_EQ(pixels("b.png"), pixels("a.png"));
  EXPECT_EQ(darkroom::read_png_text(folder() / "b.png"), darkroom::read_png_text(folder() / "a.png"));
  // Each flag changes the picture, so each value was in the recipe and none was lost on the way.
  const std::vector<Words> changes = {{"-p", "x"},
                                      {"--negative", "red"},
                                      {"--cfg", "3"},
                                      {"-g", "1"},
                                      {"--steps", "2"},
                                      {"-s", "1"},
                                      {"--rng", "torch-cpu"},
                                      {"--precision", "bf16"},
                                      {"--text-precision", "int8"},
                                      {"-W", "32"},
                                      {"--max-text-tokens", "4"},
                                      {"--weights", "fp8"}};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const std::string name = "c" + std::to_string(i) + ".png";
    Words words = {name};
    words.insert(words.end(), changes[i].begin(), changes[i].end());
    like(words);
    EXPECT_NE(pixels(name), pixels("a.png")) << changes[i].front();
  }
}

// The same for what steers sampling: without sigmas by hand, and with a stochastic sampler from given noise.
TEST_F(CliGenerate, LikeRepeatsSamplersAndGuidance) {
  std::ofstream(folder() / "scales.txt") << "# low, high, low\n1.5\n6\n2\n";
  const Words original = {"generate",
                          "a",
                          "--dummy",
                          "tiny",
                          "--negative",
                          "b",
                          "--cfg",
                          "4",
                          "--steps",
                          "6",
                          "-W",
                          "48",
                          "-H",
                          "32",
                          "-s",
                          "5",
                          "--sampler",
                          "euler-a",
                          "--spacing",
                          "beta",
                          "--guidance-schedule",
                          "scales.txt",
                          "--guidance-interval",
                          "sigma:0.2,0.95",
                          "--cfg-method",
                          "apg:0.1,-0.5",
                          "--threshold",
                          "95,2",
                          "--save-latents",
                          "l.safetensors",
                          "-o",
                          "a.png"};
  ASSERT_EQ(run(original).code, 0);
  const auto like = [&](const std::string& picture, Words words) {
    const Words repeat = {"generate", "--dummy", "tiny", "--like", picture};
    words.insert(words.begin(), repeat.begin(), repeat.end());
    const Result result = run(words);
    EXPECT_EQ(result.code, 0) << result.err;
  };
  like("a.png", {"-o", "b.png"});
  EXPECT_EQ(pixels("b.png"), pixels("a.png"));
  EXPECT_EQ(darkroom::read_png_text(folder() / "b.png"), darkroom::read_png_text(folder() / "a.png"));
  const std::vector<Words> changes = {{"--sampler", "heun"},
                                      {"--sampler", "dpm++2m"},
                                      {"--sampler", "ipndm"},
                                      {"--sampler", "euler"},
                                      {"--spacing", "karras"},
                                      {"--spacing", "simple"},
                                      {"--guidance-schedule", "triangle"},
                                      {"--guidance-interval", "0,0.5"},
                                      {"--cfg-method", "zero-star"},
                                      {"--cfg-method", "apg:0.1,0"},
                                      {"--threshold", "off"},
                                      {"--cfg", "1"}};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const std::string name = "c" + std::to_string(i) + ".png";
    Words words = changes[i];
    words.insert(words.end(), {"-o", name});
    like("a.png", words);
    EXPECT_NE(pixels(name), pixels("a.png")) << changes[i].front() << " " << changes[i].back();
  }
  // From noise of a file the seed is still the sampler's.
  ASSERT_EQ(run({"generate", "a", "--dummy", "tiny", "--steps", "3", "-W", "48", "-H", "32", "-s", "8",
                 "--sampler", "euler-a", "--noise", "l.safetensors", "-o", "n.png"})
                .code,
            0);
  like("n.png", {"--noise", "l.safetensors", "-o", "n2.png"});
  EXPECT_EQ(pixels("n2.png"), pixels("n.png"));
  like("n.png", {"--noise", "l.safetensors", "-s", "9", "-o", "n3.png"});
  EXPECT_NE(pixels("n3.png"), pixels("n.png"));
}

// A threshold that everything is below: which steps are left out is then known.
TEST_F(CliGenerate, AStepCacheSaysWhatItLeftOut) {
  const Words base = {"generate", "a",       "--dummy", "tiny", "--negative", "",   "--cfg",
                      "3",        "--steps", "10",      "-W",   "48",         "-H", "32"};
  const auto draw_with = [&](Words more) {
    Words words = base;
    words.insert(words.end(), more.begin(), more.end());
    const Result result = run(words);
    EXPECT_EQ(result.code, 0) << result.err;
    return result.err;
  };
  draw_with({"-s", "5", "-o", "plain.png"});
  draw_with({"-s", "5", "-o", "none.png", "--cache", "fbcache:0"});
  EXPECT_EQ(pixels("none.png"), pixels("plain.png"));
  for (const std::string cache :
       {"fbcache:10,skips=2", "teacache:10,skips=2,poly=none", "dbcache:10,skips=2,front=1,back=1"}) {
    const std::string name = cache.substr(0, 2);
    const std::string said = draw_with({"-s", "5", "-o", name + ".png", "--cache", cache});
    // Of ten steps 2, 3, 5, 6 and 8, for both prompts.
    EXPECT_NE(said.find("10 of 20 forward passes skipped"), std::string::npos) << cache << ": " << said;
    EXPECT_NE(pixels(name + ".png"), pixels("plain.png"));
    const std::string recipe = darkroom::read_png_text(folder() / (name + ".png")).at("darkroom");
    EXPECT_NE(recipe.find("\"passes\":20"), std::string::npos) << recipe;
    EXPECT_NE(recipe.find("\"skipped_passes\":10"), std::string::npos) << recipe;
    // Nothing is carried from one picture to the next, nor lost by a recipe or by blocks that do
    // not stay in memory.
    draw_with({"-s", "4", "-n", "2", "-o", name + "-{seed}.png", "--cache", cache});
    EXPECT_EQ(pixels(name + "-5.png"), pixels(name + ".png"));
    ASSERT_EQ(run({"generate", "--dummy", "tiny", "--like", name + ".png", "-o", name + "-like.png"}).code,
              0);
    EXPECT_EQ(pixels(name + "-like.png"), pixels(name + ".png"));
  }
}

TEST_F(CliGenerate, LikeSaysWhenTheModelIsAnother) {
  draw({"a", "-s", "1", "-o", "a.png"});
  const Result other = run({"generate", "-m", fixture_model(), "--like", "a.png", "-o", "b.png"});
  EXPECT_EQ(other.code, 0) << other.err;
  EXPECT_NE(other.err.find("note: a.png was drawn with the model 'dummy-tiny', this is 'dev_small'"),
            std::string::npos)
      << other.err;
  draw({"a", "-s", "1", "-o", "plain.png", "--no-metadata"});
  EXPECT_EQ(pixels("plain.png"), pixels("a.png"));
  EXPECT_TRUE(darkroom::read_png_text(folder() / "plain.png").empty());
  expect_refusal(small_picture({"--like", "plain.png"}), 1, "plain.png: the picture carries no recipe");
}

TEST_F(CliGenerate, LatentsAreSavedPackedAndServeAsNoise) {
  draw({"a", "-s", "1", "-o", "a.png", "--save-latents", "l.safetensors"});
  const darkroom::TensorFile file(folder() / "l.safetensors");
  ASSERT_EQ(file.tensors().size(), 1u);
  const darkroom::OwnedTensor latents = file.load(*file.find("latents"));
  EXPECT_EQ(latents.tensor.dtype, darkroom::DType::kF32);
  EXPECT_EQ(latents.tensor.shape, (darkroom::Shape{1, 4, 64}));
  // The noise decides; the seed does not.
  const Words from_file = {"b",     "--noise", "l.safetensors", "--save-latents", "m.safetensors", "-o",
                           "b.png", "-s"};
  for (const char* seed : {"1", "2"}) {
    Words words = from_file;
    words.emplace_back(seed);
    draw(words);
  }
  EXPECT_EQ(pixels("b.png"), pixels("b-2.png"));
  EXPECT_NE(pixels("b.png"), pixels("a.png"));
  // The recipe names the file; repeating the picture takes it again.
  const Result without = run({"generate", "--dummy", "tiny", "--like", "b.png", "-o", "c.png"});
  EXPECT_EQ(without.code, 0);
  EXPECT_NE(
      without.err.find("note: b.png was drawn from the initial latents in 'l.safetensors'; without --noise"),
      std::string::npos)
      << without.err;
  EXPECT_NE(pixels("c.png"), pixels("b.png"));
  const Result with =
      run({"generate", "--dummy", "tiny", "--like", "b.png", "--noise", "l.safetensors", "-o", "d.png"});
  EXPECT_EQ(with.err.find("note"), std::string::npos) << with.err;
  EXPECT_EQ(pixels("d.png"), pixels("b.png"));
  expect_refusal({"generate", "--dummy", "tiny", "a", "-W", "48", "-H", "32", "--noise", "l.safetensors"}, 2,
                 "'latents' is F32 [1, 4, 64], this picture needs [1, 6, 64]");
  EXPECT_EQ(files(), (Words{"a.png", "b-2.png", "b.png", "c.png", "d.png", "l.safetensors", "m-2.safetensors",
                            "m.safetensors"}));
}

TEST_F(CliGenerate, AnyNumberOfThreadsDrawsTheSame) {
  const auto with_threads = [&](const char* threads) {
    const Result result =
        run({"generate", "-m", fixture_model(), "a red circle", "-W", "64", "-H", "64", "--steps", "2", "-s",
             "3", "-t", threads, "-o", std::string(threads) + ".png"});
    EXPECT_EQ(result.code, 0) << result.err;
  };
  with_threads("1");
  with_threads("3");
  EXPECT_EQ(pixels("1.png"), pixels("3.png"));
}

// The true sizes, so that the run is busy when the signal comes.
TEST_F(CliGenerate, AnInterruptLeavesNoFile) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const pid_t child =
        start({"generate", "--dummy", "dev", "a", "-W", "64", "-H", "64", "-o", "a.png", "-t", "2"});
    std::this_thread::sleep_for(std::chrono::milliseconds(700));
    ASSERT_EQ(kill(child, signal), 0);
    const Result result = finish(child);
    EXPECT_EQ(result.code, 130) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(result.err, "darkroom: stopped on request\n");
    EXPECT_EQ(files(), Words{});
  }
}

TEST_F(CliGenerate, WithoutAModelTheInstalledOneDraws) {
  std::filesystem::create_directories(folder() / "assets");
  std::filesystem::create_directory_symlink(fixture_model(), folder() / "assets" / "pinhole");
  const Result result =
      run({"generate", "a red circle", "-W", "32", "-H", "32", "--steps", "1", "-o", "a.png"},
          {.environment = {{"DARKROOM_ASSETS", "assets"}}});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err.find("note"), std::string::npos) << result.err;
}

// A picture of the tiny dummy is noise, but strength and mask show in it all the same.
TEST_F(CliGenerate, StartsFromAPicture) {
  ASSERT_EQ(run(small_picture({"a", "-s", "5", "-o", "a.png"})).code, 0);
  darkroom::write_png({16, 16, std::vector<uint8_t>(16 * 16 * 3, 255)}, folder() / "white.png");
  const auto over = [&](const Words& more) {
    Words words = {"generate", "b",      "--dummy", "tiny",        "-s", "6",    "--steps",
                   "4",        "--init", "a.png",   "--overwrite", "-o", "b.png"};
    words.insert(words.end(), more.begin(), more.end());
    const Result result = run(words);
    EXPECT_EQ(result.code, 0) << result.err;
    return result.err;
  };
  EXPECT_NE(over({"--strength", "0.5"}).find("denoise: 2 steps"), std::string::npos);
  EXPECT_NE(over({"--strength", "0.5"}).find("encode picture: "), std::string::npos);
  const nlohmann::json recipe = nlohmann::json::parse(run({"info", "b.png", "--json"}).out).at("recipe");
  EXPECT_EQ(recipe.at("init"), "a.png");
  EXPECT_EQ(recipe.at("strength"), 0.5);
  EXPECT_EQ(recipe.at("steps"), 4);
  EXPECT_EQ(recipe.at("format"), 3);
  const std::vector<uint8_t> drawn = darkroom::read_png(folder() / "b.png").rgb;
  // The mask, too, is named; white everywhere, it changes no byte.
  EXPECT_EQ(run({"generate", "b", "--dummy", "tiny", "-s", "6", "--steps", "4", "--init", "a.png", "--mask",
                 "white.png", "--strength", "0.5", "-o", "m.png", "-q"})
                .code,
            0);
  EXPECT_EQ(nlohmann::json::parse(run({"info", "m.png", "--json"}).out).at("recipe").at("mask"), "white.png");
  EXPECT_EQ(darkroom::read_png(folder() / "m.png").rgb, drawn);
  const Result maskless =
      run({"generate", "--dummy", "tiny", "--like", "m.png", "--init", "a.png", "-o", "n.png"});
  EXPECT_NE(maskless.err.find("was drawn within the mask 'white.png'"), std::string::npos) << maskless.err;
  // The same again needs the picture, which is no part of the recipe.
  const Result like = run({"generate", "--dummy", "tiny", "--like", "b.png", "-o", "c.png"});
  EXPECT_EQ(like.code, 0) << like.err;
  EXPECT_NE(like.err.find("was drawn over the picture 'a.png'"), std::string::npos) << like.err;
  const Result again =
      run({"generate", "--dummy", "tiny", "--like", "b.png", "--init", "a.png", "-o", "d.png", "-q"});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(darkroom::read_png(folder() / "d.png").rgb, drawn);
}

// What --like does not repeat is told once, and the rest is drawn: of a JPEG as of a PNG,
// whatever its pixels.
TEST_F(CliGenerate, RepeatsAForeignRecipe) {
  const std::string line =
      "a red circle\nsteps: 2, Sampler: DPM++ 2M SDE, CFG scale: None, Seed: 42, Size: 32x32, Clip skip: 2";
  const std::string block = darkroom::exif_block({.comment = darkroom::unicode_comment(line, false)});
  folder().write("a.jpg", darkroom::jpeg_file(darkroom::gradient(32, 32), darkroom::exif_segment(block)));
  folder().write("a.png", darkroom::png_file(darkroom::png_text("parameters", line), "", 32, 32));
  folder().write("a.webp",
                 darkroom::webp_file(darkroom::gradient(32, 32), darkroom::riff_chunk("EXIF", block)));
  for (const std::string name : {"a.png", "a.jpg", "a.webp"}) {
    const Result like = run({"generate", "--dummy", "tiny", "--like", name, "-o", "b.png", "--overwrite"});
    EXPECT_EQ(like.code, 0) << like.err;
    EXPECT_NE(like.err.find("seed 42, 32x32, 2 steps"), std::string::npos) << like.err;
    EXPECT_NE(
        like.err.find(name + ": not repeated: Sampler DPM++ 2M SDE (euler instead), CFG scale None (not "
                             "understood), Clip skip 2\n"),
        std::string::npos)
        << like.err;
    EXPECT_EQ(nlohmann::json::parse(run({"info", "b.png", "--json"}).out).at("recipe").at("rng"),
              "torch-cuda");
  }
  folder().write("x.png", darkroom::png_file(darkroom::png_text("parameters", R"({"colour": "red"})")));
  expect_refusal({"generate", "--dummy", "tiny", "--like", "x.png"}, 1,
                 "x.png: the text 'parameters': the recipe of another tool");
}

// A picture to start from, and a mask, of every format and upright.
TEST_F(CliGenerate, StartsFromAPictureOfAnyFormat) {
  const darkroom::Image image = darkroom::gradient(32, 48);
  darkroom::write_png(image, folder() / "a.png");
  folder().write("a.webp", darkroom::webp_file(image));
  const std::string turned = darkroom::exif_block({.orientation = 6});
  // What orientation 6 turns into `image`.
  folder().write("turned.webp",
                 darkroom::webp_file(darkroom::turned(image, 8), darkroom::riff_chunk("EXIF", turned)));
  folder().write("a.jpg", darkroom::jpeg_file(image));
  const auto over = [&](const std::string& init, const std::string& mask) {
    Words words = {"generate",   "b",   "--dummy",     "tiny", "-s",   "6",      "--steps",
                   "2",          "-W",  "32",          "-H",   "48",   "--init", init,
                   "--strength", "0.5", "--overwrite", "-o",   "b.png"};
    if (!mask.empty()) words.insert(words.end(), {"--mask", mask});
    const Result result = run(words);
    EXPECT_EQ(result.code, 0) << result.err;
    return pixels("b.png");
  };
  const std::vector<uint8_t> drawn = over("a.png", "");
  EXPECT_EQ(over("a.webp", ""), drawn);
  EXPECT_EQ(over("turned.webp", ""), drawn);
  EXPECT_NE(over("a.jpg", ""), drawn) << "its pixels differ a little";
  const std::vector<uint8_t> masked = over("a.png", "a.png");
  EXPECT_NE(masked, drawn);
  EXPECT_EQ(over("a.png", "turned.webp"), masked);
}

}  // namespace
}  // namespace cli_test
