// What a newcomer sees first, and what somebody sees who comes from another program.
#include <algorithm>
#include <regex>
#include <sstream>

#include "cli/program.h"

namespace cli_test {
namespace {

class CliHelp : public ProgramTest {};

TEST_F(CliHelp, FitsAScreen) {
  const Result help = run({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_EQ(help.err, "");
  EXPECT_LE(std::ranges::count(help.out, '\n'), 24);
  std::istringstream lines(help.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
  EXPECT_EQ(run({"-h"}).out, help.out);
  EXPECT_EQ(run({"help"}).out, help.out);
  const Result alone = run({});
  EXPECT_EQ(alone.code, 2);
  EXPECT_EQ(alone.out, "");
  EXPECT_EQ(alone.err, help.out);
}

// The first command in it works as it is written.
TEST_F(CliHelp, ItsFirstCommandDraws) {
  const std::string help = run({"--help"}).out;
  std::smatch command;
  ASSERT_TRUE(std::regex_search(help, command, std::regex("\n +darkroom generate \"([^\"]+)\"\n"))) << help;
  const RunOptions installed = {.environment = {{"DARKROOM_ASSETS", DARKROOM_SOURCE_DIR "/assets"}}};
  const Result result = run({"generate", command[1]}, installed);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err.find("note"), std::string::npos) << result.err;
}

TEST_F(CliHelp, TellsOfEachCommand) {
  for (const char* command : {"generate", "words", "info", "plan", "convert", "tokenize", "bench"}) {
    const Result help = run({"help", command});
    EXPECT_EQ(help.code, 0);
    EXPECT_EQ(help.out, run({command, "--help"}).out);
    EXPECT_NE(help.out.find(std::string("darkroom ") + command), std::string::npos);
  }
  expect_refusal({"help", "generat"}, 2, "there is no command 'generat'; did you mean generate?");
  expect_refusal({"help", "plan", "info"}, 2, "'info' is one argument too many; help takes one COMMAND");
  expect_refusal({"a red circle"}, 2, "to draw it: darkroom generate \"a red circle\"");
}

TEST_F(CliHelp, FlagsOfOtherProgramsLeadToOurs) {
  const std::vector<std::pair<Words, std::string>> cases = {
      {{"--size", "512x512"}, "there is no flag --size; use -W and -H"},
      {{"--prompt-strength", "1"}, "use --strength"},
      {{"--num-images", "2"}, "use --count"},
      {{"--num_images_per_prompt=2"}, "there is no flag --num_images_per_prompt; use --count"},
      {{"-b", "2"}, "there is no flag -b; use --count"},
      {{"--batch-count", "2"}, "use --count"},
      {{"--guidance_scale", "3"}, "use --guidance for"},
      {{"--cfg-scale", "3"}, "use --cfg for"},
      {{"--Negative-Prompt", "x"}, "use --negative"},
      {{"--num_inference_steps", "3"}, "use --steps"},
      {{"--sampling-method", "euler"}, "use --sampler"},
      {{"--scheduler", "karras"}, "--spacing"},
      {{"--model-path", "x"}, "use --model PATH"},
      {{"--diffusion-model", "x"}, "use --model PATH"},
      {{"--clip_l", "x"}, "use --clip"},
      {{"--denoising-strength", "1"}, "use --strength"},
      {{"-i", "a.png"}, "there is no flag -i; use --init"},
      {{"--lora-scale", "1"}, "use --lora FILE:STRENGTH"},
      {{"--controlnet", "x"}, "not supported yet"},
      {{"--offload-to-cpu"}, "use --budget SIZE"},
      {{"--cuda"}, "use --device gpu"},
      {{"--steps-num", "3"}, "did you mean --steps?"},
      {{"-steps", "3"}, "there is no flag -steps; did you mean --steps?"},
      {{"-prompt=x"}, "there is no flag -prompt; did you mean --prompt?"},
      {{"--zebra"}, "'darkroom generate --help' lists them"}};
  for (const auto& [more, part] : cases) {
    Words words = {"generate", "--dummy", "tiny", "a"};
    words.insert(words.end(), more.begin(), more.end());
    expect_refusal(words, 2, part);
  }
  // Only what the command has is proposed.
  expect_refusal({"tokenize", "a", "--size", "5"}, 2, "'darkroom tokenize --help' lists them");
  expect_refusal({"convert", "a", "b", "--type", "fp8"}, 2, "use --weights");
  expect_refusal({"info", "a", "--lora", "x"}, 2, "'darkroom info --help' lists them");
}

TEST_F(CliHelp, OneArgumentTooManySaysWhatTheCommandTakes) {
  expect_refusal({"info", "a", "b"}, 2, "'b' is one argument too many; 'darkroom info' takes one PATH");
  expect_refusal({"convert", "a", "b", "c"}, 2, "'darkroom convert' takes IN and OUT");
  for (const char* command : {"words", "bench"})
    expect_refusal({command, "x"}, 2, "takes flags only, such as --model DIR");
  for (const char* command : {"generate", "plan", "tokenize"})
    expect_refusal({command, "a", "b"}, 2, "put quotes around a text of several words");
}

// "--" ends the flags, in every command, with arguments before and after it.
TEST_F(CliHelp, TwoDashesEndTheFlags) {
  const auto prompt_of = [&](const Words& more) {
    Words words = small_picture({"-o", "a.png", "--overwrite", "-s", "1"});
    words.insert(words.end(), more.begin(), more.end());
    const Result result = run(words);
    EXPECT_EQ(result.code, 0) << result.err;
    const std::string info = run({"info", "--json", "--", "a.png"}).out;
    std::smatch prompt;
    return std::regex_search(info, prompt, std::regex("\"prompt\":\"([^\"]*)\"")) ? prompt[1].str() : "none";
  };
  EXPECT_EQ(prompt_of({"--", "-a weird prompt"}), "-a weird prompt");
  EXPECT_EQ(prompt_of({"--", "--steps=5"}), "--steps=5");
  EXPECT_EQ(prompt_of({"--", "--steps="}), "--steps=");
  EXPECT_EQ(prompt_of({"--", "-prompt"}), "-prompt");
  EXPECT_EQ(prompt_of({"--", "--"}), "--");
  EXPECT_EQ(prompt_of({"--", "a"}), "a");
  EXPECT_EQ(prompt_of({"a", "--"}), "a");
  EXPECT_EQ(prompt_of({"-p", "a", "--"}), "a");
  EXPECT_EQ(prompt_of({"-p", "--"}), "--");  // a value is a value
  EXPECT_EQ(prompt_of({"-p", "-steps"}), "-steps");
  EXPECT_EQ(prompt_of({"-p", "--steps="}), "--steps=");
  expect_refusal({"generate", "a", "--", "-b"}, 2, "'-b' is one argument too many");
  expect_refusal({"generate", "--zebra", "--", "a"}, 2, "there is no flag --zebra");
  expect_refusal({"generate", "-p", "a", "--", "-b"}, 2, "'-b' is one argument too many");
  expect_refusal({"generate", "-a weird prompt"}, 2, "a text that begins with - goes after --");
  expect_refusal({"info", "--", "-x"}, 3, "-x: there is no such file or folder");
  expect_refusal({"words", "--", "-x"}, 2, "'-x' is one argument too many");
  EXPECT_EQ(run({"tokenize", "--dummy", "tiny", "--", "-a"}).out,
            run({"tokenize", "--dummy", "tiny", "-p", "-a"}).out);
  EXPECT_EQ(run({"plan", "--dummy", "tiny", "--"}).code, 0);
  EXPECT_EQ(run({"convert", "--dummy", "tiny", "--weights", "fp8", "-q", "--", "-new"}).out, "-new\n");
}

}  // namespace
}  // namespace cli_test
