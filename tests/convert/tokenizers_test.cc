// Which tokenizers a converted model has: the same ids as before, in files that other programs read.
#include "checkpoint/tokenizers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/expect_error.h"
#include "base/file_map.h"
#include "checkpoint/own_config.h"
#include "checkpoint/small_files.h"
#include "convert/convert.h"
#include "text/same_ids.h"
#include "text/t5_tokenizer.h"
#include "text/tokenizer_files.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kFixture = kFixtures / "pipelines/dev_small";
const std::atomic<bool> kGoOn{false};

class ConvertTokenizers : public testing::Test {
 protected:
  fs::path out(const std::string& name) const { return folder_ / name; }
  void convert(const CheckpointPaths& in, const fs::path& to, const std::string& layout = "diffusers",
               const std::string& parts = "") {
    notes_.clear();
    darkroom::convert(
        Checkpoint::open(in), {.out = to, .weights = "as-stored", .layout = layout, .parts = parts},
        {.on_progress = {}, .on_note = [&](const std::string& n) { notes_.push_back(n); }}, kGoOn);
  }
  void convert(const fs::path& in, const fs::path& to, const std::string& layout = "diffusers",
               const std::string& parts = "") {
    convert({in.string(), {}, {}, {}}, to, layout, parts);
  }
  static void expect_same(const Checkpoint& a, const Checkpoint& b) {
    for (const std::string& text : awkward_strings()) {
      const Tokens got = a.tokenize(text, 64), want = b.tokenize(text, 64);
      ASSERT_TRUE(got.clip == want.clip && got.t5 == want.t5) << json(repaired_utf8(text)).dump();
    }
  }
  static void expect_same(const fs::path& a, const fs::path& b) {
    expect_same(Checkpoint::open(a), Checkpoint::open(b));
  }
  // FLUX.1's vocabularies; no tokenizers, unless with_tokenizer_2() writes one.
  static const SmallModel& model() {
    static const SmallModel model(true);
    return model;
  }
  // FLUX.1's own with two pieces in each other's place, so that ids differ.
  void write_other_tokenizer_2(const fs::path& model) const {
    T5Pieces pieces = built_in_t5();
    std::swap(pieces.tokens[100], pieces.tokens[101]);
    fs::create_directories(model / "tokenizer_2");
    for (const auto& [name, text] : t5_files(pieces, "test"))
      std::ofstream(model / "tokenizer_2" / name) << text;
  }
  // The same GGUF file without what darkroom alone reads.
  void write_plain_gguf(const fs::path& from, const fs::path& to,
                        const std::function<void(GgufFields&)>& change = {}) const {
    const TensorFile file(from);
    GgufFields fields("test");
    for (const auto& [key, field] : file.fields()->all()) {
      if (key != kConfigKey) fields.add(key, field);
    }
    if (change) change(fields);
    std::vector<OwnedTensor> loaded;
    std::vector<NamedTensor> named;
    for (const StoredTensor& stored : file.tensors()) loaded.push_back(file.load(stored));
    for (std::size_t i = 0; i < loaded.size(); ++i)
      named.push_back({file.tensors()[i].name, loaded[i].tensor});
    write_gguf(to, named, fields, true);
  }
  const TempFolder folder_;
  std::vector<std::string> notes_;
};

TEST_F(ConvertTokenizers, AFolderMadeOfOtherFilesHasTheBuiltInOnes) {
  model().write_model(out("in"));
  fs::remove(out("in") / "model_index.json");
  convert(out("in"), out("single"), "single");
  convert(out("in"), out("gguf"), "gguf");
  for (const char* from : {"in", "single", "gguf"}) {
    SCOPED_TRACE(from);
    const fs::path folder = out(std::string(from) + "-folder");
    convert(out(from), folder);
    for (const char* name : {"model_index.json", "scheduler/scheduler_config.json", "tokenizer/vocab.json",
                             "tokenizer/merges.txt", "tokenizer/tokenizer_config.json",
                             "tokenizer/special_tokens_map.json", "tokenizer_2/tokenizer.json",
                             "tokenizer_2/tokenizer_config.json", "tokenizer_2/special_tokens_map.json"})
      EXPECT_TRUE(fs::exists(folder / name)) << name;
    const Checkpoint after = Checkpoint::open(folder);
    EXPECT_FALSE(tokenizer_folder(after, Part::kClip).empty());
    expect_same(after, Checkpoint::open(out("in")));
  }
  // FLUX.1's own are in the program: files of one part do not repeat them.
  EXPECT_FALSE(
      own_config(*Checkpoint::open(out("single")).part_files(Part::kT5), "t5").contains("tokenizer_2"));
  EXPECT_FALSE(
      own_config(*Checkpoint::open(out("single")).part_files(Part::kClip), "clip").contains("tokenizer"));
}

TEST_F(ConvertTokenizers, AGgufOfT5HasItsTokenizer) {
  for (const fs::path& in : {kFixture, fs::path(DARKROOM_SOURCE_DIR "/assets/pinhole")}) {
    SCOPED_TRACE(in);
    const std::string name = in.filename().string();
    convert(in, out(name + "-t5"), "gguf", "t5");
    const TensorFile file(out(name + "-t5"));
    const GgufFields& fields = *file.fields();
    const auto rows = static_cast<std::size_t>(Checkpoint::open(in).config().t5.vocab_size);
    EXPECT_EQ(fields.text("tokenizer.ggml.model"), "t5");
    EXPECT_EQ(fields.texts("tokenizer.ggml.tokens").size(), rows);
    EXPECT_EQ(fields.numbers<float>("tokenizer.ggml.scores").size(), rows);
    EXPECT_EQ(fields.numbers<int32_t>("tokenizer.ggml.token_type").size(), rows);
    EXPECT_EQ(fields.number<int32_t>("tokenizer.ggml.eos_token_id"), 1);
    EXPECT_EQ(fields.number<int32_t>("tokenizer.ggml.padding_token_id"), 0);
    EXPECT_EQ(fields.number<int32_t>("tokenizer.ggml.unknown_token_id"), 2);
    EXPECT_FALSE(fields.flag("tokenizer.ggml.add_bos_token"));
    // Read by the fields alone, as another program's file is.
    write_plain_gguf(out(name + "-t5"), out(name + "-plain"));
    convert(in, out(name + "-rest"), "single", "transformer,clip,vae");
    const CheckpointPaths mixed{out(name + "-rest").string(), {}, out(name + "-plain"), {}};
    expect_same(Checkpoint::open(mixed), Checkpoint::open(in));
    convert(mixed, out(name + "-folder"));
    fs::remove(out(name + "-plain"));
    expect_same(out(name + "-folder"), in);
  }
}

TEST_F(ConvertTokenizers, ABrokenOneInAGgufIsRefused) {
  convert(kFixture, out("t5"), "gguf", "t5");
  convert(kFixture, out("rest"), "single", "transformer,clip,vae");
  const CheckpointPaths mixed{out("rest").string(), {}, out("plain"), {}};
  const auto refused = [&](const std::string& message, const std::function<void(GgufFields&)>& spoil) {
    write_plain_gguf(out("t5"), out("plain"), spoil);
    expect_error(ErrorCode::kModel, message, [&] { convert(mixed, out("no")); });
    EXPECT_FALSE(fs::exists(out("no")));
  };
  refused("plain: the score of piece 5 is not finite", [](GgufFields& fields) {
    std::vector<float> scores = fields.numbers<float>("tokenizer.ggml.scores");
    scores[5] = NAN;
    fields.set("tokenizer.ggml.scores", scores);
  });
  refused("scores and", [](GgufFields& fields) {
    fields.set("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b"});
  });
  refused("the padding token has the id 70000",
          [](GgufFields& fields) { fields.set("tokenizer.ggml.padding_token_id", uint32_t{70'000}); });
}

TEST_F(ConvertTokenizers, AVocabularyOfFluxsSizeNeedNotBeFluxs) {
  model().write_model(out("in"));
  write_other_tokenizer_2(out("in"));
  const Checkpoint before = Checkpoint::open(out("in"));
  const std::string piece = built_in_t5().tokens[100];
  fs::create_directory(out("bare"));
  model().write_model(out("bare"));
  ASSERT_NE(before.tokenize(piece, 64).t5, Checkpoint::open(out("bare")).tokenize(piece, 64).t5);
  convert(out("in"), out("single"), "single");
  expect_same(out("single"), out("in"));
  convert(out("in"), out("gguf"), "gguf");
  expect_same(out("gguf"), out("in"));
}

TEST_F(ConvertTokenizers, APartFromElsewhereBringsItsOwn) {
  model().write_model(out("in"));
  convert(out("in"), out("whole"));
  model().write_model(out("other"));
  write_other_tokenizer_2(out("other"));
  std::ofstream(folder_ / "secret.txt") << "secret";
  fs::create_symlink(folder_ / "secret.txt", out("other") / "tokenizer_2" / "more.txt");
  const CheckpointPaths mixed{out("whole").string(), {}, out("other") / "text_encoder_2", {}};
  convert(mixed, out("mixed"));
  EXPECT_EQ(read_text_file(out("mixed") / "tokenizer_2/tokenizer.json", 1 << 24),
            read_text_file(out("other") / "tokenizer_2/tokenizer.json", 1 << 24));
  EXPECT_FALSE(fs::exists(out("mixed") / "tokenizer_2/more.txt"));
  ASSERT_EQ(notes_.size(), 1u);
  EXPECT_NE(notes_[0].find("more.txt: a link to "), notes_[0].npos) << notes_[0];
  expect_same(Checkpoint::open(out("mixed")), Checkpoint::open(mixed));
}

// A link out of the model is no file of its tokenizer.
TEST_F(ConvertTokenizers, WhatIsLeftOutStaysOut) {
  model().write_model(out("in"));
  write_other_tokenizer_2(out("in"));
  const fs::path map = out("in") / "tokenizer_2/special_tokens_map.json";
  fs::rename(map, folder_ / "map.json");
  fs::create_symlink(folder_ / "map.json", map);
  convert(out("in"), out("out"));
  EXPECT_TRUE(fs::exists(out("out") / "tokenizer_2/tokenizer.json"));
  EXPECT_FALSE(fs::exists(out("out") / "tokenizer_2/special_tokens_map.json"));
  EXPECT_EQ(notes_.size(), 1u);
}

TEST_F(ConvertTokenizers, AnEncoderOfFewerTokensHasNone) {
  const SmallModel few(false);
  few.write_model(out("in"));
  convert(out("in"), out("out"));
  EXPECT_FALSE(fs::exists(out("out") / "tokenizer"));
  EXPECT_FALSE(fs::exists(out("out") / "tokenizer_2"));
  ASSERT_EQ(notes_.size(), 2u);
  EXPECT_EQ(
      notes_[1],
      "the T5 text encoder has no tokenizer, and FLUX.1's own has more tokens than it; none is written");
  convert(out("in"), out("gguf"), "gguf");
  EXPECT_FALSE(TensorFile(out("gguf") / "t5xxl.gguf").fields()->has("tokenizer.ggml.tokens"));
}

}  // namespace
}  // namespace darkroom
