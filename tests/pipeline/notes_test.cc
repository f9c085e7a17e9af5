// What a backend has to say reaches whoever draws.
#include <gtest/gtest.h>

#include "pipeline/drawn.h"

namespace darkroom {
namespace {

TEST(Notes, TheBackendsComesFirstAndOnce) {
  const Checkpoint model = Checkpoint::dummy("tiny");
  Request request = small_request();
  request.steps = 1;
  const auto backend = make_backend({.name = "cpu", .isa = "auto", .threads = 2});
  const std::vector<std::string> without = draw(model, request, *backend).notes;
  backend->set_note("its matrix units are wrong");
  std::vector<std::string> expected = without;
  expected.insert(expected.begin(), "its matrix units are wrong");
  EXPECT_EQ(draw(model, request, *backend).notes, expected);
}

}  // namespace
}  // namespace darkroom
