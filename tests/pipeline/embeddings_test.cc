// The embedding cache: the same pictures with it and without, and a key that knows what the bytes depend on.
#include "pipeline/embeddings.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <fstream>

#include "backends/registry.h"
#include "base/expect_error.h"
#include "base/temp_folder.h"
#include "pipeline/pipeline.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

const fs::path kCheckpoint = DARKROOM_SOURCE_DIR "/tests/fixtures/pipelines/dev_small";
constexpr const char* kPrompt = "an unmistakable prompt";

// What one run gave.
struct Drawn {
  std::vector<uint8_t> rgb;
  int prompts = 0, cached = 0;
  std::vector<std::string> notes;
};

class Embeddings : public testing::Test {
 protected:
  void SetUp() override {
    request_.prompt = kPrompt;
    request_.width = request_.height = 32;
    request_.steps = 1;
    request_.max_text_tokens = 40;
    request_.seed = 3;
  }
  Drawn draw(const fs::path& folder, const fs::path& checkpoint = kCheckpoint,
             const std::string& backend = "cpu") {
    const Checkpoint model = Checkpoint::open(checkpoint);
    const auto engine = make_backend({.name = backend, .isa = "auto", .threads = 1});
    const std::atomic<bool> cancel{false};
    Drawn drawn;
    Listeners listeners;
    listeners.on_picture = [&](const Picture& picture) { drawn.rgb = picture.image.rgb; };
    listeners.on_note = [&](const std::string& note) { drawn.notes.push_back(note); };
    listeners.on_progress = [&](const Progress& p) {
      drawn.prompts = p.prompts;
      drawn.cached = p.cached_prompts;
    };
    generate(model, *engine, decide(request_, model, machine_of(*engine)), listeners, cancel,
             {.folder = folder});
    EXPECT_EQ(drawn.notes, std::vector<std::string>{});
    return drawn;
  }
  fs::path cache() const { return temp_ / "cache"; }
  // A copy of the checkpoint that a test may change.
  fs::path copy(const char* name) const {
    fs::copy(kCheckpoint, temp_ / name, fs::copy_options::recursive);
    return temp_ / name;
  }

  TempFolder temp_;
  Request request_;
};

void flip_last_byte(const fs::path& path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-1, std::ios::end);
  const char last = static_cast<char>(file.get() ^ 1);
  file.seekp(-1, std::ios::end);
  file.put(last);
}

TEST_F(Embeddings, TheSamePictureFromTheCacheAndWithoutOne) {
  request_.negative = "not this";
  request_.cfg = 2;
  for (const char* precision : {"f32", "bf16"}) {
    request_.precision = precision;
    const Drawn without = draw({}), first = draw(cache()), second = draw(cache());
    EXPECT_EQ(without.cached, 0);
    EXPECT_EQ(first.prompts, 2);
    EXPECT_EQ(first.cached, 0) << precision;
    EXPECT_EQ(second.cached, 2) << precision;
    ASSERT_EQ(without.rgb.size(), 32u * 32 * 3);
    EXPECT_EQ(first.rgb, without.rgb);
    EXPECT_EQ(second.rgb, without.rgb);
  }
  request_.text_precision = "int8";
  const Drawn first = draw(cache()), second = draw(cache());
  EXPECT_EQ(first.cached, 0);
  EXPECT_EQ(second.cached, 2);
  EXPECT_EQ(second.rgb, first.rgb);
  request_.text_precision = "auto";
  // Each text is an entry of its own.
  request_.prompt = "another";
  EXPECT_EQ(draw(cache()).cached, 1);
  request_.negative.reset();
  request_.cfg.reset();
  request_.prompt = "not this";
  EXPECT_EQ(draw(cache()).cached, 1);
}

TEST_F(Embeddings, WhatIsCachedIsUsedInsteadOfTheEncoders) {
  const Drawn expected = draw({});
  const Checkpoint model = Checkpoint::open(kCheckpoint);
  const Job job = decide_values(request_, model);
  const auto backend = make_backend({.name = "cpu", .isa = "auto", .threads = 1});
  const EmbeddingCache embeddings({.folder = cache()}, model, job, backend->name(), {});
  const flux::Config& config = model.config().transformer;
  const Conditioning zeros{
      std::vector<float>(static_cast<std::size_t>(config.pooled_projection_dim)),
      std::vector<float>(static_cast<std::size_t>(job.max_text_tokens * config.joint_attention_dim))};
  embeddings.store(model.tokenize(kPrompt, job.max_text_tokens), zeros);
  const Drawn drawn = draw(cache());
  EXPECT_EQ(drawn.cached, 1);
  EXPECT_NE(drawn.rgb, expected.rgb);
}

TEST_F(Embeddings, EverythingThatChangesTheBytesMakesAnotherKey) {
  draw(cache());
  EXPECT_EQ(draw(cache()).cached, 1);
  const auto misses = [&](auto change) {
    const Request before = request_;
    change();
    EXPECT_EQ(draw(cache()).cached, 0);
    request_ = before;
  };
  misses([&] { request_.prompt += "s"; });
  misses([&] { request_.max_text_tokens = 41; });
  misses([&] {
    request_.precision =
        Checkpoint::open(kCheckpoint).part_dtype(Part::kTransformer) == DType::kF32 ? "bf16" : "f32";
  });
  misses([&] { request_.text_precision = "int8"; });
  misses([&] {
    request_.text_precision = "int8";
    request_.int8_group = 16;
  });
  EXPECT_EQ(draw(cache(), kCheckpoint, "reference").cached, 0);
  request_.precision = "int8";  // the transformer's
  request_.text_precision = "f32";
  EXPECT_EQ(draw(cache()).cached, 1) << "encoded in f32 above";
  request_.text_precision = "auto";
  request_.precision = "auto";
  request_.seed = 4;
  request_.width = 48;
  request_.steps = 2;
  EXPECT_EQ(draw(cache()).cached, 1) << "these do not reach the encoders";
}

TEST_F(Embeddings, ModelsAreKnownByTheirEncodersContents) {
  draw(cache());
  const fs::path moved = copy("moved");
  EXPECT_EQ(draw(cache(), moved).cached, 1) << "where a model lies does not count";
  flip_last_byte(moved / "vae/diffusion_pytorch_model.safetensors");
  EXPECT_EQ(draw(cache(), moved).cached, 1) << "nor the parts that see no text";
  for (const char* part : {"text_encoder", "text_encoder_2"}) {
    const fs::path changed = copy(part);
    bool found = false;
    for (const auto& entry : fs::directory_iterator(changed / part)) {
      if (entry.path().extension() != ".safetensors") continue;
      flip_last_byte(entry.path());
      found = true;
    }
    EXPECT_TRUE(found);
    EXPECT_EQ(draw(cache(), changed).cached, 0) << part;
    const fs::path configured = copy((std::string(part) + "-config").c_str());
    std::ofstream(configured / part / "config.json", std::ios::app) << "\n";
    EXPECT_EQ(draw(cache(), configured).cached, 0) << part;
  }
}

// Models of a formula have no files, and must not be taken for each other.
TEST_F(Embeddings, DummiesAreKnownByTheirNames) {
  const Job job = decide_values(request_, Checkpoint::dummy("tiny"));
  const Conditioning found{std::vector<float>(768), std::vector<float>(40 * 4096)};
  Tokens tokens;
  tokens.clip = tokens.t5 = {1, 2, 3};
  const Checkpoint dev = Checkpoint::dummy("dev"), schnell = Checkpoint::dummy("schnell");
  EmbeddingCache({.folder = cache()}, dev, job, "cpu", {}).store(tokens, found);
  EXPECT_TRUE(EmbeddingCache({.folder = cache()}, dev, job, "cpu", {}).find(tokens));
  EXPECT_FALSE(EmbeddingCache({.folder = cache()}, schnell, job, "cpu", {}).find(tokens));
}

TEST_F(Embeddings, ThePromptIsNotInTheFolder) {
  draw(cache());
  int files = 0;
  for (const auto& entry : fs::directory_iterator(cache())) {
    ++files;
    std::ifstream stream(entry.path(), std::ios::binary);
    const std::string text = entry.path().string() + std::string((std::istreambuf_iterator<char>(stream)),
                                                                 std::istreambuf_iterator<char>());
    for (const char* word : {"unmistakable", "prompt", "dev_small", "fixtures"}) {
      EXPECT_EQ(text.find(word), std::string::npos) << word;
    }
  }
  EXPECT_EQ(files, 1);
}

// Large files are told apart by their header, a sample, their size and when they were written.
TEST_F(Embeddings, LargeFilesAreSampled) {
  const std::string bytes((5 << 20) + 77, 'w');
  const fs::path file = temp_.write("a.safetensors", bytes);
  const auto written = fs::last_write_time(file);
  const std::string identity = file_identity(file);
  const auto identity_of = [&](const char* name, std::string changed, std::chrono::seconds later = {}) {
    const fs::path path = temp_.write(name, changed);
    fs::last_write_time(path, written + later);
    return file_identity(path);
  };
  EXPECT_EQ(identity_of("b.safetensors", bytes), identity);
  EXPECT_NE(identity_of("b.safetensors", bytes, std::chrono::seconds(1)), identity);
  EXPECT_NE(identity_of("b.safetensors", bytes + "w"), identity);
  for (const std::size_t at : {std::size_t{0}, std::size_t{1} << 19, bytes.size() - 1}) {
    std::string changed = bytes;
    changed[at] = 'x';
    EXPECT_NE(identity_of("b.safetensors", changed), identity) << at;
  }
  expect_error(ErrorCode::kModel, "cannot open", [&] { file_identity(temp_ / "none"); });
}

TEST_F(Embeddings, TheSizeIsReadStrictly) {
  EXPECT_EQ(embed_cache_options("x", "2MiB").limit_bytes, 2u << 20);
  for (const char* wrong : {"", "0", "much", "-1"}) {
    expect_error(ErrorCode::kUsage, "embed-cache-size", [&] { embed_cache_options("x", wrong); });
  }
}

}  // namespace
}  // namespace darkroom
