#include "cache/disk_cache.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/temp_folder.h"

namespace darkroom::cache {
namespace {

namespace fs = std::filesystem;

Digest key(int number) { return sha256(std::as_bytes(std::span(&number, 1))); }

// Bytes that tell which key they belong to and, cut anywhere, that something is missing.
std::string payload(int number, std::size_t bytes = 1000) {
  std::string text;
  while (text.size() < bytes) text += std::to_string(number) + "." + std::to_string(text.size()) + " ";
  text.resize(bytes);
  return text;
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

class Cache : public testing::Test {
 protected:
  DiskCache open(std::size_t limit = 1 << 20) {
    return {folder(), limit, [this](const std::string& note) { notes_.push_back(note); }};
  }
  fs::path folder() const { return temp_ / "made/when/needed"; }
  fs::path file(int number) const { return folder() / (hex(key(number)) + ".entry"); }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(folder()))
      out.push_back(entry.path().filename().string());
    return out;
  }

  TempFolder temp_;
  std::vector<std::string> notes_;
};

TEST_F(Cache, WhatWasStoredIsFound) {
  const DiskCache cache = open();
  EXPECT_EQ(cache.find(key(1), 1000), std::nullopt);
  EXPECT_FALSE(fs::exists(folder())) << "looking makes no folder";
  cache.store(key(1), bytes_of(payload(1)));
  cache.store(key(2), bytes_of(payload(2, 0)));
  EXPECT_EQ(cache.find(key(1), 1000), payload(1));
  EXPECT_EQ(cache.find(key(2), 0), "");
  EXPECT_EQ(cache.find(key(3), 1000), std::nullopt);
  cache.store(key(1), bytes_of(payload(7)));
  EXPECT_EQ(open().find(key(1), 1000), payload(7)) << "the last one counts, for others too";
  struct stat status {};
  ASSERT_EQ(stat(folder().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u) << "for the owner alone";
  fs::remove_all(folder());
  EXPECT_EQ(cache.find(key(1), 1000), std::nullopt) << "may be deleted at any time";
  cache.store(key(1), bytes_of(payload(1)));
  EXPECT_EQ(cache.find(key(1), 1000), payload(1));
  EXPECT_EQ(notes_, std::vector<std::string>{});
}

TEST_F(Cache, DamageIsSeenDeletedAndSaid) {
  const DiskCache cache = open();
  cache.store(key(1), bytes_of(payload(1)));
  std::ifstream stream(file(1), std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(stream)), {});
  std::vector<std::string> damaged = {"", "x", whole.substr(0, whole.size() - 1), whole + "x", whole + whole};
  for (std::size_t at = 0; at < whole.size(); at += 7) {
    damaged.push_back(whole);
    damaged.back()[at] = static_cast<char>(damaged.back()[at] ^ 1);
  }
  for (const std::string& bytes : damaged) {
    notes_.clear();
    std::ofstream(file(1), std::ios::binary | std::ios::trunc) << bytes;
    EXPECT_EQ(cache.find(key(1), 1000), std::nullopt) << bytes.size();
    EXPECT_FALSE(fs::exists(file(1)));
    ASSERT_EQ(notes_.size(), 1u);
    EXPECT_NE(notes_[0].find("damaged; it is deleted and computed again"), std::string::npos) << notes_[0];
  }
  // Whole, but another key's; and of another size than is asked for.
  std::ofstream(file(2), std::ios::binary) << whole;
  EXPECT_EQ(cache.find(key(2), 1000), std::nullopt);
  std::ofstream(file(1), std::ios::binary) << whole;
  EXPECT_EQ(cache.find(key(1), 999), std::nullopt);
  EXPECT_EQ(names(), std::vector<std::string>{});
}

TEST_F(Cache, WhatWasUsedTheLongestAgoGoes) {
  const std::size_t each = 1000 + 56 + 32;
  const DiskCache cache = open(3 * each);
  const auto age = [&](int number, int hours) {
    fs::last_write_time(file(number), fs::file_time_type::clock::now() - std::chrono::hours(hours));
  };
  for (const int number : {1, 2, 3}) cache.store(key(number), bytes_of(payload(number)));
  age(1, 30);
  age(2, 20);
  age(3, 10);
  EXPECT_TRUE(cache.find(key(1), 1000)) << "which makes it the youngest";
  cache.store(key(4), bytes_of(payload(4)));
  EXPECT_FALSE(fs::exists(file(2)));
  for (const int kept : {1, 3, 4}) EXPECT_TRUE(fs::exists(file(kept))) << kept;
  // A smaller limit is kept as soon as something is stored, whoever stored the rest.
  open(each).store(key(5), bytes_of(payload(5)));
  EXPECT_EQ(names(), std::vector<std::string>{file(5).filename().string()});
  EXPECT_EQ(notes_, std::vector<std::string>{});
  open(each - 1).store(key(6), bytes_of(payload(6)));
  EXPECT_FALSE(fs::exists(file(6)));
  EXPECT_EQ(notes_,
            std::vector<std::string>{"a result of 1000 bytes is not cached: the cache is limited to 1087"});
}

TEST_F(Cache, AbandonedTemporariesGoAndOtherFilesStay) {
  const DiskCache cache = open(1100);
  cache.store(key(1), bytes_of(payload(1)));
  const auto make = [&](const char* name, int minutes) {
    std::ofstream(folder() / name) << payload(9, 5000);
    fs::last_write_time(folder() / name, fs::file_time_type::clock::now() - std::chrono::minutes(minutes));
  };
  make(".darkroom-17-0", 61);
  make(".darkroom-18-0", 50);
  make("mine.entry", 600);
  make("mine", 600);
  cache.store(key(2), bytes_of(payload(2)));
  EXPECT_FALSE(fs::exists(folder() / ".darkroom-17-0"));
  for (const char* kept : {".darkroom-18-0", "mine.entry", "mine"})
    EXPECT_TRUE(fs::exists(folder() / kept)) << kept;
  EXPECT_TRUE(fs::exists(file(2)));
  EXPECT_FALSE(fs::exists(file(1)));
}

// Root may write to read-only folders, so these are places where nobody can.
TEST_F(Cache, AFolderThatCannotBeWrittenIsANote) {
  temp_.write("file", "x");
  for (const fs::path& impossible : {temp_ / "file", temp_ / "file/below", fs::path("/proc/darkroom")}) {
    notes_.clear();
    const DiskCache cache(impossible, 1 << 20, [this](const std::string& note) { notes_.push_back(note); });
    EXPECT_EQ(cache.find(key(1), 1000), std::nullopt);
    cache.store(key(1), bytes_of(payload(1)));
    ASSERT_EQ(notes_.size(), 1u) << impossible;
    EXPECT_NE(notes_[0].find("is not cached: "), std::string::npos) << notes_[0];
  }
  // And an entry that cannot be read, whoever asks.
  fs::create_directories(file(1));
  notes_.clear();
  EXPECT_EQ(open().find(key(1), 1000), std::nullopt);
  ASSERT_EQ(notes_.size(), 1u);
  EXPECT_NE(notes_[0].find("cannot be read"), std::string::npos) << notes_[0];
}

// Runs `work` in a child process, which ends with 0 unless work() says false.
template <typename Work>
pid_t start(Work work) {
  const pid_t child = fork();
  if (child == 0) _exit(work() ? 0 : 1);
  return child;
}

// Killed at any moment, a writer leaves whole entries and temporaries only.
TEST_F(Cache, NothingHalfWrittenIsReadBack) {
  constexpr std::size_t kBytes = 300'000;
  const DiskCache cache = open(64 << 20);
  int found = 0, temporaries = 0;
  for (int round = 0; round < 25; ++round) {
    const pid_t child = start([&] {
      for (int number = 0;; ++number) cache.store(key(number % 5), bytes_of(payload(number % 5, kBytes)));
      return true;
    });
    ASSERT_GT(child, 0);
    // On a busy machine it may be a while before the child runs at all.
    for (int wait = 0; !fs::exists(folder()) && wait < 10'000; ++wait) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(4'000 + 1'700 * round));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    for (int number = 0; number < 5; ++number) {
      const bool there = fs::exists(file(number));
      const auto entry = cache.find(key(number), kBytes);
      EXPECT_EQ(entry.has_value(), there);
      if (!entry) continue;
      EXPECT_EQ(*entry, payload(number, kBytes));
      ++found;
    }
    if (!fs::exists(folder())) continue;
    for (const std::string& name : names()) temporaries += name.starts_with(".darkroom-");
  }
  EXPECT_EQ(notes_, std::vector<std::string>{});
  EXPECT_GT(found, 0) << "else nothing was tested";
  EXPECT_GT(temporaries, 0) << "no child was killed while it wrote";
}

TEST_F(Cache, ProcessesShareAFolder) {
  std::vector<pid_t> children;
  for (int child = 0; child < 3; ++child) {
    children.push_back(start([&] {
      const DiskCache cache = open(3 * 20'100);  // room for three of five: entries come and go all the time
      for (int number = 0; number < 300; ++number) {
        const int wanted = (number * (child + 1)) % 5;
        const auto entry = cache.find(key(wanted), 20'000);
        if (entry && *entry != payload(wanted, 20'000)) return false;
        if (!entry) cache.store(key(wanted), bytes_of(payload(wanted, 20'000)));
      }
      return notes_.empty();
    }));
  }
  for (const pid_t child : children) {
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
}

}  // namespace
}  // namespace darkroom::cache
