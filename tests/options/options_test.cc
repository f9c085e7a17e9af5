// The table of options: every row is complete, agrees with the code that obeys it, and travels through JSON.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "options/option.h"
#include "options/request_json.h"
#include "sampling/guidance_text.h"
#include "sampling/noise.h"
#include "sampling/sampler.h"
#include "sampling/schedule.h"
#include "sampling/step_cache.h"
#include "weights/storage.h"

namespace darkroom {
namespace {

using nlohmann::json;

std::string refusal(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kUsage);
    return e.what();
  }
  return "accepted";
}

Request full_request() {
  Request r;
  load_request(json::parse(R"({"prompt": "a", "negative": "", "steps": 20, "sampler": "heun",
      "spacing": "beta", "sigmas": [1, 0.5], "cache": "light", "guidance": 2.5, "cfg": 3,
      "guidance_schedule": "cosine", "guidance_interval": "0.1,0.9", "cfg_method": "zero-star",
      "threshold": "99", "seed": 18446744073709551615, "width": 64, "height": 32, "rng": "torch-cuda",
      "noise": "n.safetensors", "strength": 0.5, "init": "i.png", "mask": "m.png", "max_text_tokens": 32,
      "count": 4, "sheet": true, "columns": 2, "precision": "int8", "text_precision": "bf16",
      "int8_group": 128, "attention": "int8", "smooth": "off", "weights": "int8", "budget": "1GiB", "ram_budget": "2GiB",
      "scratch": "/tmp", "lora_dir": "l",
      "loras": [{"path": "f", "strength": 0.5, "sha256": ")" +
                           std::string(64, 'a') + R"("}]})"),
               r, "x");
  return r;
}

TEST(Options, EveryRowIsComplete) {
  std::set<std::string_view> names, flags;
  for (const Option& option : options()) {
    EXPECT_TRUE(names.insert(option.name).second) << option.name;
    EXPECT_TRUE(flags.insert(option.flag).second) << option.flag;
    EXPECT_FALSE(option.help.empty() || option.group.empty()) << option.name;
    EXPECT_FALSE(option.help.ends_with('.')) << option.name;
    const bool is_switch = std::holds_alternative<bool Request::*>(option.field);
    EXPECT_EQ(option.value_name.empty(), is_switch) << option.name;
    const bool is_number = std::holds_alternative<std::optional<int64_t> Request::*>(option.field) ||
                           std::holds_alternative<std::optional<double> Request::*>(option.field) ||
                           std::holds_alternative<std::vector<double> Request::*>(option.field) ||
                           std::holds_alternative<std::vector<LoraChoice> Request::*>(option.field);
    EXPECT_EQ(option.range.has_value(), is_number) << option.name;
    EXPECT_EQ(find_option(option.name), &option);
  }
  EXPECT_EQ(find_option("zebra"), nullptr);
}

// A field without a row could not be reached by any flag, recipe or program.
TEST(Options, EveryFieldHasARow) {
  const Request full = full_request();
  for (const Option& option : options()) EXPECT_FALSE(is_own(option, full)) << option.name;
  Request rebuilt;
  json object = json::object();
  for (const Option& option : options()) store_option(option, full, object);
  load_request(object, rebuilt, "x");
  EXPECT_EQ(rebuilt, full);
  EXPECT_EQ(object.size(), options().size());
}

// The names are spelled here and where they are obeyed: both must know the same ones.
TEST(Options, NamesAreThoseThatTheCodeKnows) {
  const auto choices = [](const char* name) { return find_option(name)->choices; };
  std::set<SamplerKind> samplers;
  for (const OptionChoice& c : choices("sampler")) {
    samplers.insert(parse_sampler(c.name));
    EXPECT_EQ(sampler_name(parse_sampler(c.name)), c.name);
  }
  EXPECT_EQ(samplers.size(), choices("sampler").size());
  for (const OptionChoice& c : choices("spacing")) {
    EXPECT_EQ(sigma_spacing_name(parse_sigma_spacing(c.name)), c.name);
  }
  for (const OptionChoice& c : choices("cache")) EXPECT_NO_THROW(parse_cache(std::string(c.name))) << c.name;
  for (const OptionChoice& c : choices("rng")) EXPECT_NO_THROW(parse_noise_source(c.name)) << c.name;
  for (const OptionChoice& c : choices("guidance_schedule")) {
    GuidanceSchedule schedule;
    EXPECT_NO_THROW(parse_guidance_schedule(c.name, schedule)) << c.name;
  }
  for (const OptionChoice& c : choices("cfg_method")) {
    GuidanceRule rule;
    EXPECT_NO_THROW(parse_guidance_method(c.name, rule)) << c.name;
  }
  for (const OptionChoice& c : choices("weights")) {
    EXPECT_TRUE(c.name == "auto" || parse_storage(c.name)) << c.name;
  }
}

TEST(Options, RangesAreCheckedWithTheirNumbers) {
  const auto refused = [](const char* text) {
    Request r;
    load_request(json::parse(text), r, "x");
    return refusal([&] { check_ranges(r); });
  };
  EXPECT_EQ(refused(R"({"steps": 0})"), "steps is 0, allowed are 1 to 1000");
  EXPECT_EQ(refused(R"({"max_text_tokens": 5000})"), "max-text-tokens is 5000, allowed are 1 to 4096");
  EXPECT_EQ(refused(R"({"strength": 0})"), "strength is 0, allowed are above 0 to 1");
  EXPECT_EQ(refused(R"({"precision": "fp16"})"),
            "precision is 'fp16'; there are auto, f32, bf16, int8 and int7");
  EXPECT_EQ(refused(R"({"int8_group": 65537})"), "int8-group is 65537, allowed are 0 to 65536");
  EXPECT_EQ(refused(R"({"strength": 1, "cfg": 100, "steps": 1000})"), "accepted");
  Request r;
  r.cfg = std::numeric_limits<double>::quiet_NaN();
  EXPECT_NE(refusal([&] { check_ranges(r); }), "accepted");
}

TEST(RequestJson, RefusesOtherTypesAndNames) {
  for (const char* text :
       {"[]", "7", R"({"zebra": 1})", R"({"steps": "4"})", R"({"steps": 1.5})", R"({"steps": 4000000})",
        R"({"steps": -1})", R"({"steps": 18446744073709551615})", R"({"seed": -1})",
        R"({"seed": 18446744073709551616})", R"({"cfg": "x"})", R"({"cfg": 1e300})", R"({"sigmas": 1})",
        R"({"sigmas": [1, "a"]})", R"({"prompt": 5})", R"({"sheet": 1})"}) {
    Request r;
    const std::string message = refusal([&] { load_request(json::parse(text), r, "some place"); });
    EXPECT_EQ(message.find("some place: "), 0u) << text << ": " << message;
  }
  Request r;
  load_request(json::parse(R"({"steps": null, "seed": 7})"), r, "x");
  EXPECT_FALSE(r.steps);
  EXPECT_EQ(r.seed, 7u);
}

TEST(RequestJson, TheSchemaDescribesWhatIsRead) {
  const json schema = request_schema();
  EXPECT_EQ(schema.at("x-order").size(), options().size());
  const json& properties = schema.at("properties");
  EXPECT_EQ(properties.at("steps").at("maximum"), 1000);
  EXPECT_EQ(properties.at("strength").at("exclusiveMinimum"), 0);
  EXPECT_EQ(properties.at("sampler").at("enum").size(), 5u);
  EXPECT_EQ(properties.at("cache").at("examples").size(), 8u) << "other forms are allowed";
  json example = json::object();
  for (const Option& option : options()) store_option(option, full_request(), example);
  for (const auto& [name, value] : example.items()) {
    const std::string type = properties.at(name).at("type");
    const std::string found = value.is_string()    ? "string"
                              : value.is_boolean() ? "boolean"
                              : value.is_array()   ? "array"
                              : type == "integer"  ? "integer"
                                                   : "number";
    EXPECT_EQ(type, found) << name;
  }
}

json repeated(const char* settings, const char* recipe) {
  return with_recipe(json::parse(settings), json::parse(recipe));
}

TEST(WithRecipe, WhatIsGivenWins) {
  const json out = repeated(R"({"seed": 8, "prompt": "b"})", R"({"seed": 7, "prompt": "a", "width": 64,
      "model": "m", "engine": "e", "format": 1, "noise": "n.safetensors", "rng": "torch-cuda"})");
  EXPECT_EQ(out, json::parse(R"({"seed": 8, "prompt": "b", "width": 64, "rng": "torch-cuda"})"));
}

TEST(WithRecipe, StepsSigmasAndSpacingSayTheSameThingTwice) {
  const char* recipe = R"({"sigmas": [1, 0.5], "steps": 2})";
  EXPECT_EQ(repeated("{}", recipe).at("sigmas").size(), 2u);
  EXPECT_FALSE(repeated("{}", recipe).contains("steps"));
  EXPECT_FALSE(repeated(R"({"steps": 9})", recipe).contains("sigmas"));
  EXPECT_EQ(repeated(R"({"spacing": "beta"})", recipe).at("steps"), 2);
  EXPECT_FALSE(repeated(R"({"spacing": "beta"})", recipe).contains("sigmas"));
  EXPECT_FALSE(repeated(R"({"sigmas": [0.9]})", R"({"spacing": "karras", "steps": 3})").contains("spacing"));
}

TEST(WithRecipe, GuidanceBelongsToTheCfgThatRan) {
  const char* recipe = R"({"cfg": 4, "guidance_schedule": "cosine", "guidance_interval": "0,0.5"})";
  EXPECT_EQ(repeated("{}", recipe).at("guidance_schedule"), "cosine");
  EXPECT_EQ(repeated("{}", recipe).at("negative"), "");
  EXPECT_FALSE(repeated(R"({"cfg": 1})", recipe).contains("guidance_schedule"));
  EXPECT_FALSE(repeated("{}", R"({"cfg": 1})").contains("negative"));
}

TEST(WithRecipe, StrengthNeedsAPictureAndASheetItsCount) {
  EXPECT_FALSE(repeated("{}", R"({"strength": 0.4, "init": "a.png"})").contains("strength"));
  EXPECT_EQ(repeated(R"({"init": "b.png"})", R"({"strength": 0.4, "init": "a.png"})").at("strength"), 0.4);
  const char* int8 = R"({"precision": "int8", "int8_group": 64})";
  EXPECT_EQ(repeated("{}", int8).at("int8_group"), 64);
  EXPECT_FALSE(repeated(R"({"precision": "bf16"})", int8).contains("int8_group"));
  EXPECT_EQ(repeated(R"({"precision": "int7"})", int8).at("int8_group"), 64);
  const char* text = R"({"precision": "bf16", "text_precision": "int8", "int8_group": 64})";
  EXPECT_EQ(repeated("{}", text).at("int8_group"), 64);
  EXPECT_FALSE(repeated(R"({"text_precision": "auto"})", text).contains("int8_group"));
  // Of a file of factors only the name is known.
  EXPECT_FALSE(repeated("{}", R"({"precision": "int8", "smooth": "f.safetensors"})").contains("smooth"));
  EXPECT_EQ(repeated("{}", R"({"precision": "int8", "smooth": "off"})").at("smooth"), "off");
  EXPECT_FALSE(
      repeated(R"({"precision": "bf16"})", R"({"precision": "int8", "smooth": "off"})").contains("smooth"));
  const json sheet = repeated("{}", R"({"pictures": 6, "columns": 2, "seed": 3})");
  EXPECT_EQ(sheet.at("count"), 6);
  EXPECT_EQ(sheet.at("columns"), 2);
  EXPECT_EQ(sheet.at("sheet"), true);
  EXPECT_FALSE(repeated(R"({"count": 2})", R"({"pictures": 6, "columns": 2})").contains("columns"));
}

}  // namespace
}  // namespace darkroom
