#include "weights/catalog.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/expect_error.h"
#include "base/temp_folder.h"
#include "weights/files.h"

namespace darkroom {
namespace {

using Names = std::vector<std::string_view>;

std::string index_json(const std::vector<std::pair<std::string, std::string>>& map) {
  std::string text = R"({"metadata":{"total_size":12},"weight_map":{)";
  for (std::size_t i = 0; i < map.size(); ++i) {
    text += (i ? ",\"" : "\"") + map[i].first + "\":\"" + map[i].second + "\"";
  }
  return text + "}}";
}

// Two shards and their index.
struct Sharded : TempFolder {
  Sharded() {
    write("model-00001-of-00002.safetensors", scalars_file({"a", "b"}));
    write("model-00002-of-00002.safetensors", scalars_file({"c", "unlisted"}));
    write("model.safetensors.index.json", index_json({{"a", "model-00001-of-00002.safetensors"},
                                                      {"c", "model-00002-of-00002.safetensors"},
                                                      {"b", "model-00001-of-00002.safetensors"}}));
  }
};

float first_of(const Catalog& catalog, std::string_view name) {
  const std::optional<OwnedTensor> owned = catalog.load(name);
  return owned ? owned->tensor.row<float>(0)[0] : 0;
}

TEST(Catalog, OpensASingleFile) {
  const TempFolder folder;
  const Catalog catalog(folder.write("any name.sft", scalars_file({"b", "a"})));
  EXPECT_EQ(catalog.names(), Names({"a", "b"}));
  EXPECT_EQ(catalog.total_bytes(), 8u);
  EXPECT_EQ(catalog.parameters(), 2);
  EXPECT_EQ(catalog.bytes_by_type(), (std::map<std::string, std::size_t>{{"F32", 8}}));
  EXPECT_EQ(catalog.where(), (folder / "any name.sft").string());
  EXPECT_EQ(first_of(catalog, "b"), 1.0f);
  EXPECT_FALSE(catalog.load("c").has_value());
  EXPECT_EQ(catalog.stored("c"), nullptr);
}

TEST(Catalog, OpensShardsThroughTheirIndex) {
  const Sharded folder;
  for (const std::filesystem::path& path : {folder.path(), folder / "model.safetensors.index.json"}) {
    const Catalog catalog(path);
    EXPECT_EQ(catalog.names(), Names({"a", "b", "c"}));
    EXPECT_EQ(catalog.files().size(), 2u);
    EXPECT_EQ(first_of(catalog, "c"), 1.0f);
    EXPECT_EQ(first_of(catalog, "b"), 2.0f);
    EXPECT_EQ(catalog.where("c"), (folder / "model-00002-of-00002.safetensors").string());
    EXPECT_EQ(catalog.where("absent"), (folder / "model.safetensors.index.json").string());
    EXPECT_EQ(catalog.total_bytes(), 12u);
  }
}

TEST(Catalog, ReadsFromAnyByteOn) {
  const Sharded folder;
  const Catalog catalog(folder.path());
  const std::string two = raw<float>({2});  // 'b'
  std::string bytes(3, '\0');
  catalog.read("b", 1, std::as_writable_bytes(std::span(bytes)));
  EXPECT_EQ(bytes, two.substr(1));
  expect_error(ErrorCode::kModel, "model.safetensors.index.json: there is no tensor 'absent'",
               [&] { catalog.read("absent", 0, std::as_writable_bytes(std::span(bytes))); });
}

TEST(Catalog, FollowsLinksAsDownloadCachesHoldThem) {
  const TempFolder blobs, folder;
  blobs.write("4d7a21", scalars_file({"a"}));
  std::filesystem::create_symlink(blobs / "4d7a21", folder / "model.safetensors");
  EXPECT_EQ(Catalog(folder.path()).names(), Names({"a"}));
}

TEST(Catalog, MissingShardsAreAnErrorThatWeightFilesCanSeeBefore) {
  const Sharded folder;
  std::filesystem::remove(folder / "model-00002-of-00002.safetensors");
  const WeightFiles files = find_weight_files(folder.path());
  EXPECT_EQ(files.missing.size(), 1u);
  EXPECT_EQ(files.present.size(), 1u);
  EXPECT_EQ(files.index.shard_of.size(), 3u);
  EXPECT_EQ(files.index.total_size, 12);
  expect_error(ErrorCode::kModel, "model-00002-of-00002.safetensors: this file is missing (1 of the 2",
               [&] { Catalog catalog(folder.path()); });
}

TEST(Catalog, ATensorThatItsShardLacksIsAnError) {
  const Sharded folder;
  folder.write("model-00002-of-00002.safetensors", scalars_file({"d"}));
  expect_error(ErrorCode::kModel, "model-00002-of-00002.safetensors: tensor 'c' is not in this file",
               [&] { Catalog catalog(folder.path()); });
}

TEST(Catalog, ABrokenShardIsAnError) {
  const Sharded folder;
  folder.write("model-00002-of-00002.safetensors", scalars_file({"c"}).substr(0, 50));
  expect_error(ErrorCode::kModel, "model-00002-of-00002.safetensors: cut short",
               [&] { Catalog c(folder.path()); });
}

// Which file of a folder counts. Each case: the folder's files, then the chosen one or a part of the message.
TEST(WeightFiles, ChoosesInAFolder) {
  const std::string index = index_json({{"a", "s.safetensors"}});
  struct Case {
    std::vector<std::string> files;
    std::string chosen, message;
  };
  const std::vector<Case> cases = {
      {{"model.safetensors"}, "model.safetensors", ""},
      {{"diffusion_pytorch_model.fp16.safetensors", "config.json"},
       "diffusion_pytorch_model.fp16.safetensors",
       ""},
      {{"model.fp16.safetensors", "model.safetensors"}, "model.safetensors", ""},
      {{"model.safetensors", "._model.safetensors", ".x.safetensors"}, "model.safetensors", ""},
      {{"diffusion_pytorch_model.bf16.safetensors", "diffusion_pytorch_model.safetensors"},
       "diffusion_pytorch_model.safetensors",
       ""},
      {{"flux1-dev.safetensors"}, "flux1-dev.safetensors", ""},
      {{"a.safetensors", "b.safetensors"}, "", "2 weight files and none has a usual name: keep one of them"},
      {{"model.safetensors.index.json", "s.safetensors"}, "s.safetensors", ""},
      {{"model.safetensors.index.json", "s.safetensors", "model.safetensors"}, "model.safetensors", ""},
      {{"diffusion_pytorch_model.safetensors.index.json", "s.safetensors",
        "diffusion_pytorch_model.safetensors"},
       "s.safetensors",
       ""},
      {{"diffusion_pytorch_model.safetensors.index.fp16.json", "s.safetensors",
        "diffusion_pytorch_model.safetensors"},
       "diffusion_pytorch_model.safetensors",
       ""},
      {{"diffusion_pytorch_model.safetensors.index.json", "diffusion_pytorch_model.fp16.safetensors"},
       "diffusion_pytorch_model.fp16.safetensors",
       ""},
      {{"model.bf16.safetensors", "model.fp16.safetensors"}, "model.fp16.safetensors", ""},
      {{"model.fp32.safetensors", "model.bf16.safetensors", "model.a.safetensors"},
       "model.bf16.safetensors",
       ""},
      {{"model.a.safetensors", "model.b.safetensors"},
       "",
       "keep one of them in the folder, e.g. model.a.safe"},
      {{"diffusion_pytorch_model.fp16.safetensors", "model.safetensors"}, "model.safetensors", ""},
      {{"diffusion_pytorch_model.safetensors", "model.safetensors"},
       "diffusion_pytorch_model.safetensors",
       ""},
      {{"model-00001-of-00001.safetensors"}, "model-00001-of-00001.safetensors", ""},
      {{"model-00001-of-00001.safetensors", "model.safetensors"}, "model.safetensors", ""},
      {{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"},
       "",
       ": there is model-00001-of-00002.safetensors, but model.safetensors.index.json is missing: download "
       "it"},
      {{"model.fp16-00003-of-00003.safetensors", "model.fp16-00001-of-00003.safetensors"},
       "",
       "but model.safetensors.index.fp16.json and model-00002-of-00003.fp16.safetensors are missing: "
       "download"},
      {{"model-00001-of-00002.safetensors", "model.safetensors"}, "model.safetensors", ""},
      {{"diffusion_pytorch_model.safetensors.index.json", "lora.safetensors"},
       "",
       "s.safetensors: this file is missing (1 of the 1"},
      {{"flux.gguf"}, "", "flux.gguf is a GGUF file: pass it by its own name"},
      {{"model.safetensors.index.json", "model.safetensors"}, "model.safetensors", ""},
      {{"model.safetensors.index.fp16.json", "s.safetensors"}, "s.safetensors", ""},
      {{"a.safetensors.index.json", "b.safetensors.index.json"}, "", "2 weight files"},
      {{}, "", "the folder holds no .safetensors file"},
      {{"pytorch_model.bin"}, "", "pytorch_model.bin is a PyTorch pickle, which is never read"},
  };
  for (const Case& c : cases) {
    const TempFolder folder;
    std::string listing;
    for (const std::string& name : c.files) {
      folder.write(name, name.find("index") != std::string::npos ? index : scalars_file({"a"}));
      listing += name + " ";
    }
    SCOPED_TRACE(listing);
    if (c.chosen.empty()) {
      expect_error(ErrorCode::kModel, c.message, [&] { Catalog catalog(folder.path()); });
    } else {
      EXPECT_EQ(find_weight_files(folder.path()).present, std::vector{folder / c.chosen});
      EXPECT_EQ(Catalog(folder.path()).names(), Names({"a"}));
    }
  }
  expect_error(ErrorCode::kModel, "there is no such file or folder",
               [] { find_weight_files("/nonexistent/folder"); });
}

// transformers' own precedence, in the folders whose weights it loads.
TEST(WeightFiles, ATextEncoderIsChosenAsTransformersDoes) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "text_encoder_2");
  for (const char* name : {"diffusion_pytorch_model.safetensors", "model.safetensors", "s.safetensors"}) {
    folder.write(std::string("text_encoder_2/") + name, scalars_file({"a"}));
  }
  for (const char* name :
       {"model.safetensors.index.json", "diffusion_pytorch_model.safetensors.index.json"}) {
    folder.write(std::string("text_encoder_2/") + name, index_json({{"a", "s.safetensors"}}));
  }
  for (const char* path : {"text_encoder_2", "text_encoder_2/"}) {
    EXPECT_EQ(find_weight_files(folder / path).present, std::vector{folder / path / "model.safetensors"});
  }
}

TEST(WeightFiles, ANoteSaysWhichOfSeveralIsUsed) {
  const TempFolder folder;
  folder.write("model.safetensors", scalars_file({"a"}));
  EXPECT_EQ(find_weight_files(folder.path()).note, "");
  folder.write("config.json", "{}");
  folder.write("model-00001-of-00002.safetensors", scalars_file({"a"}));
  EXPECT_EQ(find_weight_files(folder.path()).note, "");
  folder.write("model.fp16.safetensors", scalars_file({"a"}));
  folder.write("x.safetensors", scalars_file({"a"}));
  const std::string where = folder.path().string();
  EXPECT_EQ(find_weight_files(folder.path()).note,
            "model.safetensors is used, not model.fp16.safetensors, x.safetensors");
  folder.write("diffusion_pytorch_model.safetensors.index.json", index_json({{"a", "gone.safetensors"}}));
  std::filesystem::remove(folder / "x.safetensors");
  std::filesystem::remove(folder / "model.fp16.safetensors");
  EXPECT_EQ(find_weight_files(folder.path()).note,
            "model.safetensors is used; " + (folder / "gone.safetensors").string() +
                ": this file is missing (1 of the 1 that " + where +
                "/diffusion_pytorch_model.safetensors.index.json names are); download the whole folder");
}

TEST(WeightFiles, ALinkWithoutItsTargetIsNamed) {
  const TempFolder folder;
  std::filesystem::create_symlink("../blobs/4d7a", folder / "model.safetensors");
  const std::string message =
      (folder / "model.safetensors").string() + " is a link to ../blobs/4d7a, which is not";
  for (const char* path : {"", "model.safetensors"}) {
    expect_error(ErrorCode::kModel, message, [&] { find_weight_files(folder / path); });
  }
  EXPECT_TRUE(holds_weights(folder.path()));
  folder.write("model.fp16.safetensors", scalars_file({"a"}));
  EXPECT_EQ(find_weight_files(folder.path()).note, "model.fp16.safetensors is used; " + message + " there");
  std::filesystem::remove(folder / "model.fp16.safetensors");
  folder.write("model.safetensors.index.json", index_json({{"a", "model.safetensors"}}));
  expect_error(ErrorCode::kModel, message, [&] { Catalog catalog(folder.path()); });
}

TEST(WeightFiles, AnIndexWithoutAnyShardIsFoundButCannotBeOpened) {
  const TempFolder folder;
  folder.write("model.safetensors.index.json",
               index_json({{"a", "s1.safetensors"}, {"b", "s2.safetensors"}}));
  const WeightFiles files = find_weight_files(folder.path());
  EXPECT_EQ(files.missing, (std::vector{folder / "s1.safetensors", folder / "s2.safetensors"}));
  EXPECT_TRUE(files.present.empty());
  expect_error(ErrorCode::kModel, "s1.safetensors: this file is missing (2 of the 2",
               [&] { Catalog c(files); });
}

TEST(WeightIndex, BrokenIndexesGiveErrors) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(DARKROOM_SOURCE_DIR "/fuzz/broken/config")) {
    if (!entry.path().filename().string().starts_with("index_")) continue;
    ++files;
    SCOPED_TRACE(entry.path().filename().string());
    expect_error(ErrorCode::kModel,
                 "w: ", [&] { parse_weight_index(read_text_file(entry.path(), 1 << 20), "w"); });
  }
  EXPECT_GE(files, 15);
}

TEST(WeightIndex, ShardNamesCannotLeaveTheFolder) {
  for (const char* name : {"../x.safetensors", "/x.safetensors", "a/x.safetensors", "..", ".x.safetensors",
                           "x.bin", "a\\\\x.safetensors", "x\\u0000.safetensors", ".safetensors"}) {
    expect_error(ErrorCode::kModel, "expected the plain name", [&] {
      parse_weight_index(index_json({{"t", name}}), "i");
    });
  }
}

TEST(WeightIndex, TotalSizeIsTakenOnlyWhenExact) {
  const auto total = [](const std::string& value) {
    return parse_weight_index(
               R"({"metadata":{"total_size":)" + value + R"(},"weight_map":{"a":"s.safetensors"}})", "i")
        .total_size;
  };
  EXPECT_EQ(total("23802816640"), 23802816640);
  EXPECT_EQ(total("1e10"), std::nullopt);
  EXPECT_EQ(total("-1"), std::nullopt);
  EXPECT_EQ(total("18446744073709551615"), std::nullopt);
  EXPECT_EQ(total("\"1\""), std::nullopt);
  EXPECT_EQ(parse_weight_index(R"({"metadata":3,"weight_map":{"a":"s.safetensors"}})", "i").total_size,
            std::nullopt);
}

// The real index files of FLUX.1, when they lie beside the source tree; their shards (24 GB) do not.
TEST(WeightIndex, RealIndexesOfFlux) {
  const std::filesystem::path root = std::filesystem::path(DARKROOM_SOURCE_DIR) / "../shared/flux1";
  if (!std::filesystem::exists(root / "dev/transformer"))
    GTEST_SKIP() << "no FLUX.1 index files beside the source";
  struct Real {
    const char* folder;
    std::size_t tensors, shards;
    int64_t bytes;
  };
  for (const Real& real :
       {Real{"dev/transformer", 1160, 3, 23802816640}, Real{"schnell/transformer", 1156, 3, 23782357120},
        Real{"dev/text_encoder_2", 219, 2, 9524621312}}) {
    const WeightFiles files = find_weight_files(root / real.folder);
    EXPECT_EQ(files.index.shard_of.size(), real.tensors);
    EXPECT_EQ(files.index.shards.size(), real.shards);
    EXPECT_EQ(files.index.total_size, real.bytes);
    if (files.missing.empty()) continue;
    expect_error(ErrorCode::kModel, files.index.shards[0] + ": this file is missing",
                 [&] { Catalog c(files); });
  }
}

}  // namespace
}  // namespace darkroom
