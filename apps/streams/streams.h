// The standard streams of a program. Results go to standard output and must arrive there; what is
// written to standard error is for people, and whether it arrives changes nothing. Nothing else in this
// project writes to either.
#pragma once

#include <string_view>

namespace streams {

// Call first in main(). A closed stream gets /dev/null, opened so that its use still fails: otherwise the
// next file that is opened takes its number. A pipe without a reader becomes an error instead of SIGPIPE.
void open_standard_streams();

// Says whether to go on waiting for a stream that takes no text now. Asked some ten times a second.
using KeepWaiting = bool (*)();

// All of `text`. False, with errno set, when it cannot be written, or with EINTR when `keep_waiting` said no.
bool write_output(std::string_view text, KeepWaiting keep_waiting);

// False when standard output is closed or its reader is gone, with errno set. For a check before long work.
bool output_is_open();

// As much of `text` as standard error takes; never fails. A terminal is waited for until `keep_waiting` says
// no; anything else for a second, and from then on not at all until it takes text again.
void write_error(std::string_view text, KeepWaiting keep_waiting);

// One write() if there is room at once: for a signal handler.
void write_error_from_handler(std::string_view text);

}  // namespace streams
