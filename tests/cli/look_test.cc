// The commands that look and do not draw: info, plan, tokenize.
#include <nlohmann/json.hpp>
#include <regex>

#include "cli/program.h"
#include "image/pictures.h"

namespace cli_test {
namespace {

using nlohmann::json;

class CliLook : public ProgramTest {
 protected:
  json ask(const Words& words) const {
    const Result result = run(words);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(std::ranges::count(result.out, '\n'), 1) << result.out;
    return json::parse(result.out);
  }
  // Demands success and that each part is in the text for people.
  void expect_text(const Words& words, const Words& parts) const {
    const Result result = run(words);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    for (const std::string& part : parts) {
      EXPECT_NE(result.out.find(part), std::string::npos) << part << "\n" << result.out;
    }
  }
};

TEST_F(CliLook, InfoTellsAModel) {
  const json info = ask({"info", fixture_model(), "--json"});
  EXPECT_EQ(info.at("type"), "model");
  EXPECT_EQ(info.at("name"), "dev_small");
  EXPECT_EQ(info.at("kind"), "dev");
  EXPECT_EQ(info.at("parts").size(), 4u);
  for (const json& part : info.at("parts")) {
    EXPECT_TRUE(part.at("present"));
    EXPECT_EQ(part.at("weights"), "found");
    EXPECT_EQ(part.at("dtype"), "bf16");
    EXPECT_EQ(part.at("bytes"), 2 * part.at("parameters").get<int64_t>());
  }
  EXPECT_EQ(info.at("parts").at(2).at("parameters"), 492736);
  expect_text({"info", fixture_model()}, {"dev_small: a FLUX.1 model, dev", "492,736", "2 files", "769,163"});
}

TEST_F(CliLook, InfoTellsOnePartAndOneFile) {
  const json file = ask({"info", fixture_model() + "/vae/diffusion_pytorch_model.safetensors", "--json"});
  EXPECT_EQ(file.at("type"), "safetensors");
  EXPECT_GE(file.at("parameters"), 123003);  // the encoder may be there, too
  EXPECT_EQ(file.at("tensors").at(0).size(), 3u);
  expect_text({"info", fixture_model() + "/transformer"}, {"safetensors", "492,736 parameters"});
}

TEST_F(CliLook, InfoTellsMissingWeightsFromBadOnes) {
  namespace fs = std::filesystem;
  fs::copy(fixture_model(), folder() / "m", fs::copy_options::recursive);
  fs::remove(folder() / "m/vae/diffusion_pytorch_model.safetensors");
  fs::remove(folder() / "m/text_encoder/model.safetensors");
  folder().write("m/text_encoder/pytorch_model.bin", "pickle");
  const json parts = ask({"info", "m", "--json"}).at("parts");
  EXPECT_EQ(parts.at(3).at("weights"), "missing");
  EXPECT_FALSE(parts.at(3).contains("problem"));
  EXPECT_EQ(parts.at(3).at("files"), json::array());
  EXPECT_NE(parts.at(0).at("problem").get<std::string>().find("pickle"), std::string::npos);
  const std::string text = run({"info", "m"}).out;
  EXPECT_TRUE(std::regex_search(text, std::regex("\\nvae .*bf16 +missing *\\n"))) << text;
  EXPECT_TRUE(std::regex_search(text, std::regex("\\ntext_encoder .*invalid: .*pickle"))) << text;
}

TEST_F(CliLook, InfoTellsAPicture) {
  ASSERT_EQ(run(small_picture({"-p", "a \x1b[31mred\ncircle", "-s", "7", "-o", "a.png"})).code, 0);
  const json info = ask({"info", "a.png", "--json"});
  EXPECT_EQ(info.at("type"), "picture");
  EXPECT_EQ(info.at("width"), 32);
  EXPECT_EQ(info.at("source"), "darkroom");
  EXPECT_EQ(info.at("recipe").at("prompt"), "a \x1b[31mred\ncircle");
  EXPECT_EQ(info.at("recipe").at("seed"), 7);
  EXPECT_EQ(info.at("recipe").at("model"), "dummy-tiny");
  // A stranger's prompt must not steer the terminal.
  expect_text({"info", "a.png"}, {"a picture, 32x32, with its recipe", "a \\x1b[31mred\\x0acircle"});
  ASSERT_EQ(run(small_picture({"-p", "a", "--no-metadata", "-o", "b.png"})).code, 0);
  EXPECT_EQ(ask({"info", "b.png", "--json"}).at("source"), "none");
  expect_text({"info", "b.png"}, {"a picture, 32x32, without a recipe\n"});
}

TEST_F(CliLook, PlanTellsEachPhase) {
  const json plan = ask({"plan", "--dummy", "dev", "-W", "512", "-H", "768", "--steps", "3", "--json"});
  for (const char* key :
       {"model", "kind", "precision", "weights", "width", "height", "steps", "image_tokens", "text_tokens",
        "parameters", "phases", "peak_bytes", "budget_bytes", "budget", "streamed_blocks"}) {
    EXPECT_TRUE(plan.contains(key)) << key;
  }
  EXPECT_EQ(plan.at("image_tokens"), 32 * 48);
  EXPECT_EQ(plan.at("steps"), 3);
  EXPECT_EQ(plan.at("parameters").at("transformer"), 11901408320);
  Words names;
  uint64_t largest = 0;
  for (const json& phase : plan.at("phases")) {
    names.push_back(phase.at("name"));
    EXPECT_GT(phase.at("weight_bytes"), 0);
    EXPECT_GT(phase.at("activation_bytes"), 0);
    EXPECT_GT(phase.at("flops"), 0);
    EXPECT_FALSE(phase.at("assumed"));
    largest = std::max(largest, phase.at("peak_bytes").get<uint64_t>());
  }
  EXPECT_EQ(names, (Words{"clip", "t5", "modulation", "denoise", "vae"}));
  EXPECT_EQ(plan.at("peak_bytes"), largest + plan.at("process_bytes").get<uint64_t>());
  EXPECT_EQ(ask({"plan", "--dummy", "schnell", "--json"}).at("parameters").at("transformer"), 11891178560);
  expect_text({"plan", "--dummy", "dev", "--weights", "int8"},
              {"Weights become int8 as they are read: modulation and denoise count 108.0 MiB for that."});
  expect_text({"plan", "--dummy", "dev", "--precision", "int8"},
              {"The blocks' weights become int8 as they are read"});
  expect_text({"plan", "--dummy", "dev"},
              {"11,901,408,320", "4096 image tokens, 512 text tokens", "denoise"});
}

// Recipes of other programs, in every format, and what is no recipe that is known.
TEST_F(CliLook, InfoTellsForeignRecipes) {
  const std::string swarm = R"({"sui_image_params": {"prompt": "a cat", "seed": 5, "sampler": "res_2s"}})";
  folder().write("a.png", darkroom::png_file(darkroom::png_text("parameters", swarm)));
  const json info = ask({"info", "a.png", "--json"});
  EXPECT_EQ(info.at("source"), "swarmui");
  EXPECT_EQ(info.at("format"), "PNG");
  EXPECT_EQ(info.at("recipe").at("seed"), 5);
  EXPECT_EQ(info.at("not_repeated"), json{"sampler res_2s (euler instead)"});
  expect_text({"info", "a.png"},
              {"a picture, 2x2, with a recipe of SwarmUI", "not repeated      sampler res_2s"});
  const std::string line = "a cat\nSteps: 4, Sampler: Euler, Seed: 6, Size: 64x32\nTemplate: a {cat|dog}";
  const std::string block =
      darkroom::exif_block({.orientation = 6, .comment = darkroom::unicode_comment(line, true)});
  folder().write("a.jpg", darkroom::jpeg_file(darkroom::gradient(16, 8), darkroom::exif_segment(block)));
  const json jpeg = ask({"info", "a.jpg", "--json"});
  EXPECT_EQ(jpeg.at("format"), "JPEG");
  EXPECT_EQ(jpeg.at("orientation"), 6);
  EXPECT_EQ(jpeg.at("recipe").at("seed"), 6);
  expect_text({"info", "a.jpg"}, {"note              what follows the line of parameters is left out"});
  folder().write("b.png", darkroom::png_file(darkroom::png_text("parameters", R"({"colour": "red"})")));
  EXPECT_EQ(ask({"info", "b.png", "--json"}).at("source"), "unknown");
  expect_text({"info", "b.png"},
              {"a picture, 2x2, with a recipe that is not read\nb.png: the text 'parameters': the "
               "recipe of another tool"});
}

TEST_F(CliLook, OtherPicturesAreNamed) {
  folder().write("a.gif", "GIF89a..........................");
  expect_refusal({"info", "a.gif"}, 1, "a.gif: a GIF picture, and PNG, JPEG and WebP are read");
  expect_refusal(small_picture({"a", "--init", "a.gif"}), 2, "a.gif: a GIF picture");
  expect_refusal(small_picture({"--like", "a.gif"}), 1, "a.gif: a GIF picture");
  expect_refusal(small_picture({"--like", "a.jpg"}), 1, "a.jpg: ");
}

TEST_F(CliLook, TokenizeGivesJson) {
  const json ids =
      ask({"tokenize", "-m", fixture_model(), "-p", "a red circle on the left", "--max-text-tokens", "24"});
  EXPECT_EQ(ids.size(), 2u);
  EXPECT_EQ(ids.at("clip").size(), 77u);
  const json clip = {802, 320, 615, 553, 515, 519, 607, 803};  // as transformers gives them
  EXPECT_EQ(json(ids.at("clip").begin(), ids.at("clip").begin() + 8), clip);
  EXPECT_EQ(ids.at("clip").back(), 803);
  const json t5 = {3, 28, 65, 33, 4, 12, 8, 5, 4, 20, 54, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(ids.at("t5"), t5);
  EXPECT_EQ(ask({"tokenize", "--dummy", "tiny", "", "--max-text-tokens", "3"}).at("t5"), json({1, 0, 0}));
}

}  // namespace
}  // namespace cli_test
