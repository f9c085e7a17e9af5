// What happens on a device whose driver makes wrong code of some kernels: another class of them, or a refusal; and what
// is remembered of it.
#include "backends/checked.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>

#include "backend_functions.h"
#include "base/error.h"
#include "base/file_map.h"
#include "base/temp_folder.h"
#include "selftest/spoiled_backend.h"

namespace darkroom {
namespace {

class Checked : public testing::Test {
 protected:
  // A card of class M with these classes' linear layers wrong.
  std::unique_ptr<Backend> make(const std::set<std::string>& wrong) { return make(wrong, folder_.path()); }
  std::unique_ptr<Backend> make(const std::set<std::string>& wrong, const std::filesystem::path& folder) {
    made_.clear();
    calls_ = 0;
    const auto one = [&](const std::string& highest) -> std::unique_ptr<Backend> {
      made_.push_back(highest);
      const std::string own = highest.empty() ? "M" : highest;
      const bool spoiled = wrong.contains(own);
      return std::make_unique<SpoiledBackend>(
          [this, spoiled](const std::string& function) {
            ++calls_;
            if (function == "linear" && error_) throw *error_;
            return spoiled && function == "linear";
          },
          Backend::Identity{"a card", driver_, own, "kernels"});
    };
    return make_checked_backend(one, folder);
  }
  std::string refusal(const std::set<std::string>& wrong) {
    try {
      make(wrong);
    } catch (const Error& e) {
      code_ = e.code();
      return e.what();
    }
    return "";
  }
  std::vector<std::filesystem::path> files() const {
    const std::filesystem::directory_iterator all(folder_.path());
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : all) paths.push_back(entry.path());
    return paths;
  }

  using Names = std::vector<std::string>;
  TempFolder folder_;
  std::string driver_ = "driver 1";
  std::optional<Error> error_;
  Names made_;
  int calls_ = 0;
  ErrorCode code_{};
};

TEST_F(Checked, ARightOneIsCheckedOnceForEachDriver) {
  EXPECT_EQ(make({})->note(), "");
  EXPECT_EQ(made_, Names{""});
  EXPECT_GT(calls_, 0);
  EXPECT_EQ(files().size(), 1u);
  EXPECT_EQ(make({})->note(), "");
  EXPECT_EQ(calls_, 0);
  driver_ = "driver 2";
  make({});
  EXPECT_GT(calls_, 0);
  EXPECT_EQ(files().size(), 2u);
  make({});
  EXPECT_EQ(calls_, 0);
}

TEST_F(Checked, AWrongClassIsNotUsedAndTheNoteSaysSo) {
  const std::string note = make({"M"})->note();
  EXPECT_EQ(made_, (Names{"", "D"}));
  EXPECT_TRUE(
      note.starts_with("a card with the driver driver 1 gives wrong results in kernels of class M (linear "
                       "40x1280x75 x bf16 w bf16: element 2999 is "))
      << note;
  EXPECT_TRUE(note.ends_with("; kernels of class D are used, which are slower")) << note;
  EXPECT_EQ(make({"M"})->note(), note);
  EXPECT_EQ(made_, (Names{"", "D"}));
  EXPECT_EQ(calls_, 0);
  EXPECT_EQ(make({"M", "D"}, {})->identity().device_class, "S");
  EXPECT_EQ(made_, (Names{"", "D", "S"}));
}

TEST_F(Checked, WithoutARightClassTheDeviceIsRefused) {
  const std::string line = refusal({"M", "D", "S"});
  EXPECT_EQ(code_, ErrorCode::kDevice);
  EXPECT_TRUE(
      line.starts_with("a card with the driver driver 1 gives wrong results in kernels of class S (linear "))
      << line;
  EXPECT_TRUE(line.ends_with("; use another driver, or --device cpu")) << line;
  EXPECT_EQ(refusal({"M", "D", "S"}), line);
  EXPECT_EQ(calls_, 0);
}

TEST_F(Checked, ADamagedVerdictIsNotBelieved) {
  make({});
  ASSERT_EQ(files().size(), 1u);
  const std::filesystem::path path = files()[0];
  const std::string whole = read_text_file(path, 1000);
  std::vector<std::string> damaged = {"", whole.substr(0, whole.size() - 1)};
  for (const std::size_t at : {std::size_t{0}, std::size_t{30}, whole.size() - 2}) {
    damaged.push_back(whole);
    damaged.back()[at] ^= 1;
  }
  driver_ = "driver 2";  // another's verdict in its place
  make({});
  for (const std::filesystem::path& other : files()) {
    if (other != path) damaged.push_back(read_text_file(other, 1000));
  }
  driver_ = "driver 1";
  ASSERT_EQ(damaged.size(), 6u);
  for (const std::string& text : damaged) {
    std::ofstream(path, std::ios::binary) << text;
    EXPECT_NE(refusal({"M", "D", "S"}), "") << text;
    EXPECT_GT(calls_, 0) << text;
    EXPECT_NE(read_text_file(path, 1000), text);
  }
  std::ofstream(path, std::ios::binary) << whole;
  EXPECT_EQ(refusal({"M", "D", "S"}), "");
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);  // neither read nor written, and no error
  EXPECT_EQ(make({})->note(), "");
}

TEST_F(Checked, WithoutAFolderEachStartChecks) {
  for (int i = 0; i < 2; ++i) {
    EXPECT_THROW(make({"M", "D", "S"}, {}), Error);
    EXPECT_GT(calls_, 0);
  }
  EXPECT_TRUE(files().empty());
}

// A device that was lost may be well again the next time; what it lacks is no fault; no memory is no verdict.
TEST_F(Checked, OnlyWhatComesOutTheSameAgainIsRemembered) {
  error_ = Error(ErrorCode::kDevice, "the device is lost");
  const std::string line = refusal({});
  EXPECT_NE(line.find("(linear 40x1280x75 x bf16 w bf16: the device is lost)"), std::string::npos) << line;
  EXPECT_EQ(made_, (Names{"", "D", "S"}));
  EXPECT_TRUE(files().empty());
  error_ = Error(ErrorCode::kOutOfMemory, "the card is full");
  EXPECT_EQ(refusal({}), "the card is full");
  EXPECT_EQ(code_, ErrorCode::kOutOfMemory);
  EXPECT_EQ(made_, Names{""});
  EXPECT_TRUE(files().empty());
  error_ = Error(ErrorCode::kFailure, "linear: not on this device");
  EXPECT_EQ(make({})->note(), "");
  EXPECT_EQ(files().size(), 1u);
}

// What drawing uses is looked at: a wrong result of any of these is found.
TEST_F(Checked, EveryFamilyOfKernelsIsLookedAt) {
  std::map<std::string, int> seen;
  const auto one = [&](const std::string&) -> std::unique_ptr<Backend> {
    return std::make_unique<SpoiledBackend>(
        [&](const std::string& function) { return ++seen[function], false; });
  };
  make_checked_backend(one, {});
  const std::set<std::string> rest = {"row_distances", "column_magnitudes", "convert"};
#define DARKROOM_EXPECT(function, Args) \
  EXPECT_EQ(seen[#function] > 0, !rest.contains(#function)) << #function;
  DARKROOM_BACKEND_FUNCTIONS(DARKROOM_EXPECT)
#undef DARKROOM_EXPECT
}

}  // namespace
}  // namespace darkroom
