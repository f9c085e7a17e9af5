// Runs the built program in a folder of its own and catches what it says. For the tests of the command line.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/temp_folder.h"

namespace cli_test {

using Words = std::vector<std::string>;

struct Result {
  int code = -1;  // exit code; 128 + N when signal N ended it
  std::string out, err;
};

// How a run differs from the plainest one.
struct RunOptions {
  std::string input = {};  // standard input
  // On top of this process's, without DARKROOM_*; XDG_CACHE_HOME is a folder of the test.
  std::map<std::string, std::string> environment = {};
  std::string standard_input = {};   // a file instead of `input`
  std::string standard_output = {};  // where it goes; "": into Result::out
  std::string standard_error = {};   // where it goes; "": into Result::err
  int error_pipe = -1;               // or into this open file
  std::vector<int> closed = {};      // standard streams that are closed
  std::vector<int> ignored = {};     // signals that are ignored from the start
  std::size_t memory_limit = 0;      // bytes of address space; 0: none
};

class ProgramTest : public testing::Test {
 protected:
  // Runs `darkroom words...` inside folder().
  Result run(const Words& words, const RunOptions& options = {}) const;
  // The two halves of run().
  pid_t start(const Words& words, const RunOptions& options = {}) const;
  Result finish(pid_t child) const;
  // Waits until the process sleeps in a system call that waits for something, at most 20 s.
  static void wait_until_it_waits(pid_t child);
  // Until it has handlers for signals.
  static void wait_until_it_catches(pid_t child, int number);
  // What it has written to standard error so far.
  std::string said() const;

  // Demands exit `code`, one line on standard error that contains `part`, and nothing on standard output.
  void expect_refusal(const Words& words, int code, const std::string& part,
                      const RunOptions& options = {}) const;

  const darkroom::TempFolder& folder() const { return folder_; }
  // The names in folder(), sorted.
  Words files() const;

 private:
  darkroom::TempFolder folder_;
  darkroom::TempFolder logs_;
};

// `darkroom generate` of a picture that takes no time, and more words.
Words small_picture(const Words& more);

// The test checkpoint of the fixtures.
std::string fixture_model();

}  // namespace cli_test
