// The terminal that standard error goes to: what it is called, how large it is, what it says it can do.
#pragma once

#include <string>

#include "terminal_picture.h"

namespace cli {

TerminalNames terminal_names();

// 80 × 24 where it does not say.
TerminalSize terminal_size();

// Asks for its attributes (DA1) and returns the answer; "" without one in 200 ms, or when this process may
// not ask: it is in the background, or the terminal is another's. Call it before there are other threads:
// signals that would end the process wait until the terminal's settings are back.
std::string ask_terminal_attributes();

}  // namespace cli
