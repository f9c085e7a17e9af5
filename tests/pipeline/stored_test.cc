// Quantised weights through the whole pipeline: read from files.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "backends/registry.h"
#include "base/temp_folder.h"
#include "expected.h"
#include "pipeline/inspect.h"
#include "pipeline/pipeline.h"
#include "pipeline/plan.h"
#include "stored_models.h"

namespace darkroom {
namespace {

Request small_request() {
  Request request;
  request.prompt = "a red circle on the left";
  request.width = request.height = 64;
  request.steps = 3;
  request.seed = 9;
  request.max_text_tokens = 12;
  request.precision = "f32";  // nothing but the weights differs
  return request;
}

struct Drawn {
  Picture picture;
  std::vector<std::string> notes;
};

Drawn draw(const Model& model, const Request& request) {
  const auto backend = make_backend({.name = "cpu", .isa = "auto", .threads = 2});
  const std::atomic<bool> cancel{false};
  Drawn drawn;
  Listeners listeners;
  listeners.on_picture = [&](const Picture& picture) { drawn.picture = picture; };
  listeners.on_note = [&](const std::string& note) { drawn.notes.push_back(note); };
  generate(model, *backend, decide(request, model), listeners, cancel);
  return drawn;
}

// Measured: TODO dB.
TEST(StoredWeights, QuantisedFilesDrawNearlyTheSamePicture) {
  const TempFolder folder;
  write_stored_model(folder / "bf16", StoredAs::kBF16, true);
  const Drawn exact = draw(Model::open(folder / "bf16"), small_request());
  EXPECT_TRUE(exact.notes.empty());
  struct Case {
    const char* name;
    StoredAs as;
    DType dtype;
    double db;
  };
  for (const Case& c : {Case{"plain", StoredAs::kPlainF8, DType::kF8E4M3, 10},
                        Case{"scaled", StoredAs::kScaledF8, DType::kF8E4M3, 10},
                        Case{"int8", StoredAs::kI8, DType::kI8, 10}}) {
    SCOPED_TRACE(c.name);
    write_stored_model(folder / c.name, c.as, true);
    const Model model = Model::open(folder / c.name);
    EXPECT_EQ(model.part_dtype(Part::kTransformer), c.dtype);
    EXPECT_EQ(model.part_dtype(Part::kT5), c.dtype);
    EXPECT_EQ(decide({}, model).precision, DType::kBF16);  // auto
    const Drawn drawn = draw(model, small_request());
    const double db = psnr(drawn.picture.image.rgb, exact.picture.image.rgb);
    RecordProperty(c.name, std::to_string(db));
    printf("%s %.2f dB\n", c.name, db);
    EXPECT_GE(db, c.db);
    EXPECT_NE(drawn.picture.latents, exact.picture.latents);
    // Once for each part, not for each tensor.
    EXPECT_EQ(drawn.notes.size(), c.as == StoredAs::kScaledF8 ? 2u : 0u);
    // What is counted is what lies in the file, without the scales that nobody reads.
    const Plan plan = make_plan(model, decide(small_request(), model));
    EXPECT_EQ(plan.phase("denoise").weight_bytes + plan.phase("modulation").weight_bytes,
              part_size(model, Part::kTransformer).bytes);
    EXPECT_LT(part_size(model, Part::kTransformer).bytes,
              part_size(Model::open(folder / "bf16"), Part::kTransformer).bytes * 6 / 10);
    EXPECT_EQ(part_size(model, Part::kTransformer).parameters,
              part_size(Model::open(folder / "bf16"), Part::kTransformer).parameters);
  }
  const nlohmann::json info = inspect(folder / "int8");
  EXPECT_EQ(info.at("parts").at(2).at("dtype"), "i8");
  EXPECT_GT(info.at("parts").at(2).at("scales"), 0);
  const nlohmann::json file = inspect(folder / "scaled/transformer");
  EXPECT_EQ(file.at("parameters"), info.at("parts").at(2).at("parameters"));
  EXPECT_GT(file.at("scales"), 0);
}

}  // namespace
}  // namespace darkroom
