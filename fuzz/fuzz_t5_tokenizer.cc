// libFuzzer target: any bytes as a T5 tokenizer folder and a prompt (fuzz/tokenizer_bundle.h). Without a
// tokenizer.json in them, the bytes are a character map, its text, and the prompt of a small tokenizer.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/utf8.h"
#include "text/charsmap.h"
#include "text/t5_tokenizer.h"
#include "tokenizer_bundle.h"

namespace {

using namespace darkroom;

void check(bool condition) {
  if (!condition) __builtin_trap();
}

// Runs `work`; an Error must be of class kModel and carry one printable line that names the input.
template <typename Work>
void attempt(const Work& work) {
  try {
    work();
  } catch (const Error& e) {
    const std::string_view message = e.what();
    check(e.code() == ErrorCode::kModel && message.starts_with("input"));
    check(std::ranges::all_of(message, [](unsigned char c) { return c >= ' ' && c <= '~'; }));
  }
}

const T5Tokenizer& small() {
  static const T5Tokenizer tokenizer = T5Tokenizer::from_files(
      {.tokenizer_json =
           R"({"model":{"type":"Unigram","unk_id":2,"vocab":[["<pad>",0],["</s>",0],["<unk>",0],)"
           "[\"\u2581\",-2],[\"\u2581a\",-3],[\"a\",-2.5],[\"ab\",-4],[\"bab\",-5],[\"\u00e9\",-6]]}}",
       .tokenizer_config_json =
           R"({"extra_ids":1,"added_tokens_decoder":{"0":{"content":"<pad>","lstrip":true},)"
           R"("1":{"content":"</s>","rstrip":true},"9":{"content":"x","single_word":true}}})",
       .special_tokens_map_json = {}},
      "small");
  return tokenizer;
}

void encode(const T5Tokenizer& tokenizer, const std::string& prompt) {
  for (const int64_t max_tokens : {1, 5, 128}) {
    const TokenIds out = tokenizer.encode(prompt, max_tokens);
    check(static_cast<int64_t>(out.ids.size()) == max_tokens);
    for (const int32_t id : out.ids) check(id >= 0 && id < tokenizer.vocabulary_size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto sections = parse_bundle(bytes);
  if (!sections.contains("tokenizer.json")) {
    encode(small(), bytes);
    attempt([&] {
      const Charsmap map(bytes, "input");
      check(is_valid_utf8(map.normalize("a photo of ﬁve cats, ½ naïve")));
      check(is_valid_utf8(map.normalize(repaired_utf8(bytes))));
    });
    return 0;
  }
  attempt([&] {
    const auto tokenizer =
        T5Tokenizer::from_files({.tokenizer_json = section(sections, "tokenizer.json").value_or(""),
                                 .tokenizer_config_json = section(sections, "tokenizer_config.json"),
                                 .special_tokens_map_json = section(sections, "special_tokens_map.json")},
                                "input");
    encode(tokenizer, section(sections, "prompt").value_or("a photo of a cat"));
  });
  return 0;
}
