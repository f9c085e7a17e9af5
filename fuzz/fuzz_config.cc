// libFuzzer target: any bytes as a model's config.json and as an index of weights.
#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "weights/weight_files.h"

namespace {

using darkroom::JsonFields;

// Runs `work`; an Error must carry one printable line.
template <typename Work>
void attempt(const Work& work) {
  try {
    work();
  } catch (const darkroom::Error& e) {
    const std::string message = e.what();
    if (!std::ranges::all_of(message, [](unsigned char c) { return c >= ' ' && c <= '~'; })) __builtin_trap();
  }
}

// Every kind of field under names that configs use, so that mutations of a real config reach them.
void read_fields(const nlohmann::json& object) {
  const JsonFields fields(object, "input");
  for (const char* name : {"num_layers", "num_attention_heads", "axes_dims_rope", "scaling_factor",
                           "guidance_embeds", "_class_name", "eos_token_id", "a"}) {
    attempt([&] {
      const int64_t value = fields.integer(name, 7, 1, 1000);
      if (value < 1 || value > 1000) __builtin_trap();
    });
    attempt([&] { fields.required_integer(name, INT64_MIN, INT64_MAX); });
    attempt([&] {
      const double value = fields.number(name, 1, 0, 10);
      if (!(value >= 0 && value <= 10)) __builtin_trap();
    });
    attempt([&] { fields.boolean(name, true); });
    attempt([&] { fields.text(name, ""); });
    attempt([&] {
      if (fields.integers(name, {}, -5, 5000).size() > 64) __builtin_trap();
    });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  attempt([&] {
    const nlohmann::json document = darkroom::parse_json(text, "input");
    read_fields(document);
  });
  attempt([&] {
    const darkroom::WeightIndex index = darkroom::parse_weight_index(text, "input");
    for (const std::string& shard : index.shards) {
      if (shard.find('/') != std::string::npos || shard == "..") __builtin_trap();
    }
  });
  return 0;
}
