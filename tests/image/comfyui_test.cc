// ComfyUI's graphs: the usual ones of FLUX, and what is met on the way.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "image/found_recipe.h"
#include "image/stated.h"

namespace darkroom {
namespace {

using nlohmann::json;
using Names = std::vector<std::string>;

FoundRecipe read(const json& graph) {
  return read_recipe(PictureTexts{.texts = {{"prompt", graph.dump()}}}, "p.png");
}

json node(const char* type, const json& inputs) { return {{"class_type", type}, {"inputs", inputs}}; }
json link(const char* id) { return json::array({id, 0}); }

// The graph of ComfyUI's example for FLUX.1 dev.
json flux_graph() {
  return {
      {"5", node("EmptySD3LatentImage", {{"width", 1024}, {"height", 768}, {"batch_size", 1}})},
      {"6", node("CLIPTextEncode", {{"text", "a cat"}, {"clip", link("11")}})},
      {"8", node("VAEDecode", {{"samples", link("13")}, {"vae", link("10")}})},
      {"9", node("SaveImage", {{"filename_prefix", "ComfyUI"}, {"images", link("8")}})},
      {"10", node("VAELoader", {{"vae_name", "ae.safetensors"}})},
      {"11", node("DualCLIPLoader", {{"clip_name1", "t5xxl_fp16.safetensors"}, {"type", "flux"}})},
      {"12", node("UNETLoader", {{"unet_name", "flux/flux1-dev.safetensors"}, {"weight_dtype", "default"}})},
      {"13", node("SamplerCustomAdvanced", {{"noise", link("25")},
                                            {"guider", link("22")},
                                            {"sampler", link("16")},
                                            {"sigmas", link("17")},
                                            {"latent_image", link("5")}})},
      {"16", node("KSamplerSelect", {{"sampler_name", "euler"}})},
      {"17", node("BasicScheduler",
                  {{"scheduler", "beta"}, {"steps", 20}, {"denoise", 1.0}, {"model", link("30")}})},
      {"22", node("BasicGuider", {{"model", link("30")}, {"conditioning", link("26")}})},
      {"25", node("RandomNoise", {{"noise_seed", 1125899906842624}})},
      {"26", node("FluxGuidance", {{"guidance", 3.5}, {"conditioning", link("6")}})},
      {"30", node("ModelSamplingFlux", {{"max_shift", 1.15},
                                        {"base_shift", 0.5},
                                        {"width", 1024},
                                        {"height", 768},
                                        {"model", link("12")}})}};
}

TEST(ComfyUi, TheGraphOfFlux) {
  const FoundRecipe found = read(flux_graph());
  EXPECT_EQ(found.source, RecipeSource::kComfyUi);
  EXPECT_EQ(found.recipe, (stated({.prompt = "a cat",
                                   .width = 1024,
                                   .height = 768,
                                   .steps = 20,
                                   .guidance = 3.5,
                                   .seed = 1125899906842624,
                                   .spacing = "beta",
                                   .rng = "torch-cpu",
                                   .model = "flux1-dev.safetensors",
                                   .engine = "ComfyUI"})));
  EXPECT_EQ(found.not_repeated, Names{});
}

TEST(ComfyUi, TheGraphWithKSampler) {
  const json graph = {
      {"3", node("KSampler", {{"seed", 5},
                              {"steps", 4},
                              {"cfg", 2.5},
                              {"sampler_name", "dpmpp_2m"},
                              {"scheduler", "simple"},
                              {"denoise", 1},
                              {"model", link("4")},
                              {"positive", link("6")},
                              {"negative", link("7")},
                              {"latent_image", link("5")}})},
      {"4", node("CheckpointLoaderSimple", {{"ckpt_name", "schnell.safetensors"}})},
      {"5", node("EmptyLatentImage", {{"width", 64}, {"height", 32}, {"batch_size", 1}})},
      {"6", node("CLIPTextEncodeFlux",
                 {{"clip_l", "a cat"}, {"t5xxl", "a cat"}, {"guidance", 2.0}, {"clip", link("4")}})},
      {"7", node("CLIPTextEncode", {{"text", "a dog"}, {"clip", link("4")}})},
      {"9", node("SaveImage", {{"images", link("8")}})},
      {"8", node("VAEDecode", {{"samples", link("3")}, {"vae", link("4")}})}};
  const FoundRecipe found = read(graph);
  EXPECT_EQ(found.recipe.prompt, "a cat");
  EXPECT_EQ(found.recipe.negative, "a dog");
  EXPECT_EQ(found.recipe.guidance, 2.0);
  EXPECT_EQ(found.recipe.cfg, 2.5);
  EXPECT_EQ(found.recipe.seed, 5u);
  EXPECT_EQ(found.recipe.sampler, "dpm++2m");
  EXPECT_EQ(found.recipe.model, "schnell.safetensors");
  EXPECT_EQ(found.not_repeated, Names{});
}

TEST(ComfyUi, ValuesThatLieInNodesOfTheirOwn) {
  json graph = flux_graph();
  graph["6"]["inputs"]["text"] = link("40");
  graph["40"] = node("PrimitiveString", {{"value", "a dog"}});
  graph["25"]["inputs"]["noise_seed"] = link("41");
  graph["41"] = node("Seed (rgthree)", {{"seed", 7}});
  graph["5"]["inputs"]["width"] = link("42");
  graph["42"] = node("PrimitiveInt", {{"value", 512}});
  const FoundRecipe found = read(graph);
  EXPECT_EQ(found.recipe.prompt, "a dog");
  EXPECT_EQ(found.recipe.seed, 7u);
  EXPECT_EQ(found.recipe.width, 512);
  EXPECT_EQ(found.not_repeated, Names{});
}

TEST(ComfyUi, WhatIsMetOnTheWayIsNamed) {
  json graph = flux_graph();
  graph["22"]["inputs"]["model"] = link("50");
  graph["50"] = node("LoraLoaderModelOnly",
                     {{"lora_name", "film.safetensors"}, {"strength_model", 0.8}, {"model", link("30")}});
  graph["30"]["inputs"]["max_shift"] = 1.5;
  graph["26"]["inputs"]["conditioning"] = link("51");
  graph["51"] = node("ControlNetApply", {{"strength", 0.6}, {"conditioning", link("6")}});
  graph["16"]["inputs"]["sampler_name"] = "res_multistep";
  graph["17"]["inputs"]["scheduler"] = "sgm_uniform";
  graph["17"]["inputs"]["denoise"] = 0.6;
  graph["13"]["inputs"]["latent_image"] = link("52");
  graph["52"] = node("VAEEncode", {{"pixels", link("53")}, {"vae", link("10")}});
  graph["53"] = node("LoadImage", {{"image", "photo.png"}});
  graph["12"]["inputs"]["weight_dtype"] = "fp8_e4m3fn";
  const FoundRecipe found = read(graph);
  EXPECT_EQ(found.recipe.prompt, "a cat");
  EXPECT_EQ(found.recipe.model, "flux1-dev.safetensors");
  EXPECT_EQ(found.not_repeated,
            (Names{"scheduler sgm_uniform (simple instead)", "denoise 0.6",
                   "sampler_name res_multistep (euler instead)", "node ControlNetApply strength 0.6 (prompt)",
                   "node VAEEncode (what it starts from)",
                   "node LoadImage image photo.png (what it starts from)", "LoRA film.safetensors:0.8",
                   "node ModelSamplingFlux base_shift 0.5, height 768, max_shift 1.5, width 1024",
                   "weight_dtype fp8_e4m3fn"}));
}

TEST(ComfyUi, ASecondSamplerIsNamedAndTheFirstCounts) {
  json graph = flux_graph();
  graph["8"]["inputs"]["samples"] = link("60");
  graph["60"] = node("KSampler", {{"seed", 9},
                                  {"steps", 12},
                                  {"cfg", 1},
                                  {"sampler_name", "euler"},
                                  {"scheduler", "simple"},
                                  {"denoise", 0.5},
                                  {"model", link("12")},
                                  {"positive", link("6")},
                                  {"negative", link("6")},
                                  {"latent_image", link("61")}});
  graph["61"] = node("LatentUpscaleBy", {{"scale_by", 1.5}, {"samples", link("13")}});
  const FoundRecipe found = read(graph);
  EXPECT_EQ(found.recipe.seed, 1125899906842624u);
  EXPECT_EQ(found.recipe.steps, 20);
  ASSERT_EQ(found.not_repeated.size(), 1u);
  EXPECT_EQ(found.not_repeated[0].find("node KSampler cfg 1, denoise 0.5"), 0u) << found.not_repeated[0];
}

TEST(ComfyUi, ABatchHasTheNoiseOfItsFirstPictureOnly) {
  json graph = flux_graph();
  graph["5"]["inputs"]["batch_size"] = 4;
  EXPECT_EQ(read(graph).not_repeated, Names{"batch_size 4 (the noise of its first picture)"});
}

// Links in a ring, links to nothing, inputs of the wrong kind: read or named, never followed for ever.
TEST(ComfyUi, HostileGraphsEnd) {
  json ring = flux_graph();
  ring["6"]["inputs"]["text"] = link("6");
  ring["30"]["inputs"]["model"] = link("30");
  ring["5"] = node("LatentUpscale", {{"samples", link("5")}});
  ring["26"]["inputs"]["conditioning"] = link("26");
  EXPECT_EQ(read(ring).recipe.steps, 20);
  const json good = flux_graph();
  for (const auto& [id, value] : good.items()) {
    for (const auto& [name, input] : value["inputs"].items()) {
      for (const json& other : {json(), json(7), json("x"), json::array(), json::array({"9", 0}),
                                json::object(), json::array({7, 0}), json::array({"none", 0})}) {
        json graph = flux_graph();
        graph[id]["inputs"][name] = other;
        EXPECT_EQ(read(graph).source, RecipeSource::kComfyUi);
      }
    }
    json graph = flux_graph();
    graph.erase(id);
    EXPECT_EQ(read(graph).source, RecipeSource::kComfyUi);
  }
}

// Python writes NaN where a node is to run each time.
TEST(ComfyUi, NanIsNoDamage) {
  std::string text = flux_graph().dump();
  text.insert(
      1, R"("70": {"class_type": "X", "inputs": {}, "is_changed": [NaN, -Infinity], "t": "NaN \" NaN"},)");
  EXPECT_EQ(read_recipe(PictureTexts{.texts = {{"prompt", text}}}, "p").recipe.steps, 20);
}

}  // namespace
}  // namespace darkroom
