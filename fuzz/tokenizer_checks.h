// What the fuzz targets of both tokenizers check. Used by fuzz/fuzz_*_tokenizer.cc only.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/error.h"
#include "checks.h"

namespace darkroom {

// Runs `work`; an Error must be of class kModel and carry one printable line that names the input.
template <typename Work>
void attempt(const Work& work) {
  try {
    work();
  } catch (const Error& e) {
    const std::string_view message = e.what();
    check(e.code() == ErrorCode::kModel && message.starts_with("input"));
    check_message(e);
  }
}

// Encodes at each length: as many ids as asked for, each in the vocabulary.
template <typename Tokenizer>
void encode(const Tokenizer& tokenizer, const std::string& prompt, std::initializer_list<int64_t> lengths) {
  for (const int64_t max_tokens : lengths) {
    const auto out = tokenizer.encode(prompt, max_tokens);
    check(static_cast<int64_t>(out.ids.size()) == max_tokens);
    for (const int32_t id : out.ids) check(id >= 0 && id < tokenizer.vocabulary_size());
  }
}

}  // namespace darkroom
