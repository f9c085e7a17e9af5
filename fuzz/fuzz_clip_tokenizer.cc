// libFuzzer target: any bytes as a CLIP tokenizer folder and a prompt (fuzz/tokenizer_bundle.h). Without a
// vocab.json or tokenizer.json in them, the bytes are the prompt of a small tokenizer.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "text/clip_tokenizer.h"
#include "tokenizer_bundle.h"

namespace {

using namespace darkroom;

void check(bool condition) {
  if (!condition) __builtin_trap();
}

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

void encode(const ClipTokenizer& tokenizer, const std::string& prompt) {
  for (const int64_t max_tokens : {2, 5, 77}) {
    const TokenIds out = tokenizer.encode(prompt, max_tokens);
    check(static_cast<int64_t>(out.ids.size()) == max_tokens);
    for (const int32_t id : out.ids) check(id >= 0 && id < tokenizer.vocabulary_size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto sections = parse_bundle(bytes);
  if (!sections.contains("vocab.json") && !sections.contains("tokenizer.json")) {
    encode(small(), bytes);
    return 0;
  }
  try {
    const auto tokenizer =
        ClipTokenizer::from_files({.tokenizer_json = section(sections, "tokenizer.json"),
                                   .vocab_json = section(sections, "vocab.json").value_or(""),
                                   .merges_txt = section(sections, "merges.txt").value_or(""),
                                   .tokenizer_config_json = section(sections, "tokenizer_config.json"),
                                   .special_tokens_map_json = section(sections, "special_tokens_map.json")},
                                  "input");
    encode(tokenizer, section(sections, "prompt").value_or("a photo of a cat"));
  } catch (const Error& e) {
    const std::string_view message = e.what();
    check(e.code() == ErrorCode::kModel && message.starts_with("input/"));
    check(std::ranges::all_of(message, [](unsigned char c) { return c >= ' ' && c <= '~'; }));
  }
  return 0;
}
