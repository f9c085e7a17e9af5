#include "base/number_text.h"

#include <gtest/gtest.h>

namespace darkroom {
namespace {

TEST(NumberText, TakesWholeTextsWithinTheLimits) {
  EXPECT_EQ(number_in("0.5", 0.0, 1.0), 0.5);
  EXPECT_EQ(number_in("1e-3", 0.0, 1.0), 1e-3);
  EXPECT_EQ(number_in("1", 0.0, 1.0), 1.0);
  EXPECT_EQ(number_in("-7", -7, 7), -7);
  EXPECT_EQ(number_in(" 1\t", 0.0, 1.0), 1.0) << "blanks around a number do not count";
  for (const char* text : {"", "1 0", " ", "+1", "1x", "nan", "inf", "1.5", "-0.1", "1e999", "0x1"}) {
    EXPECT_FALSE(number_in(text, 0.0, 1.0)) << text;
  }
  for (const char* text : {"", "8", "-8", "1.0", "99999999999999999999"})
    EXPECT_FALSE(number_in(text, -7, 7)) << text;
}

}  // namespace
}  // namespace darkroom
