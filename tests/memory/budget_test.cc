#include "memory/budget.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/temp_folder.h"
#include "memory/peak.h"
#include "process_peak.h"
#include "tensor/buffer.h"

namespace darkroom::memory {
namespace {

constexpr std::size_t kMiB = 1 << 20, kGiB = 1 << 30;

TEST(ParseBytes, TakesWhatPeopleWrite) {
  EXPECT_EQ(parse_bytes("12GiB"), 12 * kGiB);
  EXPECT_EQ(parse_bytes("8G"), 8 * kGiB);
  EXPECT_EQ(parse_bytes("6000MiB"), 6000 * kMiB);
  EXPECT_EQ(parse_bytes("1.5 gib"), kGiB * 3 / 2);
  EXPECT_EQ(parse_bytes("2GB"), 2'000'000'000u);
  EXPECT_EQ(parse_bytes("4096"), 4096u);
  EXPECT_EQ(parse_bytes("4096B"), 4096u);
  EXPECT_EQ(parse_bytes("1t"), 1024 * kGiB);
}

TEST(ParseBytes, RefusesEverythingElse) {
  for (const char* text : {"", "G", "12X", "12GiBs", "12 G B", "-1G", "0", "0.1", "nan", "inf", "1e400",
                           "1e5", "12,5G", "8388608T", "99999999999999999999", "auto", "12G\n"}) {
    EXPECT_FALSE(parse_bytes(text)) << text;
  }
}

TEST(ByteText, NamesAUnit) {
  EXPECT_EQ(byte_text(200), "200 B");
  EXPECT_EQ(byte_text(kGiB * 3 / 2), "1.5 GiB");
}

// A root folder with the files of a system of 8 GiB, 6 of them free.
class System : public testing::Test {
 protected:
  void SetUp() override {
    write("proc/meminfo", "MemTotal: 8388608 kB\nMemFree: 100 kB\nMemAvailable: 6291456 kB\n");
  }
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    root_.write(path, text);
  }
  TempFolder root_;
};

TEST_F(System, WithoutGroupsTheSystemDecides) {
  EXPECT_EQ(available_bytes(root_.path()), 6 * kGiB);
  write("proc/self/cgroup", "0::/a/b\n");  // its files are not there
  EXPECT_EQ(available_bytes(root_.path()), 6 * kGiB);
}

TEST_F(System, AGroupAboveMayAllowLess) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/b/memory.max", "max\n");
  write("sys/fs/cgroup/a/b/memory.current", "0\n");
  write("sys/fs/cgroup/a/memory.max", std::to_string(4 * kGiB));
  write("sys/fs/cgroup/a/memory.current", std::to_string(3 * kGiB));
  write("sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file " + std::to_string(1 * kGiB) + "\n");
  EXPECT_EQ(available_bytes(root_.path()), 2 * kGiB);  // a cached gigabyte can go
}

TEST_F(System, TheOlderGroupsCountToo) {
  write("proc/self/cgroup", "3:cpu:/x\n5:memory:/a\n");
  write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", std::to_string(1 * kGiB));
  write("sys/fs/cgroup/memory/a/memory.usage_in_bytes", std::to_string(2 * kGiB));  // over its limit
  EXPECT_EQ(available_bytes(root_.path()), 0u);
}

TEST(Available, UnknownIsSaidSo) {
  const TempFolder empty;
  EXPECT_FALSE(available_bytes(empty.path()));
  EXPECT_FALSE(automatic_budget(0, empty.path()));
}

TEST_F(System, TheAutomaticBudgetLeavesAMargin) {
  const std::size_t budget = *automatic_budget(0, root_.path());
  EXPECT_LE(budget, 6 * kGiB - 6 * kGiB / 16 + kMiB);
  EXPECT_GE(budget, 5 * kGiB);
  // What the process holds comes back as far as the plan counts it, and no further.
  EXPECT_EQ(*automatic_budget(1000, root_.path()), budget + 1000);
  EXPECT_LT(*automatic_budget(std::size_t{1} << 40, root_.path()), budget + 2 * resident_bytes());
}

TEST(PeakWatch, TakesTheMarkOnlyWhereItIsOfThisStretch) {
  constexpr std::size_t kMark = 900;
  PeakWatch watch;
  watch.begin({.now = 100, .mark = kMark});  // an earlier stretch held 900
  EXPECT_EQ(watch.bytes(), 100u);
  watch.look({.now = 300, .mark = kMark});
  watch.look({.now = 200, .mark = kMark});
  EXPECT_EQ(watch.bytes(), 300u) << "the largest that was seen";
  watch.look({.now = 250, .mark = kMark + 50});
  EXPECT_EQ(watch.bytes(), kMark + 50) << "more than ever before";
  watch.look({.now = 100, .mark = kMark + 50});
  EXPECT_EQ(watch.bytes(), kMark + 50);

  watch.begin({.now = 100, .mark = kMark});
  watch.look({.now = 120, .mark = 400});
  EXPECT_EQ(watch.bytes(), 400u) << "the owner has set the mark back";
  watch.look({.now = 120, .mark = 500});
  EXPECT_EQ(watch.bytes(), 500u);
  watch.look({.now = 120, .mark = 110});
  EXPECT_EQ(watch.bytes(), 500u) << "set back once more";
}

TEST(PeakWatch, SeesWhatTheProcessHolds) {
  reset_peak();
  PeakWatch watch;
  watch.begin();
  const std::size_t before = watch.bytes();
  ASSERT_GT(before, kMiB);
  {
    Buffer memory(64 * kMiB);
    std::memset(memory.data(), 1, memory.size());
    EXPECT_GE(resident_bytes(), before + 60 * kMiB);
  }
  EXPECT_LT(resident_bytes(), before + 16 * kMiB);
  watch.look();
  EXPECT_GE(watch.bytes(), before + 60 * kMiB) << "also between two looks";
  // A second stretch does not inherit the first one's peak, nor does watching change the kernel's mark.
  const std::size_t mark = peak_bytes();
  watch.begin();
  watch.look();
  EXPECT_LT(watch.bytes(), before + 16 * kMiB);
  EXPECT_EQ(peak_bytes(), mark);
}

}  // namespace
}  // namespace darkroom::memory
