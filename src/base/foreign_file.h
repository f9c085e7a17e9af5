// What people have in place of the file that is expected, and what to do about it: a git-lfs pointer, a web
// page, a link whose target is gone. So that a message says that instead of what the parser stumbled over.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace darkroom {

// What a file is that begins so, with advice: "a git-lfs pointer, not the file itself: run 'git lfs pull' in
// its repository". Empty when it is nothing known; JSON never is.
std::string_view foreign_kind(std::string_view begin);

// Errors: kModel, "WHERE: this is a web page ..", when foreign_kind() knows what the text is.
void refuse_foreign(std::string_view text, const std::string& where);

// "PATH is a link to TARGET, which is not there", where that is so of the path or of a folder on the way to
// it; else empty.
std::string dangling_link(const std::filesystem::path& path);

// Whether there is anything of that name, also what cannot be opened: a link without its target, a file in a
// folder that may not be entered.
bool is_there(const std::filesystem::path& path);

}  // namespace darkroom
