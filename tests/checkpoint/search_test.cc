// Where parts are found that nobody named, and what is never looked at.
#include "checkpoint/search.h"

#include <gtest/gtest.h>

#include "base/expect_error.h"
#include "checkpoint/model_folder.h"
#include "small_files.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

class SearchForParts : public HubTest {
 protected:
  SearchForParts() {
    tree_ = fs::canonical(folder_.path()) / "models";
    model_ = tree_ / "unet/flux/x.safetensors";
    small_.write(model_, Part::kTransformer, Names::kBfl);
    for (const Part part : {Part::kClip, Part::kT5, Part::kVae}) {
      const std::string file = std::string(part_folder(part)) + ".safetensors";
      small_.write(stock_ / file, part);
    }
  }
  // A copy of a part's file.
  fs::path put(Part part, const fs::path& to) const {
    fs::create_directories(to.parent_path());
    fs::copy_file(stock_ / (std::string(part_folder(part)) + ".safetensors"), to);
    return to;
  }
  void put_others(Part part) const {
    for (const Part other : {Part::kClip, Part::kT5, Part::kVae}) {
      if (other != part)
        put(other, model_.parent_path() / (std::string(part_folder(other)) + ".safetensors"));
    }
  }
  fs::path found(Part part) const {
    return Checkpoint::open({model_.string(), {}, {}, {}, hub_}).part_files(part)->where;
  }
  // A snapshot in the cache of huggingface_hub.
  fs::path make_snapshot(const std::string& name, const std::string& commit = "c0ffee") const {
    const fs::path repository = folder_ / "hub" / name;
    fs::create_directories(repository / "snapshots" / commit);
    fs::create_directories(repository / "refs");
    std::ofstream(repository / "refs/main") << commit;
    return repository / "snapshots" / commit;
  }
  std::string refusal(const CheckpointPaths& paths) const {
    try {
      Checkpoint::open(paths);
    } catch (const Error& e) {
      return e.what();
    }
    return "opened";
  }

  const SmallModel small_{false};
  const fs::path hub_ = folder_ / "hub";
  fs::path tree_, model_;
  const fs::path stock_ = folder_ / "stock";
};

// Each place is put in front of those that were found before.
TEST_F(SearchForParts, BesideThenInTheTreeThenInTheCache) {
  put_others(Part::kClip);
  const fs::path hub =
      put(Part::kClip, make_snapshot("models--comfyanonymous--flux_text_encoders") / "clip_l.safetensors");
  EXPECT_EQ(found(Part::kClip), hub);
  for (const char* place :
       {"text_encoder/a/c.safetensors", "clip/c.safetensors", "text_encoders/a/c.safetensors",
        "text_encoders/c.safetensors", "unet/flux/c.safetensors"}) {
    const fs::path next = put(Part::kClip, tree_ / place);
    EXPECT_EQ(found(Part::kClip), next);
  }
  small_.write_folder(model_.parent_path() / "text_encoder", Part::kClip, small_.of(Part::kClip));
  EXPECT_EQ(found(Part::kClip), model_.parent_path() / "text_encoder");
}

TEST_F(SearchForParts, EachPartHasItsFolders) {
  put(Part::kClip, tree_ / "clip/c.safetensors");
  put(Part::kT5, tree_ / "clip/t.sft");
  put(Part::kVae, tree_ / "VAE/v.SAFETENSORS");
  const Checkpoint model = Checkpoint::open(model_);
  EXPECT_EQ(model.part_files(Part::kT5)->where, tree_ / "clip/t.sft");
  EXPECT_EQ(model.part_files(Part::kVae)->where, tree_ / "VAE/v.SAFETENSORS");
  ASSERT_EQ(model.notes().size(), 3u);
  EXPECT_EQ(model.notes()[0], "CLIP-L text encoder: " + (tree_ / "clip/c.safetensors").string() +
                                  ", found in " + (tree_ / "clip").string());
}

// models/vae is also where a model in diffusers layout would have its VAE.
TEST_F(SearchForParts, BesideTheFolderOfTheTransformerLiesTheTree) {
  fs::rename(model_, tree_ / "unet/x.safetensors");
  put(Part::kClip, tree_ / "text_encoder/c.safetensors");
  put(Part::kT5, tree_ / "text_encoders/t.safetensors");
  put(Part::kVae, tree_ / "vae/v.safetensors");
  const Checkpoint model = Checkpoint::open(tree_ / "unet/x.safetensors");
  EXPECT_EQ(model.part_files(Part::kClip)->where, tree_ / "text_encoder/c.safetensors");
  EXPECT_EQ(model.part_files(Part::kVae)->where, tree_ / "vae/v.safetensors");
}

TEST_F(SearchForParts, OfSeveralTheLargestIsTakenAndTheOthersAreCounted) {
  put_others(Part::kVae);
  put(Part::kVae, model_.parent_path() / "a.safetensors");
  FileMaker larger;
  larger.add_all(small_.of(Part::kVae));
  larger.add("extra", DType::kF32, {100}, std::vector<float>(100));
  larger.write(model_.parent_path() / "b.safetensors");
  put(Part::kVae, model_.parent_path() / "c.safetensors");
  const Checkpoint model = Checkpoint::open(model_);
  EXPECT_EQ(model.part_files(Part::kVae)->where, model_.parent_path() / "b.safetensors");
  EXPECT_NE(model.notes().back().find("2 other file(s) there would do, --vae names another"),
            std::string::npos)
      << model.notes().back();
}

TEST_F(SearchForParts, WhatDoesNotFitIsPassedOver) {
  put_others(Part::kClip);
  ModelConfig wide = small_.config;
  wide.clip.hidden_size = 128;
  wide.clip.num_heads = 2;
  FileMaker file;
  file.add_all(numbers_of(wide, Part::kClip));
  file.write(model_.parent_path() / "wide.safetensors");
  std::ofstream(model_.parent_path() / "broken.safetensors") << "no tensors";
  fs::create_directory(model_.parent_path() / "folder.safetensors");
  std::ofstream(model_.parent_path() / "pickle.ckpt") << "PK\x03\x04";
  const std::string refused = refusal({model_.string(), {}, {}, {}, hub_});
  EXPECT_NE(refused.find("no CLIP-L text encoder was found (looked in " + model_.parent_path().string()),
            std::string::npos);
  EXPECT_NE(refused.find("wide.safetensors: its pooled states are 128 wide and the transformer takes 64"),
            std::string::npos);
  EXPECT_NE(refused.find("broken.safetensors: "), std::string::npos);
  EXPECT_NE(refused.find("pass --clip FILE"), std::string::npos);
  EXPECT_EQ(refused.find("pickle"), std::string::npos);
  EXPECT_LT(refused.size(), 2000u);
  const fs::path good = put(Part::kClip, tree_ / "clip/c.safetensors");
  EXPECT_EQ(found(Part::kClip), good);
  // The same file by its name.
  expect_error(ErrorCode::kModel, "this CLIP-L text encoder does not fit: its pooled states are 128 wide",
               [&] {
                 Checkpoint::open({model_.string(), model_.parent_path() / "wide.safetensors", {}, {}, {}});
               });
}

// As huggingface_hub lays it out: files of a snapshot are links into blobs.
TEST_F(SearchForParts, AModelOfTheCacheHasItsName) {
  const fs::path snapshot = make_snapshot("models--black-forest-labs--FLUX.1-dev"), plain = folder_ / "plain";
  const fs::path blobs = snapshot.parent_path().parent_path() / "blobs";
  fs::create_directories(blobs);
  small_.write_model(plain);
  int blob = 0;
  for (const auto& entry : fs::recursive_directory_iterator(plain)) {
    const fs::path inside = snapshot / entry.path().lexically_relative(plain);
    if (entry.is_directory()) {
      fs::create_directories(inside);
      continue;
    }
    const fs::path target = blobs / std::to_string(++blob);
    fs::copy_file(entry.path(), target);
    fs::create_symlink(target.lexically_relative(inside.parent_path()), inside);
  }
  const Checkpoint model = Checkpoint::open({"black-forest-labs/FLUX.1-dev", {}, {}, {}, hub_});
  EXPECT_EQ(model.name(), "FLUX.1-dev");
  EXPECT_EQ(model.folder(), snapshot);
  for (const Part part : kParts) EXPECT_TRUE(model.has_part(part));
  // Its parts serve a transformer elsewhere.
  EXPECT_EQ(found(Part::kVae), snapshot / "vae");
  fs::remove(blobs / "1");
  fs::remove(blobs / "2");
  EXPECT_NE(refusal({"black-forest-labs/FLUX.1-dev", {}, {}, {}, hub_}), "opened");
}

TEST_F(SearchForParts, ANameThatIsNotInTheCacheIsNotDownloaded) {
  EXPECT_EQ(
      refusal({"black-forest-labs/FLUX.1-dev", {}, {}, {}, hub_}),
      "black-forest-labs/FLUX.1-dev: there is no such file or folder, and no model of that name in " +
          (folder_ / "hub").string() +
          "; nothing is downloaded by darkroom: `hf download black-forest-labs/FLUX.1-dev` brings it there");
  for (const char* name : {"a/../b", "../a", "a/b/c", "a/.b", "a b/c", "a/"}) {
    EXPECT_EQ(refusal({name, {}, {}, {}, hub_}), std::string(name) + ": there is no such file or folder");
  }
}

TEST_F(SearchForParts, LinksThatLeadNowhereOrInCirclesDoNoHarm) {
  put_others(Part::kClip);
  const fs::path good = put(Part::kClip, tree_ / "clip/inner/c.safetensors");
  fs::create_directory_symlink("..", tree_ / "clip/up");
  fs::create_directory_symlink(tree_, tree_ / "clip/again");
  fs::create_symlink("loop.safetensors", tree_ / "clip/loop.safetensors");
  fs::create_symlink("gone", tree_ / "clip/gone.safetensors");
  fs::create_symlink("gone", model_.parent_path() / "gone.safetensors");
  fs::create_directory_symlink("gone", tree_ / "text_encoders");
  EXPECT_EQ(found(Part::kClip), good);
  fs::create_symlink("gone", folder_ / "dangling.safetensors");
  EXPECT_NE(refusal({(folder_ / "dangling.safetensors").string(), {}, {}, {}, hub_})
                .find("is a link to gone, which is not there"),
            std::string::npos);
}

// Two folders deep at most, and never up beyond the tree.
TEST_F(SearchForParts, NothingIsFoundOutsideTheTree) {
  put_others(Part::kClip);
  put(Part::kClip, tree_.parent_path() / "c.safetensors");
  put(Part::kClip, tree_ / "c.safetensors");
  put(Part::kClip, tree_ / "clip/a/b/c.safetensors");
  put(Part::kClip, tree_ / "loras/c.safetensors");
  put(Part::kClip, make_snapshot("models--org--other-thing") / "c.safetensors");
  EXPECT_NE(refusal({model_.string(), {}, {}, {}, hub_}).find("no CLIP-L text encoder was found"),
            std::string::npos);
}

TEST_F(SearchForParts, HundredsOfFilesTakeNoTime) {
  put_others(Part::kClip);
  const fs::path good = put(Part::kClip, tree_ / "clip/zzz.safetensors");
  fs::create_directories(tree_ / "text_encoders");
  for (int i = 0; i < 1200; ++i)
    std::ofstream(tree_ / "text_encoders" / (std::to_string(i) + ".safetensors")) << "x";
  EXPECT_EQ(found(Part::kClip), good);
}

}  // namespace
}  // namespace darkroom
