// A folder of files, or one file, that appears whole or not at all, however large: it grows in a folder of a
// temporary name beside its place and is renamed when everything in it has reached the disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace darkroom {

// One file of a NewFolder, written in pieces at any place. Movable; one thread at a time. Errors (of all
// functions): kOutput, naming the place where the file would have been in the end.
class NewFile {
 public:
  // `path` must be free; `shown` is its name in messages.
  NewFile(const std::filesystem::path& path, std::string shown);
  ~NewFile();
  NewFile(NewFile&& other) noexcept;

  // What lies before `offset` and was never written is zero.
  void write(std::size_t offset, std::span<const std::byte> bytes);
  // Waits until everything is on the disk, and closes the file. Without it the file is not worth keeping.
  void finish();

 private:
  std::string shown_;
  int fd_ = -1;
};

// Not copyable. The temporary folder is removed with all that is in it unless finish() succeeded; after a
// kill it stays, see abandoned_folders().
class NewFolder {
 public:
  enum class Becomes : uint8_t { kFolder, kFile };
  // Makes the temporary folder in the folder that `path` lies in. Errors: kOutput when `path` exists or
  // nothing can be written beside it.
  explicit NewFolder(const std::filesystem::path& path, Becomes becomes = Becomes::kFolder);
  ~NewFolder();
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

  // A new file under this name, such as "vae/config.json"; folders on the way are made. Of kFile the one and
  // only, which takes `path`, whatever its name. Errors: kOutput.
  NewFile file(const std::filesystem::path& name);
  // The same, with this content.
  void write(const std::filesystem::path& name, std::string_view content);
  // Gives the folder or the file its name; every file must be finished. Errors: kOutput, also when the name
  // was taken meanwhile.
  void finish();

  // Bytes that can still be written there.
  std::size_t free_bytes() const;

 private:
  std::filesystem::path path_, temporary_;
  Becomes becomes_;
  int lock_ = -1;  // held as long as this object lives: nobody else's leftover
};

// Temporary folders beside `path` whose makers are gone: killed before they could finish or clean up. Empty
// where the folder cannot be listed. Bytes are those of the files in it.
struct AbandonedFolder {
  std::filesystem::path path;
  std::size_t bytes = 0;
};
std::vector<AbandonedFolder> abandoned_folders(const std::filesystem::path& path);

}  // namespace darkroom
