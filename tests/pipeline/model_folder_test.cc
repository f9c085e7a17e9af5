// Where a model is found and what it is called; what is said when a part of it is not there.
#include "checkpoint/model_folder.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/expect_error.h"
#include "base/temp_folder.h"
#include "checkpoint/checkpoint.h"
#include "model_folder.h"
#include "pipeline/inspect.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCommit = "0ef5fff789c832c5c7f4e127f94c8b54bbcced44";

class ModelFolder : public testing::Test {
 protected:
  // A cache of huggingface_hub with one snapshot.
  fs::path make_repository(const std::string& id, const std::string& commit = kCommit) const {
    const fs::path repository = folder_ / id;
    make_model_folder(repository / "snapshots" / commit, "{}");
    fs::create_directory(repository / "refs");
    std::ofstream(repository / "refs" / "main") << commit;
    return repository;
  }
  const TempFolder folder_;
};

TEST_F(ModelFolder, ASnapshotHasTheNameOfItsRepository) {
  const fs::path repository = make_repository("models--black-forest-labs--FLUX.1-dev");
  const fs::path snapshot = repository / "snapshots" / kCommit;
  fs::create_directory_symlink(snapshot, folder_ / "link");
  for (const fs::path& path : {snapshot, snapshot / "", folder_ / "link"}) {
    EXPECT_EQ(Checkpoint::open(path).name(), "FLUX.1-dev") << path;
  }
  EXPECT_EQ(model_name(make_repository("models--tiny") / "snapshots" / kCommit), "tiny");
  EXPECT_EQ(model_name(make_repository("models--a--b--c") / "snapshots" / kCommit), "b--c");
  // A variant in it, and folders that only look alike.
  EXPECT_EQ(model_name(snapshot / "small"), "FLUX.1-dev-small");
  EXPECT_EQ(model_name(folder_ / "models--a--b/snapshot/main"), "main");
  EXPECT_EQ(model_name(folder_ / "mymodels--a--b/snapshots/main"), "main");
  EXPECT_EQ(model_name(folder_ / "models--a--b"), "models--a--b");
}

TEST_F(ModelFolder, ARepositoryIsItsMainSnapshot) {
  const fs::path repository = make_repository("models--org--name");
  make_model_folder(repository / "snapshots" / "other", "{}");
  for (const fs::path& path : {repository, repository / ""}) {
    const Checkpoint model = Checkpoint::open(path);
    EXPECT_EQ(model.name(), "name");
    EXPECT_EQ(model.folder(), path / "snapshots" / kCommit);
    EXPECT_EQ(inspect(path).at("name"), "name");
    EXPECT_EQ(inspect(path).at("parts").at(0).at("weights"), "found");
  }
  const auto expect = [&](const std::string& message) {
    expect_error(ErrorCode::kModel, message, [&] { Checkpoint::open(repository); });
  };
  std::ofstream(repository / "refs" / "main") << "absent\n";
  expect("its refs/main is the snapshot absent, which is not there");
  for (const char* name : {"../other", "..", ".", "", "a/b", "\n"}) {
    std::ofstream(repository / "refs" / "main") << name;
    expect("refs/main: '");
  }
  fs::remove(repository / "refs" / "main");
  expect("snapshots: 2 snapshots and no refs/main that names one; pass the folder of one");
  fs::remove_all(repository / "snapshots" / "other");
  EXPECT_EQ(Checkpoint::open(repository).name(), "name");
}

TEST_F(ModelFolder, AMissingPartOfASmallModelIsNamed) {
  for (const char* part : {"text_encoder", "text_encoder_2"}) {
    const fs::path model = folder_ / part;
    make_model_folder(model, "{}");
    fs::remove(model / part);
    const std::string message =
        fmt::format("there is no {}/config.json, so this part of the model is missing", part);
    expect_error(ErrorCode::kModel, message, [&] { Checkpoint::open(model); });
    fs::create_directory_symlink("gone", model / part);
    expect_error(ErrorCode::kModel, std::string(part) + " is a link to gone, which is not there",
                 [&] { Checkpoint::open(model); });
    fs::remove(model / part);
    fs::create_directory(model / part);
    fs::create_symlink("../../blobs/12", model / part / "config.json");
    expect_error(ErrorCode::kModel, "config.json is a link to ../../blobs/12, which is not there",
                 [&] { Checkpoint::open(model); });
  }
}

TEST_F(ModelFolder, ForeignFilesAreNamedAlsoAmongTokenizersAndSettings) {
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n";
  const fs::path checkpoint = DARKROOM_SOURCE_DIR "/tests/fixtures/pipelines/dev_small";
  for (const char* name : {"tokenizer/vocab.json", "tokenizer/merges.txt", "tokenizer_2/tokenizer.json",
                           "scheduler/scheduler_config.json", "vae/config.json", "darkroom.json"}) {
    const fs::path model = folder_ / fs::path(name).filename().string();
    fs::remove_all(model);
    fs::copy(checkpoint, model, fs::copy_options::recursive);
    std::ofstream(model / name) << pointer;
    expect_error(ErrorCode::kModel, (model / name).string() + ": this is a git-lfs pointer",
                 [&] { Checkpoint::open(model).tokenize("a", 16); });
  }
}

TEST_F(ModelFolder, AChoiceAmongFilesIsNoted) {
  const fs::path model = folder_ / "model";
  fs::copy(DARKROOM_SOURCE_DIR "/tests/fixtures/pipelines/dev_small", model, fs::copy_options::recursive);
  EXPECT_TRUE(Checkpoint::open(model).notes().empty());
  fs::copy_file(model / "vae" / "diffusion_pytorch_model.safetensors", model / "vae" / "old.safetensors");
  EXPECT_EQ(
      Checkpoint::open(model).notes(),
      std::vector<std::string>{"vae: diffusion_pytorch_model.safetensors is used, not old.safetensors"});
}

}  // namespace
}  // namespace darkroom
