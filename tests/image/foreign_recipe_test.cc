// Recipes that are no A1111 text: each program's JSON, and JSON of nobody that is known.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/utf8.h"
#include "image/found_recipe.h"
#include "image/stated.h"

namespace darkroom {
namespace {

using Names = std::vector<std::string>;
using Texts = std::map<std::string, std::string>;

FoundRecipe read(const Texts& texts) { return read_recipe(PictureTexts{.texts = texts}, "p.png"); }

std::string refusal(const Texts& texts) {
  try {
    const FoundRecipe found = read(texts);
    ADD_FAILURE() << "read as " << source_name(found.source) << ", prompt " << found.recipe.prompt;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFailure);
    return error.what();
  }
  return "";
}

TEST(ForeignRecipe, SwarmUi) {
  const FoundRecipe found = read({{"parameters", R"j({"sui_image_params": {
    "prompt": "a cat", "negativeprompt": "", "model": "Flux/flux1-dev-fp8", "seed": 1970900528, "steps": "25",
    "cfgscale": 1.0, "fluxguidancescale": 3.5, "aspectratio": "1:1", "width": 1024, "height": 768,
    "sampler": "euler", "scheduler": "normal", "automaticvae": true, "nopreviews": true, "loras": ["film"],
    "loraweights": ["0.8"], "sigmashift": 3, "seamlesstileable": "false", "swarm_version": "0.9.3.1"},
    "sui_extra_data": {"date": "2024-11-13"}})j"}});
  EXPECT_EQ(found.source, RecipeSource::kSwarmUi);
  EXPECT_EQ(found.recipe, (stated({.prompt = "a cat",
                                   .width = 1024,
                                   .height = 768,
                                   .steps = 25,
                                   .guidance = 3.5,
                                   .cfg = 1.0,
                                   .seed = 1970900528,
                                   .rng = "torch-cpu",
                                   .model = "flux1-dev-fp8",
                                   .engine = "SwarmUI 0.9.3.1"})));
  EXPECT_EQ(found.not_repeated,
            (Names{"scheduler normal (simple instead)", "LoRA film:0.8", "sigmashift 3"}));
}

TEST(ForeignRecipe, Fooocus) {
  const FoundRecipe found =
      read({{"fooocus_scheme", "fooocus"}, {"parameters", R"j({"prompt": "a cat", "negative_prompt": "blurry",
    "styles": "['Fooocus V2']", "steps": 30, "resolution": "(1024, 768)", "guidance_scale": 4,
    "sharpness": 0, "base_model": "jugger", "base_model_hash": "ab", "refiner_model": "None",
    "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras", "seed": "5123", "lora_combined_1": "film.safetensors : 0.1",
    "loras": [["film", 0.1, "ab"]], "full_prompt": ["a"], "metadata_scheme": "fooocus",
    "version": "Fooocus v2.5.5"})j"}});
  EXPECT_EQ(found.source, RecipeSource::kFooocus);
  EXPECT_EQ(found.recipe, (stated({.prompt = "a cat",
                                   .negative = "blurry",
                                   .width = 1024,
                                   .height = 768,
                                   .steps = 30,
                                   .cfg = 4.0,
                                   .seed = 5123,
                                   .spacing = "karras",
                                   .rng = "torch-cpu",
                                   .model = "jugger",
                                   .engine = "Fooocus v2.5.5"})));
  EXPECT_EQ(found.not_repeated, (Names{"sampler dpmpp_2m_sde_gpu (euler instead)",
                                       "LoRA film.safetensors:0.1", "styles ['Fooocus V2']"}));
  const FoundRecipe old = read({{"parameters", R"j({"Prompt": "a", "Steps": 8, "Seed": 3,
    "Resolution": "(64, 32)", "Guidance Scale": 2.5, "Base Model": "m.safetensors"})j"}});
  EXPECT_EQ(old.recipe.prompt, "a");
  EXPECT_EQ(old.recipe.width, 64);
  EXPECT_EQ(old.recipe.cfg, 2.5);
}

TEST(ForeignRecipe, InvokeAi) {
  const FoundRecipe found = read({{"invokeai_metadata", R"j({"generation_mode": "flux_txt2img",
    "positive_prompt": "a lake", "width": 1024, "height": 768, "seed": 3, "steps": 30, "guidance": 4,
    "cfg_scale": 1, "scheduler": "euler", "model": {"name": "FLUX Dev", "base": "flux", "hash": "blake3:x"},
    "loras": [{"model": {"name": "film"}, "weight": 0.75}], "vae": {"name": "ae"}, "app_version": "5.4.0"})j"}});
  EXPECT_EQ(found.source, RecipeSource::kInvokeAi);
  EXPECT_EQ(found.recipe, (stated({.prompt = "a lake",
                                   .width = 1024,
                                   .height = 768,
                                   .steps = 30,
                                   .guidance = 4.0,
                                   .cfg = 1.0,
                                   .seed = 3,
                                   .rng = "torch-cpu",
                                   .model = "FLUX Dev",
                                   .engine = "InvokeAI 5.4.0"})));
  EXPECT_EQ(found.not_repeated, (Names{"LoRA film:0.75", "noise in 16 bits (32 bits instead)"}));
  const FoundRecipe old = read({{"sd-metadata", R"j({"app_id": "invoke-ai/InvokeAI", "app_version": "2.3.5",
    "model_weights": "sd-1", "image": {"prompt": [{"prompt": "a cat", "weight": 1}], "steps": 50, "cfg_scale": 7.5,
    "seed": 5, "sampler": "k_euler_a", "width": 512, "height": 640, "type": "txt2img"}})j"}});
  EXPECT_EQ(old.recipe.prompt, "a cat");
  EXPECT_EQ(old.recipe.seed, 5u);
  EXPECT_EQ(old.recipe.height, 640);
  EXPECT_EQ(old.recipe.sampler, "euler-a");
  EXPECT_EQ(old.recipe.model, "sd-1");
  const FoundRecipe dream = read({{"Dream", "\"a cat -s 9\" -s50 -S 123 -W512 -H 640 -C7.5 -A k_lms"}});
  EXPECT_EQ(dream.recipe.prompt, "a cat -s 9");
  EXPECT_EQ(dream.recipe.steps, 50);
  EXPECT_EQ(dream.recipe.seed, 123u);
  EXPECT_EQ(dream.recipe.width, 512);
  EXPECT_EQ(dream.recipe.cfg, 7.5);
  EXPECT_EQ(dream.not_repeated, Names{"sampler k_lms (euler instead)"});
}

TEST(ForeignRecipe, NovelAi) {
  const FoundRecipe found = read({{"Software", "NovelAI"},
                                  {"Description", "1girl, cat"},
                                  {"Source", "NovelAI Diffusion V4"},
                                  {"Comment", R"j({"steps": 28, "height": 1216, "width": 832, "scale": 5.0,
    "uncond_scale": 1.0, "cfg_rescale": 0.2, "seed": 2701562552, "noise_schedule": "karras",
    "sampler": "k_euler_ancestral", "sm": true, "sm_dyn": false, "uc": "bad", "request_type": "PromptGenerateRequest",
    "signed_hash": "x"})j"}});
  EXPECT_EQ(found.source, RecipeSource::kNovelAi);
  EXPECT_EQ(found.recipe, (stated({.prompt = "1girl, cat",
                                   .negative = "bad",
                                   .width = 832,
                                   .height = 1216,
                                   .steps = 28,
                                   .cfg = 5.0,
                                   .seed = 2701562552,
                                   .sampler = "euler-a",
                                   .spacing = "karras",
                                   .model = "NovelAI Diffusion V4",
                                   .engine = "NovelAI"})));
  EXPECT_EQ(found.not_repeated, (Names{"noise of NovelAI (torch's instead)", "cfg_rescale 0.2", "sm true",
                                       "random numbers of the sampler"}));
}

TEST(ForeignRecipe, MfluxAndDrawThings) {
  const FoundRecipe mflux = read({{"UserComment", R"j({"mflux_version": "0.7.1", "model": "/m/dev", "seed": 3,
    "steps": 20, "guidance": 3.5, "height": 512, "width": 768, "precision": "bf16", "quantize": 8,
    "lora_paths": ["/x/film.safetensors"], "lora_scales": [0.8], "prompt": "a cat", "image_path": null})j"}});
  EXPECT_EQ(mflux.source, RecipeSource::kMflux);
  EXPECT_EQ(mflux.recipe.guidance, 3.5);
  EXPECT_EQ(mflux.recipe.model, "dev");
  EXPECT_EQ(mflux.not_repeated,
            (Names{"noise of MLX (torch's instead)", "LoRA film.safetensors:0.8", "quantize 8"}));
  const FoundRecipe draw_things =
      read({{"XML:com.adobe.xmp",
             "<exif:UserComment><rdf:Alt><rdf:li xml:lang=\"x-default\">{&quot;c&quot;:"
             "&quot;a cat&quot;,&quot;uc&quot;:&quot;&quot;,&quot;steps&quot;:8,"
             "&quot;seed&quot;:7,&quot;size&quot;:&quot;64x32&quot;,&quot;model&quot;:"
             "&quot;flux_1_dev_q8p.ckpt&quot;}</rdf:li></rdf:Alt></exif:UserComment>"}});
  EXPECT_EQ(draw_things.source, RecipeSource::kDrawThings);
  EXPECT_EQ(draw_things.recipe.prompt, "a cat");
  EXPECT_EQ(draw_things.recipe.height, 32);
}

TEST(ForeignRecipe, BadValuesAreLeftOutAndNamed) {
  const FoundRecipe found =
      read({{"parameters", R"j({"sui_image_params": {"prompt": 7, "seed": -1, "steps": "many",
    "width": 0, "height": 64.5, "cfgscale": "x", "sampler": ["euler"], "model": 5}})j"}});
  EXPECT_EQ(found.recipe, (stated({.rng = "torch-cpu", .engine = "SwarmUI"})));
  EXPECT_EQ(found.not_repeated,
            (Names{"prompt 7 (no text)", "seed -1 (it means any)", "steps many (no whole number from 1 up)",
                   "width 0 (no whole number from 1 up)", "height 64.5 (no whole number from 1 up)",
                   "cfgscale x (no number)", "sampler [\"euler\"] (no text)"}));
  const FoundRecipe off =
      read({{"parameters", R"j({"sui_image_params": {"prompt": "a", "cfgscale": 0.8}})j"}});
  EXPECT_FALSE(off.recipe.cfg) << "no run takes it";
  EXPECT_EQ(off.not_repeated, Names{"cfg 0.8 (1 instead)"});
}

TEST(ForeignRecipe, JsonOfAnUnknownProgramIsRefusedByName) {
  EXPECT_NE(refusal({{"parameters", R"j({"colour": "red", "tool": "x"})j"}}).find("another tool"),
            std::string::npos);
  EXPECT_NE(refusal({{"parameters", R"j({"colour": "red"})j"}}).find("'colour'"), std::string::npos);
  EXPECT_NE(refusal({{"parameters", R"j([{"a": 1}])j"}}).find("another tool"), std::string::npos);
  EXPECT_NE(refusal({{"parameters", R"j({"sui_image_params": {"prompt": "a)j"}}).find("cut off"),
            std::string::npos);
  EXPECT_NE(refusal({{"workflow", R"j({"nodes": [], "links": []})j"}}).find("ComfyUI's workflow"),
            std::string::npos);
  EXPECT_NE(refusal({{"Comment", "Created with GIMP"}}).find("carries no recipe"), std::string::npos);
  EXPECT_NE(refusal({{"prompt", "a cat"}, {"UserComment", "Screenshot"}}).find("carries no recipe"),
            std::string::npos);
  EXPECT_EQ(read({{"parameters", "{{best}} cat, {a|b}"}}).recipe.prompt, "{{best}} cat, {a|b}") << "a prompt";
  EXPECT_EQ(read({{"parameters", "[a|b] cat"}}).recipe.prompt, "[a|b] cat");
}

TEST(ForeignRecipe, TheFirstTextThatIsOneCounts) {
  const std::string line = "a\nSteps: 4, Sampler: Euler, Seed: 42, Size: 64x32";
  const std::string graph =
      R"j({"3": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 9, "cfg": 1}}})j";
  EXPECT_EQ(read({{"parameters", line}, {"prompt", graph}}).recipe.seed, 42u);
  EXPECT_EQ(read({{"parameters", line}, {"prompt", graph}}).recipe.rng, "torch-cpu")
      << "a graph is ComfyUI's";
  EXPECT_EQ(read({{"UserComment", line}}).recipe.seed, 42u);
  EXPECT_EQ(read({{"ImageDescription", line}}).recipe.seed, 42u);
  EXPECT_EQ(read({{"UserComment", line}, {"darkroom", R"j({"format": 1, "prompt": "b"})j"}}).recipe.prompt,
            "b");
}

TEST(ForeignRecipe, NamesAreBounded) {
  std::string text = R"j({"sui_image_params": {"prompt": "a")j";
  for (int i = 0; i < 1000; ++i)
    text += ", \"k" + std::to_string(i) + "\": \"" + std::string(1000, 'x') + "\"";
  const FoundRecipe found = read({{"parameters", text + "}}"}});
  EXPECT_EQ(found.not_repeated.size(), 64u);
  for (const std::string& name : found.not_repeated) EXPECT_LT(name.size(), 200u);
  const FoundRecipe cut =
      read({{"parameters", "{\"sui_image_params\": {\"k\": \"" + std::string(59, 'x') + "\u732B\u732B\"}}"}});
  for (const std::string& name : cut.not_repeated) EXPECT_TRUE(is_valid_utf8(name));
}

}  // namespace
}  // namespace darkroom
