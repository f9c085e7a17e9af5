// libFuzzer target: any bytes as a CLIP tokenizer folder and a prompt (fuzz/tokenizer_bundle.h). Without a
// vocab.json or tokenizer.json in them, the bytes are the prompt of a small tokenizer.
#include <cstdint>
#include <initializer_list>
#include <string>

#include "text/clip_tokenizer.h"
#include "tokenizer_bundle.h"
#include "tokenizer_checks.h"

namespace {

using namespace darkroom;

const ClipTokenizer& small() {
  static const ClipTokenizer tokenizer = ClipTokenizer::from_files(
      {.vocab_json = R"({"a":0,"b":1,"a</w>":2,"b</w>":3,"ab":4,"ab</w>":5,"abab</w>":6,"<|startoftext|>":7,)"
                     R"("<|endoftext|>":8,"'":9,"s</w>":10,"'s</w>":11})",
       .merges_txt = "#version: 0.2\na b\na b</w>\nab ab</w>\n' s</w>\n",
       .tokenizer_config_json =
           R"({"added_tokens_decoder":{"7":{"content":"<|startoftext|>","normalized":true},)"
           R"("8":{"content":"<|endoftext|>","lstrip":true,"rstrip":true,"normalized":false}}})",
       .special_tokens_map_json = {}},
      "small");
  return tokenizer;
}

constexpr std::initializer_list<int64_t> kLengths = {2, 5, 77};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto sections = parse_bundle(bytes);
  if (!sections.contains("vocab.json") && !sections.contains("tokenizer.json")) {
    encode(small(), bytes, kLengths);
    return 0;
  }
  attempt([&] {
    const auto tokenizer =
        ClipTokenizer::from_files({.tokenizer_json = section(sections, "tokenizer.json"),
                                   .vocab_json = section(sections, "vocab.json").value_or(""),
                                   .merges_txt = section(sections, "merges.txt").value_or(""),
                                   .tokenizer_config_json = section(sections, "tokenizer_config.json"),
                                   .special_tokens_map_json = section(sections, "special_tokens_map.json")},
                                  "input");
    encode(tokenizer, section(sections, "prompt").value_or("a photo of a cat"), kLengths);
  });
  return 0;
}
