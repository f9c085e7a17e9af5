// `darkroom generate --preview`: in a file, on a terminal, and where there is none.
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>

#include "cli/program.h"
#include "image/png.h"

namespace cli_test {
namespace {

using darkroom::read_png;

const std::string kAsk = "\x1b[c";  // for the terminal's attributes

class CliPreview : public ProgramTest {
 protected:
  // Pinhole, six steps at 128×96.
  static Words picture(const Words& more) {
    Words words = {"generate", "a red ring on a white background",
                   "-m",       DARKROOM_SOURCE_DIR "/assets/pinhole",
                   "-H",       "96",
                   "--steps",  "6",
                   "-s",       "1",
                   "-o",       "a.png"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  struct Session {
    int code = -1;
    std::string shown;         // what the terminal got
    bool is_restored = false;  // its settings
  };
  // Runs `darkroom words...` on a terminal of 80 × 24 cells that is `term`, and answers when it is asked for
  // its attributes; "SIGINT" and the like send that instead.
  Session on_terminal(Words words, const std::string& term, const std::string& answer) const {
    words.insert(words.begin(), DARKROOM_PROGRAM);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    winsize size{24, 80, 0, 0};
    int terminal = -1;
    const pid_t child = forkpty(&terminal, nullptr, nullptr, &size);
    if (child == 0) {
      for (const char* name : {"NO_COLOR", "TERM_PROGRAM", "LC_TERMINAL", "KITTY_WINDOW_ID", "TMUX"})
        unsetenv(name);
      setenv("TERM", term.c_str(), 1);
      setenv("XDG_CACHE_HOME", (folder() / "cache").c_str(), 1);
      signal(SIGINT, SIG_DFL);
      if (chdir(folder().path().c_str()) != 0) _exit(126);
      execv(argv[0], argv.data());
      _exit(127);
    }
    Session session;
    if (child < 0) return session;
    bool is_asked = false;
    char buffer[4096];
    for (ssize_t n = 0; (n = read(terminal, buffer, sizeof(buffer))) > 0;) {
      session.shown.append(buffer, static_cast<std::size_t>(n));
      if (is_asked || session.shown.find(kAsk) == std::string::npos) continue;
      is_asked = true;
      termios raw{};
      EXPECT_EQ(tcgetattr(terminal, &raw), 0);
      EXPECT_EQ(raw.c_lflag & (ICANON | ECHO), 0u);
      if (answer.starts_with("SIG")) {
        kill(child, answer == "SIGINT" ? SIGINT : answer == "SIGHUP" ? SIGHUP : SIGTERM);
      } else if (write(terminal, answer.data(), answer.size()) < 0) {
        ADD_FAILURE() << "the terminal takes no answer";
      }
    }
    int status = 0;
    waitpid(child, &status, 0);
    session.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    termios after{};
    session.is_restored =
        tcgetattr(terminal, &after) == 0 && (after.c_lflag & ICANON) != 0 && (after.c_lflag & ECHO) != 0;
    close(terminal);
    return session;
  }
};

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST_F(CliPreview, AFileIsThereInTheEndAndThePictureIsTheSame) {
  ASSERT_EQ(run(picture({})).code, 0);
  const darkroom::Image plain = read_png(folder() / "a.png");
  folder().write("p.PNG", "old");
  const Result result = run(picture({"--preview", "p.PNG", "--preview-every", "4"}));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "a-2.png\n");
  EXPECT_EQ(files(), (Words{"a-2.png", "a.png", "p.PNG"}));
  EXPECT_EQ(read_png(folder() / "a-2.png").rgb, plain.rgb);
  const darkroom::Image preview = read_png(folder() / "p.PNG");
  EXPECT_EQ(preview.width, 256);
  EXPECT_EQ(preview.height, 192);
  EXPECT_TRUE(darkroom::read_png_text(folder() / "p.PNG").empty());
  // The corner is background, white as that of the picture.
  EXPECT_GT(std::min({preview.rgb[0], preview.rgb[1], preview.rgb[2]}), 150);
}

TEST_F(CliPreview, BadRequestsAreRefusedBeforeAnythingIsRead) {
  const Words lost = {"generate", "a", "-m", "/nonexistent/model"};
  const auto refuse = [&](const Words& more, int code, const std::string& part) {
    Words words = lost;
    words.insert(words.end(), more.begin(), more.end());
    expect_refusal(words, code, part);
  };
  refuse({"--preview", "p.jpg"}, 2, "--preview is 'p.jpg'; it takes terminal, or the name of a .png file");
  refuse({"--preview", ""}, 2, "--preview is ''");
  refuse({"--preview", ".png"}, 2, "--preview is '.png'");
  refuse({"--preview", "there/p.png"}, 2, "--preview there/p.png: there is no such folder");
  refuse({"--preview", "p.png", "--preview-every", "0"}, 2, "--preview-every is 0, allowed are 1 to 1000");
  refuse({"--preview", "p.png", "--preview-every", "1001"}, 2, "allowed are 1 to 1000");
  refuse({"--preview-every", "2"}, 2, "--preview-every needs --preview");
  refuse({"--preview", "p.png", "--preview", "q.png"}, 2, "--preview");
  std::filesystem::create_directory(folder() / "d.png");
  refuse({"--preview", "d.png"}, 2, "--preview d.png: this is a folder");
  EXPECT_EQ(files(), Words{"d.png"});
}

TEST_F(CliPreview, AModelWithoutAMapAndNoTerminalAreNotes) {
  Result result = run(small_picture({"a", "-o", "a.png", "--preview", "p.png"}));
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(count_of(result.err, "note: no previews: the model has no map"), 1u) << result.err;
  EXPECT_EQ(files(), Words{"a.png"});
  result = run(picture({"--preview", "terminal"}));
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(count_of(result.err, "note: no previews on this terminal"), 1u) << result.err;
  EXPECT_EQ(result.err.find('\x1b'), std::string::npos);
  result = run(picture({"--preview", "terminal", "-q"}));
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.err, "");
}

TEST_F(CliPreview, AFileThatCannotBeWrittenEndsThePreviewsNotTheRun) {
  // The folder goes once the first preview is in it.
  std::filesystem::create_directory(folder() / "p");
  const pid_t child = start({"generate", "a red ring", "-m", DARKROOM_SOURCE_DIR "/assets/pinhole", "--steps",
                             "60", "-W", "128", "-H", "128", "-o", "a.png", "--preview", "p/p.png"});
  for (int i = 0; i < 3000 && !std::filesystem::exists(folder() / "p/p.png"); ++i) usleep(10000);
  std::filesystem::rename(folder() / "p", folder() / "moved");
  const Result result = finish(child);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(count_of(result.err, "note: no more previews: p/p.png: "), 1u) << result.err;
  EXPECT_TRUE(std::filesystem::exists(folder() / "a.png"));
}

TEST_F(CliPreview, HalfBlocksAreRedrawnInPlace) {
  const Session session = on_terminal(picture({"--preview", "terminal"}), "xterm-256color", "\x1b[?62;22c");
  EXPECT_EQ(session.code, 0) << session.shown;
  EXPECT_TRUE(session.is_restored);
  // 16×12 latents in 22 rows, six times, each but the first over the one before.
  EXPECT_EQ(count_of(session.shown, "\u2580"), 6u * 22 * 59);
  EXPECT_EQ(count_of(session.shown, "\x1b[22A"), 5u);
  EXPECT_NE(session.shown.find("\x1b[38;2;"), std::string::npos);
  EXPECT_NE(session.shown.find("seed 1, 128x96, 6 steps"), std::string::npos);
}

TEST_F(CliPreview, TheTerminalsAnswerDecides) {
  const Words words = picture({"--preview", "terminal", "--preview-every", "6"});
  Session session = on_terminal(words, "xterm", "\x1b[?62;4;22c");
  EXPECT_EQ(session.code, 0);
  EXPECT_TRUE(session.is_restored);
  EXPECT_EQ(count_of(session.shown, "\x1bP0;1q"), 1u);
  EXPECT_EQ(session.shown.find("\u2580"), std::string::npos);
  session = on_terminal(words, "xterm", "");  // no answer
  EXPECT_EQ(session.code, 0);
  EXPECT_TRUE(session.is_restored);
  EXPECT_NE(session.shown.find("\u2580"), std::string::npos);
  session = on_terminal(words, "xterm-kitty", "");
  EXPECT_EQ(session.code, 0);
  EXPECT_EQ(session.shown.find(kAsk), std::string::npos);
  EXPECT_EQ(count_of(session.shown, "\x1b_Ga=T"), 1u);
  session = on_terminal(words, "dumb", "");
  EXPECT_EQ(session.code, 0);
  EXPECT_EQ(session.shown.find('\x1b'), std::string::npos);
  EXPECT_NE(session.shown.find("note: no previews on this terminal"), std::string::npos);
}

TEST_F(CliPreview, AnInterruptWhileAskingLeavesTheTerminalAsItWas) {
  for (const char* number : {"SIGINT", "SIGTERM", "SIGHUP"}) {
    const Session session = on_terminal(picture({"--preview", "terminal"}), "xterm", number);
    EXPECT_EQ(session.code, 130) << session.shown;
    EXPECT_TRUE(session.is_restored);
    EXPECT_FALSE(std::filesystem::exists(folder() / "a.png"));
  }
}

}  // namespace
}  // namespace cli_test
