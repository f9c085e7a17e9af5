// libFuzzer target: any bytes as a T5 tokenizer folder and a prompt (fuzz/tokenizer_bundle.h), or, with a
// section `tokens`, as what a GGUF file says of a tokenizer. With neither, the bytes are a character map, its
// text, and the prompt of a small tokenizer.
#include <cstdint>
#include <initializer_list>
#include <map>
#include <sstream>
#include <string>

#include "base/utf8.h"
#include "text/charsmap.h"
#include "text/t5_tokenizer.h"
#include "tokenizer_bundle.h"
#include "tokenizer_checks.h"

namespace {

using namespace darkroom;

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

constexpr std::initializer_list<int64_t> kLengths = {1, 5, 128};

// `tokens`: a token, its score and its type in each line; `unused`: how many follow; `ids`: three of them.
T5Pieces read_pieces(const std::map<std::string, std::string>& sections) {
  const auto stream = [&](const char* name) {
    return std::istringstream(section(sections, name).value_or(""));
  };
  T5Pieces pieces;
  auto tokens = stream("tokens"), unused = stream("unused"), ids = stream("ids");
  std::string token;
  double score = 0;
  int32_t type = 0;
  while (tokens >> token) {  // lists of other lengths, too
    pieces.tokens.push_back(token);
    if (tokens >> score) pieces.scores.push_back(static_cast<float>(score));
    if (tokens >> type) pieces.token_type.push_back(type);
  }
  uint8_t count = 0;
  unused >> count;
  pieces.tokens.resize(pieces.tokens.size() + count);
  pieces.scores.resize(pieces.scores.size() + count);
  pieces.token_type.resize(pieces.token_type.size() + count, T5Pieces::kUnused);
  ids >> pieces.eos >> pieces.unknown >> pieces.padding;
  pieces.precompiled_charsmap = section(sections, "charsmap").value_or("");
  return pieces;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto sections = parse_bundle(bytes);
  const std::string prompt = section(sections, "prompt").value_or("a photo of a cat");
  if (sections.contains("tokens")) {
    attempt([&] { encode(T5Tokenizer::from_pieces(read_pieces(sections), "input"), prompt, kLengths); });
    return 0;
  }
  if (!sections.contains("tokenizer.json")) {
    encode(small(), bytes, kLengths);
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
    encode(tokenizer, prompt, kLengths);
  });
  return 0;
}
