// Standard streams that are closed, full, broken or never read: standard error changes nothing, standard
// output must get the results.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/program.h"
#include "image/png.h"

namespace cli_test {
namespace {

// A pipe that takes nothing more, or whose reader is gone.
class Pipe {
 public:
  Pipe() {
    EXPECT_EQ(pipe2(ends_, O_CLOEXEC), 0);
    fcntl(ends_[1], F_SETFL, O_NONBLOCK);
  }
  ~Pipe() {
    close_reader();
    close(ends_[1]);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void fill() {
    const std::string page(4096, 'x');
    while (write(ends_[1], page.data(), page.size()) > 0) {
    }
  }
  void make_blocking() { fcntl(ends_[1], F_SETFL, 0); }
  void close_reader() {
    if (ends_[0] >= 0) close(ends_[0]);
    ends_[0] = -1;
  }
  int writer() const { return ends_[1]; }

 private:
  int ends_[2] = {-1, -1};
};

class CliStreams : public ProgramTest {
 protected:
  // That `options` spoil standard error only: a run, an error and a note end as they would.
  void expect_no_change(const RunOptions& options) const {
    RunOptions drawn = options;
    const Result picture = run(small_picture({"a", "-s", "1", "-o", "a.png", "--overwrite"}), drawn);
    EXPECT_EQ(picture.code, 0);
    EXPECT_EQ(picture.out, "a.png\n");
    EXPECT_EQ(darkroom::read_png(folder() / "a.png").width, 32);
    EXPECT_EQ(run(small_picture({"a", "--cfg", "2", "-s", "1", "-o", "b.png"}), options).code, 0);  // a note
    std::filesystem::remove(folder() / "b.png");
    EXPECT_EQ(run({"nosuch"}, options).code, 2);
    EXPECT_EQ(run({}, options).code, 2);
    EXPECT_EQ(run({"info", "absent"}, options).code, 3);
    EXPECT_EQ(run({"generate", "a", "--dummy", "tiny", "-o", "nowhere/a.png"}, options).code, 5);
  }
};

TEST_F(CliStreams, AStandardErrorOnAFullDiskChangesNothing) {
  if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "there is no /dev/full";
  expect_no_change({.standard_error = "/dev/full"});
  const Result converted =
      run({"convert", "--dummy", "tiny", "new", "--weights", "fp8"}, {.standard_error = "/dev/full"});
  EXPECT_EQ(converted.code, 0);
  EXPECT_EQ(converted.out, "new\n");
}

TEST_F(CliStreams, AStandardErrorWithoutAReaderChangesNothing) {
  Pipe pipe;
  pipe.close_reader();
  expect_no_change({.error_pipe = pipe.writer()});
  expect_no_change({.error_pipe = pipe.writer(), .ignored = {SIGPIPE}});
}

TEST_F(CliStreams, AStandardErrorThatNobodyReadsChangesNothing) {
  Pipe pipe;
  pipe.fill();
  const Words picture = small_picture({"a", "-s", "1", "-o", "a.png", "--overwrite"});
  EXPECT_EQ(run(picture, {.error_pipe = pipe.writer()}).out, "a.png\n");
  EXPECT_EQ(run({"nosuch"}, {.error_pipe = pipe.writer()}).code, 2);
  pipe.make_blocking();
  const Result result = run(picture, {.error_pipe = pipe.writer()});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out, "a.png\n");
}

TEST_F(CliStreams, AClosedStandardErrorChangesNothing) {
  expect_no_change({.closed = {STDERR_FILENO}});
  expect_no_change({.closed = {STDIN_FILENO, STDERR_FILENO}});
}

// No file that is opened may become standard output.
TEST_F(CliStreams, AClosedStandardOutputIsFoundBeforeTheWork) {
  for (const Words& words : {small_picture({"a", "-o", "a.png"}),
                             Words{"convert", "--dummy", "tiny", "new", "--weights", "fp8"}}) {
    const Result result = run(words, {.closed = {STDOUT_FILENO}});
    EXPECT_EQ(result.code, 5);
    EXPECT_EQ(result.err, "darkroom: standard output cannot be written: Bad file descriptor\n");
    EXPECT_EQ(files(), Words{});
  }
  for (const Words& words : {Words{"plan", "--dummy", "tiny"}, Words{"--help"}, Words{"--version"}})
    EXPECT_EQ(run(words, {.closed = {STDOUT_FILENO}}).code, 5);
  // What is wrong with the request is said first.
  EXPECT_EQ(run({"generate", "a", "--steps", "0"}, {.closed = {STDOUT_FILENO}}).code, 2);
  EXPECT_EQ(run({"plan", "--dummy", "tiny"}, {.closed = {0, 1, 2}}).code, 5);
}

TEST_F(CliStreams, AStandardOutputWithoutAReaderIsAnOutputError) {
  const std::string name = (folder() / "pipe").string();
  ASSERT_EQ(mkfifo(name.c_str(), 0600), 0);
  const int reader = open(name.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  const pid_t child =
      start({"generate", "a", "--dummy", "tiny", "-W", "32", "-H", "32", "--prompt-file", "-"},
            {.standard_output = name});
  finish(child);  // refused; it showed that the pipe can be opened
  const pid_t second =
      start({"plan", "--dummy", "dev", "-W", "2048", "-H", "2048", "--json"}, {.standard_output = name});
  close(reader);
  const Result result = finish(second);
  EXPECT_EQ(result.code, 5);
  EXPECT_EQ(result.err, "darkroom: standard output cannot be written: Broken pipe\n");
}

TEST_F(CliStreams, AClosedStandardInputIsNoPrompt) {
  expect_refusal({"generate", "--dummy", "tiny", "--prompt-file", "-"}, 2, "--prompt-file -: Bad file",
                 {.closed = {STDIN_FILENO}});
  EXPECT_EQ(run(small_picture({"a", "-q"}), {.closed = {STDIN_FILENO}}).code, 0);
}

}  // namespace
}  // namespace cli_test
