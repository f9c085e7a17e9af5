// Which files beside weights a conversion copies, and what it says of the others.
#include "convert/small_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/expect_error.h"
#include "base/temp_folder.h"
#include "convert/convert.h"
#include "model_folder.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

class SmallFiles : public testing::Test {
 protected:
  SmallFiles() {
    make_model_folder(model_, "{}");
    folder_.write("secret.txt", "secret");
  }
  std::map<std::string, std::string> read(const fs::path& model) {
    notes_.clear();
    return read_small_files(model, [&](const std::string& note) { notes_.push_back(note); });
  }
  // A folder of its own in place of the link to the fixture's.
  void own(const fs::path& model, const std::string& part) const {
    const fs::path target = fs::canonical(model / part);
    fs::remove(model / part);
    fs::copy(target, model / part);
  }
  void expect_note(const std::string& part) const {
    ASSERT_EQ(notes_.size(), 1u) << part;
    EXPECT_NE(notes_[0].find(part), std::string::npos) << notes_[0];
    EXPECT_TRUE(notes_[0].ends_with("; it is left out")) << notes_[0];
  }
  const TempFolder folder_;
  const fs::path model_ = folder_ / "model";
  std::vector<std::string> notes_;
};

TEST_F(SmallFiles, LinksOutOfTheModelAreLeftOut) {
  const fs::path secret = folder_ / "secret.txt";
  fs::create_symlink(secret, folder_ / "hop");
  const std::size_t before = read(model_).size();
  EXPECT_TRUE(notes_.empty());
  for (const auto& [name, target] :
       std::vector<std::pair<std::string, fs::path>>{{"LICENSE.txt", secret},
                                                     {"README.md", "../secret.txt"},
                                                     {"NOTICE", "../hop"},
                                                     {"more.json", "/etc/passwd"},
                                                     {"x.model", "./../secret.txt"}}) {
    fs::create_symlink(target, model_ / name);
    EXPECT_EQ(read(model_).size(), before) << name;
    expect_note((model_ / name).string() + ": a link to /");
    fs::remove(model_ / name);
  }
}

TEST_F(SmallFiles, FoldersThatAreLinksOutAreJudgedFileByFile) {
  fs::create_directory(folder_ / "elsewhere");
  folder_.write("elsewhere/a.txt", "secret");
  fs::remove(model_ / "tokenizer");
  fs::create_directory_symlink(folder_ / "elsewhere", model_ / "tokenizer");
  EXPECT_FALSE(read(model_).contains("tokenizer/a.txt"));
  expect_note("tokenizer/a.txt: a link to ");
  // Named like a part, but no part of a model.
  fs::rename(folder_ / "elsewhere", folder_ / "tokenizer");
  fs::remove(model_ / "tokenizer");
  fs::create_directory_symlink(folder_ / "tokenizer", model_ / "tokenizer");
  EXPECT_FALSE(read(model_).contains("tokenizer/a.txt"));
  folder_.write("tokenizer/vocab.json", "{}");
  expect_error(ErrorCode::kModel, "tokenizer/vocab.json: a link to ", [&] { read(model_); });
}

TEST_F(SmallFiles, LinksWithinTheModelAndItsSnapshotAreFollowed) {
  std::ofstream(model_ / "terms") << "terms";
  fs::create_symlink("terms", model_ / "LICENSE");
  fs::create_directory(model_ / "small");
  fs::create_symlink("../terms", model_ / "small" / "README.md");
  EXPECT_EQ(read(model_).at("LICENSE"), "terms");
  EXPECT_EQ(read(model_ / "small").at("README.md"), "terms") << "a variant shares files of its model";
  const fs::path repository = folder_ / "models--a--b", snapshot = repository / "snapshots" / "1";
  make_model_folder(snapshot, "{}");
  fs::create_directory(repository / "blobs");
  folder_.write("models--a--b/blobs/12", "blob");
  folder_.write("models--a--b/other", "secret");
  fs::create_symlink("../../blobs/12", snapshot / "README.md");
  fs::create_symlink("../../other", snapshot / "NOTICE");
  const auto files = read(snapshot);
  EXPECT_EQ(files.at("README.md"), "blob");
  EXPECT_FALSE(files.contains("NOTICE"));
  expect_note("NOTICE: a link to ");
}

TEST_F(SmallFiles, WhatIsTooLargeUnreadableOrNoFileIsLeftOutUnlessItIsNeeded) {
  const std::size_t before = read(model_).size();
  const fs::path readme = model_ / "README.md";
  std::ofstream(readme) << "x";
  fs::resize_file(readme, kMaxSmallFileBytes + 1);
  EXPECT_EQ(read(model_).size(), before);
  expect_note("README.md: 67108865 bytes, more than");
  fs::remove(readme);
  ASSERT_EQ(::mkfifo(readme.c_str(), 0600), 0);
  EXPECT_EQ(read(model_).size(), before);
  expect_note("README.md: not a regular file");
  fs::remove(readme);
  fs::create_symlink("gone", readme);
  EXPECT_EQ(read(model_).size(), before);
  expect_note("README.md is a link to gone, which is not there");
  fs::remove(readme);
  fs::create_directory(readme);
  EXPECT_EQ(read(model_).size(), before);
  EXPECT_TRUE(notes_.empty());
  own(model_, "tokenizer");
  fs::resize_file(model_ / "tokenizer/merges.txt", kMaxSmallFileBytes + 1);
  expect_error(ErrorCode::kModel, "tokenizer/merges.txt: 67108865 bytes", [&] { read(model_); });
}

TEST_F(SmallFiles, AllTogetherAreBounded) {
  for (int i = 0; i < 5; ++i) {
    const fs::path file = model_ / fmt::format("{}.txt", i);
    std::ofstream(file) << "x";
    fs::resize_file(file, kMaxSmallFileBytes);
  }
  const auto files = read(model_);
  EXPECT_EQ(notes_.size(), 2u);
  EXPECT_TRUE(files.contains("2.txt") && files.contains("transformer/config.json"));
}

// Nothing of the new folder is begun when a file cannot be copied.
TEST_F(SmallFiles, AConversionReadsThemBeforeAnyWeights) {
  own(model_, "tokenizer");
  fs::resize_file(model_ / "tokenizer/vocab.json", kMaxSmallFileBytes + 1);
  bool begun = false;
  const std::atomic<bool> go_on{false};
  const ConvertListeners listeners{.on_progress = [&](const ConvertProgress&) { begun = true; },
                                   .on_note = {}};
  expect_error(ErrorCode::kModel, "tokenizer/vocab.json: 67108865 bytes", [&] {
    convert(Checkpoint::open(model_), {.out = folder_ / "out", .weights = "bf16"}, listeners, go_on);
  });
  EXPECT_FALSE(begun);
}

}  // namespace
}  // namespace darkroom
