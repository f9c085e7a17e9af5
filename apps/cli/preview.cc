#include "preview.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "failure.h"
#include "output_name.h"
#include "terminal.h"
#include "text.h"

namespace cli {
namespace {

namespace fs = std::filesystem;

constexpr int kMinFileEdge = 256;  // pixels of the longer side

void check_file(const std::string& path) {
  const fs::path file = path;
  if (lower(file.extension().string()) != ".png") {
    fail(DARKROOM_USAGE, "--preview is '{}'; it takes terminal, or the name of a .png file", printable(path));
  }
  require_file_name("--preview", path);
  require_no_places("--preview", path);
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored))
    fail(DARKROOM_USAGE, "--preview {}: there is no such folder; make it", printable(path));
  if (fs::is_directory(file, ignored))
    fail(DARKROOM_USAGE, "--preview {}: this is a folder", printable(path));
  require_writable(folder);
}

}  // namespace

Preview::Preview(const std::optional<std::string>& target, ProgressStyle style, Progress& progress)
    : progress_(progress) {
  if (!target) return;
  if (*target != "terminal") {
    check_file(*target);
    path_ = *target;
    return;
  }
  if (style != ProgressStyle::kLive) {
    progress.note(
        "no previews on this terminal: standard error is not one, or NO_COLOR is set, or TERM is dumb");
    return;
  }
  const TerminalNames names = terminal_names();
  protocol_ = choose_protocol(names, "");
  if (protocol_ == PreviewProtocol::kHalfBlocks)
    protocol_ = choose_protocol(names, ask_terminal_attributes());
}

void Preview::show(const darkroom_preview& preview, const Engine& engine) {
  const std::size_t values =
      std::size_t{3} * static_cast<std::size_t>(preview.width) * static_cast<std::size_t>(preview.height);
  const Pixels pixels{preview.width, preview.height, {preview.rgb, preview.rgb + values}};
  if (protocol_) draw(pixels);
  if (!path_.empty()) write(pixels, engine);
}

void Preview::draw(const Pixels& pixels) {
  const TerminalSize terminal = terminal_size();
  const Cells cells = fit_cells(pixels.width, pixels.height, terminal, *protocol_);
  // Among the pictures of all programs in this terminal.
  const uint32_t id = static_cast<uint32_t>(getpid()) << 10 | (progress_.places(cells.rows) & 0x3FF);
  progress_.picture(draw_picture(pixels, cells, terminal, *protocol_, id), cells.rows);
}

void Preview::write(const Pixels& pixels, const Engine& engine) {
  const int longer = std::max(pixels.width, pixels.height);
  const int factor = (kMinFileEdge + longer - 1) / longer;
  const Pixels large = resized(pixels, factor * pixels.width, factor * pixels.height);
  const darkroom_picture picture{.struct_size = sizeof(darkroom_picture),
                                 .index = 0,
                                 .width = large.width,
                                 .height = large.height,
                                 .rgb = large.rgb.data(),
                                 .seed = 0,
                                 .recipe = nullptr,
                                 .latents = nullptr,
                                 .latent_tokens = 0,
                                 .latent_channels = 0};
  if (darkroom_save_png(engine.get(), &picture, path_.c_str(), 0, 1) == DARKROOM_OK) return;
  progress_.note(fmt::format("no more previews: {}", darkroom_last_error(engine.get())));
  path_.clear();
}

}  // namespace cli
