// Whole runs on a Vulkan device: diffusers' pictures, within the device's memory that was planned.
#include <gtest/gtest.h>

#include "backends/reference/reference.h"
#include "backends/vulkan_test_util.h"
#include "lora_files.h"
#include "pipeline/parity_case.h"

namespace darkroom {
namespace {

class DevicePipeline : public VulkanTest {
 protected:
  std::unique_ptr<Backend> backend_of(const std::shared_ptr<vulkan::Core>& core) {
    return vulkan::make_backend(core);
  }
};
class DeviceParity : public DevicePipeline, public testing::WithParamInterface<std::string> {
 protected:
  Request request(const Case& test, const std::string& precision) const {
    return test.expected.has("init") ? request_from_picture(test, precision, folder_)
                                     : to_request(test.request, precision);
  }
  TempFolder folder_;
};

TEST_P(DeviceParity, F32IsTheReferencesPicture) {
  DARKROOM_OPEN_VULKAN(core);
  const Case test = load_case(GetParam());
  const Picture picture = draw(test, request(test, "f32"), *backend_of(core));
  EXPECT_GE(cosine(picture.latents, test.expected.floats("latents")), 0.99999);
  EXPECT_LT(relative_error(picture.latents, test.expected.floats("latents")), 1e-3);
  EXPECT_GE(psnr(picture.image.rgb, test.expected.bytes("picture")), 60);
}

// Both bf16 runs stray from the f32 picture; ours by at most 3 dB more than PyTorch's.
TEST_P(DeviceParity, Bf16IsAsCloseAsPyTorchs) {
  DARKROOM_OPEN_VULKAN(core);
  const Case test = load_case(GetParam());
  const std::vector<uint8_t> exact = test.expected.bytes("picture");
  const Picture picture = draw(test, request(test, "bf16"), *backend_of(core));
  EXPECT_GE(psnr(picture.image.rgb, exact), psnr(test.expected.bytes("bf16.picture"), exact) - 3);
}

INSTANTIATE_TEST_SUITE_P(Cases, DeviceParity,
                         testing::Values("dev_small", "schnell_head128", "dev_true_cfg", "custom_sigmas",
                                         "dev_img2img", "dev_img2img_cfg", "dev_inpaint"),
                         [](const auto& variant) { return variant.param; });

Request tiny_request() {
  Request request;
  request.prompt = "anything";
  request.width = request.height = 64;
  request.steps = 2;
  request.seed = 5;
  request.max_text_tokens = 24;
  return request;
}

std::vector<uint8_t> draw_tiny(const Checkpoint& model, const Request& request, Backend& backend,
                               Listeners listeners = {}) {
  std::vector<uint8_t> bytes;
  listeners.on_picture = [&](const Picture& p) { bytes = p.image.rgb; };
  const std::atomic<bool> cancel{false};
  generate(model, backend, decide(request, model, machine_of(backend)), listeners, cancel);
  return bytes;
}

// Every budget, and memory that the host cannot see, give the same picture; no phase takes more than planned.
TEST_F(DevicePipeline, EveryBudgetDrawsTheSamePictureWithinThePlan) {
  vulkan::CoreOptions wanted = options();
  wanted.memory.force_staging = true;
  DARKROOM_OPEN_VULKAN(core, wanted);
  const auto backend = backend_of(core);
  const Checkpoint model = Checkpoint::dummy("tiny");
  Request request = tiny_request();
  request.budget = "1T";
  const Plan all = make_plan(model, decide_values(request, model), machine_of(*backend));
  Listeners within;
  within.on_progress = [](const Progress& p) {
    if (!p.finished) return;
    EXPECT_LE(p.phase_peak_bytes, p.planned_bytes) << phase_name(p.phase);
  };
  const std::vector<uint8_t> expected = draw_tiny(model, request, *backend, within);
  ASSERT_EQ(expected.size(), 64u * 64 * 3);
  std::size_t streamed = 0;
  const std::size_t denoise = all.phase_bytes(all.phase(Phase::kDenoise));
  for (std::size_t saved = all.least_block_bytes; saved <= all.blocks.bytes() - all.least_block_bytes;
       saved += 2 * all.least_block_bytes) {
    std::size_t budget = denoise - saved;
    for (const PlannedPhase& phase : all.phases) {
      if (phase.phase != Phase::kDenoise) budget = std::max(budget, all.phase_bytes(phase));
    }
    request.budget = std::to_string(budget);
    streamed =
        std::max(streamed,
                 make_plan(model, decide_values(request, model), machine_of(*backend)).blocks.streamed_bytes);
    EXPECT_EQ(draw_tiny(model, request, *backend, within), expected) << budget;
  }
  EXPECT_GT(streamed, 0u);  // or nothing was tried
  EXPECT_EQ(backend->device_memory()->held_bytes, 0u);
}

// Of 8-bit products, weights of every kind and step caches the cpu's pictures are right.
TEST_F(DevicePipeline, DrawsWhatTheCpuDraws) {
  DARKROOM_OPEN_VULKAN(core);
  const auto backend = backend_of(core), reference = make_reference_backend();
  const Checkpoint model = Checkpoint::dummy("tiny");
  const auto expect_same = [&](const Request& request, double least) {
    const double found = psnr(draw_tiny(model, request, *backend), draw_tiny(model, request, *reference));
    EXPECT_GE(found, least) << request.weights << " " << request.precision << " " << request.cache;
  };
  for (const char* weights : {"fp8-scaled", "int8", "q8_0", "q4_k"}) {
    Request request = tiny_request();
    request.precision = "f32";
    request.weights = weights;
    expect_same(request, 60);
  }
  Request cached = tiny_request();
  cached.precision = "f32";
  cached.steps = 4;
  cached.cache = "teacache:0.3";
  expect_same(cached, 60);
  Request request = tiny_request();
  request.precision = "int8";
  expect_same(request, 40);
  request.int8_group = 32;
  expect_same(request, 40);
}

TEST_F(DevicePipeline, DrawsWithALora) {
  DARKROOM_OPEN_VULKAN(core);
  const auto backend = backend_of(core), reference = make_reference_backend();
  const TempFolder folder;
  write_stored_model(folder / "model", WeightStorage::kF8Scaled, true);
  Maker made(DType::kBF16);
  make_diffusers(made);
  made.write(folder / "lora.safetensors");
  const Checkpoint model = Checkpoint::open(folder / "model");
  Request request = tiny_request();
  request.precision = "f32";
  request.weights = "q4_k";
  const std::vector<uint8_t> without = draw_tiny(model, request, *reference);
  request.loras = {{folder / "lora.safetensors", 0.75}};
  const std::vector<uint8_t> wanted = draw_tiny(model, request, *reference);
  EXPECT_NE(wanted, without);
  EXPECT_GE(psnr(draw_tiny(model, request, *backend), wanted), 60);
}

TEST_F(DevicePipeline, StopsWithinABlock) {
  DARKROOM_OPEN_VULKAN(core);
  const auto backend = backend_of(core);
  const Checkpoint model = Checkpoint::dummy("tiny");
  const Decision decision = decide(tiny_request(), model, machine_of(*backend));
  std::atomic<bool> cancel{false};
  int after = 0;
  Listeners listeners;
  listeners.on_progress = [&](const Progress& p) {
    after += cancel;
    if (p.phase == Phase::kDenoise && p.block == 2) cancel = true;
  };
  try {
    generate(model, *backend, decision, listeners, cancel);
    FAIL() << "the run went on";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kCancelled);
  }
  EXPECT_LE(after, 1);
}

TEST_F(DevicePipeline, RefusesAttentionIn8Bits) {
  DARKROOM_OPEN_VULKAN(core);
  const auto backend = backend_of(core);
  Request request = tiny_request();
  request.attention = "int8";
  try {
    decide(request, Checkpoint::dummy("tiny"), machine_of(*backend));
    FAIL() << "it was taken";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kUsage);
  }
}

}  // namespace
}  // namespace darkroom
