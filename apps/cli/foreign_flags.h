// Flags of other programs that draw with diffusion models, and what they are here.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace cli {

// What to do instead of `flag` ("--cfg-scale"), to be read after "there is no flag --cfg-scale; "; nothing
// for a flag that is not known, or whose counterpart the command lacks. `has` says which flags it has.
std::optional<std::string> foreign_flag_hint(const std::string& flag,
                                             const std::function<bool(std::string_view)>& has);

}  // namespace cli
