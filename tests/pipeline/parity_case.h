// A run of diffusers' FluxPipeline (tests/fixtures/pipelines) and what darkroom draws of it.
#pragma once

#include <atomic>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/json.h"
#include "base/temp_folder.h"
#include "expected.h"
#include "image/png.h"
#include "ops/backend.h"
#include "pipeline/pipeline.h"

namespace darkroom {

struct Case {
  double strength = 1;  // of a case that starts from a picture
  nlohmann::json request;
  std::filesystem::path model;
  Expected expected;
};

inline Case load_case(const std::string& name) {
  const std::filesystem::path folder = fixture_path("pipelines/" + name);
  const nlohmann::json json = read_json_file(folder / "case.json", 1 << 20);
  return {json.value("strength", 1.0), json.at("request"),
          (folder / json.at("model").get<std::string>()).lexically_normal(),
          Expected(folder / "expected.safetensors")};
}

inline Request to_request(const nlohmann::json& json, const std::string& precision) {
  Request request;
  request.prompt = json.at("prompt");
  if (json.at("negative_prompt").is_string()) request.negative = json.at("negative_prompt");
  request.cfg = json.at("true_cfg_scale").get<double>();
  request.guidance = json.at("guidance").get<double>();
  request.width = json.at("width").get<int64_t>();
  request.height = json.at("height").get<int64_t>();
  request.steps = json.at("steps").get<int64_t>();
  request.seed = json.at("seed").get<uint64_t>();
  request.max_text_tokens = json.at("max_text_tokens").get<int64_t>();
  if (json.at("sigmas").is_array()) request.sigmas = json.at("sigmas").get<std::vector<double>>();
  request.precision = precision;
  return request;
}

inline Picture draw(const Case& test, const Request& request, Backend& backend) {
  const Checkpoint model = Checkpoint::open(test.model);
  const std::atomic<bool> cancel{false};
  Picture result;
  Listeners listeners;
  listeners.on_picture = [&](const Picture& picture) { result = picture; };
  generate(model, backend, decide(request, model, machine_of(backend)), listeners, cancel);
  return result;
}

// Of a case that starts from a picture, which with its mask, if it has one, becomes a file in the folder.
inline Request request_from_picture(const Case& test, const std::string& precision,
                                    const TempFolder& folder) {
  const auto write = [&](const std::string& name) {
    const Shape shape = test.expected.load(name).tensor.shape;
    const std::filesystem::path path = folder.path() / (name + ".png");
    write_png({static_cast<int>(shape[1]), static_cast<int>(shape[0]), test.expected.bytes(name)}, path,
              {.overwrite = true});
    return path;
  };
  Request request = to_request(test.request, precision);
  request.strength = test.strength;
  request.init_path = write("init");
  if (test.expected.has("mask")) request.mask_path = write("mask");
  return request;
}

}  // namespace darkroom
