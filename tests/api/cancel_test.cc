// darkroom_cancel() from other threads, at any moment: no cancel is lost, none counts twice, and what was
// drawn is right. Two engines draw in two threads all the while.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/temp_folder.h"
#include "darkroom/darkroom.h"
#include "model_folder.h"

namespace {

// Of each of the two engines. The long run sets another number.
int tries() {
  const char* text = std::getenv("DARKROOM_CANCEL_TRIES");
  return text ? std::atoi(text) : 100;
}

// An engine with what a run of it gives.
class Artist {
 public:
  explicit Artist(int threads = 1) {
    darkroom_options options;
    darkroom_options_init(&options);
    options.threads = threads;
    EXPECT_EQ(darkroom_create(&options, &engine), DARKROOM_OK) << error();
  }
  ~Artist() { darkroom_destroy(engine); }
  Artist(const Artist&) = delete;
  Artist& operator=(const Artist&) = delete;

  std::string error() const { return darkroom_last_error(engine); }

  darkroom_status draw(darkroom_model* model, uint64_t seed, int steps) {
    darkroom_request request;
    darkroom_request_init(&request);
    request.prompt = "x";
    request.width = request.height = 64;
    request.steps = steps;
    request.max_text_tokens = 8;
    request.has_seed = 1;
    request.seed = seed;
    request.budget = "1T";
    request.user = this;
    request.on_progress = [](const darkroom_progress*, void* self) {
      static_cast<Artist*>(self)->count(1);
      return 0;
    };
    request.on_picture = [](const darkroom_picture* p, void* self) {
      static_cast<Artist*>(self)->rgb.assign(p->rgb, p->rgb + std::size_t{64} * 64 * 3);
      return 0;
    };
    rgb.clear();
    return darkroom_generate(engine, model, &request);
  }

  void count(int more) {
    events += more;
    events.notify_one();
  }

  darkroom_engine* engine = nullptr;
  std::atomic<int> events{0};
  std::vector<uint8_t> rgb;
};

struct Count {
  int finished = 0, stopped = 0;
};

// One run with a cancel after `after` events, or before the first, or after the run; `yields` is how long
// the canceller dawdles.
void try_once(Artist& artist, darkroom_model* model, int steps, int after, int yields,
              const std::vector<uint8_t>& expected, Count& count) {
  artist.events = 0;
  std::thread canceller([&] {
    for (int seen = artist.events; seen < after; seen = artist.events) artist.events.wait(seen);
    for (int i = 0; i < yields; ++i) std::this_thread::yield();
    darkroom_cancel(artist.engine);
  });
  const darkroom_status status = artist.draw(model, 1, steps);
  artist.count(1 << 20);  // let it go, if it waits still
  canceller.join();
  // A cancel either stops this call or waits for the next one.
  if (status == DARKROOM_OK) {
    count.finished++;
    EXPECT_EQ(artist.rgb, expected);
    EXPECT_EQ(darkroom_clear_cancel(artist.engine), 1) << "a cancel is lost";
  } else {
    count.stopped++;
    EXPECT_EQ(status, DARKROOM_CANCELLED) << artist.error();
    EXPECT_EQ(darkroom_clear_cancel(artist.engine), 0) << "a cancel counts twice";
    EXPECT_TRUE(artist.rgb.empty() || artist.rgb == expected) << "what was handed over is whole";
  }
}

// `models` are taken in turn; other engines draw with them at the same time.
void try_often(const std::vector<darkroom_model*>& models, int threads, Count& count) {
  Artist artist(threads);
  std::vector<uint8_t> expected[2];
  int events[2];
  for (int steps : {1, 2}) {
    ASSERT_EQ(artist.draw(models[0], 1, steps), DARKROOM_OK) << artist.error();
    expected[steps - 1] = artist.rgb;
    events[steps - 1] = artist.events.exchange(0);
  }
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int i = 0; i < tries() && !testing::Test::HasFailure(); ++i) {
    const int steps = 1 + i % 2, all = events[steps - 1];
    const int after = static_cast<int>(random() % static_cast<unsigned>(all + 2));
    try_once(artist, models[static_cast<std::size_t>(i) % models.size()], steps, after,
             static_cast<int>(random() % 200), expected[steps - 1], count);
  }
  // Without a cancel the engine is as good as new.
  EXPECT_EQ(artist.draw(models[0], 1, 1), DARKROOM_OK) << artist.error();
  EXPECT_EQ(artist.rgb, expected[0]);
}

TEST(Cancel, AtAnyMomentWithTwoEnginesOnOneModel) {
  const darkroom::TempFolder folder;
  darkroom::make_model_folder(folder / "m", "{}");
  Artist owner;
  darkroom_model *shared = nullptr, *own[2] = {};
  ASSERT_EQ(darkroom_open(owner.engine, (folder / "m").c_str(), &shared), DARKROOM_OK) << owner.error();
  for (darkroom_model*& model : own) {
    ASSERT_EQ(darkroom_open(owner.engine, (folder / "m").c_str(), &model), DARKROOM_OK) << owner.error();
  }
  Count counts[2];
  std::thread other([&] { try_often({shared, own[0]}, 1, counts[0]); });
  try_often({shared, own[1]}, 2, counts[1]);
  other.join();
  for (const Count& count : counts) {
    EXPECT_EQ(count.finished + count.stopped, tries());
    EXPECT_GT(count.stopped, 0);
  }
  RecordProperty("finished", counts[0].finished + counts[1].finished);
  RecordProperty("stopped", counts[0].stopped + counts[1].stopped);
  for (darkroom_model* model : {own[0], own[1], shared}) darkroom_close(model);
}

class CancelTiny : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(darkroom_open_dummy(artist_.engine, "tiny", &model_), DARKROOM_OK); }
  void TearDown() override { darkroom_close(model_); }
  darkroom_status draw() { return artist_.draw(model_, 1, 1); }

  Artist artist_;
  darkroom_model* model_ = nullptr;
};

TEST_F(CancelTiny, WaitsForTheNextCallAndStopsOne) {
  darkroom_cancel(artist_.engine);
  darkroom_cancel(artist_.engine);
  EXPECT_EQ(draw(), DARKROOM_CANCELLED);
  EXPECT_EQ(artist_.events, 0) << "no work is begun";
  EXPECT_EQ(draw(), DARKROOM_OK) << artist_.error();
}

TEST_F(CancelTiny, OutlivesCallsThatItDoesNotStop) {
  darkroom_cancel(artist_.engine);
  char* text = nullptr;
  ASSERT_EQ(darkroom_tokenize(artist_.engine, model_, "x", 8, &text), DARKROOM_OK) << artist_.error();
  darkroom_free(text);
  EXPECT_EQ(darkroom_info(artist_.engine, "/nonexistent", &text), DARKROOM_MODEL);
  EXPECT_EQ(draw(), DARKROOM_CANCELLED);
}

TEST_F(CancelTiny, IsDroppedOnRequest) {
  EXPECT_EQ(darkroom_clear_cancel(artist_.engine), 0);
  darkroom_cancel(artist_.engine);
  EXPECT_EQ(darkroom_clear_cancel(artist_.engine), 1);
  EXPECT_EQ(darkroom_clear_cancel(artist_.engine), 0);
  EXPECT_EQ(draw(), DARKROOM_OK) << artist_.error();
  EXPECT_EQ(darkroom_clear_cancel(nullptr), 0);
}

TEST_F(CancelTiny, AfterTheLastCheckIsForTheNextCall) {
  darkroom_request request;
  darkroom_request_init(&request);
  request.prompt = "x";
  request.width = request.height = 32;
  request.steps = 1;
  request.max_text_tokens = 8;
  request.user = artist_.engine;
  request.on_picture = [](const darkroom_picture*, void* engine) {
    darkroom_cancel(static_cast<darkroom_engine*>(engine));
    return 0;
  };
  EXPECT_EQ(darkroom_generate(artist_.engine, model_, &request), DARKROOM_OK) << artist_.error();
  EXPECT_EQ(draw(), DARKROOM_CANCELLED);
  // One that stops the run together with a callback is spent.
  request.on_progress = [](const darkroom_progress*, void* engine) {
    darkroom_cancel(static_cast<darkroom_engine*>(engine));
    return 1;
  };
  EXPECT_EQ(darkroom_generate(artist_.engine, model_, &request), DARKROOM_CANCELLED);
  EXPECT_EQ(draw(), DARKROOM_OK) << artist_.error();
}

TEST_F(CancelTiny, StopsConversionsTheBenchAndTheSelfTest) {
  const darkroom::TempFolder folder;
  const std::string out = folder / "new";
  darkroom_conversion conversion;
  darkroom_conversion_init(&conversion);
  conversion.out = out.c_str();
  conversion.weights = "bf16";
  darkroom_cancel(artist_.engine);
  EXPECT_EQ(darkroom_convert(artist_.engine, model_, &conversion), DARKROOM_CANCELLED);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_EQ(darkroom_convert(artist_.engine, model_, &conversion), DARKROOM_OK) << artist_.error();
  darkroom_cancel(artist_.engine);
  char* text = nullptr;
  EXPECT_EQ(darkroom_bench(artist_.engine, nullptr, &text), DARKROOM_CANCELLED);
  darkroom_self_test_options test;
  darkroom_self_test_options_init(&test);
  test.user = artist_.engine;
  test.on_progress = [](const darkroom_self_test_progress* p, void* engine) {
    EXPECT_LE(p->finished, 3);
    if (p->finished == 3) darkroom_cancel(static_cast<darkroom_engine*>(engine));
    return 0;
  };
  EXPECT_EQ(darkroom_self_test(artist_.engine, &test, &text), DARKROOM_CANCELLED);
  EXPECT_EQ(text, nullptr);
  EXPECT_EQ(darkroom_clear_cancel(artist_.engine), 0);
}

}  // namespace
