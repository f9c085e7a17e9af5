// The reference that the program prints of itself: tables, manual page, completions, schema.
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/program.h"

namespace cli_test {
namespace {

class CliReference : public ProgramTest {
 protected:
  // `darkroom manual FORM` as a file in folder().
  std::string manual(const std::string& form) const {
    const Result result = run({"manual", form});
    EXPECT_EQ(result.code, 0) << result.err;
    const std::filesystem::path path = folder() / form;
    std::ofstream(path) << result.out;
    return path.string();
  }

  // What a shell prints for a script: standard output, then standard error; demands exit code 0.
  std::string shell(const std::string& script) const {
    const std::string log = (folder() / "log").string();
    std::ofstream(folder() / "script") << script;
    const std::string command = "bash '" + (folder() / "script").string() + "' >'" + log + "' 2>&1";
    EXPECT_EQ(std::system(command.c_str()), 0) << script;
    return read(log);
  }

  static bool has(const std::string& program) {
    return std::system(("command -v " + program + " >/dev/null 2>&1").c_str()) == 0;
  }

  static std::string read(const std::filesystem::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
};

TEST_F(CliReference, TablesAreThoseOfTheDocuments) {
  const std::string document = read(DARKROOM_SOURCE_DIR "/docs/CLI.md");
  const std::string tables = run({"manual", "markdown"}).out;
  const std::string end = "<!-- end -->\n";
  int blocks = 0;
  for (std::size_t begin = 0, after; begin < tables.size(); begin = after, ++blocks) {
    after = tables.find(end, begin);
    ASSERT_NE(after, std::string::npos);
    after += end.size();
    const std::string block = tables.substr(begin, after - begin);
    EXPECT_NE(document.find(block), std::string::npos)
        << "docs/CLI.md lacks this table; run `darkroom manual markdown` and paste:\n"
        << block;
  }
  EXPECT_EQ(blocks, 12);
}

TEST_F(CliReference, ManualPageIsRoff) {
  const std::string path = manual("man");
  if (has("mandoc")) {
    EXPECT_EQ(shell("mandoc -T lint -W error '" + path + "'"), "");
  } else if (has("groff")) {
    EXPECT_EQ(shell("groff -man -Tutf8 -ww '" + path + "' >/dev/null"), "");
  } else {
    GTEST_SKIP() << "neither mandoc nor groff is installed";
  }
}

TEST_F(CliReference, BashCompletes) {
  if (!has("bash")) GTEST_SKIP() << "bash is not installed";
  const std::string path = manual("bash");
  EXPECT_EQ(shell("bash -n '" + path + "'"), "");
  const auto completed = [&](const std::string& words) {
    return shell("source '" + path + "'\nCOMP_WORDS=(darkroom " + words +
                 ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_darkroom\necho \"${COMPREPLY[*]}\"\n");
  };
  EXPECT_EQ(completed("ge"), "generate\n");
  EXPECT_EQ(completed("generate --sam"), "--sampler\n");
  EXPECT_EQ(completed("generate --sampler he"), "heun\n");
  EXPECT_EQ(completed("info --js"), "--json\n");
  EXPECT_EQ(completed("info --sam"), "\n");
}

TEST_F(CliReference, ZshAcceptsItsCompletions) {
  if (!has("zsh")) GTEST_SKIP() << "zsh is not installed";
  EXPECT_EQ(shell("zsh -n '" + manual("zsh") + "'"), "");
}

TEST_F(CliReference, OptionsAreASchema) {
  const Result result = run({"options", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const nlohmann::json schema = nlohmann::json::parse(result.out);
  EXPECT_EQ(schema.at("type"), "object");
  EXPECT_EQ(schema.at("properties").at("steps").at("maximum"), 1000);
  EXPECT_EQ(schema.at("x-order").size(), schema.at("properties").size());
  for (const auto& name : schema.at("x-order")) {
    EXPECT_TRUE(schema.at("properties").contains(name.get<std::string>())) << name;
  }
}

}  // namespace
}  // namespace cli_test
