// A1111's text as programs really write it, and texts that only look like it.
#include <gtest/gtest.h>

#include "base/error.h"
#include "image/found_recipe.h"
#include "image/stated.h"

namespace darkroom {
namespace {

using Names = std::vector<std::string>;

const std::string kLine =
    "Steps: 4, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Seed: 42, Size: 64x32";

FoundRecipe read(const std::string& text) { return from_a1111_text(text, "x"); }

TEST(A1111, WhatFollowsTheParametersIsLeftOutWithANote) {
  const FoundRecipe found = read("a circle\nNegative prompt: b\n" + kLine +
                                 "\nTemplate: a {red|blue} circle\nNegative Template: b");
  EXPECT_EQ(found.recipe.prompt, "a circle");
  EXPECT_EQ(found.recipe.negative, "b");
  EXPECT_EQ(found.recipe.seed, 42u);
  ASSERT_EQ(found.notes.size(), 1u);
  EXPECT_NE(found.notes[0].find("Template: a {red|blue} circle"), std::string::npos) << found.notes[0];
}

TEST(A1111, OfTwoLinesTheLastCounts) {
  const FoundRecipe found = read("a\nSteps: 9, Seed: 1, Size: 16x16\nb\n" + kLine);
  EXPECT_EQ(found.recipe.prompt, "a\nSteps: 9, Seed: 1, Size: 16x16\nb");
  EXPECT_EQ(found.recipe.steps, 4);
}

TEST(A1111, WordsWithColonsArePrompt) {
  for (const std::string text :
       {"photo: a cat, lens: 35mm, light: soft, mood: calm", "Seed: 5, Size: 64x64, CFG scale: 3",
        "steps: wide, size: huge, model: a woman, style: calm", "Steps: 20, Seed: 5", "a cat, Steps: 20",
        "stone steps: 3, garden: wide, light: soft, Model: x"}) {
    EXPECT_EQ(read(text).recipe, stated({.prompt = text})) << text;
  }
}

TEST(A1111, KeysCountInAnyCase) {
  const Recipe recipe = read("a\nsteps: 20, SEED: 5, size: 64x32, cfg scale: 3, sampler: EULER A").recipe;
  EXPECT_EQ(recipe, (stated({.prompt = "a",
                             .width = 64,
                             .height = 32,
                             .steps = 20,
                             .cfg = 3.0,
                             .seed = 5,
                             .sampler = "euler-a",
                             .rng = "torch-cuda"})));
}

TEST(A1111, AValueThatIsNoneIsLeftOutAndNamed) {
  const auto with = [](const std::string& pair) { return read("a\n" + kLine + ", " + pair + ", Model: m"); };
  for (const auto& [pair, name] : std::vector<std::pair<std::string, std::string>>{
           {"CFG scale: None", "CFG scale None (not understood)"},
           {"Size: large", "Size large (not understood)"},
           {"Seed: -1", "Seed -1 (it means any)"},
           {"Seed: 18446744073709551616", "Seed 18446744073709551616 (not understood)"},
           {"Steps: 4.5", "Steps 4.5 (not understood)"},
           {"Steps: 4294967296", "Steps 4294967296 (not understood)"},
           {"Guidance: nan", "Guidance nan (not understood)"},
           {"Max text tokens: many", "Max text tokens many (not understood)"},
           {"Distilled CFG Scale: ", "Distilled CFG Scale '' (not understood)"}}) {
    const FoundRecipe found = with(pair);
    EXPECT_EQ(found.not_repeated, Names{name});
    EXPECT_EQ(found.recipe.model, "m") << "the rest counts";
    EXPECT_EQ(found.recipe.seed, 42u);
  }
  EXPECT_EQ(read("a\nSteps: abc, Sampler: Euler, Seed: 42, Size: 64x64").recipe.seed, 42u);
}

TEST(A1111, SettingsWithoutAPlaceAreNamedWithTheirValues) {
  const FoundRecipe found =
      read("a <lora:film:0.8> (cat:1.2), (dog)\nNegative prompt: <lora:b:1>\n" + kLine +
           ", Model hash: 0123, Clip skip: 2, Hires steps: 20, Shift: 3, Variation seed: 7, Operations: , "
           "Lora hashes: \"film: 0123\", Version: v1.10");
  EXPECT_EQ(found.not_repeated,
            (Names{"LoRA film:0.8", "weights of words (cat:1.2) (read as plain text)", "LoRA b:1",
                   "Clip skip 2", "Hires steps 20", "Shift 3", "Variation seed 7"}));
  EXPECT_TRUE(read("a (b), <c>, ((d)), (e:f)\n" + kLine + ", Clip skip: 1").not_repeated.empty());
}

TEST(A1111, LinesMayEndAsWindowsEndsThem) {
  const Recipe recipe = read("a\r\nNegative prompt: b\r\n" + kLine + ", Model: m\r\n").recipe;
  EXPECT_EQ(recipe.prompt, "a");
  EXPECT_EQ(recipe.negative, "b");
  EXPECT_EQ(recipe.model, "m");
  EXPECT_EQ(read("a\n" + kLine + ", Version: v1 \r\nTemplate: c").recipe.engine, "v1");
}

TEST(A1111, ValuesInBracketsAreOne) {
  const FoundRecipe found =
      read("a\n" + kLine +
           R"(, Civitai resources: [{"type":"lora","weight":0.8,"name":"Steps: 9, Seed: 1"}], Clip skip: 2)");
  EXPECT_EQ(found.recipe.seed, 42u);
  ASSERT_EQ(found.not_repeated.size(), 2u);
  EXPECT_EQ(found.not_repeated[0].find("Civitai resources [{\"type\":\"lora\",\"weight\":0.8"), 0u);
  EXPECT_EQ(read("a\n" + kLine + ", x1: [{, Model: m").recipe.model, "m") << "brackets that do not end";
}

TEST(A1111, SamplersAndSpacingsOfAllPrograms) {
  struct Case {
    std::string theirs, sampler, spacing;  // "": the usual one
    Names named;
  };
  for (const Case& item : std::vector<Case>{
           {"Euler", "", "", {}},
           {"euler", "", "", {}},
           {"Euler Simple", "", "", {}},
           {"euler_beta", "", "beta", {}},
           {"Euler a", "euler-a", "", {}},
           {"euler_ancestral", "euler-a", "", {}},
           {"euler_ancestral_karras", "euler-a", "karras", {}},
           {"Heun Karras", "heun", "karras", {}},
           {"DPM++ 2M Karras", "dpm++2m", "karras", {}},
           {"dpmpp_2m", "dpm++2m", "", {}},
           {"dpmpp_2m_k", "dpm++2m", "karras", {}},
           {"k_euler", "", "", {}},
           {"iPNDM", "ipndm", "", {}},
           {"Euler normal", "", "", {"Schedule normal (simple instead)"}},
           {"euler_sgm_uniform", "", "", {"Schedule sgm uniform (simple instead)"}},
           {"DPM++ 2M SDE", "", "", {"Sampler DPM++ 2M SDE (euler instead)"}},
           {"DPM++ 2M SDE Karras", "", "karras", {"Sampler DPM++ 2M SDE Karras (euler instead)"}},
           {"res_multistep", "", "", {"Sampler res_multistep (euler instead)"}}}) {
    const FoundRecipe found = read("a\nSteps: 4, Sampler: " + item.theirs + ", Seed: 42, Size: 64x32");
    EXPECT_EQ(found.recipe.sampler, item.sampler.empty() ? "euler" : item.sampler) << item.theirs;
    EXPECT_EQ(found.recipe.spacing, item.spacing.empty() ? "simple" : item.spacing) << item.theirs;
    EXPECT_EQ(found.not_repeated, item.named) << item.theirs;
  }
  const FoundRecipe found = read("a\n" + kLine + ", Schedule type: SGM Uniform");
  EXPECT_EQ(found.not_repeated, Names{"Schedule type SGM Uniform (simple instead)"});
}

TEST(A1111, WhoseNoise) {
  const auto rng = [](const std::string& pairs) { return read("a\n" + kLine + pairs).recipe.rng; };
  EXPECT_EQ(rng(""), "torch-cuda");
  EXPECT_EQ(rng(", Version: v1.10.1"), "torch-cuda");
  EXPECT_EQ(rng(", Version: ComfyUI"), "torch-cpu");
  EXPECT_EQ(rng(", Version: Fooocus v2.5.5"), "torch-cpu");
  EXPECT_EQ(rng(", RNG: CPU"), "torch-cpu");
  EXPECT_EQ(rng(", RNG: GPU"), "torch-cuda");
  EXPECT_EQ(rng(", RNG: cuda"), "torch-cuda:nv");
  EXPECT_EQ(rng(", RNG: NV, Version: ComfyUI"), "torch-cuda:nv") << "the value says more than the program";
}

}  // namespace
}  // namespace darkroom
