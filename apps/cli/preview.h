// `generate --preview`: what a run shows of the picture while it is drawn, on the terminal or in a file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "darkroom/darkroom.h"
#include "engine.h"
#include "progress.h"
#include "terminal_picture.h"

namespace cli {

class Preview {
 public:
  // `target` is "terminal" or the name of a PNG file, which every preview replaces; nothing: no previews. A
  // terminal that `style` has no updating line on gets a note instead. Call before there are other threads.
  // Throws Failure: DARKROOM_USAGE for another target or a folder that is not there, DARKROOM_OUTPUT for one
  // that nothing can be written in.
  Preview(const std::optional<std::string>& target, ProgressStyle style, Progress& progress);

  bool is_wanted() const { return protocol_ || !path_.empty(); }
  // A file that cannot be written ends the previews with a note, not the run.
  void show(const darkroom_preview& preview, const Engine& engine);

 private:
  void draw(const Pixels& pixels);
  void write(const Pixels& pixels, const Engine& engine);

  Progress& progress_;
  std::optional<PreviewProtocol> protocol_;
  std::string path_;
};

}  // namespace cli
