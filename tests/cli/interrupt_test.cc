// SIGINT, SIGTERM and SIGHUP at any moment: exit code 130, one line, no file that is half done.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/program.h"

namespace cli_test {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};

class CliInterrupt : public ProgramTest {
 protected:
  void SetUp() override { ASSERT_EQ(mkfifo((folder() / "pipe").c_str(), 0600), 0); }
  // Sends each signal as soon as the program waits.
  void expect_stop(const Words& words, const RunOptions& options = {}) const {
    std::string line;
    for (const std::string& word : words) line += " " + word;
    SCOPED_TRACE("darkroom" + line);
    for (const int number : kSignals) {
      const pid_t child = start(words, options);
      wait_until_it_waits(child);
      expect_stopped(child, number);
    }
  }
  void expect_stopped(pid_t child, int number) const {
    ASSERT_EQ(kill(child, number), 0);
    const Result result = finish(child);
    EXPECT_EQ(result.code, 130) << "signal " << number << "\n" << result.err;
    EXPECT_TRUE(result.err.ends_with("darkroom: stopped on request\n")) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(files(), Words{"pipe"});
  }
};

TEST_F(CliInterrupt, WhileAPipeIsOpened) {
  expect_stop({"generate", "--dummy", "tiny", "--prompt-file", "pipe"});
  expect_stop({"generate", "a", "--dummy", "tiny", "--guidance-schedule", "pipe"});
  expect_stop({"plan", "--dummy", "tiny", "--guidance-schedule", "pipe"});
}

TEST_F(CliInterrupt, WhileATextIsReadFromAPipe) {
  const int writer = open((folder() / "pipe").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(write(writer, "half a prom", 11), 11);
  expect_stop({"generate", "--dummy", "tiny", "--prompt-file", "-"},
              {.standard_input = (folder() / "pipe").string()});
  expect_stop({"generate", "--dummy", "tiny", "--prompt-file", "pipe"});
  expect_stop({"generate", "a", "--dummy", "tiny", "--guidance-schedule", "pipe"});
  close(writer);
}

TEST_F(CliInterrupt, WhileNobodyReadsTheResult) {
  const int pipe = open((folder() / "pipe").c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  const std::string page(4096, 'x');
  while (write(pipe, page.data(), page.size()) > 0) {
  }
  for (const int number : kSignals) {
    const pid_t child = start({"plan", "--dummy", "tiny"}, {.standard_output = (folder() / "pipe").string()});
    wait_until_it_waits(child);
    expect_stopped(child, number);
  }
  close(pipe);
}

// As soon as the program begins, in the middle of opening, planning and drawing, and of converting.
TEST_F(CliInterrupt, WhileItWorks) {
  const Words commands[] = {
      {"generate", "--dummy", "dev", "a", "-W", "64", "-H", "64", "-t", "2", "--no-embed-cache"},
      {"convert", "--dummy", "dev", "new", "--weights", "fp8", "-t", "2"},
      {"bench", "-t", "2"}};
  for (const Words& words : commands) {
    SCOPED_TRACE(words.front());
    for (const int milliseconds : {0, 40, 200, 700}) {
      const int number = kSignals[milliseconds / 20 % 3];
      const pid_t child = start(words);
      wait_until_it_catches(child, SIGHUP);  // the last for which it asks
      usleep(static_cast<useconds_t>(milliseconds) * 1000);
      expect_stopped(child, number);
    }
  }
}

// The reference backend takes many seconds for the attention of so many pixels, and stops
// between two ops only.
TEST_F(CliInterrupt, ASecondSignalKills) {
  const pid_t child = start({"generate", "--backend", "reference", "--dummy", "tiny", "a", "-W", "2048", "-H",
                             "2048", "--steps", "1", "--no-embed-cache"});
  for (int i = 0; i < 2000 && said().find("modulate: ") == std::string::npos; ++i) usleep(10000);
  usleep(1000000);
  kill(child, SIGINT);
  usleep(300000);
  kill(child, SIGTERM);
  EXPECT_EQ(finish(child).code, 128 + SIGTERM);
}

// timeout(1) sends its signal to the process and to its group.
TEST_F(CliInterrupt, TheSameSignalTwiceAtOnceIsOneRequest) {
  for (const int number : kSignals) {
    const pid_t child = start({"convert", "--dummy", "dev", "new", "--weights", "fp8", "-t", "2"});
    wait_until_it_catches(child, SIGHUP);
    usleep(400000);
    kill(child, number);
    usleep(1000);
    expect_stopped(child, number);
  }
}

TEST_F(CliInterrupt, WhatIsIgnoredAtTheStartStaysIgnored) {
  const int writer = open((folder() / "pipe").c_str(), O_RDWR | O_CLOEXEC);
  for (const int number : kSignals) {
    const pid_t child =
        start({"tokenize", "--dummy", "tiny", "a"}, {.standard_input = "", .ignored = {number}});
    EXPECT_EQ(finish(child).code, 0);
    const pid_t reading = start(small_picture({"-q", "-o", "a.png", "--overwrite", "--prompt-file", "pipe"}),
                                {.ignored = {number}});
    wait_until_it_waits(reading);
    kill(reading, number);
    wait_until_it_waits(reading);
    kill(reading, number == SIGINT ? SIGTERM : SIGINT);
    EXPECT_EQ(finish(reading).code, 130);
  }
  close(writer);
}

}  // namespace
}  // namespace cli_test
