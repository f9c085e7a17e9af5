#include "calibrate/calibrate.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/sha256.h"
#include "calibrate/bounds.h"
#include "calibrate/matrix_rows.h"
#include "calibrate/salience.h"
#include "image/recipe.h"
#include "weights/safetensors.h"
#include "weights/smoothing.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

constexpr const char *kSettings = "settings", *kPictures = "pictures", *kModel = "model", *kMethod = "method",
                     *kAlpha = "alpha";

std::function<void(const VisitFn&)> visitor_of(const Checkpoint& model) {
  return [&model](const VisitFn& visit) { model.visit(Part::kTransformer, visit); };
}

// Of the columns of the weights that multiply an input: the largest magnitude, and the sum of squares.
struct ColumnSums {
  std::vector<float> largest, squares;
  Magnitudes magnitudes() const { return {largest, squares}; }
};

// By the input's name.
std::map<std::string, ColumnSums> weigh_columns(const Checkpoint& model, const std::atomic<bool>& cancel) {
  const std::unique_ptr<WeightSource> source = model.open_weights(Part::kTransformer);
  std::map<std::string, ColumnSums> sums;
  model.visit(Part::kTransformer, [&](const Param& param, Tensor&) {
    if (!has_smoothed_input(param)) return;
    ColumnSums& own = sums[param.fed_by];
    own.largest.resize(static_cast<std::size_t>(param.cols()));
    own.squares.resize(own.largest.size());
    for_matrix_rows(*source, param, cancel, [&](int64_t, std::span<const float> row) {
      for (std::size_t c = 0; c < row.size(); ++c) {
        own.largest[c] = std::max(own.largest[c], std::fabs(row[c]));
        own.squares[c] += row[c] * row[c];
      }
    });
    for (const float value : own.squares) {
      require(std::isfinite(value), ErrorCode::kModel, "{}: holds a number that is not finite, or too large",
              model.place_of(Part::kTransformer, param));
    }
  });
  return sums;
}

class Calibration {
 public:
  Calibration(const Checkpoint& model, Backend& backend, const CalibrateOptions& options,
              const CalibrateListeners& listeners, const std::atomic<bool>& cancel)
      : model_(model),
        backend_(backend),
        options_(options),
        listeners_(listeners),
        cancel_(cancel),
        prompts_(prompts_of(model, options)),
        job_(decide_values(request_of(0), model)),
        salience_(visitor_of(model), draws() ? job_.steps() : 0) {
    require(!model.is_smoothed(), ErrorCode::kUsage, "{} has smoothing factors already", model.name());
    require(!job_.int8, ErrorCode::kUsage,
            "precision: a calibration needs the exact values; pass bf16 or f32, or leave it out");
    require(!job_.starts_from_picture() && job_.count == 1 && job_.loras.empty(), ErrorCode::kUsage,
            "a calibration draws from noise, one picture a prompt, without LoRAs");
    require(std::isfinite(options.alpha) && options.alpha >= 0 && options.alpha <= 1, ErrorCode::kUsage,
            "alpha is {}, allowed are 0 to 1", options.alpha);
    if (!draws()) {
      require(!fs::exists(options.out), ErrorCode::kOutput,
              "{}: is there already; remove it, or choose another name", options.out.string());
      require(options.prompts.empty(), ErrorCode::kUsage, "prompts: the method weights draws no pictures");
    }
    go_on();
  }

  void run(const EmbedCacheOptions& embeddings) {
    if (!draws()) return save_factors(bounds(embeddings));
    Machine machine = machine_of(backend_);
    machine.held_bytes = salience_.bytes();
    for (; done_ < static_cast<int>(prompts_.size()); save()) {
      const Decision decision = decide(request_of(done_), model_, machine);
      Listeners listeners;
      listeners.on_progress = [&](const Progress& progress) {
        if (listeners_.on_progress)
          listeners_.on_progress(done_, static_cast<int>(prompts_.size()), progress);
      };
      listeners.on_note = [&](const std::string& text) {
        if (done_ == first_) note(text);
      };
      listeners.on_input = [&](int step, const std::string& input, const Tensor& x) {
        look_at(step, input, x);
      };
      generate(model_, backend_, decision, listeners, cancel_, embeddings);
      ++done_;
    }
    save_factors([&](const std::string& input) { return salience_.of(input); });
  }

 private:
  static std::vector<std::string> prompts_of(const Checkpoint& model, const CalibrateOptions& options) {
    if (options.method == SmoothMethod::kWeights) return {""};
    return options.prompts.empty() ? calibration_prompts(model) : options.prompts;
  }
  bool draws() const { return options_.method != SmoothMethod::kWeights; }
  Request request_of(int picture) const {
    Request request = options_.request;
    request.prompt = prompts_[static_cast<std::size_t>(picture)];
    request.seed = request.seed.value_or(0) + static_cast<uint64_t>(picture);
    return request;
  }
  // What the salience depends on beside the model.
  std::string settings() const {
    Request settled = job_.settled;
    settled.prompt.clear();
    Sha256 prompts;
    for (const std::string& prompt : prompts_) prompts.add(std::to_string(prompt.size()) + ":" + prompt);
    nlohmann::json out = nlohmann::json::parse(to_json(Recipe{settled}));
    for (const char* costs : {"budget", "scratch", "weights"}) out.erase(costs);
    out["prompts"] = hex(prompts.finish());
    return out.dump();
  }
  void note(const std::string& text) const {
    if (listeners_.on_note) listeners_.on_note(text);
  }
  void look_at(int step, const std::string& input, const Tensor& x) {
    std::vector<float> magnitudes(static_cast<std::size_t>(2 * x.cols()));
    Arena none = Arena::counting();
    ops::column_magnitudes_into({backend_, none, x.dtype}, x,
                                Tensor(magnitudes.data(), DType::kF32, {2, x.cols()}));
    salience_.add(input, step, magnitudes);
  }

  // Takes what an earlier call has left.
  void go_on() {
    if (!draws() || !fs::exists(options_.out)) return;
    const TensorFile file(options_.out);
    const auto& found = file.metadata();
    const auto says = [&](const char* field) {
      const auto at = found.find(field);
      return at == found.end() ? std::string() : at->second;
    };
    require(says(kSmoothFormatField) == kSmoothFormat, ErrorCode::kOutput,
            "{}: is there already, and no calibration; choose another name", options_.out.string());
    require(
        says(kModel) == model_.name() && says(kSettings) == settings(), ErrorCode::kOutput,
        "{}: a calibration of another model, or with other settings or prompts; remove it, or choose another "
        "name",
        options_.out.string());
    salience_.read(file);
    done_ = first_ = std::min(std::atoi(says(kPictures).c_str()), static_cast<int>(prompts_.size()));
    note(fmt::format("{} of {} pictures were drawn before", done_, prompts_.size()));
  }

  void save(std::span<const NamedTensor> factors = {}) {
    std::vector<NamedTensor> tensors;
    if (draws()) tensors = salience_.tensors();
    tensors.insert(tensors.end(), factors.begin(), factors.end());
    std::map<std::string, std::string> metadata = {{kSmoothFormatField, kSmoothFormat},
                                                   {kModel, model_.name()},
                                                   {kSettings, settings()},
                                                   {kPictures, std::to_string(done_)}};
    if (!factors.empty()) {
      metadata[kMethod] = smooth_method_name(options_.method);
      metadata[kAlpha] = fmt::format("{}", options_.alpha);
    }
    write_safetensors(options_.out, tensors, {.metadata = metadata, .overwrite = true});
  }

  // A single block's output layer multiplies attention and MLP side by side, with a scale for each D of them.
  std::vector<int64_t> segments_of(std::size_t channels) const {
    const int64_t d = model_.config().transformer.inner_dim(), all = static_cast<int64_t>(channels);
    return all == 5 * d ? std::vector<int64_t>{d, 4 * d} : std::vector<int64_t>{all};
  }
  using InputMagnitudes = std::function<Magnitudes(const std::string& input)>;
  InputMagnitudes bounds(const EmbedCacheOptions& embeddings) {
    Listeners listeners;
    listeners.on_note = [&](const std::string& text) { note(text); };
    listeners.on_modulation = [&](std::span<const float> vectors) {
      bounds_ = bound_squares(model_, vectors, cancel_);
    };
    generate(model_, backend_, decide(request_of(0), model_, machine_of(backend_)), listeners, cancel_,
             embeddings);
    return [&](const std::string& input) { return Magnitudes{{}, bounds_.at(input)}; };
  }
  void save_factors(const InputMagnitudes& inputs) {
    std::map<std::string, std::vector<float>> factors;
    std::vector<NamedTensor> tensors;
    for (const auto& [input, weights] : weigh_columns(model_, cancel_)) {
      std::vector<float>& own = factors[input];
      own = smooth_factors(options_.method, options_.alpha, inputs(input), weights.magnitudes(),
                           segments_of(weights.largest.size()));
      tensors.push_back({input + std::string(kSmoothEnding),
                         Tensor(own.data(), DType::kF32, {static_cast<int64_t>(own.size())})});
    }
    save(tensors);
  }

  const Checkpoint& model_;
  Backend& backend_;
  const CalibrateOptions& options_;
  const CalibrateListeners& listeners_;
  const std::atomic<bool>& cancel_;
  const std::vector<std::string> prompts_;
  const Job job_;  // of the first picture
  Salience salience_;
  int first_ = 0, done_ = 0;  // pictures
  std::map<std::string, std::vector<float>> bounds_;
};

}  // namespace

std::vector<std::string> calibration_prompts(const Checkpoint& model) {
  const std::vector<std::string>& own = model.settings().prompts.examples;
  if (!own.empty()) return own;
  return {"a portrait of an old fisherman in a yellow raincoat, soft window light",
          "a wide valley in autumn with a river and distant mountains, morning fog",
          "a shop sign that reads \"OPEN ALL NIGHT\" in red neon on a wet street",
          "a bowl of ripe oranges on a blue cloth, oil painting",
          "a small robot watering flowers on a balcony, isometric illustration",
          "a black cat asleep on a stack of books, ink drawing",
          "the inside of a bright modern kitchen, architectural photograph",
          "an astronaut riding a bicycle through a crowded market"};
}

void calibrate(const Checkpoint& model, Backend& backend, const CalibrateOptions& options,
               const CalibrateListeners& listeners, const std::atomic<bool>& cancel,
               const EmbedCacheOptions& embeddings) {
  require(backend.device() == Device::kHost, ErrorCode::kUsage,
          "calibration adds up what it sees on the host; leave --device out");
  Calibration(model, backend, options, listeners, cancel).run(embeddings);
}

}  // namespace darkroom
