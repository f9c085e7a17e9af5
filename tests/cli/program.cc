#include "cli/program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

namespace cli_test {
namespace {

namespace fs = std::filesystem;

std::string contents(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

Words environment_for(const RunOptions& options, const fs::path& cache) {
  std::map<std::string, std::string> all;
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    const std::size_t equals = text.find('=');
    if (equals != std::string::npos && !text.starts_with("DARKROOM_")) {
      all[text.substr(0, equals)] = text.substr(equals + 1);
    }
  }
  all["XDG_CACHE_HOME"] = cache.string();
#if defined(DARKROOM_SHADER_CACHE)
  all["MESA_SHADER_CACHE_DIR"] = DARKROOM_SHADER_CACHE;  // its compiler takes seconds
#endif
  for (const auto& [name, value] : options.environment) all[name] = value;
  Words out;
  for (const auto& [name, value] : all) out.push_back(name + "=" + value);
  return out;
}

std::vector<char*> pointers(Words& words) {
  std::vector<char*> out;
  for (std::string& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

void redirect(int stream, const fs::path& path, int flags) {
  const int file = open(path.c_str(), flags | O_NONBLOCK, 0644);
  if (file >= 0) fcntl(file, F_SETFL, fcntl(file, F_GETFL) & ~O_NONBLOCK);  // that of a pipe's name is over
  if (file < 0 || dup2(file, stream) < 0) _exit(126);
  close(file);
}

}  // namespace

pid_t ProgramTest::start(const Words& words, const RunOptions& options) const {
  Words arguments = {DARKROOM_PROGRAM};
  arguments.insert(arguments.end(), words.begin(), words.end());
  Words environment = environment_for(options, logs_ / "cache");
  const std::vector<char*> argv = pointers(arguments), envp = pointers(environment);
  const fs::path input =
      options.standard_input.empty() ? logs_.write("in", options.input) : fs::path(options.standard_input);
  const fs::path out = options.standard_output.empty() ? logs_ / "out" : fs::path(options.standard_output);
  const fs::path err = options.standard_error.empty() ? logs_ / "err" : fs::path(options.standard_error);
  logs_.write("out", "");
  logs_.write("err", "");
  const pid_t child = fork();
  if (child != 0) return child;
  if (chdir(folder_.path().c_str()) != 0) _exit(126);
  redirect(STDIN_FILENO, input, O_RDONLY);
  redirect(STDOUT_FILENO, out, O_WRONLY | O_CREAT | O_TRUNC);
  redirect(STDERR_FILENO, err, O_WRONLY | O_CREAT | O_TRUNC);
  if (options.error_pipe >= 0 && dup2(options.error_pipe, STDERR_FILENO) < 0) _exit(126);
  for (const int stream : options.closed) close(stream);
  if (options.memory_limit > 0) {
    const rlimit limit{options.memory_limit, options.memory_limit};
    if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(126);
  }
  // ctest in the background of a script runs with SIGINT ignored, and the program would go on ignoring it.
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) signal(number, SIG_DFL);
  for (const int number : options.ignored) signal(number, SIG_IGN);
  execve(argv[0], argv.data(), envp.data());
  _exit(127);
}

Result ProgramTest::finish(pid_t child) const {
  int status = 0;
  Result result;
  if (child < 0 || waitpid(child, &status, 0) != child) return result;
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = contents(logs_ / "out");
  result.err = contents(logs_ / "err");
  return result;
}

void ProgramTest::wait_until_it_waits(pid_t child) {
  // A busy program sleeps now and then, too; so twenty looks in a row.
  int asleep = 0;
  for (int i = 0; i < 2000 && asleep < 20; ++i, usleep(10000)) {
    const std::string stat = contents("/proc/" + std::to_string(child) + "/stat");
    const std::size_t name_end = stat.rfind(')');
    asleep = name_end != std::string::npos && stat.compare(name_end + 1, 2, " S") == 0 ? asleep + 1 : 0;
  }
  ASSERT_EQ(asleep, 20) << "the program does not wait for anything";
}

void ProgramTest::wait_until_it_catches(pid_t child, int number) {
  for (int i = 0; i < 20000; ++i, usleep(1000)) {
    const std::string status = contents("/proc/" + std::to_string(child) + "/status");
    const std::size_t mask = status.find("SigCgt:\t");
    if (mask != std::string::npos && std::stoull(status.substr(mask + 8), nullptr, 16) >> (number - 1) & 1)
      return;
  }
  FAIL() << "the program does not catch the signal " << number;
}

std::string ProgramTest::said() const { return contents(logs_ / "err"); }

Result ProgramTest::run(const Words& words, const RunOptions& options) const {
  return finish(start(words, options));
}

void ProgramTest::expect_refusal(const Words& words, int code, const std::string& part,
                                 const RunOptions& options) const {
  std::string line;
  for (const std::string& word : words) line += " " + word;
  SCOPED_TRACE("darkroom" + line);
  const Result result = run(words, options);
  EXPECT_EQ(result.code, code) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_TRUE(result.err.starts_with("darkroom: ")) << result.err;
  EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
  EXPECT_TRUE(result.err.ends_with('\n')) << result.err;
  EXPECT_NE(result.err.find(part), std::string::npos) << result.err << "lacks: " << part;
}

Words ProgramTest::files() const {
  Words names;
  for (const auto& entry : fs::directory_iterator(folder_.path())) {
    names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

Words small_picture(const Words& more) {
  Words words = {"generate", "--dummy",           "tiny", "-W", "32", "-H", "32", "--steps", "1", "--threads",
                 "1",        "--max-text-tokens", "8"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::string fixture_model() { return DARKROOM_SOURCE_DIR "/tests/fixtures/pipelines/dev_small"; }

}  // namespace cli_test
