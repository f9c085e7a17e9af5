// The command line's own part: help, refusals and their exit codes, streams.
#include <sys/stat.h>

#include "cli/program.h"

namespace cli_test {
namespace {

class CliArguments : public ProgramTest {};

TEST_F(CliArguments, EachCommandHasHelp) {
  const Result top = run({"--help"});
  EXPECT_EQ(top.code, 0);
  EXPECT_EQ(top.err, "");
  const std::map<std::string, Words> flags = {
      {"generate",
       {"--prompt",
        "--negative",
        "--cfg",
        "--model",
        "--width",
        "--height",
        "--steps",
        "--guidance",
        "--seed",
        "--sigmas",
        "--max-text-tokens",
        "--precision",
        "--text-precision",
        "--int8-group",
        "--attention",
        "--sampler",
        "--cache",
        "--spacing",
        "--guidance-schedule",
        "--guidance-interval",
        "--cfg-method",
        "--threshold",
        "--threads",
        "--rng",
        "--noise",
        "--save-latents",
        "--count",
        "--output",
        "--like",
        "--overwrite",
        "--dummy",
        "--isa",
        "--sheet",
        "--columns"}},
      {"info", {"PATH", "--json"}},
      {"plan", {"--model", "--width", "--precision", "--weights", "--json"}},
      {"tokenize", {"--prompt", "--model", "--max-text-tokens"}},
      {"convert", {"IN", "OUT", "--weights", "--text-weights", "--dummy", "--shard-size", "--threads"}},
      {"words", {"--model", "--json"}},
      {"bench", {"--quick", "--json", "--threads", "--isa", "--device", "--budget", "--dummy"}}};
  for (const auto& [command, names] : flags) {
    EXPECT_NE(top.out.find("\n  " + command + " "), std::string::npos) << command;
    const Result help = run({command, "--help"});
    EXPECT_EQ(help.code, 0) << command;
    EXPECT_EQ(help.err, "") << command;
    for (const std::string& name : names) {
      EXPECT_NE(help.out.find(name), std::string::npos) << command << " " << name;
    }
    EXPECT_EQ(run({command, "-h"}).out, help.out) << command;
  }
  const Result version = run({"--version"});
  EXPECT_EQ(version.out, "darkroom " DARKROOM_VERSION "\n");
}

TEST_F(CliArguments, WrongCommandsAreUsageErrors) {
  expect_refusal({"zebra"}, 2,
                 "there are generate, words, info, plan, convert, calibrate, options, tokenize, devices, "
                 "self-test, bench and manual");
  expect_refusal({"generat"}, 2, "did you mean generate?");
  expect_refusal({"zebra"}, 2, "there is no command 'zebra'");
  expect_refusal({"--quiet", "generate"}, 2, "'--quiet' comes before the command");
  expect_refusal({"a\nb\x1b[31m"}, 2, "a\\x0ab\\x1b[31m");
}

TEST_F(CliArguments, WrongFlagsAreUsageErrors) {
  expect_refusal({"generate"}, 2, "there is no prompt");
  expect_refusal({"generate", "a", "b"}, 2, "'b' is one argument too many");
  expect_refusal({"generate", "-p", "a", "-p", "b"}, 2, "--prompt is given 2 times");
  expect_refusal({"generate", "a", "--step", "3"}, 2, "did you mean --steps?");
  expect_refusal({"generate", "a", "--zebra"}, 2, "there is no flag --zebra");
  expect_refusal({"generate", "a", "--seed", "1", "--seed", "2"}, 2, "--seed is given 2 times");
  expect_refusal({"generate", "a", "--quiet=1"}, 2, "--quiet takes no value");
  expect_refusal({"generate", "a", "--steps"}, 2, "--steps needs a value");
  expect_refusal({"generate", "a", "--prompt-file", "x"}, 2, "both given");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--sampler", "Heun"}, 2,
                 "sampler is 'Heun'; there are euler, heun");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--spacing", "beta57"}, 2,
                 "spacing is 'beta57'; there are simple, beta and karras");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--spacing", "beta", "--sigmas", "1,0.5"}, 2,
                 "does not go with sigmas");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--guidance-schedule", std::string(5000, 'a')}, 2,
                 "no such file");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--cache", "fastest"}, 2,
                 "the step cache is 'fastest'; there are off, light");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--cache", "fast", "--sampler", "heun"}, 2,
                 "does not go with the sampler heun");
  expect_refusal({"generate", "a", "--guidance-schedule", "trangle"}, 2,
                 "'trangle': no such file; there are constant");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--guidance-schedule", "1,,nan"}, 2,
                 "'1,,nan': no such file");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--guidance-schedule", "1,2000"}, 2,
                 "schedule has '2000'");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--guidance-interval", "0.8,0.1"}, 2,
                 "interval is '0.8,0.1'");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--cfg-method", "apg:2"}, 2,
                 "unknown way of guidance 'apg:2'");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--threshold", "5"}, 2, "the threshold is '5'");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--init", "absent.png"}, 2,
                 "--init absent.png: No such file");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--init", "."}, 2, "init: .");
  expect_refusal({"plan", "--dummy", "tiny", "--mask", "absent.png"}, 2, "mask: there is no picture");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--strength", "1.5"}, 2, "--strength");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--strength", "half"}, 2, "--strength");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--strength", "0"}, 2,
                 "strength is 0, allowed are above 0");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--mask", "absent.png"}, 2, "absent.png: No such file");
  expect_refusal({"generate", "a", "--init", "a.png", "--preview", "./a.png"}, 2,
                 "--preview and --init are both");
  expect_refusal({"generate", "a", "-o", "a.png", "--preview", "a.png"}, 2,
                 "--preview and --output are both");
  expect_refusal({"generate", "--prompt-file", "absent.txt"}, 2, "absent.txt: No such file");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--model", "x"}, 2, "both given");
  expect_refusal({"info"}, 2, "there is no path");
  expect_refusal({"tokenize"}, 2, "there is no prompt");
  expect_refusal({"bench", "--device", "reference"}, 2, "reference");
  expect_refusal({"bench", "--dummy", "dev"}, 2, "--budget");
}

TEST_F(CliArguments, WrongValuesAreUsageErrors) {
  const std::vector<std::pair<Words, std::string>> cases = {
      {{"--steps", "0"}, "--steps is 0, allowed are 1 to 1000"},
      {{"--steps", "1001"}, "--steps is 1001"},
      {{"--steps", "4.5"}, "'4.5', which is not a whole number"},
      {{"--steps="}, "--steps is ''"},
      {{"--steps", "99999999999999999999"}, "allowed are 1 to 1000"},
      {{"--seed", "-1"}, "allowed are 0 to 18446744073709551615"},
      {{"--seed", "18446744073709551616"}, "allowed are 0 to"},
      {{"--seed", "0x10"}, "not a whole number"},
      {{"--guidance", "nan"}, "--guidance is nan"},
      {{"--guidance", "1001"}, "allowed are 0 to 1000"},
      {{"--cfg", "0.5"}, "allowed are 1 to 100"},
      {{"--sigmas", "1,,0.5"}, "number 2 of --sigmas is ''"},
      {{"--sigmas", "0.5,1"}, "fall"},
      {{"--sigmas", "1,0.5", "--steps", "3"}, "2 sigmas and 3 steps"},
      {{"-W", "100"}, "width is 100, which is not a multiple of 16; the nearest are 96 and 112"},
      {{"-H", "65536"}, "height is 65536"},
      {{"-W", "16384", "-H", "16384"}, "pixels"},
      {{"-n", "0"}, "--count is 0"},
      {{"--columns", "2"}, "--columns needs --sheet"},
      {{"--sheet", "--columns", "0"}, "--columns is 0, allowed are 1 to 1000"},
      {{"--sheet", "-n", "1000", "-W", "1024", "-H", "1024"}, "a sheet of 1000 pictures in 32 columns"},
      {{"--threads", "1025"}, "--threads is 1025"},
      {{"--precision", "f64"}, "f64"},
      {{"--weights", "int4"},
       "weights is 'int4'; there are auto, as-stored, bf16, fp8, fp8-scaled, int8, q8_0, q6_k, q5_k, q4_k "
       "and q4_0"},
      {{"--rng", "dice"}, "dice"},
      {{"--isa", "abacus"}, "abacus"},
      {{"-o", ""}, "--output is empty"},
      {{"--sigmas", "0"}, "stay above 0"},
      {{"--sigmas", "1,0,0"}, "stay above 0"},
      {{"--sigmas", "1,0.5,0", "--steps", "3"}, "2 sigmas and 3 steps"}};
  for (const auto& [words, part] : cases) {
    Words all = {"generate", "--dummy", "tiny", "-p", "a"};
    all.insert(all.end(), words.begin(), words.end());
    expect_refusal(all, 2, part);
  }
  expect_refusal({"generate", "--dummy", "huge", "a"}, 2, "there are tiny, dev and schnell");
  EXPECT_EQ(files(), Words{});
}

TEST_F(CliArguments, NamesThatNoResultCanHaveAreRefused) {
  ASSERT_EQ(mkfifo((folder() / "pipe").c_str(), 0600), 0);
  std::filesystem::create_symlink("/dev/null", folder() / "link.png");
  std::filesystem::create_symlink("/dev/null", folder() / "link-1.png");
  std::filesystem::rename(folder() / "pipe", folder() / "pipe.png");
  const std::string braces = "only {seed} and {index} are replaced", stream = "it is written to files only";
  const std::vector<std::pair<Words, std::string>> cases = {
      {{"-o", "a.jpg"}, "--output is 'a.jpg', but only .png files are written; name it 'a.png'"},
      {{"-o", "a.JPEG"}, "name it 'a.png'"},
      {{"-o", "v1.5"}, "name it 'v1.5.png'"},
      {{"-o", "x/v1.5"}, "name it 'x/v1.5.png'"},
      {{"-o", "{seed}.v2"}, "name it '{seed}.v2.png'"},
      {{"-o", "a."}, "name it 'a.png'"},
      {{"--save-latents", "a.bin"}, "only .safetensors files are written; name it 'a.safetensors'"},
      {{"--save-latents", "v1.5"}, "name it 'v1.5.safetensors'"},
      {{"-o", "{sed}.png"}, "--output has '{sed}'; " + braces},
      {{"-o", "{index:03}"}, "--output has '{index:03}'; " + braces},
      {{"-o", "a-{seed:08d}.png"}, "'{seed:08d}'"},
      {{"-o", "{seed:0.5}"}, "'{seed:0.5}'"},
      {{"-o", "{ seed }.png"}, "'{ seed }'"},
      {{"-o", "{Seed}.png"}, "'{Seed}'"},
      {{"-o", "{seed"}, "'{seed'"},
      {{"-o", "{index_1}"}, "'{index_1}'"},
      {{"--save-latents", "{index:03}"}, "--save-latents has '{index:03}'"},
      {{"--preview", "{index}.png"}, "--preview is '{index}.png', but nothing in it is replaced"},
      {{"--preview", "p-{seed:03}.png"}, "but nothing in it is replaced"},
      {{"-o", "-"}, "--output is '-'; " + stream},
      {{"--save-latents", "-"}, "--save-latents is '-'; " + stream},
      {{"--preview", "-"}, "--preview is '-'; it takes terminal, or the name of a .png file"},
      {{"-o", "/dev/null"}, "--output is '/dev/null', which is a device or a pipe"},
      {{"-o", "/dev/stdout"}, "--output is '/dev/stdout'; " + stream},
      {{"-o", "/dev/fd/1"}, stream},
      {{"--save-latents", "/dev/null"}, "a device or a pipe"},
      {{"-o", "pipe.png"}, "a device or a pipe"},
      {{"-o", "pipe"}, "pipe.png', which is a device or a pipe"},
      {{"-o", "link.png"}, "a device or a pipe"},
      {{"--preview", "pipe.png"}, "--preview is 'pipe.png', which is a device or a pipe"},
      {{"--preview", "link.png"}, "a device or a pipe"}};
  for (const auto& [words, part] : cases)
    expect_refusal(small_picture({"-p", "a", words[0], words[1], "-q"}), 2, part);
  expect_refusal(small_picture({"a", "-q", "-o", "link-{seed}", "-s", "1", "--overwrite"}), 2,
                 "a device or a pipe");
  expect_refusal({"convert", "--dummy", "tiny", "-", "--weights", "fp8"}, 2, "OUT is '-'; " + stream);
  EXPECT_EQ(files(), (Words{"link-1.png", "link.png", "pipe.png"}));
  // These are names.
  for (const char* name : {"{}", "{0}", "./-", "{SED}", "a{b", "se{ed}d"})
    EXPECT_EQ(run(small_picture({"-p", "a", "-q", "-o", name})).code, std::string(name) == "se{ed}d" ? 2 : 0)
        << name;
}

TEST_F(CliArguments, BlanksInListsOfNumbersDoNotCount) {
  const auto drawn = [&](const Words& more) {
    Words words = {"generate",    "a",  "--dummy", "tiny",  "-W", "32",         "-H", "32",
                   "-s",          "1",  "-q",      "--cfg", "2",  "--negative", "b",  "--no-embed-cache",
                   "--overwrite", "-o", "a.png"};
    words.insert(words.end(), more.begin(), more.end());
    const Result result = run(words);
    EXPECT_EQ(result.code, 0) << result.err;
    const std::string info = run({"info", "a.png", "--json"}).out;
    return info.substr(info.find("recipe"));
  };
  const std::vector<std::pair<Words, Words>> same = {
      {{"--sigmas", "1, 0.8, 0.5"}, {"--sigmas", "1,0.8,0.5"}},
      {{"--sigmas", " 1 ,0.8\t,\n0.5 "}, {"--sigmas", "1,0.8,0.5"}},
      {{"--sigmas", "1.0, 0.8, 0.5, 0.0"}, {"--sigmas", "1,0.8,0.5"}},  // as ComfyUI has them
      {{"--sigmas", "1,0.8,0.5,0", "--steps", "3"}, {"--sigmas", "1,0.8,0.5"}},
      {{"--steps", "2", "--guidance-schedule", "1, 4.5, 1"},
       {"--steps", "2", "--guidance-schedule", "1,4.5,1"}},
      {{"--steps", "2", "--guidance-interval", "0.1, 0.8"},
       {"--steps", "2", "--guidance-interval", "0.1,0.8"}},
      {{"--steps", "2", "--guidance-interval", "sigma: 0.3, 0.9"},
       {"--steps", "2", "--guidance-interval", "sigma:0.3,0.9"}},
      {{"--steps", "2", "--cfg-method", "apg: 0.1, -0.5"}, {"--steps", "2", "--cfg-method", "apg:0.1,-0.5"}},
      {{"--steps", "2", "--threshold", "99.5, 2"}, {"--steps", "2", "--threshold", "99.5,2"}},
      {{"--steps", "2", "--cache", "fbcache: 0.1, skips = 2"},
       {"--steps", "2", "--cache", "fbcache:0.1,skips=2"}}};
  for (const auto& [blanks, none] : same) EXPECT_EQ(drawn(blanks), drawn(none)) << blanks.back();
  expect_refusal({"generate", "a", "--dummy", "tiny", "--sigmas", "1 0.8"}, 2,
                 "number 1 of --sigmas is '1 0.8'");
  expect_refusal({"generate", "a", "--dummy", "tiny", "--sigmas", "1, ,0.5"}, 2,
                 "number 2 of --sigmas is ''");
}

TEST_F(CliArguments, TextThatIsNotUtf8IsRefused) {
  for (const char* bytes : {"caf\xe9", "\xff", "\xc0\x80", "\xed\xa0\x80", "a\xf4\x90\x80\x80"}) {
    expect_refusal(small_picture({"-p", bytes}), 2, "the prompt is not UTF-8: byte 0x");
    expect_refusal({"tokenize", "--dummy", "tiny", "-p", bytes}, 2, "the prompt is not UTF-8");
  }
  expect_refusal(small_picture({"-p", "a", "--cfg", "2", "--negative", "\xff"}), 2, "the negative prompt");
  expect_refusal(small_picture({"--prompt-file", "-"}), 2, "the prompt is not UTF-8: byte 0xff at offset 2",
                 {.input = "ab\xff"});
  expect_refusal(small_picture({"--prompt-file", "-"}), 2, "zero byte at offset 1",
                 {.input = std::string("a\0b", 3)});
  EXPECT_EQ(files(), Words{});
}

TEST_F(CliArguments, WrongModelsAreModelErrors) {
  expect_refusal({"generate", "-m", "absent", "a"}, 3, "absent");
  expect_refusal({"plan", "-m", "."}, 3, "transformer");
  expect_refusal({"tokenize", "-m", "/dev/null", "a"}, 3, "/dev/null");
  expect_refusal({"info", "absent"}, 3, "absent: there is no such file or folder");
  folder().write("a.png", "\x89PNG\r\n\x1a\nnonsense");
  folder().write("a.safetensors", std::string("\xff\xff\xff\xff\xff\xff\xff\x7f", 8));
  expect_refusal({"info", "a.safetensors"}, 3, "a.safetensors");
  expect_refusal(small_picture({"-p", "a", "--noise", "a.safetensors"}), 3, "a.safetensors");
  expect_refusal(small_picture({"-p", "a", "--noise", "b.safetensors"}), 3, "b.safetensors");
  expect_refusal({"info", "."}, 3, "");
}

TEST_F(CliArguments, WrongPicturesAreFailures) {
  folder().write("a.png", "\x89PNG\r\n\x1a\nnonsense");
  expect_refusal({"info", "a.png"}, 1, "a.png: ");
  expect_refusal(small_picture({"--like", "a.png"}), 1, "a.png: ");
  expect_refusal(small_picture({"--like", "absent.png"}), 1, "absent.png: ");
}

// /proc is a folder in which nobody makes files, root included.
TEST_F(CliArguments, AnUnwritableOutputIsFoundBeforeTheModelIsLookedAt) {
  expect_refusal({"generate", "-m", "absent", "a", "-o", "nowhere/a.png"}, 5,
                 "nowhere: there is no such folder");
  expect_refusal({"generate", "-m", "absent", "a", "-o", "/proc/a.png"}, 5, "/proc");
  expect_refusal({"generate", "-m", "absent", "a", "--save-latents", "/proc/"}, 5, "/proc");
  expect_refusal({"generate", "-m", "absent", "a", "-o", std::string(252, 'x')}, 5, "is too long");
}

TEST_F(CliArguments, AFullStandardOutputIsAnOutputError) {
  if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "there is no /dev/full";
  expect_refusal({"--help"}, 5, "standard output", {.standard_output = "/dev/full"});
  expect_refusal({"plan", "--dummy", "tiny"}, 5, "standard output", {.standard_output = "/dev/full"});
}

TEST_F(CliArguments, MemoryThatIsNotThereIsItsOwnError) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer needs the whole address space";
#endif
  expect_refusal(
      {"generate", "--dummy", "dev", "-p", "a", "-W", "64", "-H", "64", "--steps", "1", "-t", "1", "-q"}, 4,
      "memory", {.memory_limit = 192 << 20});
  EXPECT_EQ(files(), Words{});
}

TEST_F(CliArguments, TheEnvironmentCountsUnlessAFlagIsGiven) {
  expect_refusal(small_picture({"-p", "a", "--isa", "abacus"}), 2, "abacus",
                 {.environment = {{"DARKROOM_ISA", "auto"}}});
  expect_refusal({"bench", "--quick"}, 2, "DARKROOM_THREADS is 'many'",
                 {.environment = {{"DARKROOM_THREADS", "many"}}});
  expect_refusal({"bench", "--quick"}, 2, "abacus", {.environment = {{"DARKROOM_ISA", "abacus"}}});
}

}  // namespace
}  // namespace cli_test
