#include <algorithm>
#include <deque>
#include <set>

#include "image/foreign/json_fields.h"
#include "image/foreign/names.h"
#include "image/foreign/readers.h"
#include "image/text.h"

// ComfyUI's `prompt`: a graph, {"id": {"class_type": .., "inputs": {name: value or ["id", output]}}}. From
// the node that saves the picture the links are followed back to the sampler that starts from noise, and from
// it to the prompts, the size and the model. What is met on the way and is not understood is named. The noise
// is torch's on the CPU.

namespace darkroom {

using nlohmann::json;

namespace {

bool is_node(const json& value) {
  if (!value.is_object()) return false;
  const auto name = value.find("class_type"), inputs = value.find("inputs");
  return name != value.end() && name->is_string() && inputs != value.end() && inputs->is_object();
}

// A node of the graph, or none.
struct Node {
  std::string id = {};
  const json* value = nullptr;

  explicit operator bool() const { return value != nullptr; }
  std::string type() const { return value->at("class_type").get<std::string>(); }
  const json& inputs() const { return value->at("inputs"); }
  bool has(const char* name) const { return inputs().contains(name); }
};

class Graph {
 public:
  explicit Graph(const json& nodes) : nodes_(nodes) {}

  Node node(const std::string& id) const {
    const auto at = nodes_.find(id);
    return at != nodes_.end() && is_node(*at) ? Node{id, &*at} : Node{};
  }

  // The node that an input is linked to.
  Node origin(const json& input) const {
    if (!input.is_array() || input.size() != 2) return {};
    return input[0].is_string() ? node(input[0].get<std::string>())
                                : node(input[0].is_number_integer() ? input[0].dump() : "");
  }
  Node origin(const Node& from, const char* name) const {
    return from && from.has(name) ? origin(from.inputs()[name]) : Node{};
  }

  // An input's value, through the nodes that only hold one; null when there is none or it is computed.
  const json* value(const Node& from, const char* name) const;

  template <typename Visit>
  void each(Visit visit) const {
    for (const auto& [id, value] : nodes_.items()) {
      if (is_node(value)) visit(Node{id, &value});
    }
  }

 private:
  const json& nodes_;
};

const json* Graph::value(const Node& from, const char* name) const {
  if (!from || !from.has(name)) return nullptr;
  const json* input = &from.inputs()[name];
  for (int links = 0; links < 16; ++links) {
    if (!input->is_structured()) return input;
    const Node holder = origin(*input);
    if (!holder) return nullptr;
    input = nullptr;
    // One input of its own kind and no other: a node that computes something from it has more.
    for (const char* field :
         {"value", "seed", "noise_seed", "int", "float", "Number", "text", "string", "String", "prompt",
          "Text", "number", "width", "height", "steps", "any", "source"}) {
      if (!holder.has(field)) continue;
      input = &holder.inputs()[field];
      break;
    }
    if (!input) return nullptr;
  }
  return nullptr;
}

bool is_sampler(const Node& node) {
  const bool has_seed = node.has("seed") || node.has("noise_seed");
  return (node.has("noise") && node.has("guider") && node.has("sigmas")) ||
         (has_seed && (node.has("steps") || node.has("sigmas")) && (node.has("positive") || node.has("cfg")));
}

bool is_output(const Node& node) {
  const std::string type = lower_case(node.type());
  const bool named = type.find("save") != std::string::npos || type.find("preview") != std::string::npos;
  return named && (node.has("images") || node.has("image"));
}

// Reads one graph into what was found.
class GraphReader {
 public:
  GraphReader(const json& nodes, FoundRecipe& found) : graph_(nodes), found_(found) {}
  void read();

 private:
  std::vector<Node> samplers_before(const Node& node, std::set<std::string>* seen) const;
  std::vector<Node> samplers() const;
  void read_sampler_node(const Node& node);
  void read_noise(const Node& node);
  void read_steps(const Node& node, const std::string& whose);
  void read_text(const Node& node, std::string& out, const char* which, bool has_guidance);
  void read_encoder(const Node& node, std::string& out, const char* which, bool has_guidance);
  void read_latent(const Node& node);
  void read_model(Node node);
  void read_shift(const Node& node);
  void name_node(const Node& node, const char* why);
  void name_computed(const Node& node, const char* input);

  void seed(const Node& node, const char* input);
  void count(const Node& node, const char* input, std::optional<int64_t>& out);
  void number(const Node& node, const char* input, std::optional<double>& out);
  std::string text(const Node& node, const char* input);

  Graph graph_;
  FoundRecipe& found_;
};

void GraphReader::name_node(const Node& node, const char* why) {
  std::string values;
  for (const auto& [name, value] : node.inputs().items()) {
    if (!value.is_structured()) values += (values.empty() ? "" : ", ") + name + " " + value_text(value);
  }
  add_not_repeated(found_, "node " + node.type(), values, why);
}

void GraphReader::name_computed(const Node& node, const char* input) {
  if (node && node.has(input)) add_not_repeated(found_, input, "of node " + node.type(), "it is computed");
}

void GraphReader::seed(const Node& node, const char* input) {
  const json* value = graph_.value(node, input);
  value ? store_seed(input, *value, found_) : name_computed(node, input);
}

void GraphReader::count(const Node& node, const char* input, std::optional<int64_t>& out) {
  const json* value = graph_.value(node, input);
  value ? store_count(input, *value, out, found_) : name_computed(node, input);
}

void GraphReader::number(const Node& node, const char* input, std::optional<double>& out) {
  const json* value = graph_.value(node, input);
  value ? store_number(input, *value, out, found_) : name_computed(node, input);
}

std::string GraphReader::text(const Node& node, const char* input) {
  const json* value = graph_.value(node, input);
  if (!value) name_computed(node, input);
  return value && value->is_string() ? clean_utf8(value->get<std::string>()) : "";
}

// All samplers from which `start` is made, the nearest first; nodes that were seen before are passed over.
std::vector<Node> GraphReader::samplers_before(const Node& start, std::set<std::string>* seen) const {
  std::vector<Node> found;
  if (!seen->insert(start.id).second) return found;
  for (std::deque<Node> queue = {start}; !queue.empty(); queue.pop_front()) {
    const Node node = queue.front();
    if (is_sampler(node)) found.push_back(node);
    for (const json& input : node.inputs()) {
      const Node origin = graph_.origin(input);
      if (origin && seen->insert(origin.id).second) queue.push_back(origin);
    }
  }
  return found;
}

// Those that lead to the picture that was saved; any at all when nothing is seen to be saved.
std::vector<Node> GraphReader::samplers() const {
  std::vector<Node> found;
  std::set<std::string> seen;
  graph_.each([&](const Node& node) {
    if (found.empty() && is_output(node)) found = samplers_before(node, &seen);
  });
  if (!found.empty()) return found;
  graph_.each([&](const Node& node) {
    if (is_sampler(node)) found.push_back(node);
  });
  return found;
}

void GraphReader::read() {
  found_.recipe.rng = "torch-cpu";
  found_.recipe.engine = "ComfyUI";
  const std::vector<Node> all = samplers();
  if (all.empty()) {
    found_.notes.push_back("the graph has no sampler that is understood");
    return;
  }
  const Node& first = all.back();  // the one that the others go on from
  for (const Node& node : all) {
    if (node.id != first.id) name_node(node, "a further sampler");
  }
  read_sampler_node(first);
}

void GraphReader::read_noise(const Node& node) {
  const Node noise = graph_.origin(node, "noise");
  if (!noise) return seed(node, node.has("noise_seed") ? "noise_seed" : "seed");
  if (!noise.has("noise_seed") && !noise.has("seed")) return name_node(noise, "the noise");
  seed(noise, noise.has("noise_seed") ? "noise_seed" : "seed");
}

// Steps and spacing, of the sampler itself or of the node that gives its sigmas.
void GraphReader::read_steps(const Node& node, const std::string& whose) {
  if (!node.has("steps")) return name_node(node, "its sigmas");
  count(node, "steps", found_.recipe.steps);
  if (node.has("scheduler")) {
    read_spacing("scheduler", text(node, "scheduler"), found_);
  } else if (whose == "sigmas") {
    name_node(node, "simple instead");
  }
  for (const auto& [name, usual] : {std::pair("denoise", 1.0), std::pair("start_at_step", 0.0)}) {
    const json* value = graph_.value(node, name);
    if (value && value->is_number() && value->get<double>() != usual) {
      add_not_repeated(found_, name, value_text(*value));
    }
  }
  const json* end = graph_.value(node, "end_at_step");
  if (end && end->is_number() && end->get<double>() < static_cast<double>(found_.recipe.steps.value_or(0))) {
    add_not_repeated(found_, "end_at_step", value_text(*end));
  }
}

void GraphReader::read_sampler_node(const Node& node) {
  Recipe& recipe = found_.recipe;
  read_noise(node);
  const Node sigmas = graph_.origin(node, "sigmas"), sampler = graph_.origin(node, "sampler");
  const Node guider = graph_.origin(node, "guider");
  const Node& guided = guider ? guider : node;  // who has prompts and cfg
  if (sigmas || node.has("steps")) read_steps(sigmas ? sigmas : node, sigmas ? "sigmas" : "");
  if (sampler && !sampler.has("sampler_name")) name_node(sampler, "euler instead");
  const Node& named = sampler ? sampler : node;
  if (named.has("sampler_name")) read_sampler("sampler_name", text(named, "sampler_name"), found_);
  if (guided.has("cfg")) number(guided, "cfg", recipe.cfg);
  const bool one_prompt = guided.has("conditioning");
  read_text(graph_.origin(guided, one_prompt ? "conditioning" : "positive"), recipe.prompt, "prompt", true);
  std::string negative;
  if (guided.has("negative")) read_text(graph_.origin(guided, "negative"), negative, "negative", false);
  if (!negative.empty()) recipe.negative = negative;
  if (guider && !one_prompt && guider.type() != "CFGGuider") name_node(guider, "CFG instead");
  read_latent(graph_.origin(node, "latent_image"));
  Node model = graph_.origin(guided, "model");
  if (!model) model = graph_.origin(sigmas, "model");
  read_model(model);
}

// The text that an encoder was given.
void GraphReader::read_encoder(const Node& node, std::string& out, const char* which, bool has_guidance) {
  const bool two = node.has("clip_l") && node.has("t5xxl");
  out = text(node, two ? "t5xxl" : node.has("text") ? "text" : "prompt");
  if (two && text(node, "clip_l") != out) {
    add_not_repeated(found_, "clip_l", text(node, "clip_l"), std::string("of the ") + which);
  }
  if (has_guidance && node.has("guidance")) number(node, "guidance", found_.recipe.guidance);
  const Node clip = graph_.origin(node, "clip");
  if (clip && clip.type() == "CLIPSetLastLayer") name_node(clip, "");
}

void GraphReader::read_text(const Node& start, std::string& out, const char* which, bool has_guidance) {
  Node node = start;
  for (int links = 0; node && links < 64; ++links) {
    if (node.type() == "ConditioningZeroOut") return;  // an empty one
    if (node.has("text") || node.has("t5xxl") || (node.has("clip") && node.has("prompt"))) {
      return read_encoder(node, out, which, has_guidance);
    }
    if (node.has("guidance") && node.has("conditioning")) {
      if (has_guidance) number(node, "guidance", found_.recipe.guidance);
    } else if (node.type() != "Reroute") {
      name_node(node, which);
    }
    Node next;
    for (const char* input : {"conditioning", "positive", "conditioning_1", "conditioning_to", ""}) {
      if (next) break;
      next = *input ? graph_.origin(node, input) : Node{};
    }
    if (!next && !node.inputs().empty()) next = graph_.origin(node.inputs().front());
    node = next;
  }
  add_not_repeated(found_, which, "", "its text was not found");
}

void GraphReader::read_latent(const Node& start) {
  Node node = start;
  for (int links = 0; node && links < 16; ++links) {
    if (node.has("width") && node.has("height") && !node.has("samples")) {
      count(node, "width", found_.recipe.width);
      count(node, "height", found_.recipe.height);
      const json* batch = graph_.value(node, "batch_size");
      if (batch && batch->is_number() && *batch != 1) {
        add_not_repeated(found_, "batch_size", value_text(*batch), "the noise of its first picture");
      }
      return;
    }
    name_node(node, "what it starts from");
    Node next = graph_.origin(node, "samples");
    if (!next) next = graph_.origin(node, "pixels");
    node = next;
  }
}

// ModelSamplingFlux with its usual values is what FLUX.1 dev has by itself.
void GraphReader::read_shift(const Node& node) {
  const json* most = graph_.value(node, "max_shift");
  const json* base = graph_.value(node, "base_shift");
  const bool usual = most && base && *most == 1.15 && *base == 0.5;
  if (!usual) name_node(node, "");
}

void GraphReader::read_model(Node node) {
  for (int links = 0; node && links < 64; ++links) {
    for (const char* name : {"unet_name", "ckpt_name", "model_name", "model_path"}) {
      if (!node.has(name)) continue;
      found_.recipe.model = base_name(text(node, name));
      const std::string weights = node.has("weight_dtype") ? text(node, "weight_dtype") : "default";
      if (weights != "default") add_not_repeated(found_, "weight_dtype", weights);
      return;
    }
    if (node.has("lora_name")) {
      const json* strength = graph_.value(node, "strength_model");
      add_not_repeated(found_, "LoRA",
                       text(node, "lora_name") + ":" + (strength ? value_text(*strength) : "1"));
    } else if (node.type() == "ModelSamplingFlux") {
      read_shift(node);
    } else if (node.type() != "Reroute") {
      name_node(node, "");
    }
    Node next = graph_.origin(node, "model");
    if (!next && !node.inputs().empty()) next = graph_.origin(node.inputs().front());
    node = next;
  }
}

bool is_graph(const json& object) { return object.is_object() && std::ranges::any_of(object, is_node); }

}  // namespace

bool is_comfyui(const json& object) {
  return is_graph(object) || (object.contains("prompt") && is_graph(object["prompt"]));
}

void read_comfyui(const json& object, const Texts&, FoundRecipe& found) {
  GraphReader(is_graph(object) ? object : object["prompt"], found).read();
}

}  // namespace darkroom
