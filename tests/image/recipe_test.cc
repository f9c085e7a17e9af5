#include <gtest/gtest.h>
#include <unistd.h>

#include <limits>

#include "base/error.h"
#include "image/found_recipe.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

Recipe full_recipe() {
  Recipe recipe;
  recipe.prompt = "a cat, <lora:film:0.8>";
  recipe.negative = "blurry, dark";
  recipe.width = 1024;
  recipe.height = 768;
  recipe.steps = 20;
  recipe.guidance = 3.5;
  recipe.cfg = 2.25;
  recipe.guidance_schedule = "1,4.5,1";
  recipe.guidance_interval = "sigma:0.25,0.75";
  recipe.cfg_method = "apg:0,-0.5";
  recipe.threshold = "99.5,1";
  recipe.cache = "balanced";
  recipe.passes = 40;
  recipe.skipped_passes = 12;
  recipe.seed = std::numeric_limits<uint64_t>::max();
  recipe.sampler = "dpm++2m";
  recipe.spacing = "beta";
  recipe.sigmas = {1.0, 0.1 + 0.2, 1.0 / 3.0, 1e-7};
  recipe.max_text_tokens = 512;
  recipe.precision = "bf16";
  recipe.weights = "int8";
  recipe.rng = "torch-cuda:28x1536";
  recipe.noise_path = "latents, 2.safetensors";
  recipe.init_path = "a photo.png";
  recipe.mask_path = "mask.png";
  recipe.strength = 0.75;
  recipe.count = 8;
  recipe.sheet_columns = 3;
  recipe.model = "flux1-dev";
  recipe.engine = "darkroom 0.1.0";
  return recipe;
}

Recipe with_prompt(const std::string& prompt) {
  Recipe recipe;
  recipe.prompt = prompt;
  return recipe;
}

const std::vector<std::string> kAwkwardPrompts = {
    "",
    "plain",
    "line one\nline two\n\nline four",
    "quotes \" and \\ and ' and \"\"",
    "Negative prompt: inside\nand after",
    "text\nNegative prompt: in a line",
    "Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 1x1",
    "a\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 1x1",
    "\u732B \u043A\u043E\u0442 \U0001F408\u200D\U0001F5A4 caf\u00E9 \u202E",
    "  blanks around  \n\ttabs\t",
    "\r\ncarriage\r\n",
    std::string("nul\0inside", 10),
    "\x01\x1B[31m control \x7F",
    "{\"json\": [1, 2]}",
    std::string(200000, 'x'),
    "1girl, (masterpiece:1.2), {{best}}, [a|b], a:b, 100%",
};

TEST(RecipeJson, IsLossless) {
  EXPECT_EQ(from_json(to_json(full_recipe()), "x"), full_recipe());
  EXPECT_EQ(from_json(to_json({}), "x"), Recipe{});
  for (const std::string& prompt : kAwkwardPrompts) {
    Recipe recipe = full_recipe();
    recipe.prompt = prompt;
    recipe.negative = prompt;
    const std::string text = to_json(recipe);
    EXPECT_EQ(from_json(text, "x"), recipe);
    for (const char c : text) ASSERT_TRUE(c >= ' ' && c <= '~') << "one line of ASCII";
  }
}

TEST(RecipeJson, NamesEverySeedOfASheet) {
  Recipe recipe = full_recipe();
  recipe.count = 3;
  EXPECT_NE(to_json(recipe).find(R"("seeds":[18446744073709551615,0,1])"), std::string::npos)
      << to_json(recipe);
  recipe.count.reset();
  EXPECT_EQ(to_json(recipe).find("seeds"), std::string::npos);
}

TEST(RecipeJson, HoldsNoPath) {
  Recipe recipe;
  recipe.noise_path = "/home/me/secret/l.safetensors";
  recipe.model = "/home/me/models/dev/";
  const std::string text = to_json(recipe);
  EXPECT_EQ(text.find("home"), std::string::npos) << text;
  EXPECT_NE(text.find("\"l.safetensors\""), std::string::npos) << text;
}

TEST(RecipeJson, InvalidUtf8IsReplaced) {
  const Recipe recipe = with_prompt("a\xFFz\xC3");
  EXPECT_EQ(from_json(to_json(recipe), "x").prompt, "a\uFFFDz\uFFFD");
}

TEST(RecipeJson, IgnoresUnknownFieldsAndRefusesWrongOnes) {
  EXPECT_EQ(from_json(R"({"format": 1, "prompt": "a", "later": [1, {}], "seed": null})", "x").prompt, "a");
  for (const char* text : {"", "null", "{", R"({"prompt": "a"})", R"({"format": 0})", R"({"format": 5})",
                           R"({"format": 1, "seed": 1.5})", R"({"format": 1, "seed": "1"})",
                           R"({"format": 1, "sigmas": [1, "a"]})", R"({"format": 1, "sigmas": {"a": 1}})",
                           R"({"format": 1, "cfg": "7"})", R"({"format": 1, "width": 1.5})",
                           R"({"format": 1, "pictures": 1001})", R"({"format": 1, "columns": -1})"}) {
    try {
      from_json(text, "some place");
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kFailure);
      EXPECT_EQ(std::string(error.what()).find("some place: "), 0u) << error.what();
    }
  }
}

// Upscaling programs write a strength where there was no picture to start from.
TEST(RecipeA1111, AStrengthCountsBesideAPictureOnly) {
  const std::string text = "a cat\nSteps: 4, Sampler: Euler, Size: 64x64, Denoising strength: ";
  for (const char* value : {"0.5", "7", "high"}) {
    const FoundRecipe found = from_a1111_text(text + value, "x");
    EXPECT_FALSE(found.recipe.strength) << value;
    EXPECT_EQ(found.not_repeated, std::vector<std::string>{std::string("Denoising strength ") + value});
  }
  EXPECT_EQ(from_a1111_text(text + "0.5, Init image: a.png", "x").recipe.strength, 0.5);
  EXPECT_FALSE(from_a1111_text(text + "7, Init image: a.png", "x").recipe.strength);
}

TEST(RecipeA1111, IsTheExpectedText) {
  Recipe recipe = full_recipe();
  recipe.sigmas = {};
  recipe.seed = 123;
  EXPECT_EQ(
      to_a1111_text(recipe),
      "a cat, <lora:film:0.8>\n"
      "Negative prompt: blurry, dark\n"
      "Steps: 20, Sampler: DPM++ 2M, Schedule type: Beta, Step cache: balanced, Distilled CFG Scale: 3.5, "
      "CFG scale: 2.25, Guidance schedule: \"1,4.5,1\", Guidance interval: \"sigma:0.25,0.75\", "
      "CFG method: \"apg:0,-0.5\", Threshold: \"99.5,1\", Seed: 123, Size: 1024x768, "
      "RNG: \"torch-cuda:28x1536\", Noise file: \"latents, 2.safetensors\", Denoising strength: 0.75, "
      "Init image: a photo.png, Mask image: mask.png, Max text tokens: 512, Precision: bf16, Weights: int8, "
      "Passes: 40, Skipped passes: 12, Pictures: 8, Columns: 3, Model: flux1-dev, Version: darkroom 0.1.0");
}

TEST(RecipeA1111, EverythingComesBack) {
  const FoundRecipe found = from_a1111_text(to_a1111_text(full_recipe()), "x");
  EXPECT_EQ(found.recipe, full_recipe());
  EXPECT_EQ(found.source, RecipeSource::kA1111);
  EXPECT_EQ(found.not_repeated, std::vector<std::string>{"LoRA film:0.8"});
}

TEST(RecipeA1111, SettingsSurviveEveryPrompt) {
  for (const std::string& prompt : kAwkwardPrompts) {
    Recipe recipe = full_recipe();
    recipe.prompt = prompt;
    const FoundRecipe found = from_a1111_text(to_a1111_text(recipe), "x");
    EXPECT_EQ(found.recipe.seed, recipe.seed);
    EXPECT_EQ(found.recipe.sigmas, recipe.sigmas);
    EXPECT_EQ(found.recipe.width, recipe.width);
  }
  for (const char* model :
       {"with, comma", "a: b", "new\nline", "\"quoted\"", "back\"slash", "tail ", "Seed: 5"}) {
    Recipe recipe = full_recipe();
    recipe.model = model;
    EXPECT_EQ(from_a1111_text(to_a1111_text(recipe), "x").recipe, recipe) << model;
  }
}

// Texts of other programs: Forge with Flux, A1111, stable-diffusion.cpp.
TEST(RecipeA1111, ReadsOtherPrograms) {
  const FoundRecipe forge = from_a1111_text(
      "two lines\nof prompt\nNegative prompt: bad\nworse\nSteps: 20, Sampler: Euler, Schedule type: Simple, "
      "CFG scale: 1, "
      "Distilled CFG Scale: 3.5, Seed: 12345, Size: 896x1152, Model hash: 0123456789, Model: "
      "flux1-dev-Q4_K_S, "
      "Lora hashes: \"film: 0123, other: 4567\", Diffusion in Low Bits: Automatic, Version: f2.0.1, Module "
      "1: ae",
      "x");
  EXPECT_EQ(forge.recipe.prompt, "two lines\nof prompt");
  EXPECT_EQ(forge.recipe.negative, "bad\nworse");
  EXPECT_EQ(forge.recipe.width, 896);
  EXPECT_EQ(forge.recipe.height, 1152);
  EXPECT_EQ(forge.recipe.guidance, 3.5);
  EXPECT_EQ(forge.recipe.cfg, 1.0);
  EXPECT_EQ(forge.recipe.seed, 12345u);
  EXPECT_EQ(forge.recipe.model, "flux1-dev-Q4_K_S");
  EXPECT_EQ(forge.recipe.rng, "torch-cuda") << "none named means the GPU's";
  EXPECT_EQ(forge.not_repeated, (std::vector<std::string>{"Lora hashes film: 0123, other: 4567",
                                                          "Diffusion in Low Bits Automatic", "Module 1 ae"}));
  const FoundRecipe sdcpp = from_a1111_text(
      "cat\nSteps: 4, CFG scale: 1.000000, Guidance: 3.500000, Eta: 0.000000, Seed: 42, Size: 512x512, "
      "Model: a.gguf, "
      "RNG: std_default, Sampler: euler, Version: stable-diffusion.cpp",
      "x");
  EXPECT_EQ(sdcpp.recipe.guidance, 3.5);
  EXPECT_EQ(sdcpp.recipe.rng, "torch-cpu") << "as if nothing were said";
  EXPECT_EQ(sdcpp.recipe.sampler, "euler");
  EXPECT_EQ(sdcpp.not_repeated,
            (std::vector<std::string>{"Eta 0.000000", "RNG std_default (torch-cpu instead)"}));
}

TEST(RecipeA1111, FewerThanThreePairsArePromptText) {
  const FoundRecipe found = from_a1111_text("a cat\nNegative prompt: dog\nsize: small, colour: red", "x");
  EXPECT_EQ(found.recipe.prompt, "a cat");
  EXPECT_EQ(found.recipe.negative, "dog\nsize: small, colour: red");
  EXPECT_FALSE(found.recipe.steps);
  EXPECT_EQ(from_a1111_text("", "x").recipe, Recipe{});
  EXPECT_EQ(from_a1111_text(" \n \n", "x").recipe, Recipe{});
}

// A reader of quadratic time would need 10^13 steps for one of these texts, and run into ctest's time limit.
TEST(RecipeA1111, HostileLinesTakeLinearTime) {
  const std::size_t size = 4 << 20;
  std::string escapes = "a: \"";
  while (escapes.size() < size) escapes += "\\\"";
  std::string keys;
  while (keys.size() < size) keys += "aa:\"";
  std::string lines;
  while (lines.size() < size) lines += "Negative prompt:\n";
  std::string brackets, hashes = "<lora:a:1>" + std::string(size, 'p') + "\nSteps: 4, Seed: 1, Size: 1x1";
  while (brackets.size() < size) brackets += "aa:[{,";
  while (hashes.size() < 2 * size - 100) hashes += ", Lora hashes: b, Clip skip: 2";
  for (const std::string& text :
       {brackets, hashes, std::string(size, 'a'), std::string(size, ' ') + "x", escapes, keys, lines,
        std::string(size, ':'), std::string(size, '"'), "aa:" + std::string(size, '\t')}) {
    try {
      from_a1111_text(text, "x");
    } catch (const Error&) {
    }
  }
  EXPECT_THROW(from_a1111_text(std::string(9 << 20, 'a'), "x"), Error);
}

TEST(Recipe, HoldsNoPaths) {
  EXPECT_EQ(base_name("/home/someone/models/flux1-dev"), "flux1-dev");
  EXPECT_EQ(base_name("models/flux1-dev///"), "flux1-dev");
  EXPECT_EQ(base_name("C:\\Users\\someone\\dev.safetensors"), "dev.safetensors");
  EXPECT_EQ(base_name("plain"), "plain");
  EXPECT_EQ(base_name("/"), "");
  Recipe recipe = full_recipe();
  recipe.model = "/home/someone/flux1-dev/";
  for (const PngText& text : recipe_texts(recipe)) EXPECT_EQ(text.text.find("someone"), std::string::npos);
  EXPECT_EQ(from_json(R"({"format": 1, "model": "../../etc/passwd"})", "x").model, "passwd");
  EXPECT_EQ(from_a1111_text("p\nSteps: 1, Seed: 1, Model: /etc/shadow", "x").recipe.model, "shadow");
}

TEST(Recipe, TravelsInAPng) {
  const fs::path path = fs::temp_directory_path() / fmt::format("darkroom_recipe_test_{}.png", ::getpid());
  const Image image{2, 1, {1, 2, 3, 4, 5, 6}};
  for (const std::string& prompt : kAwkwardPrompts) {
    Recipe recipe = full_recipe();
    recipe.prompt = prompt;
    write_png(image, path, {.texts = recipe_texts(recipe), .overwrite = true});
    const FoundRecipe found = read_recipe(path);
    EXPECT_EQ(found.recipe, recipe);
    EXPECT_EQ(found.source, RecipeSource::kJson);
    EXPECT_EQ(read_png(path).rgb, image.rgb);
    std::vector<PngText> only_line = recipe_texts(recipe);
    only_line.pop_back();
    write_png(image, path, {.texts = only_line, .overwrite = true});
    EXPECT_EQ(read_recipe(path).source, RecipeSource::kA1111);
    EXPECT_EQ(read_recipe(path).recipe.seed, recipe.seed);
  }
  const Recipe invalid = with_prompt("cut in a character: \xE7\x8C");
  write_png(image, path, {.texts = recipe_texts(invalid), .overwrite = true});
  EXPECT_EQ(read_recipe(path).recipe.prompt, "cut in a character: \uFFFD");
  fs::remove(path);
}

}  // namespace
}  // namespace darkroom
