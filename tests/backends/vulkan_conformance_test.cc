// The op table on a Vulkan device, against the reference backend. One core for all cases: a driver compiles a
// pipeline in tenths of a second.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "backends/reference/reference.h"
#include "selftest/trial.h"
#include "vulkan_test_util.h"

namespace darkroom {
namespace {

class VulkanConformance : public VulkanTest {
 protected:
  void run(vulkan::CoreOptions wanted, std::size_t every) {
    wanted.highest_class = vulkan::class_of("");
    DARKROOM_OPEN_VULKAN(core, wanted);
    const auto backend = vulkan::make_backend(core);
    const auto memory = backend->allocate(kTrialBytes);
    const bool matrices = core->device.info().device_class >= vulkan::DeviceClass::kMatrix;
    const std::vector<OpCase> cases = op_cases();
    // Of most storages some cases: vulkan_linear_test.cc compares what every storage is decoded to.
    const std::vector<Trial> all = trials(cases, 4);
    for (std::size_t i = 0; i < all.size(); i += every) {
      SCOPED_TRACE(all[i].name());
      try {
        const TrialResult got = run_trial(all[i], *backend, *memory);
        const Expected expected = expected_of(all[i], *reference_, host_, matrices);
        ASSERT_EQ(compare(got, expected, all[i].op->terms).wrong, "");
        ++compared_;
      } catch (const Error& e) {
        if (!std::string(e.what()).starts_with("attention in 8 bits: not on this device")) throw;
      }
    }
    EXPECT_GE(compared_, 400 / every);
  }

  std::unique_ptr<Backend> reference_ = make_reference_backend();
  Buffer host_{kTrialBytes};
  std::size_t compared_ = 0;
};

TEST_F(VulkanConformance, MatchesReference) { run(options(), 1); }

// Both ways of copies, and a barrier at every submit, on some of the cases.
TEST_F(VulkanConformance, MatchesReferenceThroughStaging) {
  vulkan::CoreOptions wanted = options();
  wanted.memory.force_staging = true;
  wanted.recorder.most_dispatches = 1;
  run(wanted, 7);
}

}  // namespace
}  // namespace darkroom

DARKROOM_LAYER_LEAKS()
