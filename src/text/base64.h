// Base64 (RFC 4648, with padding) to bytes and back.
#pragma once

#include <string>
#include <string_view>

namespace darkroom {

// Errors: kModel with `where` unless `text` is whole groups of four characters of the standard alphabet.
std::string decode_base64(std::string_view text, const std::string& where);
std::string encode_base64(std::string_view bytes);

}  // namespace darkroom
